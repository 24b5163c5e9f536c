/** @file Scaled dot-product attention. */
import { isFloat } from '../core/dtype.ts'
import { broadcastShapes, formatShape, sizeOf } from '../core/shape.ts'
import { defaultGenerator, type Generator } from '../tensor/random.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, DTypeError, ShapeError, ValueError } from '../util/errors.ts'
import { canFuse, fusedAttention } from './attention-fused.ts'
import { attentionWeights } from './attention-weights.ts'
import { checkTensor } from './define.ts'

export interface AttentionOptions {
  /** Broadcasts to [..., L, S]: bool, true where a query may look at a key, or floats that are added to the scores. */
  readonly mask?: Tensor
  /** Query i looks at keys 0 to i only; default false. */
  readonly isCausal?: boolean
  /** What scores are multiplied by; default 1 / sqrt(E). */
  readonly scale?: number
  /** Probability of dropping an attention weight; default 0. Pass 0 when not training. */
  readonly dropout?: number
  /** The stream that dropout draws from. */
  readonly generator?: Generator
}

/**
 * softmax(q k^T scale) v: each query looks at every key and takes its mixture of the values (Vaswani et
 * al. 2017). `q` is [..., L, E], `k` [..., S, E] and `v` [..., S, F]; the result is [..., L, F]. Leading
 * axes broadcast. A query that the mask keeps from every key gets zeros. Throws a ShapeError when
 * sizes differ, a DTypeError for masks of integers.
 *
 * @example
 * const q = tensor([[1, 0], [0, 1]])
 * const v = tensor([[1, 2], [3, 4]])
 * scaledDotProductAttention(q, q, v, { isCausal: true, scale: 0 }) // -> tensor([[1, 2], [2, 3]], float32, cpu)
 */
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions = {},
): Tensor {
  check(q, k, v, options)
  const { mask, isCausal = false, dropout: p = 0, generator = defaultGenerator } = options
  const scale = options.scale ?? 1 / Math.sqrt(q.shape.at(-1)!)
  const present = { ...(mask && { mask }), isCausal, scale }
  // Fused kernels give no gradient to the mask.
  if (mask?.requiresGrad !== true && canFuse(q, k, v)) {
    const draw = p === 0 ? undefined : generator.draw(weightCount(q, k, mask))
    return fusedAttention(q, k, v, { ...present, ...(draw && { dropout: { p, draw } }) })
  }
  const weights = attentionWeights(q, k, present) // [..., L, S]
  return weights.dropout({ p, generator }).matmul(v)
}

function weightCount(q: Tensor, k: Tensor, mask: Tensor | undefined): number {
  const shapes = [q, k, ...(mask ? [mask] : [])].map((x) => x.shape.slice(0, -2))
  const leading = broadcastShapes('scaledDotProductAttention', ...shapes)
  return sizeOf([...leading, q.shape.at(-2)!, k.shape.at(-2)!])
}

function check(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): void {
  const where = 'scaledDotProductAttention'
  const tensors = { q, k, v }
  checkOptions(where, options, ['mask', 'isCausal', 'scale', 'dropout', 'generator'])
  for (const [name, x] of Object.entries(tensors)) {
    checkTensor(where, name, x)
    if (x.ndim < 2)
      throw new ShapeError(
        `${where}: ${name} has shape ${formatShape(x.shape)}. Expected at least [length, features]`,
      )
    if (!isFloat(x.dtype))
      throw new DTypeError(
        `${where}: ${name} is ${x.dtype}. Expected floats; cast it: ${name}.cast('float32')`,
      )
  }
  const shapes = () =>
    Object.entries(tensors)
      .map(([name, x]) => `${name} ${formatShape(x.shape)}`)
      .join(', ')
  if (q.shape.at(-1) !== k.shape.at(-1))
    throw new ShapeError(
      `${where}: queries and keys differ in their features: ${shapes()}. Expected q.shape[-1] === k.shape[-1]`,
    )
  if (k.shape.at(-2) !== v.shape.at(-2))
    throw new ShapeError(
      `${where}: keys and values differ in number: ${shapes()}. Expected k.shape[-2] === v.shape[-2]`,
    )
  const { dropout = 0 } = options
  if (!(dropout >= 0 && dropout <= 1))
    throw new ValueError(
      `${where}: dropout is a probability from 0 to 1, received ${String(dropout)}`,
    )
  if (options.mask === undefined) return
  checkTensor(where, 'mask', options.mask)
  if (options.mask.dtype !== 'bool' && !isFloat(options.mask.dtype))
    throw new DTypeError(
      `${where}: mask is ${options.mask.dtype}. Expected bool (true = look) or floats to add; cast it: mask.cast('bool')`,
    )
}
