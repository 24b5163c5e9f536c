/** @file The operators behind convolutions over any number of axes: the convolution and its two transposes. */
import {
  rangeOf,
  type KernelBuilder,
  type Position,
  type Step,
  type Sum,
} from '../codegen/kernel-builder.ts'
import { dtypes, promote, type DType } from '../core/dtype.ts'
import { sizeOf, type Shape } from '../core/shape.ts'
import type { Axis, Expr } from '../ir/expr.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { InputSpec, LowerContext } from '../tensor/op.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { defineOp } from './define.ts'
import { loadPadded } from './padded.ts'
import { sumDType } from './reduction.ts'

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

interface Attributes extends Windows, Readonly<Record<string, unknown>> {
  /** Sizes of the result along the axes that are convolved. */
  readonly sizes: Shape
}

type Context = LowerContext<Attributes>

const convOp = defineOp<Attributes>({
  name: 'conv',
  kind: 'contract',
  onnx: 'Conv',
  specialize: true,
  infer: ([x, w], { sizes }) => [result(x!, w!, [x!.shape[0]!, w!.shape[0]!, ...sizes])],
  lower(context) {
    const { attributes, inputs, out, kernel } = context
    const { groups, sizes } = attributes
    const [x, w] = inputs as [InputSpec, InputSpec]
    const k = kernel()
    const [n, group, co, ...o] = k.axes([
      x.shape[0]!,
      groups,
      w.shape[0]! / groups,
      ...sizes,
    ]) as Channels
    const [ci, ...taps] = k.inner(w.shape.slice(1)) as [Axis, ...Axis[]]
    const channel = within(group, co, w.shape[0]! / groups)
    const steps: Step[] = []
    const isSparse = isThin(w.shape[0]! / groups)
    const leading = [n, within(group, ci, w.shape[1]!)]
    const input = loadStrided(context, k, leading, o, taps, steps, isSparse)
    const weight = k.loadAs(outputDType(context), 1, [channel, ci, ...taps])
    const sum = k.reduce('add', [ci, ...taps], k.s.mul(input, weight))
    const bias = inputs.length > 2 ? k.loadAs(outputDType(context), 2, [channel]) : undefined
    k.store(out(), [n, channel, ...o], bias === undefined ? sum : k.s.add(sum, bias))
    return [...steps, k.finish()]
  },
  vjp: ({ g, inputs, shapes: [x, w], attributes, needs }) => [
    needs(0) ? convInputGrad(g, inputs[1] as Tensor, attributes, x!.slice(2)) : undefined,
    needs(1) ? convWeightGrad(inputs[0] as Tensor, g, attributes, w!.slice(2)) : undefined,
    needs(2) ? g.sum({ axis: g.shape.flatMap((_, i) => (i === 1 ? [] : [i])) }) : undefined,
  ],
  saves: 'inputs',
})

// Inputs: the gradient g [n, co, o] and the weight. The result: x[n, ci, i], the sum over co and k.
const convInputGradOp = defineOp<Attributes>({
  name: 'convInputGrad',
  kind: 'contract',
  onnx: 'ConvTranspose',
  specialize: true,
  infer: ([g, w], { groups, sizes }) => [
    result(g!, w!, [g!.shape[0]!, w!.shape[1]! * groups, ...sizes]),
  ],
  lower(context) {
    const { stride, sizes } = context.attributes
    const count = stride.reduce((product, s, i) => product * Math.min(s, sizes[i]!), 1)
    if (count > mostPhases) return [lowerUndivided(context)]
    const phases = stride.map((s, i) => Math.min(s, sizes[i]!))
    // Without neighbours to a tap all phases but one are zero.
    const taps = context.inputs[1]!.shape.slice(2)
    const isPlain = stride.every((s) => s === 1) || taps.every((n) => n === 1)
    const apart = isPlain ? undefined : makeApart(context, phases)
    return [
      ...combinations(phases).flatMap((rests) => lowerPhase(context, rests, apart)),
      ...(apart === undefined ? [] : [joinPhases(context, apart)]),
    ]
  },
  vjp: ({ g, inputs, shapes: [grad, w], attributes, needs }) => [
    needs(0) ? conv(g, inputs[1] as Tensor, undefined, attributes, grad!.slice(2)) : undefined,
    needs(1) ? convWeightGrad(g, inputs[0] as Tensor, attributes, w!.slice(2)) : undefined,
  ],
  saves: 'inputs',
})

