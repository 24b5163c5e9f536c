/** @file The kernels behind crossEntropy and nllLoss: one loss per example from scores and a class position. */
import type { KernelBuilder } from '../codegen/kernel-builder.ts'
import { dtypes, type ScalarType } from '../core/dtype.ts'
import { formatShape, type Shape } from '../core/shape.ts'
import type { Axis, Expr } from '../ir/expr.ts'
import { dispatch, dispatchAll } from '../tensor/dispatch.ts'
import type { InputSpec, Op } from '../tensor/op.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { ValueError } from '../util/errors.ts'
import { full } from './create.ts'
import { defineOp } from './define.ts'

export interface ClassLossSettings {
  readonly where: string
  /** Axis of the scores along which the classes are. */
  readonly classAxis: number
  /** Whether the scores already are log probabilities. */
  readonly normalized: boolean
  readonly ignoreIndex: number
  /** Share of the target spread over all classes. */
  readonly smoothing: number
}

type Settings = ClassLossSettings & Readonly<Record<string, unknown>>

/**
 * Note [Class loss]: with log q = x - lse (lse = log(sum(exp(x))), or 0 for log probabilities), label t,
 * class weights w and smoothing e, an example that is not ignored has
 *
 *   loss   = (1 - e) w_t (lse - x_t) + e / C sum_c w_c (lse - x_c)
 *   weight = w_t, which the mean divides by
 *   dloss/dx_c = a exp(x_c - lse) - (1 - e) w_t [c = t] - e / C w_c  with  a = (1 - e) w_t + e / C sum_c w_c
 *
 * (without the first term for log probabilities). Ignored examples have 0 everywhere.
 */
const classLossOp: Op<Settings> = defineOp<Settings>({
  name: 'classLoss',
  kind: 'row',
  onnx: undefined,
  infer([x], { classAxis }) {
    const { shape, dtype } = x!
    const rows = { shape: shape.filter((_, i) => i !== classAxis), dtype }
    return [rows, rows, rows]
  },
  lower({ attributes, inputs, outputs, kernel, out }) {
    const k = kernel()
    const rows = k.axes(outputs[0]!.layout.shape)
    const r = rowOf(k, inputs, attributes, type(inputs), rows)
    const { s, along } = r
    k.check(s.or(r.isIgnored, r.isClass))
    const top = along('max', (x) => x)
    const lse = attributes.normalized
      ? s.const(r.type, 0)
      : s.add(s.log(along('add', (x) => s.exp(s.sub(x, top)))), top)
    const hit = s.mul(r.weightOfLabel, s.sub(lse, r.scoreOfLabel))
    const spread = () => along('add', (x, w) => s.mul(w, s.sub(lse, x)))
    const loss =
      attributes.smoothing === 0 ? hit : s.add(s.mul(r.kept, hit), s.mul(r.share, spread()))
    const unlessIgnored = (value: Expr) => s.select(r.isIgnored, s.like(value, 0), value)
    k.store(out(0), rows, unlessIgnored(loss))
    k.store(out(1), rows, unlessIgnored(r.weightOfLabel))
    k.store(out(2), rows, lse)
    return [k.finish()]
  },
  vjp: ({ g, inputs, outputs, attributes, needs }) => [
    needs(0)
      ? dispatch(backwardOp, [g, outputs[2]!, ...inputs], attributes, keyOf(attributes))
      : undefined,
  ],
  complain: (tensors, settings) => labelError(tensors, settings),
})

/** Inputs: gradient of the losses, lse, and then those of the forward op. */
const backwardOp: Op<Settings> = defineOp<Settings>({
  name: 'classLossBackward',
  kind: 'row',
  onnx: undefined,
  infer: ([, , x]) => [{ shape: x!.shape, dtype: x!.dtype }],
  lower({ attributes, inputs, outputs, kernel, out }) {
    const { classAxis, normalized, smoothing } = attributes
    const k = kernel()
    const axes = k.axes(outputs[0]!.layout.shape)
    const rows = axes.filter((_, i) => i !== classAxis)
    const c = axes[classAxis]!
    const r = rowOf(k, inputs, attributes, type(inputs.slice(2)), rows, 2)
    const { s } = r
    const g = s.convert(k.load(0, rows), r.type)
    const lse = s.convert(k.load(1, rows), r.type)
    const isLabel = s.eq(k.at(c), r.label)
    const smooth = smoothing !== 0
    const ofLabel = smooth ? s.mul(r.kept, r.weightOfLabel) : r.weightOfLabel
    const all = smooth
      ? s.add(
          ofLabel,
          s.mul(
            r.share,
            r.along('add', (_, w) => w),
          ),
        )
      : ofLabel
    const target = s.select(isLabel, ofLabel, s.like(ofLabel, 0))
    const wanted = smooth ? s.add(target, s.mul(r.share, r.weightAt(c))) : target
    const slope = normalized
      ? s.neg(wanted)
      : s.sub(s.mul(all, s.exp(s.sub(r.scoreAt(c), lse))), wanted)
    k.store(out(), axes, s.select(r.isIgnored, s.like(slope, 0), s.mul(g, slope)))
    return [k.finish()]
  },
  // The slope is linear in g; through the softmax in it, it depends on the scores.
  vjp({ g: gg, inputs, attributes, dtypes: [dtype] }) {
    const { classAxis: axis, normalized, smoothing } = attributes
    const [g, , x, target, , , weight] = inputs as readonly Tensor[]
    const one = full(g!.shape, 1, { dtype: g!.dtype, device: g!.device })
    const slope = dispatch(backwardOp, [one, ...inputs.slice(1)], attributes, keyOf(attributes))
    const dg = gg.mul(slope).sum({ axis })
    if (normalized) return [dg]
    const [, weights] = classLosses(x!.detach(), target!, weight, attributes)
    const counted = target!.ne(attributes.ignoreIndex).cast(dtype!)
    const spread = weight === undefined ? counted : counted.mul(weight.mean())
    const all = smoothing === 0 ? weights : weights.mul(1 - smoothing).add(spread.mul(smoothing))
    const q = x!.softmax({ axis })
    const inner = gg.mul(g!.mul(all).unsqueeze(axis)).mul(q)
    return [dg, undefined, inner.sub(q.mul(inner.sum({ axis, keepDims: true })))]
  },
  saves: 'inputs',
})

