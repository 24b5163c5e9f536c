/** @file Losses of classification: cross entropy from scores, and negative log likelihood from log probabilities. */
import { dtypes, isFloat, type DType } from '../core/dtype.ts'
import { formatShape, sameShape, type Shape } from '../core/shape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, DTypeError, ShapeError, ValueError } from '../util/errors.ts'
import { classLosses, type ClassLossSettings } from './class-loss.ts'
import { checkTensor } from './define.ts'
import {
  checkReduction,
  reduceLoss,
  type LossOptions,
  type LossReduction,
} from './loss-reduction.ts'

export interface NllLossOptions extends LossOptions {
  /** Weight of each class, [classes]; default all 1. 'mean' divides by the sum of the weights used. */
  readonly weight?: Tensor
  /** Examples with this label do not count; default -100. */
  readonly ignoreIndex?: number
}

export interface CrossEntropyOptions extends NllLossOptions {
  /** Share of the target that is spread evenly over all classes, 0 (default) to 1 (Szegedy et al. 2016). */
  readonly labelSmoothing?: number
}

/**
 * Cross entropy between scores (logits, not probabilities) and targets. `logits` is [N, classes],
 * [N, classes, ...] or [classes]; `target` either class positions, integers of the shape of `logits`
 * without the class axis, or probabilities, floats of the shape of `logits`. The result is one number,
 * or the loss of each example with reduction 'none'. PyTorch's `cross_entropy`. Throws a ShapeError when
 * the shapes do not fit, a DTypeError for float class positions, and a ValueError that names the label
 * when one is not a class.
 *
 * @example
 * const logits = tensor([[2, 0, 0], [0, 1, 0]])
 * crossEntropy(logits, tensor([0, 2], { dtype: 'int32' })) // -> tensor(0.8955, float32, cpu)
 * crossEntropy(logits, tensor([[1, 0, 0], [0, 0.5, 0.5]])) // -> tensor(0.6455, float32, cpu)
 */
export function crossEntropy(
  logits: Tensor,
  target: Tensor,
  options: CrossEntropyOptions = {},
): Tensor {
  const where = 'crossEntropy'
  checkOptions(where, options, ['weight', 'ignoreIndex', 'labelSmoothing', 'reduction'])
  const { weight, ignoreIndex, labelSmoothing = 0 } = options
  const reduction = checkReduction(where, options.reduction)
  const classAxis = checkScores(where, 'logits', logits, target, weight)
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1))
    throw new ValueError(
      `${where}: labelSmoothing is a share from 0 to 1, received ${String(labelSmoothing)}. 0.1 is usual`,
    )
  if (isFloat(target.dtype) && sameShape(target.shape, logits.shape)) {
    if (ignoreIndex !== undefined)
      throw new ValueError(
        `${where}: ignoreIndex has no meaning for targets that are probabilities. Leave it out, or pass class positions`,
      )
    return ofProbabilities(logits, target, classAxis, weight, labelSmoothing, reduction)
  }
  checkLabels(where, 'logits', logits, target, classAxis)
  return ofLabels(logits, target, weight, reduction, {
    where,
    classAxis,
    normalized: false,
    ignoreIndex: checkIgnored(where, ignoreIndex),
    smoothing: labelSmoothing,
  })
}

/**
 * Minus the log probability of the class that is the target: `crossEntropy` for input that already is
 * `logSoftmax`. `logProbabilities` is [N, classes], [N, classes, ...] or [classes], `target` integers of
 * that shape without the class axis. PyTorch's `nll_loss`. Throws as `crossEntropy` does.
 *
 * @example
 * const scores = tensor([[0.7, 0.3], [0.2, 0.8]]).log()
 * nllLoss(scores, tensor([0, 1], { dtype: 'int32' })) // -> tensor(0.2899, float32, cpu)
 */
export function nllLoss(
  logProbabilities: Tensor,
  target: Tensor,
  options: NllLossOptions = {},
): Tensor {
  const where = 'nllLoss'
  checkOptions(where, options, ['weight', 'ignoreIndex', 'reduction'])
  const reduction = checkReduction(where, options.reduction)
  const classAxis = checkScores(where, 'logProbabilities', logProbabilities, target, options.weight)
  checkLabels(where, 'logProbabilities', logProbabilities, target, classAxis)
  return ofLabels(logProbabilities, target, options.weight, reduction, {
    where,
    classAxis,
    normalized: true,
    ignoreIndex: checkIgnored(where, options.ignoreIndex),
    smoothing: 0,
  })
}