// Inputs: x and the gradient g [n, co, o]. The result: w[co, ci, k], the sum over n and o.
const convWeightGradOp = defineOp<Attributes>({
  name: 'convWeightGrad',
  kind: 'contract',
  onnx: undefined,
  specialize: true,
  infer: ([x, g], { groups, sizes }) => [
    result(x!, g!, [g!.shape[1]!, x!.shape[1]! / groups, ...sizes]),
  ],
  lower(context) {
    const { attributes, inputs, outputs, out, kernel } = context
    const { groups, sizes } = attributes
    const [x, g] = inputs as [InputSpec, InputSpec]
    const k = kernel()
    const perGroup = g.shape[1]! / groups
    const weight = [perGroup, x.shape[1]! / groups, ...sizes]
    const images = x.shape[0]!
    const positions = sizeOf(g.shape.slice(2))
    const parts = partsOf(images, positions, groups * sizeOf(weight))
    const [part] = parts === 1 ? [] : k.axes([parts])
    const [group, co, ci, ...taps] = k.axes([groups, ...weight]) as Channels
    const [image, ...o] = k.inner([images / parts, ...g.shape.slice(2)]) as [Axis, ...Axis[]]
    const n = part === undefined ? image : within(part, image, images / parts)
    const channel = within(group, co, perGroup)
    const steps: Step[] = []
    const leading = [n, within(group, ci, x.shape[1]! / groups)]
    const isAlong = part !== undefined && fillsVectors(o.at(-1)!)
    const isCopied = isAlong && attributes.stride.every((s) => s === 1)
    const input = loadStrided(context, k, leading, o, taps, steps, isThin(perGroup) || isCopied)
    const grad = k.loadAs(outputDType(context), 1, [n, channel, ...o])
    const sum = k.reduce('add', [image, ...o], k.s.mul(grad, input))
    if (part === undefined) {
      k.store(out(), [channel, ci, ...taps], sum)
      return [...steps, k.finish()]
    }
    const partial = context.temporary([parts, ...outputs[0]!.layout.shape], sumDTypeOf(context))
    k.store(partial, [part, channel, ci, ...taps], sum)
    return [...steps, k.finish(isAlong ? 'depth' : undefined), sumParts(context, partial, parts)]
  },
  vjp: ({ g, inputs, shapes: [x, grad], attributes, needs }) => [
    needs(0) ? convInputGrad(inputs[1] as Tensor, g, attributes, x!.slice(2)) : undefined,
    needs(1) ? conv(inputs[0] as Tensor, g, undefined, attributes, grad!.slice(2)) : undefined,
  ],
  saves: 'inputs',
})

type Channels = [Axis, Axis, Axis, ...Axis[]]

/** y[n, co, o] from x, w and a bias per channel; `sizes` are those of o. */
export function conv(
  x: Tensor,
  w: Tensor,
  bias: Tensor | undefined,
  windows: Windows,
  sizes: Shape,
): Tensor {
  const inputs = bias === undefined ? [x, w] : [x, w, bias]
  return dispatch(convOp, inputs, { ...windows, sizes }, keyOf(windows, sizes))
}

/** x[n, ci, i] from g[n, co, o] and w; `sizes` are those of i. */
export function convInputGrad(g: Tensor, w: Tensor, windows: Windows, sizes: Shape): Tensor {
  return dispatch(convInputGradOp, [g, w], { ...windows, sizes }, keyOf(windows, sizes))
}

/** w[co, ci, k] from x and g[n, co, o]; `sizes` are those of k. */
function convWeightGrad(x: Tensor, g: Tensor, windows: Windows, sizes: Shape): Tensor {
  return dispatch(convWeightGradOp, [x, g], { ...windows, sizes }, keyOf(windows, sizes))
}

const keyOf = ({ stride, before, dilation, groups }: Windows, sizes: Shape) =>
  [stride, before, dilation, groups, sizes].join('|')

const result = (a: InputSpec, b: InputSpec, shape: Shape) => ({
  shape,
  dtype: sumDType(promote(a.dtype, b.dtype)),
})

const outputDType = ({ outputs }: Context) => outputs[0]!.dtype

/** Channel `inner` of group `outer`. */
const within = (outer: Axis, inner: Axis, size: number): Sum => ({
  terms: [
    { axis: outer, step: size },
    { axis: inner, step: 1 },
  ],
  offset: 0,
})

