/** @file Attention as fused kernels, forward and backward: the scores of a block at a time, never all of them. */
import { dtypes, promote, type DType } from '../core/dtype.ts'
import { broadcastShapes, type Shape } from '../core/shape.ts'
import type { KernelBuilder, Position } from '../codegen/kernel-builder.ts'
import type { Axis, Expr } from '../ir/expr.ts'
import { dispatchAll } from '../tensor/dispatch.ts'
import type { InputSpec, LowerContext } from '../tensor/op.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { attentionWeights } from './attention-weights.ts'
import { defineOp } from './define.ts'

/** What fused attention takes: no dropout, and masks without gradients. */
export interface FusedOptions {
  readonly mask?: Tensor
  readonly isCausal: boolean
  readonly scale: number
}

type FusedAttributes = { readonly isCausal: boolean; readonly hasMask: boolean }

/** Sizes up to this, or multiples of 16 up to `mostFeatures`, are part of the code of kernels. */
const anyFeatures = 64
const mostFeatures = 512

/** Whether fused kernels are made for these sizes: tiles need some rows and columns, and features of bounded size. */
export function canFuse(q: Tensor, k: Tensor, v: Tensor): boolean {
  const [length, features] = q.shape.slice(-2) as [number, number]
  const [keys, mixed] = v.shape.slice(-2) as [number, number]
  const isKnown = (n: number) => n > 1 && (n <= anyFeatures || (n % 16 === 0 && n <= mostFeatures))
  return length >= 3 && keys >= 3 && isKnown(features) && isKnown(mixed) && k.size > 0 && q.size > 0
}

/** Attention by one kernel. Memory beside the result: one number per query. */
export function fusedAttention(q: Tensor, k: Tensor, v: Tensor, options: FusedOptions): Tensor {
  const { mask, isCausal, scale } = options
  const attributes = { isCausal, hasMask: mask !== undefined }
  const inputs = [unrepeated(q), unrepeated(k), unrepeated(v), ...(mask ? [mask] : []), scale]
  return dispatchAll(attentionOp, inputs, attributes, keyOf(attributes))[0]!
}

// Tiles know rows and columns by the strides of what they read: repeated ones have none. The gradient
// of a sum is such a tensor.
function unrepeated(x: Tensor): Tensor {
  const isRepeated = x.strides.slice(-2).some((stride, i) => stride === 0 && x.shape.at(i - 2)! > 1)
  return isRepeated ? x.contiguous() : x
}

const keyOf = ({ isCausal, hasMask }: FusedAttributes): string => `${isCausal} ${hasMask}`

// The second output is the logarithm of the sum of exponentials of each query's scores; Infinity for
// a query that sees no key, which makes all its weights exp(score - Infinity) = 0 in the gradient.
const attentionOp = defineOp<FusedAttributes>({
  name: 'attention',
  kind: 'contract',
  onnx: 'Attention',
  specialize: 'round',
  infer(inputs, attributes) {
    const { batch, length, mixed, dtype, compute } = factsOf(inputs, 0, attributes)
    return [
      { shape: [...batch, length, mixed], dtype },
      { shape: [...batch, length], dtype: compute },
    ]
  },
  lower({ inputs, outputs, attributes, kernel, out }) {
    const k = kernel()
    const { s } = k
    const facts = factsOf(inputs, 0, attributes)
    const axes = k.axes(outputs[0]!.layout.shape)
    const [batch, i, f] = [axes.slice(0, -2), axes.at(-2)!, axes.at(-1)!]
    const [j] = k.inner([facts.keys]) as [Axis]
    const score = scoreAt(k, facts, batch, i, j)
    const lowest = facts.compute === 'float64' ? -Number.MAX_VALUE : -(2 - 2 ** -23) * 2 ** 127
    // At least the lowest number: where all scores are -Infinity, exp(score - top) is 0.
    const top = s.max(k.reduce('max', [j], score), lowest)
    const weight = s.exp(s.sub(score, top))
    const total = k.reduce('add', [j], weight)
    const value = k.loadAs(facts.compute, 2, [...batch, j, f])
    const mix = k.reduce('add', [j], s.mul(weight, value))
    const isLost = s.eq(total, 0)
    k.store(out(0), axes, s.select(isLost, s.like(mix, 0), s.div(mix, total)))
    const logarithm = s.add(top, s.log(total))
    k.store(out(1), [...batch, i], s.select(isLost, s.like(mix, Infinity), logarithm))
    return [k.finish()]
  },
  vjp({ g, inputs, outputs, attributes, needs }) {
    const [wantsQ, wantsKV] = [needs(0), needs(1) || needs(2)]
    return backward([unrepeated(g), ...outputs, ...inputs], { ...attributes, wantsQ, wantsKV })
  },
})

type BackwardAttributes = FusedAttributes & {
  readonly wantsQ: boolean
  readonly wantsKV: boolean
}

