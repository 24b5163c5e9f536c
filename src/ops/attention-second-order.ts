/** @file The gradient of attention's gradient, as a composition of ops. */
import type { Tensor } from '../tensor/tensor.ts'
import { attentionWeights, type WeightOptions } from './attention-weights.ts'

type Inputs = Readonly<Record<'g' | 'q' | 'k' | 'v', Tensor>>

// With A, B, C the gradients of dQ, dK and dV, what is differentiated is <dS, T> + <P, U>, where
// T = scale (A k^T + q B^T) and U = g C^T. Since sum_j dS T = sum_j P (T - t) dP with t_i = sum_j P T,
//   dP gets H = P (T - t),     P gets dP (T - t) - delta T + U.
// Dropout is a product with numbers K >= 0: it makes dP = K (g v^T), and U = K (g C^T).
/**
 * The gradients for g, q, k and v from those for dQ, dK and dV (`gs`). `drop` does to weights, and to
 * whatever has their shape, what dropout did.
 */
export function secondOrder(
  [a, b, c]: readonly (Tensor | undefined)[],
  { g, q, k, v }: Inputs,
  options: WeightOptions,
  drop: (x: Tensor) => Tensor,
): Partial<Inputs> {
  const { scale } = options
  const rows = { axis: -1, keepDims: true }
  const weights = attentionWeights(q, k, options) // [..., L, S], P
  const slope = drop(g.matmul(v.transpose())) // dP
  const delta = weights.mul(slope).sum(rows)
  const slopes = weights.mul(slope.sub(delta)) // dS
  const t = addUp(a?.matmul(k.transpose()), b && q.matmul(b.transpose()))?.mul(scale) // T
  const u = c && drop(g.matmul(c.transpose())) // U
  const centred = t?.sub(weights.mul(t).sum(rows)) // T - t
  const h = centred && drop(weights.mul(centred)) // K H
  const toWeights = addUp(centred && slope.mul(centred).sub(delta.mul(t!)), u)
  if (toWeights === undefined) return {}
  const toScores = weights.mul(toWeights.sub(weights.mul(toWeights).sum(rows))).mul(scale)
  const outer = slopes.mul(scale)
  return defined({
    g: addUp(h?.matmul(v), c && drop(weights).matmul(c)),
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
