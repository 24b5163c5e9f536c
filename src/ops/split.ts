/** @file One tensor as several: views of its parts. */
import { layoutOf } from '../core/layout.ts'
import { formatShape, normalizeAxis } from '../core/shape.ts'
import { dispatchViews } from '../tensor/dispatch.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ShapeError, ValueError } from '../util/errors.ts'
import { zeros } from './create.ts'
import { checkTensor, defineView } from './define.ts'
import { cat } from './join.ts'

export interface SplitOptions {
  /** The axis to cut; default 0. */
  readonly axis?: number
}

/**
 * Parts of a tensor along an axis: each of `sizes` elements, the last one of what is left; or of the sizes
 * listed, which add up to the size of the axis. Views. PyTorch's `split`. Throws a ShapeError when the
 * sizes do not add up.
 *
 * @example
 * split(tensor([1, 2, 3]), 2).length // -> 2
 * split(tensor([1, 2, 3]), [1, 2])[1] // -> tensor([2, 3], float32, cpu)
 */
export function split(
  x: Tensor,
  sizes: number | readonly number[],
  options: SplitOptions = {},
): Tensor[] {
  checkTensor('split', 'x', x)
  checkOptions('split', options, ['axis'])
  const axis = normalizeAxis('split', options.axis ?? 0, x.ndim)
  const size = x.shape[axis]!
  if (Array.isArray(sizes)) {
    const list = sizes as readonly number[]
    const isCount = (n: number) => Number.isSafeInteger(n) && n >= 0
    if (!list.every(isCount) || list.reduce((a, b) => a + b, 0) !== size)
      throw new ShapeError(
        `split: sizes ${formatShape(list)} for axis ${axis} of ${formatShape(x.shape)}. Expected whole numbers that add up to ${size}`,
      )
    return cut(x, axis, list)
  }
  return cut(x, axis, evenly(size, checkCount('split', 'size', sizes as number)))
}

/**
 * A tensor in `count` parts of equal size along an axis; the last one may be smaller, and there are fewer
 * when the axis is short. Views. PyTorch's `chunk`. Throws a ValueError unless count is a whole number
 * above 0.
 *
 * @example
 * chunk(tensor([1, 2, 3, 4, 5]), 2)[1] // -> tensor([4, 5], float32, cpu)
 */
export function chunk(x: Tensor, count: number, options: SplitOptions = {}): Tensor[] {
  checkTensor('chunk', 'x', x)
  checkOptions('chunk', options, ['axis'])
  const axis = normalizeAxis('chunk', options.axis ?? 0, x.ndim)
  checkCount('chunk', 'count', count)
  const size = x.shape[axis]!
  return cut(x, axis, evenly(size, Math.max(1, Math.ceil(size / count))))
}

/**
 * The slices of a tensor along an axis, without that axis. Views. PyTorch's `unbind`.
 *
 * @example
 * unbind(tensor([[1, 2], [3, 4]]))[1] // -> tensor([3, 4], float32, cpu)
 */
export function unbind(x: Tensor, options: SplitOptions = {}): Tensor[] {
  checkTensor('unbind', 'x', x)
  checkOptions('unbind', options, ['axis'])
  const axis = normalizeAxis('unbind', options.axis ?? 0, x.ndim)
  const ones = Array.from({ length: x.shape[axis]! }, () => 1)
  return cut(x, axis, ones).map((part) => part.squeeze({ axis }))
}

/**
 * `length` elements along an axis from `start` on. A view. PyTorch's `narrow`. Throws a ShapeError when
 * they do not lie inside the axis.
 *
 * @example
 * narrow(tensor([1, 2, 3, 4]), 0, 1, 2) // -> tensor([2, 3], float32, cpu)
 */
export function narrow(x: Tensor, axis: number, start: number, length: number): Tensor {
  checkTensor('narrow', 'x', x)
  const along = normalizeAxis('narrow', axis, x.ndim)
  const size = x.shape[along]!
  const begin = start < 0 ? start + size : start
  const isWhole = Number.isSafeInteger(start) && Number.isSafeInteger(length)
  if (!isWhole || begin < 0 || length < 0 || begin + length > size)
    throw new ShapeError(
      `narrow: ${length} elements from ${start} on do not lie inside axis ${along} of ${formatShape(x.shape)}. Expected start + length to be at most ${size}`,
    )
  return part(x, along, begin, begin + length)
}

// One operation, so that the gradients of the parts are joined instead of added up.
const splitOp = defineView<{ readonly axis: number; readonly sizes: readonly number[] }>(
  'split',
  'Split',
  ({ gs, shapes, attributes: { axis, sizes } }) => {
    const { dtype, device } = gs.find((g) => g !== undefined)!
    const parts = gs.map((g, i) => g ?? zeros(shapes[0]!.with(axis, sizes[i]!), { dtype, device }))
    return cat(parts, { axis })
  },
)

function cut(x: Tensor, axis: number, sizes: readonly number[]): Tensor[] {
  const { shape, strides } = x.layout
  let begin = 0
  const places = sizes.map((n) => {
    const place = {
      layout: layoutOf(shape.with(axis, n), strides),
      offset: n === 0 ? x.offset : x.offset + begin * strides[axis]!,
    }
    begin += n
    return place
  })
  return dispatchViews(splitOp, x, places, { axis, sizes })
}

function part(x: Tensor, axis: number, begin: number, end: number): Tensor {
  return x.slice(...Array.from({ length: axis }, () => null), [begin, end])
}

/** Pieces of one size until the whole is used up; one empty piece of nothing. */
function evenly(whole: number, size: number): number[] {
  const count = Math.max(1, Math.ceil(whole / size))
  return Array.from({ length: count }, (_, i) => Math.min(size, whole - i * size))
}

function checkCount(where: string, name: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value
  throw new ValueError(`${where}: ${name} is ${String(value)}. Expected a whole number above 0`)
}
