/** @file Views: the same elements under another shape. Nothing is copied unless the doc says so. */
import { layoutOf, reshapeLayout, expandLayout, type Layout } from '../core/layout.ts'
import {
  broadcastShapes,
  checkShape,
  formatShape,
  normalizeAxes,
  normalizeAxis,
  sameShape,
  sizeOf,
  type Shape,
} from '../core/shape.ts'
import { dispatchView } from '../tensor/dispatch.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { tracing } from '../tensor/tracing.ts'
import { checkOptions, ShapeError, ValueError } from '../util/errors.ts'
import { checkTensor, defineView } from './define.ts'

const reshapeOp = defineView('reshape', 'Reshape', ({ g, shapes }) => g.reshape(shapes[0]!))

/**
 * The same elements, in row-major order, in another shape; one size may be -1 and is worked out.
 * A view where the strides allow it, else a copy. Throws a ShapeError when the sizes do not multiply
 * to the same count.
 *
 * @example
 * reshape(tensor([1, 2, 3, 4]), [2, -1]) // -> tensor([[1, 2], [3, 4]], float32, cpu)
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  checkTensor('reshape', 'x', x)
  const target = inferSize(x, shape)
  if (sameShape(target, x.shape)) return x
  const layout = reshapeLayout(x.layout, target)
  if (layout === undefined) return x.contiguous().reshape(target)
  return dispatchView(reshapeOp, x, layout, x.offset)
}

function inferSize(x: Tensor, shape: Shape): Shape {
  let unknown = -1
  let rest = 1
  let isRight = Array.isArray(shape)
  for (let i = 0; isRight && i < shape.length; i++) {
    const n = shape[i]!
    if (n !== -1) rest *= n
    else if (unknown < 0) unknown = i
    else isRight = false
    isRight &&= n >= -1 && Number.isSafeInteger(n)
  }
  if (isRight && unknown < 0 && rest === x.size) return shape
  if (isRight && unknown >= 0 && rest !== 0 && x.size % rest === 0)
    return shape.map((n) => (n === -1 ? x.size / rest : n))
  const asked = Array.isArray(shape) ? shape.map((n) => (n === -1 ? 1 : n)) : shape
  checkShape('reshape', asked, tracing && Infinity)
  throw new ShapeError(
    `reshape: ${formatShape(x.shape)} has ${x.size} elements, which do not fit ${formatShape(shape)}. Expected sizes whose product is ${x.size}; one may be -1`,
  )
}

export interface FlattenOptions {
  /** First axis to join; default 0. */
  readonly startAxis?: number
  /** Last axis to join; default -1. */
  readonly endAxis?: number
}

/**
 * Joins axes startAxis..endAxis into one.
 *
 * @example
 * flatten(zeros([2, 3, 4]), { startAxis: 1 }).shape // -> [2, 12]
 */
export function flatten(x: Tensor, options: FlattenOptions = {}): Tensor {
  checkTensor('flatten', 'x', x)
  checkOptions('flatten', options, ['startAxis', 'endAxis'])
  if (x.ndim === 0) return x.reshape([1])
  const start = normalizeAxis('flatten', options.startAxis ?? 0, x.ndim)
  const end = normalizeAxis('flatten', options.endAxis ?? -1, x.ndim)
  if (end < start)
    throw new ShapeError(`flatten: endAxis ${end} comes before startAxis ${start}. Exchange them`)
  const joined = sizeOf(x.shape.slice(start, end + 1))
  return x.reshape([...x.shape.slice(0, start), joined, ...x.shape.slice(end + 1)])
}

const permuteOp = defineView<{ axes: readonly number[] }>(
  'permute',
  'Transpose',
  ({ g, attributes }) => g.permute(attributes.axes.map((_, i) => attributes.axes.indexOf(i))),
)

/**
 * Reorders the axes: axis i of the result is axis axes[i] of `x`. A view. Throws a ShapeError unless
 * each axis is named once.
 *
 * @example
 * permute(zeros([2, 3, 4]), [2, 0, 1]).shape // -> [4, 2, 3]
 */
export function permute(x: Tensor, axes: readonly number[]): Tensor {
  checkTensor('permute', 'x', x)
  if (!Array.isArray(axes))
    throw new ValueError(`permute: expected an array of axes, received ${String(axes)}`)
  const order = axes.map((a) => normalizeAxis('permute', a, x.ndim))
  if (new Set(order).size !== x.ndim || order.length !== x.ndim)
    throw new ShapeError(
      `permute: ${formatShape(axes)} is no order of the ${x.ndim} axes of ${formatShape(x.shape)}. Name each axis once`,
    )
  return permuted(x, order)
}

