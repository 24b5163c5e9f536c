/** @file Scaled dot-product attention. */
import { dtypes, isFloat } from '../core/dtype.ts'
import { formatShape } from '../core/shape.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { Op } from '../tensor/op.ts'
import type { Generator } from '../tensor/random.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, DTypeError, ShapeError } from '../util/errors.ts'
import { checkTensor, defineOp } from './define.ts'

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

/** Keeps element [..., i, j] where j <= i; the number after the tensor stands everywhere else. */
const causalOp: Op = defineOp({
  name: 'causal',
  kind: 'elementwise',
  onnx: 'Trilu',
  infer: ([x]) => [{ shape: x!.shape, dtype: x!.dtype }],
  lower({ inputs, outputs, kernel, out }) {
    const k = kernel()
    const axes = k.axes(outputs[0]!.layout.shape)
    const [i, j] = axes.slice(-2)
    const fill = k.s.convert(k.param(0), dtypes[inputs[0]!.dtype].compute)
    const isSeen = k.s.le(k.at(j!), k.at(i!))
    k.store(out(), axes, k.s.select(isSeen, k.load(0, axes), fill))
    return [k.finish()]
  },
  vjp: ({ g }) => [dispatch(causalOp, [g, 0])],
  saves: 'none',
})

/**
 * softmax(q k^T scale) v: each query looks at every key and takes its mixture of the values (Vaswani et
 * al. 2017). `q` is [..., L, E], `k` [..., S, E] and `v` [..., S, F]; the result is [..., L, F]. Leading
 * axes broadcast. A query that a bool mask keeps from every key gets zeros. Throws a ShapeError when
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
  const { mask, isCausal = false, scale = 1 / Math.sqrt(q.shape.at(-1)!), dropout = 0 } = options
  let scores = q.mul(scale).matmul(k.transpose()) // [..., L, S]
  let isLost: Tensor | undefined
  if (mask?.dtype === 'bool') {
    const seen = isCausal ? dispatch(causalOp, [spread(mask, scores), 0]) : mask
    // Rows without any key would be 0 / 0: they are let through here and set to zero below.
    isLost = seen.any({ axis: -1, keepDims: true }).logicalNot()
    scores = seen.logicalOr(isLost).where(scores, -Infinity)
  } else {
    if (mask !== undefined) scores = scores.add(mask.cast(scores.dtype))
    if (isCausal) scores = dispatch(causalOp, [scores, -Infinity])
  }
  let weights = scores.softmax()
  if (isLost !== undefined) weights = isLost.where(0, weights)
  if (dropout !== 0)
    weights = weights.dropout({
      p: dropout,
      ...(options.generator !== undefined && { generator: options.generator }),
    })
  return weights.matmul(v)
}

const spread = (mask: Tensor, scores: Tensor): Tensor =>
  mask.expand([...mask.shape.slice(0, -2), ...scores.shape.slice(-2)])

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
  if (options.mask === undefined) return
  checkTensor(where, 'mask', options.mask)
  if (options.mask.dtype !== 'bool' && !isFloat(options.mask.dtype))
    throw new DTypeError(
      `${where}: mask is ${options.mask.dtype}. Expected bool (true = look) or floats to add; cast it: mask.cast('bool')`,
    )
}