/** Where taps of windows lie in the input. */
function windowOf(
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
const loadWindow = (
  context: Context,
  k: KernelBuilder,
  leading: readonly Position[],
  places: readonly Sum[],
  copies: Step[] | undefined,
): Expr =>
  k.s.convert(
    loadPadded(context, k, [...leading, ...places], copies),
    dtypes[outputDType(context)].compute,
  )

// Note [Strides]: the windows of a strided convolution take every s-th element, which no vector reads.
// So the input is copied once, with its padding, and taken apart: of each strided axis the elements
// s * j + phase lie side by side, for each phase. A tap k then reads j = o + k * dilation / s of one phase.
function loadStrided(
  context: Context,
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
  apart.store(copy, axes, apart.load(0, from, apart.inside(shape, from)))
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

// Note [Thin convolutions]: with one or two channels to a group there is no tile to fill, and a plain
// loop would check the edges at every tap. It is faster to copy the input once, with its padding.
const isThin = (channels: number): boolean => channels < 3

// -- the gradient of the weight

// Note [Parts of a batch]: a small weight makes few tiles, of which each sums over all positions of all images:
// threads would have little to share, and each would pack both operands for itself. So the images are summed in
// parts, side by side, and the parts are added up. How many there are depends on sizes alone, and so do results.
function partsOf(images: number, positions: number, weights: number): number {
  if (weights > mostWeights) return 1
  let parts = Math.max(1, Math.min(mostParts, Math.floor((images * positions) / leastSummed)))
  while (images % parts !== 0) parts--
  return parts
}

/** Of more weights there are tiles enough. */
const mostWeights = 4096
const mostParts = 16
/** Positions that a part should have at least, of all its images. */
const leastSummed = 512

/** Whether lanes that run along the rows of images do not leave many others idle: see Note [Along the depth]. */
function fillsVectors({ extent }: Axis): boolean {
  const size = extent as number
  return size / (Math.ceil(size / widestVector) * widestVector) > 0.8
}

/** Of the targets that there are. */
const widestVector = 16

function sumParts(context: Context, partial: number, parts: number): Step {
  const { outputs, out, kernel } = context
  const k = kernel('parts')
  const axes = k.axes(outputs[0]!.layout.shape)
  const [part] = k.inner([parts]) as [Axis]
  k.store(out(), axes, k.reduce('add', [part], k.load(partial, [part, ...axes])))
  return k.finish()
}

/** What sums are kept as that will be added up. */
const sumDTypeOf = (context: Context): DType =>
  dtypes[outputDType(context)].compute === 'f32' ? 'float32' : outputDType(context)

// -- the gradient of the input

/** More kernels than this are not worth their size: one kernel then skips what does not fit the stride. */
const mostPhases = 16

// Note [Phases]: i + before - k * dilation must be a multiple of the stride. For i = q * stride + rest
// only every period-th tap k does that, so each rest has a dense convolution of its own, with a part of
// the taps, in which o is linear in q and the number of the tap.
// The phases are made side by side, each contiguous, in a temporary [n, c, rest, q, rest, q ...], and
// put together at the end: their vectors would otherwise be written element by element.
function makeApart(context: Context, phases: readonly number[]): number {
  const { attributes, outputs } = context
  const { stride, sizes } = attributes
  const { layout, dtype } = outputs[0]!
  const counts = sizes.flatMap((size, i) => [phases[i]!, Math.ceil(size / stride[i]!)])
  return context.temporary([...layout.shape.slice(0, 2), ...counts], dtype)
}

function joinPhases(context: Context, apart: number): Step {
  const { attributes, outputs, kernel, out } = context
  const k = kernel('together')
  const { s } = k
  const [n, c, ...places] = k.axes(outputs[0]!.layout.shape) as Channels
  const from = places.flatMap((axis, i): Position[] => {
    const stride = attributes.stride[i]!
    const at = k.at(axis)
    const shift = Math.log2(stride)
    if (stride === 1) return [s.const('i32', 0), axis]
    if (Number.isInteger(shift)) return [s.and(at, stride - 1), s.shr(at, shift)]
    return [s.rem(at, stride), s.div(at, stride)]
  })
  k.store(out(), [n, c, ...places], k.load(apart, [n, c, ...from]))
  return k.finish()
}

function lowerPhase(context: Context, rests: readonly number[], apart: number | undefined): Step[] {
  const { attributes, inputs, kernel, out } = context
  const { stride, before, dilation, groups, sizes } = attributes
  const [g, w] = inputs as [InputSpec, InputSpec]
  const k = kernel()
  const counts = sizes.map((size, i) => Math.ceil((size - rests[i]!) / stride[i]!))
  const [n, group, ci, ...q] = k.axes([g.shape[0]!, groups, w.shape[1]!, ...counts]) as Channels
  const target: readonly Position[] =
    apart === undefined
      ? q.map((axis, i) => ({ axis, step: stride[i]!, offset: rests[i]! }))
      : q.flatMap((axis, i) => [k.s.const('i32', rests[i]!), axis])
  const place = [n, within(group, ci, w.shape[1]!), ...target]
  const to = apart ?? out()
  const phases = rests.map((rest, i) =>
    tapsOf(rest + before[i]!, stride[i]!, dilation[i]!, w.shape[i + 2]!),
  )
  if (phases.some((phase) => phase.count === 0)) {
    k.store(to, place, k.s.const(dtypes[outputDType(context)].compute, 0))
    return [k.finish()]
  }
  const perGroup = w.shape[0]! / groups
  const [co, ...j] = k.inner([perGroup, ...phases.map((phase) => phase.count)]) as [Axis, ...Axis[]]
  const channel = within(group, co, perGroup)
  const o = phases.map(({ start, step }, i) => ({
    terms: [
      { axis: q[i]!, step: 1 },
      { axis: j[i]!, step: -step },
    ],
    offset: start,
  }))
  const taps = phases.map(({ first, period }, i) => ({ axis: j[i]!, step: period, offset: first }))
  const steps: Step[] = []
  const grad = loadWindow(context, k, [n, channel], o, isThin(w.shape[1]!) ? steps : undefined)
  const weight = k.loadAs(outputDType(context), 1, [channel, ci, ...taps])
  k.store(to, place, k.reduce('add', [co, ...j], k.s.mul(grad, weight)))
  return [...steps, k.finish()]
}

/** The taps first + j * period that reach a place, from o = start - j * step (+ q). */
function tapsOf(place: number, stride: number, dilation: number, size: number) {
  const period = stride / gcd(stride, dilation)
  const end = Math.min(period, size)
  let first = 0
  while (first < end && (place - first * dilation) % stride !== 0) first++
  const count = first === end ? 0 : Math.ceil((size - first) / period)
  const start = (place - first * dilation) / stride
  return { first, period, count, start, step: (period * dilation) / stride }
}

function lowerUndivided(context: Context): Step {
  const { attributes, inputs, kernel, out } = context
  const { stride, before, dilation, groups, sizes } = attributes
  const [g, w] = inputs as [InputSpec, InputSpec]
  const k = kernel()
  const { s } = k
  const [n, group, ci, ...x] = k.axes([g.shape[0]!, groups, w.shape[1]!, ...sizes]) as Channels
  const perGroup = w.shape[0]! / groups
  const [co, ...taps] = k.inner([perGroup, ...w.shape.slice(2)]) as [Axis, ...Axis[]]
  const channel = within(group, co, perGroup)
  const up = x.map((axis, i) =>
    k.at({
      terms: [
        { axis, step: 1 },
        { axis: taps[i]!, step: -dilation[i]! },
      ],
      offset: before[i]!,
    }),
  )
  const o = up.map((place, i) => s.div(place, stride[i]!))
  const fits = up.map((place, i) => s.eq(s.rem(place, stride[i]!), 0))
  const guard = fits.reduce((a, b) => s.and(a, b), k.inside(g.shape.slice(2), o)!)
  const grad = k.loadAs(outputDType(context), 0, [n, channel, ...o], guard)
  const weight = k.loadAs(outputDType(context), 1, [channel, ci, ...taps])
  const place = [n, within(group, ci, w.shape[1]!), ...x]
  k.store(out(), place, k.reduce('add', [co, ...taps], s.mul(grad, weight)))
  return k.finish()
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b))

/** All lists with entry i below counts[i]. */
const combinations = (counts: readonly number[]): number[][] =>
  counts.reduce<number[][]>(
    (lists, n) => lists.flatMap((list) => Array.from({ length: n }, (_, i) => [...list, i])),
    [[]],
  )
