/** @file The kernels behind every norm layer: subtract the mean, divide by the deviation, scale and shift. */
import { dtypes } from '../core/dtype.ts'
import { sizeOf, type Shape } from '../core/shape.ts'
import type { KernelBuilder, Position, Step } from '../codegen/kernel-builder.ts'
import type { Axis, Expr } from '../ir/expr.ts'
import { dispatch, dispatchAll } from '../tensor/dispatch.ts'
import type { LowerContext, Op } from '../tensor/op.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { GradContext } from '../tensor/types.ts'
import { defineOp } from './define.ts'
import { interleave } from './reduction.ts'

type Attributes = {
  /** The axes over which mean and deviation are taken. */
  readonly axes: readonly number[]
  /** The axes along which weight and bias vary; together they are their shape. */
  readonly parameterAxes: readonly number[]
  readonly weighted: boolean
  readonly biased: boolean
  /** Whether the mean is subtracted. */
  readonly centred: boolean
  readonly eps: number
}

/**
 * Note [Norms]: with d = x - mean(x) (or x), r = 1 / sqrt(mean(d^2) + eps) and y = d r, the result is
 * y w + b. For a gradient g of the result, v = g w and the projection P(v) = v - mean(v) - y mean(v y),
 *
 *   dx = r P(v)     dw = sum(g y)     db = sum(g)
 *
 * (mean(v) only where the mean is subtracted). P is its own adjoint, and dr = -r^2 y dx / n, so for
 * gradients e of dx, h of dw and k of db
 *
 *   dv = r P(e)     dg = w dv + h y + k     dw = sum(g dv)
 *   dx = -r^2 (P(m e + a v) + y (mean(e v) - mean(e) mean(v) - a m)) + r P(h g)
 *   with m = mean(v y) and a = mean(e y).
 */
function normOp(name: string, onnx: string | undefined): Op<Attributes> {
  return defineOp<Attributes>({
    name,
    kind: 'row',
    onnx,
    infer([x], { axes }) {
      const { shape, dtype } = x!
      const rows = shape.filter((_, i) => !axes.includes(i))
      const statistics = { shape: rows, dtype: dtype === 'float64' ? dtype : 'float32' } as const
      return [{ shape, dtype }, statistics, statistics]
    },
    lower: lowerNorm,
    vjp({ g, inputs, outputs, attributes, needs }) {
      const { parameterAxes, weighted, biased } = attributes
      const [x, , weight] = inputs as readonly Tensor[]
      const given = [g, x!, outputs[1]!, outputs[2]!]
      const key = keyOf(attributes)
      const forX = weighted ? [...given, weight!] : given
      const dx = needs(0) ? dispatch(normBackwardOp, forX, attributes, key) : undefined
      if (weighted && needs(2))
        return [dx, undefined, ...dispatchAll(parameterOp, given, attributes, key)]
      const others = { axis: othersThan(parameterAxes, x!.ndim) }
      return [dx, undefined, ...(weighted ? [undefined] : []), ...(biased ? [g.sum(others)] : [])]
    },
  })
}

const othersThan = (axes: readonly number[], ndim: number): number[] =>
  Array.from({ length: ndim }, (_, i) => i).filter((i) => !axes.includes(i))

const keyOf = ({ axes, parameterAxes, weighted, biased, centred }: Attributes): string =>
  `${axes.join()}|${parameterAxes.join()}|${weighted}${biased}${centred}`

/** Rows up to this long stay in the cache while they are read again. */
const longestRow = 65536

// Rows that lie side by side are done one by one; channels that lie apart are better read as they come.
function lowerNorm(context: LowerContext<Attributes>): Step[] {
  const { attributes, inputs, kernel } = context
  const { shape } = inputs[0]!
  const { axes } = attributes
  const length = sizeOf(axes.map((a) => shape[a]!))
  const isTrailing = axes.every((a) => a >= shape.length - axes.length)
  if (isTrailing && length <= longestRow) {
    const k = kernel()
    const all = k.axes(shape)
    const rows = rowsOf(all, axes)
    lowerResult(context, k, all, lowerStatistics(context, k, rows))
    return [k.finish()]
  }
  const [first, second] = [kernel(), kernel()]
  lowerStatistics(context, first, first.axes(context.outputs[1]!.layout.shape))
  const all = second.axes(shape)
  const rows = rowsOf(all, axes)
  const [mean, scale] = [1, 2].map((i) => second.load(context.out(i), rows)) as [Expr, Expr]
  lowerResult(context, second, all, { mean, scale })
  return [first.finish(), second.finish()]
}

