/** @file What the kernels of fused attention compute at each point, and the steps of its gradient. */
import { dtypes, promote, type DType } from '../core/dtype.ts'
import { broadcastShapes, type Shape } from '../core/shape.ts'
import type { KernelBuilder, Position, Step } from '../codegen/kernel-builder.ts'
import type { Axis, Expr } from '../ir/expr.ts'
import type { InputSpec, LowerContext } from '../tensor/op.ts'
import { randomWords, uniformExpr } from '../tensor/random.ts'
import type { DropoutAttributes } from './dropout-op.ts'

export type FusedAttributes = {
  readonly isCausal: boolean
  readonly hasMask: boolean
  readonly dropout: DropoutAttributes | undefined
}

export type BackwardAttributes = FusedAttributes & {
  readonly wantsQ: boolean
  readonly wantsKV: boolean
}

/** What the inputs of attention say. */
export interface Facts {
  readonly isCausal: boolean
  readonly hasDropout: boolean
  /** The dtype of the mask, if there is one. */
  readonly mask: DType | undefined
  /** The number of q among the inputs; k, v, the mask and the scale follow. */
  readonly first: number
  /** The leading axes of the result. */
  readonly batch: Shape
  /** The leading axes of the weights, which need not have those of v. */
  readonly weightBatch: Shape
  readonly length: number
  readonly keys: number
  readonly features: number
  readonly mixed: number
  readonly dtype: DType
  readonly compute: 'float32' | 'float64'
}

/** Throws a ShapeError where leading axes, or those of the mask, do not broadcast. */
export function factsOf(
  inputs: readonly InputSpec[],
  first: number,
  { isCausal, hasMask, dropout }: FusedAttributes,
): Facts {
  const [q, k, v, added] = inputs.slice(first) as [InputSpec, InputSpec, InputSpec, InputSpec]
  const mask = hasMask ? added : undefined
  const where = 'scaledDotProductAttention'
  const leading = (...parts: readonly InputSpec[]) =>
    broadcastShapes(where, ...parts.map((x) => x.shape.slice(0, -2)))
  const [length, features] = q.shape.slice(-2) as [number, number]
  const [keys, mixed] = v.shape.slice(-2) as [number, number]
  if (mask) broadcastShapes(where, mask.shape.slice(-2), [length, keys])
  const dtype = promote(promote(q.dtype, k.dtype), v.dtype)
  return {
    isCausal,
    hasDropout: dropout !== undefined,
    mask: mask?.dtype,
    first,
    batch: leading(q, k, v, ...(mask ? [mask] : [])),
    weightBatch: leading(q, k, ...(mask ? [mask] : [])),
    length,
    keys,
    features,
    mixed,
    dtype,
    compute: dtypes[dtype].compute === 'f64' ? 'float64' : 'float32',
  }
}

function scaleOf(k: KernelBuilder, { compute }: Facts): Expr {
  return k.s.convert(k.param(0), dtypes[compute].compute)
}

/** The score of query i and key j, mask included. */
export function scoreAt(
  k: KernelBuilder,
  facts: Facts,
  batch: readonly Axis[],
  i: Axis,
  j: Position,
): Expr {
  const { first, features, compute, mask, isCausal } = facts
  const { s } = k
  const [e] = k.inner([features]) as [Axis]
  const query = k.loadAs(compute, first, [...batch, i, e])
  const key = k.loadAs(compute, first + 1, [...batch, j, e])
  let score = s.mul(k.reduce('add', [e], s.mul(query, key)), scaleOf(k, facts))
  const lost = s.like(score, -Infinity)
  const at = [...batch, i, j]
  if (mask === 'bool') score = s.select(k.load(first + 3, at), score, lost)
  else if (mask !== undefined) score = s.add(score, k.loadAs(compute, first + 3, at))
  return isCausal ? s.select(s.le(k.at(j), k.at(i)), score, lost) : score
}

/** What dropout multiplies the weight of query i and key j by: 0, or what makes up for the others. */
export function keepAt(
  k: KernelBuilder,
  { batch: shape, weightBatch, length, keys, compute }: Facts,
  batch: readonly Axis[],
  i: Axis,
  j: Position,
): Expr {
  const { s } = k
  const type = dtypes[compute].compute
  // Its place among all weights, which is that of its random number in the stream.
  const skipped = shape.length - weightBatch.length
  let at: Expr = s.const('i32', 0)
  weightBatch.forEach((size, n) => {
    if (size > 1) at = s.add(s.mul(at, s.size(size)), s.at(batch[skipped + n]!))
  })
  at = s.add(s.mul(at, s.size(length)), s.at(i))
  at = s.add(s.mul(at, s.size(keys)), k.at(j))
  const u = s.convert(uniformExpr(s, randomWords(k, at, 1), 'float32'), type)
  const p = s.convert(k.param(5), type)
  const one = s.const(type, 1)
  return s.select(s.ge(u, p), s.div(one, s.sub(one, p)), s.const(type, 0))
}