function backward(inputs: readonly (Tensor | number)[], attributes: BackwardAttributes): Tensor[] {
  const key = `${keyOf(attributes)} ${attributes.wantsQ} ${attributes.wantsKV}`
  return dispatchAll(backwardOp, inputs, attributes, key)
}

// Dao's FlashAttention-2: with P the weights, made again from the logarithm of their sums,
//   delta_i = sum over f of g_if out_if      dP = g v^T      dS = P (dP - delta)
//   dQ = scale dS k      dK = scale dS^T q      dV = P^T g
// Inputs are g, both outputs, then the inputs. Gradients that nobody wants are empty.
const backwardOp = defineOp<BackwardAttributes>({
  name: 'attentionBackward',
  kind: 'contract',
  onnx: undefined,
  specialize: 'round',
  infer(inputs, attributes) {
    const { batch, length, keys, features, mixed, compute } = factsOf(inputs, 3, attributes)
    const { wantsQ, wantsKV } = attributes
    return [
      { shape: wantsQ ? [...batch, length, features] : [0], dtype: compute },
      { shape: wantsKV ? [...batch, keys, features] : [0], dtype: compute },
      { shape: wantsKV ? [...batch, keys, mixed] : [0], dtype: compute },
    ]
  },
  lower(context) {
    const { inputs, attributes, out, temporary } = context
    const { wantsQ, wantsKV } = attributes
    const facts = factsOf(inputs, 3, attributes)
    const { batch, length, features, compute } = facts
    const delta = temporary([...batch, length], compute)
    const to = { delta, q: out(0), k: out(1), v: out(2) }
    const steps = [deltaStep(context, facts, delta)]
    const parts = wantsQ && wantsKV ? partsOf(facts) : undefined
    if (parts === undefined) {
      // Each by itself: scores are made twice, but every task has its own part of the results.
      if (wantsQ) steps.push(gradientStep(context, facts, { ...to, wantsQ, wantsKV: false }))
      if (wantsKV) steps.push(gradientStep(context, facts, { ...to, wantsQ: false, wantsKV }))
    } else if (parts === 1) steps.push(gradientStep(context, facts, { ...to, wantsQ, wantsKV }))
    else {
      const q = temporary([parts, ...batch, length, features], compute)
      steps.push(gradientStep(context, facts, { ...to, q, parts, wantsQ, wantsKV }))
      steps.push(joinStep(context, q, out(0), parts))
    }
    return steps
  },
  vjp({ gs, inputs, attributes, needs }) {
    const [g, , , q, k, v] = inputs as Tensor[]
    const scale = inputs.at(-1) as number
    const mask = attributes.hasMask ? (inputs[6] as Tensor) : undefined
    const options = { ...(mask && { mask }), isCausal: attributes.isCausal, scale }
    const all = secondOrder(gs, g!, q!, k!, v!, options)
    const list = [all.g, undefined, undefined, all.q, all.k, all.v]
    return list.map((x, i) => (needs(i) ? x : undefined))
  },
  saves: 'inputs',
})

// With A, B, C the gradients of dQ, dK and dV, what is differentiated is <dS, T> + <P, U>, where
// T = scale (A k^T + q B^T) and U = g C^T. Since sum_j dS T = sum_j P (T - t) dP with t_i = sum_j P T,
//   dP gets H = P (T - t),     P gets dP (T - t) - delta T + U.
function secondOrder(
  [a, b, c]: readonly (Tensor | undefined)[],
  g: Tensor,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: FusedOptions,
): { g?: Tensor; q?: Tensor; k?: Tensor; v?: Tensor } {
  const { scale } = options
  const rows = { axis: -1, keepDims: true }
  const weights = attentionWeights(q, k, options) // [..., L, S], P
  const slope = g.matmul(v.transpose()) // dP
  const delta = weights.mul(slope).sum(rows)
  const slopes = weights.mul(slope.sub(delta)) // dS
  const t = addUp(a?.matmul(k.transpose()), b && q.matmul(b.transpose()))?.mul(scale) // T
  const u = c && g.matmul(c.transpose())
  const centred = t?.sub(weights.mul(t).sum(rows)) // T - t
  const h = centred && weights.mul(centred)
  const toWeights = addUp(centred && slope.mul(centred).sub(delta.mul(t!)), u)
  if (toWeights === undefined) return {}
  const toScores = weights.mul(toWeights.sub(weights.mul(toWeights).sum(rows))).mul(scale)
  const outer = slopes.mul(scale)
  return defined({
    g: addUp(h?.matmul(v), c && weights.matmul(c)),
    v: h?.transpose().matmul(g),
    q: addUp(toScores.matmul(k), b && outer.matmul(b)),
    k: addUp(toScores.transpose().matmul(q), a && outer.transpose().matmul(a)),
  })
}