const keyOf = ({ classAxis, normalized, smoothing }: ClassLossSettings): string =>
  `${classAxis}${normalized}${smoothing !== 0}`

/** The loss of each example and its weight (0 where it is ignored), of the scores' shape without the class axis. */
export function classLosses(
  scores: Tensor,
  target: Tensor,
  weight: Tensor | undefined,
  settings: ClassLossSettings,
): [losses: Tensor, weights: Tensor] {
  const { ignoreIndex, smoothing } = settings
  const tensors = [scores, target, ignoreIndex, smoothing]
  const inputs = weight === undefined ? tensors : [...tensors, weight]
  const outputs = dispatchAll(classLossOp, inputs, settings as Settings, keyOf(settings))
  // The weights do not depend on the scores: no gradient goes through them.
  return [outputs[0]!, outputs[1]!.detach()]
}

const type = ([scores]: readonly InputSpec[]): ScalarType => dtypes[scores!.dtype].compute

/** What both kernels say about one example. `first` is the number of the input that holds the scores. */
function rowOf(
  k: KernelBuilder,
  inputs: readonly InputSpec[],
  { classAxis }: Settings,
  type: ScalarType,
  rows: readonly Axis[],
  first = 0,
) {
  const { s } = k
  const classes = inputs[first]!.shape[classAxis]!
  const isWeighted = inputs.length > first + 4
  const raw = k.load(first + 1, rows)
  const label = s.convert(raw, 'i32')
  const isClass = s.and(s.le(s.like(raw, 0), raw), s.lt(raw, s.convert(s.size(classes), raw.type)))
  const at = (c: Axis | Expr) => [...rows.slice(0, classAxis), c, ...rows.slice(classAxis)]
  const one = s.const(type, 1)
  const scoreAt = (c: Axis | Expr, guard?: Expr) => s.convert(k.load(first, at(c), guard), type)
  const weightAt = (c: Axis | Expr, guard?: Expr) =>
    isWeighted ? s.convert(k.load(first + 4, [c], guard), type) : one
  const smoothing = s.convert(k.param(1), type)
  return {
    s,
    type,
    label,
    isClass,
    isIgnored: s.eq(raw, s.convert(k.param(0), raw.type)),
    scoreAt,
    weightAt,
    scoreOfLabel: scoreAt(label, isClass),
    weightOfLabel: weightAt(label, isClass),
    /** 1 - e, and e / C. */
    kept: s.sub(one, smoothing),
    share: s.div(smoothing, s.convert(s.size(classes), type)),
    along(combine: 'add' | 'max', f: (x: Expr, w: Expr) => Expr): Expr {
      const [c] = k.inner([classes])
      return k.reduce(combine, [c!], f(scoreAt(c!), weightAt(c!)))
    },
  }
}

function labelError(tensors: readonly Tensor[], settings: Settings): Error {
  const { where, classAxis, ignoreIndex } = settings
  const [scores, target] = tensors as readonly [Tensor, Tensor]
  const classes = scores.shape[classAxis]!
  const expected = `Expected whole numbers from 0 to ${classes - 1}, or ${ignoreIndex} (ignoreIndex) for examples that do not count`
  const about = `the ${classes} classes of scores ${formatShape(scores.shape)}`
  if (!target.backend.synchronous)
    return new ValueError(`${where}: a label is outside ${about}. ${expected}`)
  const labels = Array.from(target.dataSync() as ArrayLike<number | bigint>, Number)
  const bad = labels.findIndex((n) => n !== ignoreIndex && !(n >= 0 && n < classes))
  const start =
    labels.includes(classes) && !labels.includes(0) ? '. Do the labels start at 1? Subtract 1' : ''
  return new ValueError(
    `${where}: label ${labels[bad]} at ${formatShape(positionOf(bad, target.shape))} is outside ${about}. ${expected}${start}`,
  )
}

function positionOf(index: number, shape: Shape): number[] {
  const position: number[] = []
  for (const n of [...shape].reverse()) {
    position.unshift(index % n)
    index = Math.floor(index / n)
  }
  return position
}
