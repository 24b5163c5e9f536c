/** @file Views composed of others: axes moved and taken apart, diagonals. */
import { formatShape, normalizeAxis, sizeOf, type Shape } from '../core/shape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ShapeError } from '../util/errors.ts'
import { checkTensor } from './define.ts'

/**
 * Axis `from` moved to place `to`, the others keeping their order. A view. PyTorch's `movedim`.
 *
 * @example
 * moveAxis(zeros([2, 3, 4]), 0, -1).shape // -> [3, 4, 2]
 */
export function moveAxis(x: Tensor, from: number, to: number): Tensor {
  checkTensor('moveAxis', 'x', x)
  const source = normalizeAxis('moveAxis', from, x.ndim)
  const target = normalizeAxis('moveAxis', to, x.ndim)
  const order = x.shape.map((_, i) => i).filter((i) => i !== source)
  return x.permute(order.toSpliced(target, 0, source))
}

/**
 * One axis as several, of which one size may be -1 and is worked out: the reverse of `flatten`. A view
 * where the strides allow it. PyTorch's `unflatten`. Throws a ShapeError when the sizes do not multiply
 * to the size of the axis.
 *
 * @example
 * unflatten(zeros([2, 12]), 1, [3, -1]).shape // -> [2, 3, 4]
 */
export function unflatten(x: Tensor, axis: number, sizes: Shape): Tensor {
  checkTensor('unflatten', 'x', x)
  const at = normalizeAxis('unflatten', axis, x.ndim)
  const whole = x.shape[at]!
  const known = sizeOf(sizes.filter((n) => n !== -1))
  const unknown = sizes.filter((n) => n === -1).length
  const fits = unknown === 0 ? known === whole : known > 0 && whole % known === 0
  if (!fits || unknown > 1 || sizes.some((n) => !Number.isSafeInteger(n) || n < -1))
    throw new ShapeError(
      `unflatten: axis ${at} of ${formatShape(x.shape)} has ${whole} elements, which do not fit ${formatShape(sizes)}. Expected sizes whose product is ${whole}; one may be -1`,
    )
  const parts = sizes.map((n) => (n === -1 ? whole / known : n))
  return x.reshape(x.shape.toSpliced(at, 1, ...parts))
}

export interface DiagonalOptions {
  /** Which diagonal: above the main one (positive) or below; default 0. */
  readonly offset?: number
  /** The axis of the rows; default -2. */
  readonly axis1?: number
  /** The axis of the columns; default -1. */
  readonly axis2?: number
}

/**
 * The diagonal of the matrices that two axes hold, as the last axis. PyTorch's `diagonal`, which defaults
 * to the first two axes. Throws a ShapeError for fewer than two axes.
 *
 * @example
 * diagonal(tensor([[1, 2], [3, 4]])) // -> tensor([1, 4], float32, cpu)
 */
export function diagonal(x: Tensor, options: DiagonalOptions = {}): Tensor {
  checkTensor('diagonal', 'x', x)
  checkOptions('diagonal', options, ['offset', 'axis1', 'axis2'])
  if (x.ndim < 2)
    throw new ShapeError(
      `diagonal: x has shape ${formatShape(x.shape)}. Expected at least 2 axes, rows and columns`,
    )
  const { offset = 0 } = options
  const row = normalizeAxis('diagonal', options.axis1 ?? -2, x.ndim)
  const column = normalizeAxis('diagonal', options.axis2 ?? -1, x.ndim)
  if (row === column || !Number.isSafeInteger(offset))
    throw new ShapeError(
      `diagonal: axes ${row} and ${column}, offset ${String(offset)}. Expected two different axes and a whole number`,
    )
  const others = x.shape.map((_, i) => i).filter((i) => i !== row && i !== column)
  const matrices = x.permute([...others, row, column])
  const [rows, columns] = [x.shape[row]!, x.shape[column]!]
  const count = Math.max(0, Math.min(rows + Math.min(offset, 0), columns - Math.max(offset, 0)))
  // Row by row in one axis, neighbours on a diagonal are columns + 1 apart.
  const start = count === 0 ? 0 : offset >= 0 ? offset : -offset * columns
  const step = columns + 1
  const flat = matrices.flatten({ startAxis: -2 })
  const end = count === 0 ? start : start + (count - 1) * step + 1
  return flat.slice(...others.map(() => null), [start, end, step])
}