const rowsOf = <T>(all: readonly T[], axes: readonly number[]): T[] =>
  all.filter((_, i) => !axes.includes(i))

interface Statistics {
  readonly mean: Expr
  /** 1 / deviation. */
  readonly scale: Expr
}

// Mean (0 where it is not subtracted) and 1 / deviation, by two passes.
function lowerStatistics(
  { attributes, inputs, outputs, out }: LowerContext<Attributes>,
  k: KernelBuilder,
  rows: readonly Axis[],
): Statistics {
  const { axes, centred } = attributes
  const { s } = k
  const { shape } = inputs[0]!
  const type = dtypes[outputs[1]!.dtype].compute
  const average = (f: (x: Expr) => Expr): Expr => {
    const inner = k.inner(axes.map((a) => shape[a]!))
    let row = 0
    const positions = shape.map((_, i) =>
      axes.includes(i) ? inner[axes.indexOf(i)]! : rows[row++]!,
    )
    const count = inner
      .map((a) => s.convert(s.size(a.extent), type))
      .reduce((a, b) => s.mul(a, b), s.const(type, 1))
    return s.div(k.reduce('add', inner, f(s.convert(k.load(0, positions), type))), count)
  }
  const mean = centred ? average((x) => x) : s.const(type, 0)
  const square = average((x) => s.mul(s.sub(x, mean), s.sub(x, mean)))
  const eps = s.convert(k.param(0), type)
  const scale = s.div(s.const(type, 1), s.sqrt(s.add(square, eps)))
  k.store(out(1), rows, mean)
  k.store(out(2), rows, scale)
  return { mean, scale }
}

function lowerResult(
  { attributes, outputs, out }: LowerContext<Attributes>,
  k: KernelBuilder,
  all: readonly Axis[],
  { mean, scale }: Statistics,
): void {
  const { parameterAxes, weighted, biased } = attributes
  const { s } = k
  const along = parameterAxes.map((a) => all[a]!)
  const type = dtypes[outputs[1]!.dtype].compute
  const load = (operand: number, at: readonly Axis[]) => s.convert(k.load(operand, at), type)
  let y = s.mul(s.sub(load(0, all), mean), scale)
  if (weighted) y = s.mul(y, load(2, along))
  if (biased) y = s.add(y, load(weighted ? 3 : 2, along))
  k.store(out(), all, y)
}

/** Inputs g, x, mean, 1 / deviation and perhaps weight; output dx. */
const normBackwardOp: Op<Attributes> = defineOp<Attributes>({
  name: 'normBackward',
  kind: 'row',
  onnx: undefined,
  infer: (inputs) => [{ shape: inputs[1]!.shape, dtype: inputs[1]!.dtype }],
  lower({ attributes, inputs, outputs, kernel, out }) {
    const { axes, parameterAxes, weighted, centred } = attributes
    const k = kernel()
    const { s } = k
    const { shape } = inputs[1]!
    const all = k.axes(outputs[0]!.layout.shape)
    const type = dtypes[inputs[2]!.dtype].compute
    const at = (positions: typeof all) => {
      const load = (operand: number, axesOf: typeof all) => s.convert(k.load(operand, axesOf), type)
      const rows = positions.filter((_, i) => !axes.includes(i))
      const g = load(0, positions)
      const r = load(3, rows)
      const y = s.mul(s.sub(load(1, positions), load(2, rows)), r)
      const v = weighted
        ? s.mul(
            g,
            load(
              4,
              parameterAxes.map((a) => positions[a]!),
            ),
          )
        : g
      return { g, r, y, v }
    }
    // The same axes in both means: they are taken in one pass.
    const inner = k.inner(axes.map((a) => shape[a]!))
    const count = inner
      .map((a) => s.convert(s.size(a.extent), type))
      .reduce((a, b) => s.mul(a, b), s.const(type, 1))
    const mean = (value: Expr): Expr => s.div(k.reduce('add', inner, value), count)
    const within = at(all.map((a, i) => (axes.includes(i) ? inner[axes.indexOf(i)]! : a)))
    const { r, y, v } = at(all)
    const along = s.mul(y, mean(s.mul(within.v, within.y)))
    const centre = centred ? s.sub(v, mean(within.v)) : v
    k.store(out(), all, s.mul(r, s.sub(centre, along)))
    return [k.finish()]
  },
  vjp: backwardOfBackward,
  saves: 'inputs',
})

