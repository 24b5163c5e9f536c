/** @file Batch norm with the statistics it found, for layers that keep running averages. */
import type { Tensor } from '../tensor/tensor.ts'
import { noGrad } from '../tensor/tape.ts'
import { normalize } from './normalize.ts'

export interface BatchNormResult {
  readonly output: Tensor
  /** Mean of each channel, [channels], without history. */
  readonly mean: Tensor
  /** Variance of each channel (divided by the count, not count - 1), [channels], without history. */
  readonly variance: Tensor
}

/**
 * Normalises each channel (axis 1) by the mean and variance of the batch, and gives those too.
 *
 * @example
 * batchNormWithStatistics(tensor([[1, 10], [3, 30]]), {}).mean // -> tensor([2, 20], float32, cpu)
 */
export function batchNormWithStatistics(
  x: Tensor,
  options: {
    readonly weight?: Tensor | undefined
    readonly bias?: Tensor | undefined
    readonly eps?: number
  },
): BatchNormResult {
  const { weight, bias, eps = 1e-5 } = options
  const { output, mean, scale } = normalize('batchNorm', x, {
    axes: x.shape.flatMap((_, i) => (i === 1 ? [] : [i])),
    parameterAxes: [1],
    weight,
    bias,
    eps,
  })
  // scale = 1 / sqrt(variance + eps)
  const variance = noGrad(() => scale.mul(scale).reciprocal().sub(eps).maximum(0))
  return { output, mean: mean.detach(), variance }
}
