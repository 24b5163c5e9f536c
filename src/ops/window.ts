/** @file Checks that convolutions and pools share: one number or a list per axis, batches, and how many windows fit. */
import { formatShape, type Shape } from '../core/shape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { ShapeError, ValueError } from '../util/errors.ts'

/** One number for all axes, or one per axis. */
export type PerAxis = number | readonly number[]

/** A whole number >= least for each axis. Throws a ValueError. */
export function perAxis(
  where: string,
  name: string,
  value: PerAxis,
  axes: number,
  least: number,
): readonly number[] {
  const list = typeof value === 'number' ? Array.from({ length: axes }, () => value) : value
  const fits =
    Array.isArray(list) &&
    list.length === axes &&
    list.every((n) => Number.isSafeInteger(n) && n >= least)
  if (!fits)
    throw new ValueError(
      `${where}: ${name} is ${Array.isArray(value) ? formatShape(value) : String(value)}. Expected a whole number >= ${least}${axes > 1 ? `, or ${axes} of them` : ''}`,
    )
  return list
}

/** Runs `body` on a batch: a tensor without the batch axis gets one, and the result loses it. */
export function batched(
  where: string,
  x: Tensor,
  axes: number,
  body: (batch: Tensor) => Tensor,
): Tensor {
  if (x.ndim === axes + 2) return body(x)
  if (x.ndim === axes + 1) return body(x.unsqueeze(0)).squeeze({ axis: 0 })
  const sizes = ['length', 'height, width', 'depth, height, width'][axes - 1]
  throw new ShapeError(
    `${where}: x has shape ${formatShape(x.shape)}. Expected [batch, channels, ${sizes}], or the same without batch`,
  )
}

/** How many elements a window of `kernel` taps spans. */
export const spanOf = (kernel: number, dilation: number): number => (kernel - 1) * dilation + 1

/** How many windows fit along each axis. Throws a ShapeError when one does not fit once. */
export function countWindows(
  where: string,
  sizes: Shape,
  kernel: readonly number[],
  windows: {
    readonly stride: readonly number[]
    readonly before: readonly number[]
    readonly after: readonly number[]
    readonly dilation: readonly number[]
  },
): number[] {
  const { stride, before, after, dilation } = windows
  return sizes.map((size, i) => {
    const padded = size + before[i]! + after[i]!
    const span = spanOf(kernel[i]!, dilation[i]!)
    if (span <= padded) return Math.floor((padded - span) / stride[i]!) + 1
    throw new ShapeError(
      `${where}: a window of ${kernel[i]} ${dilation[i] === 1 ? '' : `by dilation ${dilation[i]}, spanning ${span}, `}does not fit into axis ${i - sizes.length} of size ${size}${padded === size ? '' : `, ${padded} with padding`}. Use a smaller window or more padding`.replace(
        '  ',
        ' ',
      ),
    )
  })
}