/** Inputs g, x, mean and 1 / deviation; outputs dw and, with a bias, db. */
const parameterOp: Op<Attributes> = defineOp<Attributes>({
  name: 'normParameters',
  kind: 'reduce',
  onnx: undefined,
  infer(inputs, { parameterAxes, biased }) {
    const { shape, dtype } = inputs[0]!
    const output = { shape: parameterAxes.map((a) => shape[a]!), dtype }
    return biased ? [output, output] : [output]
  },
  lower(context) {
    const { attributes, inputs, outputs, kernel, out, temporary } = context
    const { parameterAxes, biased } = attributes
    const { shape } = inputs[0]!
    const others = othersThan(parameterAxes, shape.length)
    const sizes = outputs[0]!.layout.shape
    const wanted = biased ? [0, 1] : [0]
    const split = parameterAxes.includes(shape.length - 1) ? splitOf(shape, others) : undefined
    const k = kernel()
    if (split === undefined) {
      const [along, inner] = [k.axes(sizes), k.inner(others.map((a) => shape[a]!))]
      const at = interleave(shape, others, along, inner)
      lowerParameterSums(context, k, at, inner, (i, sum) => k.store(out(i), along, sum))
      return [k.finish()]
    }
    // Rows are taken a few at a time, as many as stay in the cache until the lanes have come to their end.
    const { axis, length } = split
    const parts = others.map((a) => (a === axis ? shape[a]! / length : shape[a]!))
    const made = wanted.map(() => temporary([...parts, ...sizes], inputs[2]!.dtype))
    const outer = k.axes(parts)
    const along = k.axes(sizes)
    const [within] = k.inner([length])
    const at = interleave<Position, Position>(
      shape,
      others,
      along,
      outer.map((a, i) =>
        others[i] === axis
          ? {
              terms: [
                { axis: a, step: length },
                { axis: within!, step: 1 },
              ],
              offset: 0,
            }
          : a,
      ),
    )
    lowerParameterSums(context, k, at, [within!], (i, sum) =>
      k.store(made[i]!, [...outer, ...along], sum),
    )
    const rest = kernel()
    const last = rest.axes(sizes)
    const inner = rest.inner(parts)
    for (const i of wanted)
      rest.store(out(i), last, rest.reduce('add', inner, rest.load(made[i]!, [...inner, ...last])))
    return [k.finish(), rest.finish()]
  },
  vjp({ gs: [h, k], inputs, attributes }) {
    const [g, x] = inputs as [Tensor, Tensor]
    const { y, r, project } = normOf(x, attributes)
    const perParameter = (t: Tensor) => t.reshape(parameterShape(x, attributes))
    const bySum = k && perParameter(k).expand(x.shape)
    if (h === undefined) return [bySum, undefined]
    const wide = perParameter(h)
    const byY = wide.mul(y)
    return [bySum ? byY.add(bySum) : byY, project(wide.mul(g)).mul(r)]
  },
  saves: 'inputs',
})

/** Sums of g y and g at these positions over inner axes. */
function lowerParameterSums(
  { attributes: { axes, biased }, inputs }: LowerContext<Attributes>,
  k: KernelBuilder,
  at: readonly Position[],
  inner: readonly Axis[],
  store: (i: number, sum: Expr) => void,
): void {
  const { s } = k
  const type = dtypes[inputs[2]!.dtype].compute
  const load = (operand: number, of: readonly Position[]) => s.convert(k.load(operand, of), type)
  const rows = rowsOf(at, axes)
  const g = load(0, at)
  const y = s.mul(s.sub(load(1, at), load(2, rows)), load(3, rows))
  store(0, k.reduce('add', inner, s.mul(g, y)))
  if (biased) store(1, k.reduce('add', inner, g))
}