function addUp(x: Tensor | undefined, y: Tensor | undefined): Tensor | undefined {
  return x === undefined || y === undefined ? (x ?? y) : x.add(y)
}

function defined<T extends object>(x: { [K in keyof T]: T[K] | undefined }): Partial<T> {
  return Object.fromEntries(Object.entries(x).filter(([, value]) => value !== undefined)) as T
}

// -- inside kernels

interface Facts {
  readonly attributes: FusedAttributes
  readonly inputs: readonly InputSpec[]
  /** The number of q among the inputs; k, v, the mask and the scale follow. */
  readonly first: number
  readonly batch: Shape
  readonly length: number
  readonly keys: number
  readonly features: number
  readonly mixed: number
  readonly dtype: DType
  readonly compute: 'float32' | 'float64'
}

function factsOf(inputs: readonly InputSpec[], first: number, attributes: FusedAttributes): Facts {
  const [q, k, v, mask] = inputs.slice(first) as [InputSpec, InputSpec, InputSpec, InputSpec]
  const parts = attributes.hasMask ? [q, k, v, mask] : [q, k, v]
  const where = 'scaledDotProductAttention'
  const batch = broadcastShapes(where, ...parts.map((x) => x.shape.slice(0, -2)))
  const [length, features] = q.shape.slice(-2) as [number, number]
  const [keys, mixed] = v.shape.slice(-2) as [number, number]
  const dtype = promote(promote(q.dtype, k.dtype), v.dtype)
  const compute = dtypes[dtype].compute === 'f64' ? 'float64' : 'float32'
  return { attributes, inputs, first, batch, length, keys, features, mixed, dtype, compute }
}

function scaleOf(k: KernelBuilder, { compute }: Facts): Expr {
  return k.s.convert(k.param(0), dtypes[compute].compute)
}

/** The score of query i and key j, mask included. */
function scoreAt(
  k: KernelBuilder,
  facts: Facts,
  batch: readonly Axis[],
  i: Axis,
  j: Position,
): Expr {
  const { first, features, compute, inputs, attributes } = facts
  const { s } = k
  const [e] = k.inner([features]) as [Axis]
  const query = k.loadAs(compute, first, [...batch, i, e])
  const key = k.loadAs(compute, first + 1, [...batch, j, e])
  let score = s.mul(k.reduce('add', [e], s.mul(query, key)), scaleOf(k, facts))
  const lost = s.like(score, -Infinity)
  if (attributes.hasMask) {
    const isBool = inputs[first + 3]!.dtype === 'bool'
    const mask = isBool
      ? k.load(first + 3, [...batch, i, j])
      : k.loadAs(compute, first + 3, [...batch, i, j])
    score = isBool ? s.select(mask, score, lost) : s.add(score, mask)
  }
  return attributes.isCausal ? s.select(s.le(k.at(j), k.at(i)), score, lost) : score
}

type BackwardContext = LowerContext<BackwardAttributes>

function deltaStep(
  { kernel }: BackwardContext,
  { batch, length, mixed, compute }: Facts,
  to: number,
) {
  const k = kernel('attentionDelta')
  const axes = k.axes([...batch, length])
  const [f] = k.inner([mixed]) as [Axis]
  const given = k.loadAs(compute, 0, [...axes, f])
  const mix = k.loadAs(compute, 1, [...axes, f])
  k.store(to, axes, k.reduce('add', [f], k.s.mul(given, mix)))
  return k.finish()
}

interface Gradients {
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

function gradientStep({ kernel }: BackwardContext, facts: Facts, wanted: Gradients) {
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
  const slope = k.reduce('add', [x], s.mul(givenAt(x), k.loadAs(compute, 5, [...batch, j, x])))
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
    k.store(wanted.v, [...batch, j, f], sum(i, weight, givenAt(f)))
  }
  return k.finish()
}

const sumOf = (...terms: (readonly [Axis, number])[]): Position => ({
  terms: terms.map(([axis, step]) => ({ axis, step })),
  offset: 0,
})

function joinStep({ kernel, outputs }: BackwardContext, from: number, to: number, parts: number) {
  const k = kernel('attentionJoin')
  const axes = k.axes(outputs[0]!.layout.shape)
  const [part] = k.inner([parts]) as [Axis]
  k.store(to, axes, k.reduce('add', [part], k.load(from, [part, ...axes])))
  return k.finish()
}

// All gradients at once cost five products instead of seven, but then one task does all of a head, or
// of a part of its keys. How many parts make enough tasks; undefined where there is no such number.
function partsOf({ batch, keys }: Facts): number | undefined {
  const least = Math.ceil(enoughTasks / batch.reduce((n, size) => n * size, 1))
  const most = Math.floor(keys / leastKeys)
  if (least === 1 || most <= 1) return 1
  for (let parts = least; parts <= most; parts++) if (keys % parts === 0) return parts
  return undefined
}

const enoughTasks = 16
const leastKeys = 128
