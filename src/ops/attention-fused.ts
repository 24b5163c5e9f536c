/** @file Attention as fused kernels, forward and backward: the scores of a block at a time, never all of them. */
import type { Axis } from '../ir/expr.ts'
import { dispatchAll } from '../tensor/dispatch.ts'
import type { Tensor } from '../tensor/tensor.ts'
import {
  deltaStep,
  factsOf,
  gradientStep,
  joinStep,
  keepAt,
  partsOf,
  scoreAt,
  type BackwardAttributes,
  type FusedAttributes,
} from './attention-kernels.ts'
import { secondOrder } from './attention-second-order.ts'
import type { WeightOptions } from './attention-weights.ts'
import { defineOp } from './define.ts'
import { dropElements, type DropoutAttributes } from './dropout-op.ts'

/** What fused attention takes: masks without gradients. */
export interface FusedOptions extends WeightOptions {
  readonly dropout?: DropoutAttributes
}

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
  const { mask, isCausal, scale, dropout } = options
  const attributes = { isCausal, hasMask: mask !== undefined, dropout }
  const tensors = [unrepeated(q), unrepeated(k), unrepeated(v), ...(mask ? [mask] : [])]
  const numbers = [scale, ...(dropout ? [...dropout.draw, dropout.p] : [])]
  return dispatchAll(attentionOp, [...tensors, ...numbers], attributes, keyOf(attributes))[0]!
}

// Tiles know rows and columns by the strides of what they read: repeated ones have none. The gradient
// of a sum is such a tensor.
function unrepeated(x: Tensor): Tensor {
  const isRepeated = x.strides.slice(-2).some((stride, i) => stride === 0 && x.shape.at(i - 2)! > 1)
  return isRepeated ? x.contiguous() : x
}

const keyOf = ({ isCausal, hasMask, dropout }: FusedAttributes): string =>
  `${isCausal} ${hasMask} ${dropout !== undefined}`

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
    const kept = facts.hasDropout ? s.mul(weight, keepAt(k, facts, batch, i, j)) : weight
    const mix = k.reduce('add', [j], s.mul(kept, value))
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

function backward(inputs: readonly (Tensor | number)[], attributes: BackwardAttributes): Tensor[] {
  const key = `${keyOf(attributes)} ${attributes.wantsQ} ${attributes.wantsKV}`
  return dispatchAll(backwardOp, inputs, attributes, key)
}

// Dao's FlashAttention-2: with P the weights, made again from the logarithm of their sums,
//   delta_i = sum over f of g_if out_if      dP = g v^T      dS = P (dP - delta)
//   dQ = scale dS k      dK = scale dS^T q      dV = P^T g
// Where dropout keeps a share K of the weights, dV = (P K)^T g and dP = K (g v^T). Inputs are g, both outputs, then the inputs. Gradients that nobody wants are empty.
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
    const { isCausal, hasMask, dropout } = attributes
    const scale = inputs[hasMask ? 7 : 6] as number
    const options = { ...(hasMask && { mask: inputs[6] as Tensor }), isCausal, scale }
    const all = secondOrder(gs, { g: g!, q: q!, k: k!, v: v! }, options, (x) =>
      dropout ? dropElements(x, dropout) : x,
    )
    const list = [all.g, undefined, undefined, all.q, all.k, all.v]
    return list.map((x, i) => (needs(i) ? x : undefined))
  },
  saves: 'inputs',
})