/** The longest of some axes, and into parts of which length it divides: some dozens, if at all. */
function splitOf(
  shape: Shape,
  axes: readonly number[],
): { axis: number; length: number } | undefined {
  const axis = axes.toSorted((a, b) => shape[b]! - shape[a]!)[0]!
  const length = [64, 56, 48, 40, 32, 24, 16, 8].find((n) => shape[axis]! % n === 0)
  return length === undefined || shape[axis]! <= 2 * length ? undefined : { axis, length }
}

const parameterShape = (x: Tensor, { parameterAxes }: Attributes): number[] =>
  x.shape.map((n, i) => (parameterAxes.includes(i) ? n : 1))

/** y, r and P of Note [Norms] in ordinary ops, as functions of x. */
function normOf(x: Tensor, { axes, centred, eps }: Attributes) {
  const mean = (t: Tensor) => t.mean({ axis: axes, keepDims: true })
  const centre = (t: Tensor) => (centred ? t.sub(mean(t)) : t)
  const d = centre(x)
  const r = mean(d.mul(d)).add(eps).sqrt().reciprocal()
  const y = d.mul(r)
  return { y, r, mean, project: (t: Tensor) => centre(t).sub(y.mul(mean(t.mul(y)))) }
}

function backwardOfBackward({
  gs: [e],
  inputs,
  attributes,
}: GradContext<Attributes>): readonly (Tensor | undefined)[] {
  const { parameterAxes, centred } = attributes
  const [g, x, , , weight] = inputs as [Tensor, Tensor, Tensor, Tensor, Tensor?]
  const { y, r, mean, project } = normOf(x, attributes)
  const w = weight?.reshape(parameterShape(x, attributes))
  const v = w === undefined ? g : g.mul(w)
  const dv = project(e!).mul(r)
  const m = mean(v.mul(y))
  const a = mean(e!.mul(y))
  const spread = mean(e!.mul(v)).sub(a.mul(m))
  const rest = centred ? spread.sub(mean(e!).mul(mean(v))) : spread
  const dx = project(e!.mul(m).add(v.mul(a)))
    .add(y.mul(rest))
    .mul(r.mul(r))
    .neg()
  const dw = w && g.mul(dv).sum({ axis: othersThan(parameterAxes, x.ndim) })
  return [w === undefined ? dv : dv.mul(w), dx, undefined, undefined, dw]
}

/** Which norm it is, as operators know it; the mathematics is one. */
const ops = {
  layerNorm: normOp('layerNorm', 'LayerNormalization'),
  rmsNorm: normOp('rmsNorm', 'RMSNormalization'),
  batchNorm: normOp('batchNorm', undefined),
  groupNorm: normOp('groupNorm', undefined),
}

export interface NormalizeOptions {
  readonly axes: readonly number[]
  readonly parameterAxes: readonly number[]
  readonly weight: Tensor | undefined
  readonly bias: Tensor | undefined
  readonly eps: number
}

/** The normalised tensor, and mean and 1 / sqrt(variance + eps) over `axes` (which are dropped). */
export function normalize(
  name: keyof typeof ops,
  x: Tensor,
  { axes, parameterAxes, weight, bias, eps }: NormalizeOptions,
): { output: Tensor; mean: Tensor; scale: Tensor } {
  const weighted = weight !== undefined
  const biased = bias !== undefined
  const centred = name !== 'rmsNorm'
  const attributes = { axes, parameterAxes, weighted, biased, centred, eps }
  const inputs = [x, eps, ...(weighted ? [weight] : []), ...(biased ? [bias] : [])]
  const [output, mean, scale] = dispatchAll(ops[name], inputs, attributes, keyOf(attributes))
  return { output: output!, mean: mean!, scale: scale! }
}