type BackwardContext = LowerContext<BackwardAttributes>

/** delta = the sum of g out over the features of each query. */
export function deltaStep(
  { kernel }: BackwardContext,
  { batch, length, mixed, compute }: Facts,
  to: number,
): Step {
  const k = kernel('attentionDelta')
  const axes = k.axes([...batch, length])
  const [f] = k.inner([mixed]) as [Axis]
  const given = k.loadAs(compute, 0, [...axes, f])
  const mix = k.loadAs(compute, 1, [...axes, f])
  k.store(to, axes, k.reduce('add', [f], k.s.mul(given, mix)))
  return k.finish()
}

/** What a kernel gives gradients for. */
export interface Gradients {
  readonly wantsQ: boolean
  readonly wantsKV: boolean
  /** Operands: deltas, and where the gradients go. */
  readonly delta: number
  readonly q: number
  readonly k: number
  readonly v: number
  /** Keys are taken in so many parts; each has a gradient of the queries of its own. */
  readonly parts?: number
}

/** The gradients that are wanted, from scores made again and the logarithms of their sums. */
export function gradientStep({ kernel }: BackwardContext, facts: Facts, wanted: Gradients): Step {
  const { batch: shape, length, keys, features, mixed, compute } = facts
  const { wantsQ, wantsKV, delta, parts } = wanted
  const k = kernel()
  const { s } = k
  const [part] = parts === undefined ? [] : k.axes([parts])
  const batch = k.axes(shape)
  // What is summed over may be an axis of some results and not of others.
  const [i] = (wantsQ ? k.axes([length]) : k.inner([length])) as [Axis]
  const size = [keys / (parts ?? 1)]
  const [key] = (wantsKV ? k.axes(size) : k.inner(size)) as [Axis]
  const j: Position = part ? sumOf([part, size[0]!], [key, 1]) : key
  const [e] = k.axes([features]) as [Axis]
  const [f] = !wantsKV || features === mixed ? [e] : (k.axes([mixed]) as [Axis])
  const weight = s.exp(s.sub(scoreAt(k, facts, batch, i, j), k.load(2, [...batch, i])))
  const [x] = k.inner([mixed]) as [Axis]
  const givenAt = (axis: Axis) => k.loadAs(compute, 0, [...batch, i, axis])
  const product = k.reduce('add', [x], s.mul(givenAt(x), k.loadAs(compute, 5, [...batch, j, x])))
  const keep = facts.hasDropout ? keepAt(k, facts, batch, i, j) : undefined
  const kept = keep ? s.mul(weight, keep) : weight
  const slope = keep ? s.mul(keep, product) : product
  const centred = s.sub(slope, k.load(delta, [...batch, i]))
  const slopes = s.mul(s.mul(weight, centred), scaleOf(k, facts))
  const sum = (axis: Axis, factor: Expr, other: Expr) =>
    k.reduce('add', [axis], s.mul(factor, other))
  const [query, row] = [
    k.loadAs(compute, 3, [...batch, i, e]),
    k.loadAs(compute, 4, [...batch, j, e]),
  ]
  if (wantsQ) k.store(wanted.q, [...(part ? [part] : []), ...batch, i, e], sum(key, slopes, row))
  if (wantsKV) {
    k.store(wanted.k, [...batch, j, e], sum(i, slopes, query))
    k.store(wanted.v, [...batch, j, f], sum(i, kept, givenAt(f)))
  }
  return k.finish()
}

const sumOf = (...terms: (readonly [Axis, number])[]): Position => ({
  terms: terms.map(([axis, step]) => ({ axis, step })),
  offset: 0,
})

/** The sum of the parts of the gradient of the queries. */
export function joinStep(
  { kernel, outputs }: BackwardContext,
  from: number,
  to: number,
  parts: number,
): Step {
  const k = kernel('attentionJoin')
  const axes = k.axes(outputs[0]!.layout.shape)
  const [part] = k.inner([parts]) as [Axis]
  k.store(to, axes, k.reduce('add', [part], k.load(from, [part, ...axes])))
  return k.finish()
}

/**
 * All gradients at once cost five products instead of seven, but then one task does all of a head, or
 * of a part of its keys. How many parts make enough tasks; undefined where there is no such number.
 */
export function partsOf({ batch, keys }: Facts): number | undefined {
  const least = Math.ceil(enoughTasks / batch.reduce((n, size) => n * size, 1))
  const most = Math.floor(keys / leastKeys)
  if (least === 1 || most <= 1) return 1
  for (let parts = least; parts <= most; parts++) if (keys % parts === 0) return parts
  return undefined
}

const enoughTasks = 16
const leastKeys = 128