function permuted(x: Tensor, axes: readonly number[]): Tensor {
  const { shape, strides } = x.layout
  const layout = layoutOf(
    axes.map((a) => shape[a]!),
    axes.map((a) => strides[a]!),
  )
  return dispatchView(permuteOp, x, layout, x.offset, { axes })
}

/**
 * Exchanges two axes, by default the last two. A view.
 *
 * @example
 * transpose(tensor([[1, 2], [3, 4]])) // -> tensor([[1, 3], [2, 4]], float32, cpu)
 */
export function transpose(x: Tensor, axis0 = -2, axis1 = -1): Tensor {
  checkTensor('transpose', 'x', x)
  if (x.ndim < 2 && axis0 === -2 && axis1 === -1)
    throw new ShapeError(
      `transpose: expected at least 2 axes, received shape ${formatShape(x.shape)}. Use reshape or unsqueeze to add one`,
    )
  const order = x.shape.map((_, i) => i)
  const a = normalizeAxis('transpose', axis0, x.ndim)
  const b = normalizeAxis('transpose', axis1, x.ndim)
  order[a] = b
  order[b] = a
  return permuted(x, order)
}

const expandOp = defineView('expand', 'Expand', ({ g }) => g)

/**
 * Repeats axes of size 1 (and new leading axes) without copying, as broadcasting does; -1 keeps a
 * size. Throws a ShapeError when an axis of another size would have to stretch.
 *
 * @example
 * expand(tensor([[1], [2]]), [2, 3]) // -> tensor([[1, 1, 1], [2, 2, 2]], float32, cpu)
 */
export function expand(x: Tensor, shape: Shape): Tensor {
  checkTensor('expand', 'x', x)
  const added = shape.length - x.ndim
  const target = shape.map((n, i) => (n === -1 && i >= added ? x.shape[i - added]! : n))
  checkShape('expand', target, tracing && Infinity)
  if (added < 0 || !sameShape(broadcastShapes('expand', x.shape, target), target))
    throw new ShapeError(
      `expand: ${formatShape(x.shape)} cannot become ${formatShape(shape)}. Only axes of size 1 stretch, and new axes come first`,
    )
  if (sameShape(target, x.shape)) return x
  return dispatchView(expandOp, x, expandLayout(x.layout, target), x.offset)
}

const squeezeOp = defineView('squeeze', 'Squeeze', ({ g, shapes }) => g.reshape(shapes[0]!))

export interface SqueezeOptions {
  /** The axes to drop, each of size 1; default: every axis of size 1. */
  readonly axis?: number | readonly number[]
}

/**
 * Drops axes of size 1. A view. Throws a ShapeError when a named axis has another size.
 *
 * @example
 * squeeze(zeros([1, 3, 1])).shape // -> [3]
 */
export function squeeze(x: Tensor, options: SqueezeOptions = {}): Tensor {
  checkTensor('squeeze', 'x', x)
  checkOptions('squeeze', options, ['axis'])
  const dropped = new Set(
    options.axis === undefined
      ? x.shape.flatMap((n, i) => (n === 1 ? [i] : []))
      : normalizeAxes('squeeze', options.axis, x.ndim),
  )
  for (const axis of dropped)
    if (x.shape[axis] !== 1)
      throw new ShapeError(
        `squeeze: axis ${axis} of ${formatShape(x.shape)} has size ${x.shape[axis]}. Only axes of size 1 can be dropped`,
      )
  const kept = <T>(list: readonly T[]) => list.filter((_, i) => !dropped.has(i))
  const layout = layoutOf(kept(x.shape), kept(x.strides))
  return dispatchView(squeezeOp, x, layout, x.offset)
}

const unsqueezeOp = defineView('unsqueeze', 'Unsqueeze', ({ g, shapes }) => g.reshape(shapes[0]!))

/**
 * Inserts an axis of size 1 at `axis` (from -ndim - 1 to ndim). A view.
 *
 * @example
 * unsqueeze(tensor([1, 2]), -1).shape // -> [2, 1]
 */
export function unsqueeze(x: Tensor, axis: number): Tensor {
  checkTensor('unsqueeze', 'x', x)
  const at = normalizeAxis('unsqueeze', axis, x.ndim + 1)
  const insert = (list: readonly number[], value: number) => [
    ...list.slice(0, at),
    value,
    ...list.slice(at),
  ]
  const layout = layoutOf(insert(x.shape, 1), insert(x.strides, 1))
  return dispatchView(unsqueezeOp, x, layout, x.offset)
}

/** One axis of a slice: a position (which drops the axis), [start, end, step], or null for all of it. */
export type SliceRange =
  number | readonly [start?: number | null, end?: number | null, step?: number] | null