function ofLabels(
  scores: Tensor,
  target: Tensor,
  weight: Tensor | undefined,
  reduction: LossReduction,
  settings: ClassLossSettings,
): Tensor {
  const [losses, weights] = classLosses(scores, target, weight, settings)
  if (reduction !== 'mean') return reduceLoss(losses, reduction)
  return losses.sum().div(weights.sum())
}

// -sum(w p log q) over the classes; the mean is over examples, whatever the weights.
function ofProbabilities(
  logits: Tensor,
  target: Tensor,
  axis: number,
  weight: Tensor | undefined,
  smoothing: number,
  reduction: LossReduction,
): Tensor {
  const classes = logits.shape[axis]!
  const smooth = smoothing === 0 ? target : target.mul(1 - smoothing).add(smoothing / classes)
  const byClass = logits.shape.map((n, i) => (i === axis ? n : 1))
  const weighted = weight === undefined ? smooth : smooth.mul(weight.reshape(byClass))
  return reduceLoss(logits.logSoftmax({ axis }).mul(weighted).sum({ axis }).neg(), reduction)
}

// -- checks

/** Checks everything but the target's dtype and shape; returns the class axis. */
function checkScores(
  where: string,
  name: string,
  scores: Tensor,
  target: Tensor,
  weight: Tensor | undefined,
): number {
  checkTensor(where, name, scores)
  checkTensor(where, 'target', target)
  if (!isFloat(scores.dtype))
    throw new DTypeError(
      `${where}: ${name} are ${scores.dtype}. Expected floats; cast them: ${name}.cast('float32')`,
    )
  if (scores.ndim === 0)
    throw new ShapeError(`${where}: ${name} have no axes. Expected [classes] or [N, classes, ...]`)
  const classAxis = scores.ndim === 1 ? 0 : 1
  if (weight === undefined) return classAxis
  checkTensor(where, 'weight', weight)
  const classes = scores.shape[classAxis]!
  if (!sameShape(weight.shape, [classes]))
    throw new ShapeError(
      `${where}: weight has shape ${formatShape(weight.shape)} for ${classes} classes. Expected [${classes}], one weight per class`,
    )
  return classAxis
}

function checkLabels(
  where: string,
  name: string,
  scores: Tensor,
  target: Tensor,
  classAxis: number,
): void {
  const expected = scores.shape.filter((_, i) => i !== classAxis)
  const fits = sameShape(target.shape, expected)
  if (isLabel(target.dtype)) {
    if (fits) return
    throw new ShapeError(
      `${where}: ${name} ${formatShape(scores.shape)} want class positions of shape ${formatShape(expected)}, received ${formatShape(target.shape)}${hintFor(target, expected)}`,
    )
  }
  if (fits || where === 'nllLoss')
    throw new DTypeError(
      `${where}: target is ${target.dtype}. Class positions are integers; cast them: target.cast('int32')`,
    )
  throw new ShapeError(
    `${where}: target of dtype ${target.dtype} and shape ${formatShape(target.shape)} does not fit ${name} ${formatShape(scores.shape)}. Expected probabilities of that shape, or integer class positions of shape ${formatShape(expected)}`,
  )
}

const isLabel = (dtype: DType): boolean => dtypes[dtype].kind === 'int'

function hintFor(target: Tensor, expected: Shape): string {
  if (target.size === expected.reduce((a, b) => a * b, 1))
    return `. Reshape it: target.reshape(${formatShape(expected)})`
  return target.ndim === expected.length + 1
    ? ". For one-hot targets pass floats: target.cast('float32')"
    : '. Give one position per example'
}

function checkIgnored(where: string, ignoreIndex = -100): number {
  if (Number.isSafeInteger(ignoreIndex)) return ignoreIndex
  throw new ValueError(
    `${where}: ignoreIndex is a whole number, received ${String(ignoreIndex)}. Leave it out for -100`,
  )
}
