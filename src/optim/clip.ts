/** @file Limits on gradients. */
import { full } from '../ops/create.ts'
import { gradOf, replaceGrad, type Parameter } from '../tensor/cell.ts'
import { noGrad } from '../tensor/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ValueError } from '../util/errors.ts'

export interface ClipGradNormOptions {
  /** p of the p-norm, above 0; Infinity for the largest element. Default 2. */
  readonly normType?: number
}

/**
 * Scales all gradients by one factor so that the norm of all of them together is at most `maxNorm`.
 * Returns that norm as it was before, a 0-d tensor. A norm that is not finite makes the gradients so
 * too: nothing is hidden. PyTorch's `clip_grad_norm_`. Throws a ValueError unless maxNorm is at least 0.
 *
 * @example
 * const w = new nn.Parameter(tensor([1, 1]))
 * w.mul(tensor([30, 40])).sum().backward()
 * optim.clipGradNorm([w], 1) // -> tensor(50, float32, cpu)
 * w.grad // -> tensor([0.6, 0.8], float32, cpu)
 */
export function clipGradNorm(
  parameters: Iterable<Parameter>,
  maxNorm: number,
  options: ClipGradNormOptions = {},
): Tensor {
  checkOptions('clipGradNorm', options, ['normType'])
  const { normType = 2 } = options
  checkLimit('clipGradNorm', 'maxNorm', maxNorm)
  if (!(normType > 0))
    throw new ValueError(`clipGradNorm: normType must be above 0, received ${String(normType)}`)
  const withGradient = [...parameters].filter((p) => gradOf(p) !== undefined)
  return noGrad(() => {
    const total = totalNorm(
      withGradient.map((p) => p.gradSlot!),
      normType,
    )
    // As PyTorch: a little below maxNorm, so that a norm of 0 divides nothing by 0.
    const scale = total.add(1e-6).reciprocal().mul(maxNorm).minimum(1)
    for (const p of withGradient) replaceGrad(p, p.gradSlot!.mul(scale.to(p.device)))
    return total
  })
}

/**
 * Limits every element of the gradients to -clipValue .. clipValue; NaN stays NaN. PyTorch's
 * `clip_grad_value_`. Throws a ValueError unless clipValue is at least 0.
 *
 * @example
 * const w = new nn.Parameter(tensor([1, 1]))
 * w.mul(tensor([30, -4])).sum().backward()
 * optim.clipGradValue([w], 5)
 * w.grad // -> tensor([ 5, -4], float32, cpu)
 */
export function clipGradValue(parameters: Iterable<Parameter>, clipValue: number): void {
  checkLimit('clipGradValue', 'clipValue', clipValue)
  noGrad(() => {
    for (const p of parameters)
      if (gradOf(p) !== undefined)
        replaceGrad(p, p.gradSlot!.clamp({ min: -clipValue, max: clipValue }))
  })
}

/** The p-norm of the elements of all tensors, on the device of the first. */
function totalNorm(tensors: readonly Tensor[], p: number): Tensor {
  const [first] = tensors
  if (first === undefined) return full([], 0)
  const here = (t: Tensor) => t.to(first.device)
  if (p === Infinity) return tensors.map((t) => here(t.abs().max())).reduce((a, b) => a.maximum(b))
  const powers = tensors.map((t) => here(p === 2 ? t.mul(t).sum() : t.abs().pow(p).sum()))
  const sum = powers.reduce((a, b) => a.add(b))
  return p === 2 ? sum.sqrt() : sum.pow(1 / p)
}

function checkLimit(where: string, name: string, value: unknown): void {
  if (typeof value === 'number' && value >= 0) return
  throw new ValueError(
    `${where}: ${name} must be a number of at least 0, received ${String(value)}`,
  )
}
