/** @file Pooling: the largest or the average element of each window. */
import { dtypes, isFloat } from '../core/dtype.ts'
import { formatShape, sizeOf } from '../core/shape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, DTypeError, ShapeError, ValueError } from '../util/errors.ts'
import { conv } from './conv-ops.ts'
import { fromTypedArray, full } from './create.ts'
import { checkTensor } from './define.ts'
import { pooledMax } from './pool-ops.ts'
import { batched, countWindows, perAxis, spanOf, type PerAxis } from './window.ts'

export interface MaxPoolOptions {
  /** Size of a window. */
  readonly kernelSize: PerAxis
  /** Step of the window; default kernelSize. */
  readonly stride?: PerAxis
  /** How far windows reach over both edges, at most half a window; default 0. */
  readonly padding?: PerAxis
  /** Distance between the elements of a window; default 1. */
  readonly dilation?: PerAxis
  /** Whether a last window may hang over the end, so that no element is left out; default false. */
  readonly ceilMode?: boolean
}

export interface AvgPoolOptions {
  /** Size of a window. */
  readonly kernelSize: PerAxis
  /** Step of the window; default kernelSize. */
  readonly stride?: PerAxis
  /** How far windows reach over both edges, at most half a window; default 0. */
  readonly padding?: PerAxis
  /** Whether a last window may hang over the end, so that no element is left out; default false. */
  readonly ceilMode?: boolean
  /** Whether the zeros of the padding count as elements; default true. */
  readonly countIncludePad?: boolean
}

/**
 * Largest element of each window: x [batch, channels, length] -> [batch, channels, length']; the batch
 * axis may be missing. The gradient goes to the first largest element; a NaN counts as largest.
 * PyTorch's `max_pool1d`. Throws a ShapeError when no window fits and a ValueError for options that make
 * no sense.
 *
 * @example
 * maxPool1d(tensor([[[1, 5, 2, 3]]]), { kernelSize: 2 }) // -> tensor([[[5, 3]]], float32, cpu)
 */
export function maxPool1d(x: Tensor, options: MaxPoolOptions): Tensor {
  return maxPool('maxPool1d', 1, x, options)
}

/**
 * Largest element of each window: x [batch, channels, height, width] -> [batch, channels, height',
 * width']; the batch axis may be missing. Gradients and errors as `maxPool1d`. PyTorch's `max_pool2d`.
 *
 * @example
 * maxPool2d(tensor([[[[1, 5], [7, 3]]]]), { kernelSize: 2 }) // -> tensor([[[[7]]]], float32, cpu)
 * maxPool2d(zeros([8, 16, 28, 28]), { kernelSize: 3, stride: 2, padding: 1 }).shape // -> [8, 16, 14, 14]
 */
export function maxPool2d(x: Tensor, options: MaxPoolOptions): Tensor {
  return maxPool('maxPool2d', 2, x, options)
}

/**
 * Average of each window: x [batch, channels, length] -> [batch, channels, length']; the batch axis may
 * be missing. Integers average in float32. PyTorch's `avg_pool1d`. Throws as `maxPool1d` does.
 *
 * @example
 * avgPool1d(tensor([[[1, 5, 2, 4]]]), { kernelSize: 2 }) // -> tensor([[[3, 3]]], float32, cpu)
 */
export function avgPool1d(x: Tensor, options: AvgPoolOptions): Tensor {
  return avgPool('avgPool1d', 1, x, options)
}

/**
 * Average of each window: x [batch, channels, height, width] -> [batch, channels, height', width']; the
 * batch axis may be missing. Integers average in float32. PyTorch's `avg_pool2d`. Throws as `maxPool1d`
 * does.
 *
 * @example
 * avgPool2d(tensor([[[[1, 5], [7, 3]]]]), { kernelSize: 2 }) // -> tensor([[[[4]]]], float32, cpu)
 */
export function avgPool2d(x: Tensor, options: AvgPoolOptions): Tensor {
  return avgPool('avgPool2d', 2, x, options)
}

/**
 * Averages over as many windows as asked for: x [batch, channels, height, width] -> [batch, channels,
 * ...size], window i reaching from floor(i * height / size) to ceil((i + 1) * height / size); the batch
 * axis may be missing. PyTorch's `adaptive_avg_pool2d`. Throws a ValueError for sizes below 1.
 *
 * @example
 * adaptiveAvgPool2d(tensor([[[[1, 5, 3], [7, 3, 5]]]]), [1, 2]) // -> tensor([[[[4, 4]]]], float32, cpu)
 */
export function adaptiveAvgPool2d(x: Tensor, size: PerAxis): Tensor {
  const where = 'adaptiveAvgPool2d'
  checkTensor(where, 'x', x)
  const counts = perAxis(where, 'size', size, 2, 1)
  return batched(where, x, 2, (batch) => {
    const sizes = batch.shape.slice(2)
    if (sizes.some((n) => n === 0)) throw noElements(where, x)
    if (sizes.every((n, i) => n % counts[i]! === 0))
      return avgPool(where, 2, batch, { kernelSize: sizes.map((n, i) => n / counts[i]!) })
    // Windows of different sizes: averaging is a matrix product along each axis.
    const [rows, columns] = sizes.map((n, i) => averages(batch, n, counts[i]!)) as [Tensor, Tensor]
    return rows.matmul(widened(batch)).matmul(columns.transpose()).cast(resultDType(batch))
  })
}

/**
 * Average of each channel: x [batch, channels, ...] -> [batch, channels]. Keras' global average pooling.
 * Throws a ShapeError without axes to average.
 *
 * @example
 * globalAvgPool(tensor([[[[1, 5], [7, 3]]]])) // -> tensor([[4]], float32, cpu)
 */
