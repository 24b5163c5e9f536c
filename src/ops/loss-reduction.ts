/** @file What losses share: how the losses of examples become one number, and checks of their arguments. */
import { formatShape, sameShape } from '../core/shape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { ShapeError, ValueError } from '../util/errors.ts'
import { checkTensor } from './define.ts'

/** How the losses of examples become one number: their mean (default), their sum, or 'none' to keep them. */
export type LossReduction = 'mean' | 'sum' | 'none'

export interface LossOptions {
  readonly reduction?: LossReduction
}

/** Throws a ValueError unless the reduction is one of those known; the default is 'mean'. */
export function checkReduction<R extends string = LossReduction>(
  where: string,
  reduction: R | undefined,
  known: readonly string[] = ['mean', 'sum', 'none'],
): R {
  const chosen = reduction ?? ('mean' as R)
  if (known.includes(chosen)) return chosen
  throw new ValueError(
    `${where}: unknown reduction ${JSON.stringify(chosen)}. Expected one of ${known.map((name) => `'${name}'`).join(', ')}`,
  )
}

/** The losses of examples, reduced. */
export function reduceLoss(losses: Tensor, reduction: LossReduction): Tensor {
  if (reduction === 'none') return losses
  return reduction === 'mean' ? losses.mean() : losses.sum()
}

/**
 * Throws unless two tensors have the same shape: a loss over shapes that merely broadcast is nearly
 * always a mistake ([64, 1] against [64] would compare every pair).
 */
export function checkSameShape(
  where: string,
  names: readonly [string, string],
  a: Tensor,
  b: Tensor,
): void {
  checkTensor(where, names[0], a)
  checkTensor(where, names[1], b)
  if (sameShape(a.shape, b.shape)) return
  const fix =
    a.size === b.size
      ? `reshape one: ${names[1]}.reshape(${names[0]}.shape)`
      : 'expand one of them if broadcasting is meant'
  throw new ShapeError(
    `${where}: ${names[0]} has shape ${formatShape(a.shape)} and ${names[1]} ${formatShape(b.shape)}. Expected the same shape; ${fix}`,
  )
}
