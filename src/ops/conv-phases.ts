/** @file Lowers the gradient of a convolution in its input: a dense convolution for each phase of the strides. */
import type { Position, Step } from '../codegen/kernel-builder.ts'
import { dtypes } from '../core/dtype.ts'
import type { Axis } from '../ir/expr.ts'
import type { InputSpec } from '../tensor/op.ts'
import {
  isThin,
  loadWindow,
  outputDType,
  within,
  type Channels,
  type ConvContext,
} from './conv-windows.ts'

/** More kernels than this are not worth their size: one kernel then skips what does not fit the stride. */
const mostPhases = 16

/** The steps of the gradient: see Note [Phases]. */
export function lowerPhases(context: ConvContext): Step[] {
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
}

// Note [Phases]: i + before - k * dilation must be a multiple of the stride. For i = q * stride + rest
// only every period-th tap k does that, so each rest has a dense convolution of its own, with a part of
// the taps, in which o is linear in q and the number of the tap.
// The phases are made side by side, each contiguous, in a temporary [n, c, rest, q, rest, q ...], and
// put together at the end: their vectors would otherwise be written element by element.
function makeApart(context: ConvContext, phases: readonly number[]): number {
  const { attributes, outputs } = context
  const { stride, sizes } = attributes
  const { layout, dtype } = outputs[0]!
  const counts = sizes.flatMap((size, i) => [phases[i]!, Math.ceil(size / stride[i]!)])
  return context.temporary([...layout.shape.slice(0, 2), ...counts], dtype)
}

function joinPhases(context: ConvContext, apart: number): Step {
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

function lowerPhase(
  context: ConvContext,
  rests: readonly number[],
  apart: number | undefined,
): Step[] {
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

function lowerUndivided(context: ConvContext): Step {
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