const sliceOp = defineView<{
  starts: readonly number[]
  steps: readonly number[]
  dropped: readonly number[]
}>('slice', 'Slice', ({ g, shapes, attributes }) => {
  const { starts, steps, dropped } = attributes
  let full = g
  for (const axis of dropped) full = full.unsqueeze(axis)
  return full.unslice({ shape: shapes[0]!, starts, steps })
})

/**
 * Part of a tensor, one range per leading axis: a number picks a position and drops the axis,
 * `[start, end, step]` a range (end excluded, negative positions count from the end, a negative step
 * runs backwards), null all of it. A view. Throws a ShapeError for a position outside the axis.
 *
 * @example
 * const x = tensor([[1, 2, 3], [4, 5, 6]])
 * slice(x, 0) // -> tensor([1, 2, 3], float32, cpu)
 * slice(x, null, [0, 2]) // -> tensor([[1, 2], [4, 5]], float32, cpu)
 * slice(x, null, [null, null, -1]) // -> tensor([[3, 2, 1], [6, 5, 4]], float32, cpu)
 */
export function slice(x: Tensor, ...ranges: SliceRange[]): Tensor {
  checkTensor('slice', 'x', x)
  if (ranges.length > x.ndim)
    throw new ShapeError(
      `slice: ${ranges.length} ranges for the ${x.ndim} axes of ${formatShape(x.shape)}. Give at most one per axis`,
    )
  const shape: number[] = []
  const strides: number[] = []
  const starts: number[] = []
  const steps: number[] = []
  const dropped: number[] = []
  let { offset } = x
  x.shape.forEach((n, axis) => {
    const { start, count, step, drop } = resolveRange(ranges[axis] ?? null, n, axis)
    starts.push(start)
    steps.push(step)
    if (count > 0) offset += start * x.strides[axis]!
    if (drop) return void dropped.push(axis)
    shape.push(count)
    strides.push(x.strides[axis]! * step)
  })
  return dispatchView(sliceOp, x, layoutOf(shape, strides), offset, { starts, steps, dropped })
}

function resolveRange(
  range: SliceRange,
  n: number,
  axis: number,
): { start: number; count: number; step: number; drop: boolean } {
  if (typeof range === 'number') {
    if (!Number.isInteger(range) || range < -n || range >= n)
      throw new ShapeError(
        `slice: position ${range} is outside axis ${axis} of size ${n}. Expected ${-n} to ${n - 1}`,
      )
    return { start: range < 0 ? range + n : range, count: 1, step: 1, drop: true }
  }
  if (range !== null && !Array.isArray(range))
    throw new ValueError(
      `slice: a range is a number, [start, end, step] or null, received ${String(range)}`,
    )
  const [from = null, to = null, step = 1] = range ?? []
  for (const part of [from, to, step])
    if (part !== null && !Number.isInteger(part))
      throw new ValueError(`slice: ranges are made of whole numbers, received ${String(part)}`)
  if (step === 0) throw new ValueError('slice: the step is 0. Expected a positive or negative step')
  const clamp = (i: number, low: number, high: number) =>
    Math.min(Math.max(i < 0 ? i + n : i, low), high)
  const start = step > 0 ? clamp(from ?? 0, 0, n) : from === null ? n - 1 : clamp(from, -1, n - 1)
  const end =
    step > 0 ? (to === null ? n : clamp(to, 0, n)) : to === null ? -1 : clamp(to, -1, n - 1)
  return { start, count: Math.max(0, Math.ceil((end - start) / step)), step, drop: false }
}

export interface FlipOptions {
  /** The axes to reverse; default all. */
  readonly axis?: number | readonly number[]
}

const flipOp = defineView<{ axes: readonly number[] }>('flip', 'Slice', ({ g, attributes }) =>
  g.flip({ axis: attributes.axes }),
)

/**
 * Reverses the order along axes. A view.
 *
 * @example
 * flip(tensor([1, 2, 3])) // -> tensor([3, 2, 1], float32, cpu)
 */
export function flip(x: Tensor, options: FlipOptions = {}): Tensor {
  checkTensor('flip', 'x', x)
  checkOptions('flip', options, ['axis'])
  const axes = normalizeAxes('flip', options.axis, x.ndim)
  let { offset } = x
  const strides = [...x.strides]
  for (const axis of axes) {
    if (x.shape[axis]! === 0) continue
    offset += (x.shape[axis]! - 1) * strides[axis]!
    strides[axis] = -strides[axis]!
  }
  const layout: Layout = layoutOf(x.shape, strides)
  return dispatchView(flipOp, x, layout, offset, { axes })
}
