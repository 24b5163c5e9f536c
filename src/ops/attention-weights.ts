/** @file The weights of attention as a composition of ops: all of them at once, differentiable any number of times. */
import { dtypes } from '../core/dtype.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { Op } from '../tensor/op.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { defineOp } from './define.ts'

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

export interface WeightOptions {
  readonly mask?: Tensor
  readonly isCausal: boolean
  readonly scale: number
}

/** softmax(q k^T scale + mask): [..., L, S]. Rows without any key are zero. */
export function attentionWeights(
  q: Tensor,
  k: Tensor,
  { mask, isCausal, scale }: WeightOptions,
): Tensor {
  let scores = q.mul(scale).matmul(k.transpose()) // [..., L, S]
  if (mask === undefined)
    return (isCausal ? dispatch(causalOp, [scores, -Infinity]) : scores).softmax()
  let isLost: Tensor
  if (mask.dtype === 'bool') {
    const seen = isCausal ? dispatch(causalOp, [spread(mask, scores), 0]) : mask
    isLost = seen.any({ axis: -1, keepDims: true }).logicalNot()
    // Rows without any key would be 0 / 0: they are let through here and set to zero below.
    scores = seen.logicalOr(isLost).where(scores, -Infinity)
  } else {
    scores = scores.add(mask.cast(scores.dtype))
    if (isCausal) scores = dispatch(causalOp, [scores, -Infinity])
    isLost = scores.detach().max({ axis: -1, keepDims: true }).eq(-Infinity)
    scores = isLost.where(0, scores)
  }
  return isLost.where(0, scores.softmax())
}

const spread = (mask: Tensor, scores: Tensor): Tensor =>
  mask.expand([...mask.shape.slice(0, -2), ...scores.shape.slice(-2)])