export function globalAvgPool(x: Tensor): Tensor {
  checkTensor('globalAvgPool', 'x', x)
  if (x.ndim < 3)
    throw new ShapeError(
      `globalAvgPool: x has shape ${formatShape(x.shape)}. Expected [batch, channels, ...] with at least one more axis`,
    )
  return x.mean({ axis: x.shape.slice(2).map((_, i) => i + 2) })
}

function maxPool(where: string, axes: number, x: Tensor, options: MaxPoolOptions): Tensor {
  checkTensor(where, 'x', x)
  checkOptions(where, options, ['kernelSize', 'stride', 'padding', 'dilation', 'ceilMode'])
  if (x.dtype === 'bool')
    throw new DTypeError(`${where}: x is bool. Expected numbers; cast it: x.cast('int32')`)
  const dilation = perAxis(where, 'dilation', options.dilation ?? 1, axes, 1)
  return batched(where, x, axes, (batch) =>
    pooledMax(batch, windowsOf(where, axes, batch, options, dilation)),
  )
}

function avgPool(where: string, axes: number, x: Tensor, options: AvgPoolOptions): Tensor {
  checkTensor(where, 'x', x)
  checkOptions(where, options, ['kernelSize', 'stride', 'padding', 'ceilMode', 'countIncludePad'])
  const { countIncludePad = true } = options
  const ones = Array.from({ length: axes }, () => 1)
  return batched(where, x, axes, (batch) => {
    const windows = windowsOf(where, axes, batch, options, ones)
    const { kernel, stride, before, counts } = windows
    const [n, channels, ...sizes] = batch.shape as [number, number, ...number[]]
    // Elements of window i along an axis; one that hangs over the padding has fewer.
    const elements = sizes.map((size, axis) =>
      Array.from({ length: counts[axis]! }, (_, i) => {
        const begin = i * stride[axis]! - before[axis]!
        const margin = countIncludePad ? before[axis]! : 0
        return Math.min(begin + kernel[axis]!, size + margin) - Math.max(begin, -margin)
      }),
    )
    // An average is a convolution of each channel by itself with equal weights.
    const planes = widened(batch).reshape([n * channels, 1, ...sizes])
    const equal = elements.every((list) => list.every((count) => count === list[0]))
    const share = equal ? 1 / elements.reduce((product, list) => product * list[0]!, 1) : 1
    const { dtype, device } = planes
    const weight = full([1, 1, ...kernel], share, { dtype, device })
    const sums = conv(planes, weight, undefined, { ...windows, groups: 1 }, counts)
    const averaged = equal ? sums : sums.div(outer(elements, planes))
    return averaged.reshape([n, channels, ...counts]).cast(resultDType(batch))
  })
}

function windowsOf(
  where: string,
  axes: number,
  x: Tensor,
  options: MaxPoolOptions,
  dilation: readonly number[],
) {
  if (options?.kernelSize === undefined)
    throw new ValueError(`${where}: no kernelSize. Say how large a window is: { kernelSize: 2 }`)
  const kernel = perAxis(where, 'kernelSize', options.kernelSize, axes, 1)
  const stride = perAxis(where, 'stride', options.stride ?? kernel, axes, 1)
  const before = perAxis(where, 'padding', options.padding ?? 0, axes, 0)
  if (before.some((n, i) => 2 * n > spanOf(kernel[i]!, dilation[i]!)))
    throw new ValueError(
      `${where}: padding ${formatShape(before)} is more than half of kernelSize ${formatShape(kernel)}. Windows would hold nothing but padding; use less`,
    )
  const sizes = x.shape.slice(2)
  if (sizes.some((n) => n === 0)) throw noElements(where, x)
  const counts = countWindows(where, sizes, kernel, { stride, before, after: before, dilation })
  if (options.ceilMode === true)
    sizes.forEach((size, i) => {
      const rest = size + 2 * before[i]! - spanOf(kernel[i]!, dilation[i]!)
      const more = Math.ceil(rest / stride[i]!)
      // A window that begins in the padding after the end holds nothing.
      counts[i] = more * stride[i]! < size + before[i]! ? more + 1 : more
    })
  return { kernel, stride, before, dilation, counts }
}

const noElements = (where: string, x: Tensor) =>
  new ShapeError(
    `${where}: x ${formatShape(x.shape)} has no elements to pool. Check the sizes first`,
  )

// -- averages

const resultDType = (x: Tensor) => (isFloat(x.dtype) ? x.dtype : 'float32')

/** Sums are made in float32 at least. */
const widened = (x: Tensor): Tensor =>
  isFloat(x.dtype) && dtypes[x.dtype].bytes >= 4 ? x : x.cast('float32')

/** [a * b * ...] for all entries of lists, as a tensor with the dtype and device of another. */
function outer(lists: readonly (readonly number[])[], { dtype, device }: Tensor): Tensor {
  const shape = lists.map((list) => list.length)
  const values = lists.reduce<number[]>(
    (products, list) => products.flatMap((p) => list.map((v) => p * v)),
    [1],
  )
  return fromTypedArray(Float64Array.from(values), shape, { dtype, device })
}

/** The matrix [count, size] that averages over windows of about equal size. */
function averages(x: Tensor, size: number, count: number): Tensor {
  const values = new Float64Array(sizeOf([count, size]))
  for (let i = 0; i < count; i++) {
    const begin = Math.floor((i * size) / count)
    const end = Math.ceil(((i + 1) * size) / count)
    values.fill(1 / (end - begin), i * size + begin, i * size + end)
  }
  const { dtype, device } = widened(x)
  return fromTypedArray(values, [count, size], { dtype, device })
}
