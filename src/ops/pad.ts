/** @file Writing a tensor into a larger one: padding, and the gradient of slicing. */
import { formatShape, type Shape } from '../core/shape.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ShapeError, ValueError } from '../util/errors.ts'
import { checkTensor, defineOp } from './define.ts'

/** Where the elements of a tensor go in a larger one: the first position and the step along each axis. */
export interface UnsliceOptions {
  /** Shape of the result. */
  readonly shape: Shape
  readonly starts: readonly number[]
  /** Default 1 along every axis. */
  readonly steps?: readonly number[]
  /** What the other positions hold; default 0. */
  readonly value?: number
}

type Attributes = Required<UnsliceOptions> & Readonly<Record<string, unknown>>

const unsliceOp = defineOp<Attributes>({
  name: 'unslice',
  kind: 'movement',
  onnx: 'Pad',
  infer: ([x], { shape }) => [{ shape, dtype: x!.dtype }],
  lower({ inputs, attributes, kernel, out }) {
    const fill = kernel('fill')
    fill.store(out(), fill.axes(attributes.shape), fill.s.const('f64', attributes.value))
    const place = kernel()
    const axes = place.axes(inputs[0]!.shape)
    const positions = axes.map((axis, i) => ({
      axis,
      step: attributes.steps[i]!,
      offset: attributes.starts[i]!,
    }))
    place.store(out(), positions, place.load(0, axes))
    return [fill.finish(), place.finish()]
  },
  vjp: ({ g, shapes, attributes: { starts, steps } }) => [
    g.slice(
      ...starts.map((start, i) => {
        const step = steps[i]!
        const end = start + step * shapes[0]![i]!
        return [start, end < 0 ? null : end, step] as const
      }),
    ),
  ],
  saves: 'none',
})

/**
 * A tensor of shape `options.shape` that holds `value` everywhere except at starts + i * steps, where
 * it holds the elements of `x`: what a slice takes out, this puts back. Throws a ShapeError when the
 * elements do not fit.
 *
 * @example
 * unslice(tensor([1, 2]), { shape: [5], starts: [1], steps: [2] }) // -> tensor([0, 1, 0, 2, 0], float32, cpu)
 */
export function unslice(x: Tensor, options: UnsliceOptions): Tensor {
  checkTensor('unslice', 'x', x)
  checkOptions('unslice', options, ['shape', 'starts', 'steps', 'value'])
  const { shape, starts, steps = shape.map(() => 1), value = 0 } = options
  const fits = shape.length === x.ndim && starts.length === x.ndim && steps.length === x.ndim
  const inside = (at: number, n: number) => Number.isInteger(at) && at >= 0 && at < n
  if (
    !fits ||
    x.shape.some(
      (n, i) =>
        n > 0 &&
        !(inside(starts[i]!, shape[i]!) && inside(starts[i]! + (n - 1) * steps[i]!, shape[i]!)),
    )
  )
    throw new ShapeError(
      `unslice: ${formatShape(x.shape)} from ${formatShape(starts)} by ${formatShape(steps)} does not fit into ${formatShape(shape)}. Give a start and a step per axis that stay inside`,
    )
  const attributes = { shape: [...shape], starts: [...starts], steps: [...steps], value }
  return dispatch(
    unsliceOp,
    [x],
    attributes,
    `${shape.join()}|${starts.join()}|${steps.join()}|${value}`,
  )
}

export interface PadOptions {
  /** What the new elements hold; default 0. */
  readonly value?: number
}

/**
 * Adds elements before and after each axis: one [before, after] pair per axis. Throws a ValueError
 * for negative counts.
 *
 * @example
 * pad(tensor([1, 2]), [[1, 2]], { value: 9 }) // -> tensor([9, 1, 2, 9, 9], float32, cpu)
 */
export function pad(
  x: Tensor,
  widths: readonly (readonly [number, number])[],
  options: PadOptions = {},
): Tensor {
  checkTensor('pad', 'x', x)
  checkOptions('pad', options, ['value'])
  if (widths.length !== x.ndim)
    throw new ShapeError(
      `pad: ${widths.length} pairs for the ${x.ndim} axes of ${formatShape(x.shape)}. Give one [before, after] per axis`,
    )
  for (const width of widths)
    for (const n of width)
      if (!Number.isInteger(n) || n < 0)
        throw new ValueError(
          `pad: widths are whole numbers >= 0, received ${n}. Use slice to cut elements off`,
        )
  const shape = x.shape.map((n, i) => n + widths[i]![0] + widths[i]![1])
  return x.unslice({ shape, starts: widths.map((w) => w[0]), value: options.value ?? 0 })
}
