/** @file What the lowerings of convolutions share: attributes, positions of windows, loads under them. */
import {
  rangeOf,
  type KernelBuilder,
  type Position,
  type Step,
  type Sum,
} from '../codegen/kernel-builder.ts'
import { dtypes, type DType } from '../core/dtype.ts'
import type { Shape } from '../core/shape.ts'
import type { Axis, Expr } from '../ir/expr.ts'
import type { InputSpec, LowerContext } from '../tensor/op.ts'
import { loadPadded } from './padded.ts'

/**
 * Note [Convolution]: with window position i = o * stride + k * dilation - before, a convolution is
 * y[n, co, o] = sum over ci, k of x[n, ci, i] * w[co, ci, k], x being 0 outside. It is linear in x and
 * in w, so its gradients are the sums over the same triples (o, k, i) with other letters free, and each
 * of the three operators has the other two as gradients. Padding after the end only decides how many o
 * there are, so `sizes` stands for it.
 */
export interface Windows {
  readonly stride: readonly number[]
  readonly before: readonly number[]
  readonly dilation: readonly number[]
  readonly groups: number
}

export interface ConvAttributes extends Windows, Readonly<Record<string, unknown>> {
  /** Sizes of the result along the axes that are convolved. */
  readonly sizes: Shape
  /** Whether Winograd's algorithm may be used: see `Config`. */
  readonly winograd: boolean
}

export type ConvContext = LowerContext<ConvAttributes>
export type Channels = [Axis, Axis, Axis, ...Axis[]]

export const outputDType = ({ outputs }: ConvContext): DType => outputs[0]!.dtype

/** Channel `inner` of group `outer`. */
export const within = (outer: Axis, inner: Axis, size: number): Sum => ({
  terms: [
    { axis: outer, step: size },
    { axis: inner, step: 1 },
  ],
  offset: 0,
})

/** Where taps of windows lie in the input. */
export function windowOf(
  { stride, dilation, before }: Windows,
  o: readonly Axis[],
  taps: readonly Axis[],
): Sum[] {
  return o.map((axis, i) => ({
    terms: [
      { axis, step: stride[i]! },
      { axis: taps[i]!, step: dilation[i]! },
    ],
    offset: -before[i]!,
  }))
}

/** An element under a window, 0 where the window hangs over the edge. */
export const loadWindow = (
  context: ConvContext,
  k: KernelBuilder,
  leading: readonly Position[],
  places: readonly Sum[],
  copies: Step[] | undefined,
): Expr =>
  k.s.convert(
    loadPadded(context, k, [...leading, ...places], copies),
    dtypes[outputDType(context)].compute,
  )

// Note [Thin convolutions]: with one or two channels to a group there is no tile to fill, and a plain
// loop would check the edges at every tap. It is faster to copy the input once, with its padding.
export const isThin = (channels: number): boolean => channels < 3

// Note [Strides]: the windows of a strided convolution take every s-th element, which no vector reads.
// So the input is copied once, with its padding, and taken apart: of each strided axis the elements
// s * j + phase lie side by side, for each phase. A tap k then reads j = o + k * dilation / s of one phase.
export function loadStrided(
  context: ConvContext,
  k: KernelBuilder,
  leading: readonly Position[],
  o: readonly Axis[],
  taps: readonly Axis[],
  steps: Step[],
  isSparse: boolean,
): Expr {
  const { attributes, inputs } = context
  const { stride, dilation } = attributes
  const places = windowOf(attributes, o, taps)
  if (isSparse || stride.every((s) => s === 1))
    return loadWindow(context, k, leading, places, isSparse ? steps : undefined)
  const [{ shape, dtype }] = inputs as [InputSpec]
  const ranges = places.map(rangeOf)
  const phases = stride.map((s, i) => (taps[i]!.extent === 1 ? 1 : s))
  const counts = ranges.map(({ low, high }, i) => Math.ceil((high - low + 1) / stride[i]!))
  const copy = context.temporary(
    [shape[0]!, shape[1]!, ...counts.flatMap((count, i) => [phases[i]!, count])],
    dtype,
  )
  const apart = context.kernel('apart')
  const axes = apart.axes([
    shape[0]!,
    shape[1]!,
    ...counts.flatMap((count, i) => [phases[i]!, count]),
  ])
  const from: Position[] = [
    ...axes.slice(0, 2),
    ...ranges.map(({ low }, i) => ({
      terms: [
        { axis: axes[2 * i + 3]!, step: stride[i]! },
        { axis: axes[2 * i + 2]!, step: 1 },
      ],
      offset: low,
    })),
  ]
  apart.store(copy, axes, loadPadded(context, apart, from, steps))
  steps.push(apart.finish())
  const { s } = k
  const positions = o.flatMap((axis, i): Position[] => {
    const tap = s.mul(k.at(taps[i]!), dilation[i]!)
    if (phases[i] === 1 && stride[i] !== 1) return [s.const('i32', 0), axis]
    if (stride[i] === 1) return [s.const('i32', 0), s.add(k.at(axis), tap)]
    return [s.rem(tap, stride[i]!), s.add(k.at(axis), s.div(tap, stride[i]!))]
  })
  return k.s.convert(k.load(copy, [...leading, ...positions]), dtypes[outputDType(context)].compute)
}
