/** @file Losses by the names Keras gives them. */
import { sameShape } from '../core/shape.ts'
import { Sigmoid, Softmax } from '../nn/activations.ts'
import { Sequential } from '../nn/containers.ts'
import { Module } from '../nn/module.ts'
import { crossEntropy, nllLoss } from '../ops/cross-entropy.ts'
import { isFloat } from '../core/dtype.ts'
import { bceLoss, bceWithLogitsLoss, huberLoss, l1Loss, mseLoss } from '../ops/loss.ts'
import { Tensor } from '../tensor/tensor.ts'
import { ShapeError, ValueError } from '../util/errors.ts'

/** From what the model gives and what it should give to one number, the mean over the batch. */
export type LossFunction = (output: Tensor, target: Tensor) => Tensor

/** Names that `compile` understands. */
export type LossName = keyof typeof losses

/** A name, a function, or a module such as `new nn.CrossEntropyLoss()`. */
export type LossChoice = LossName | LossFunction | Module

/** What the last layer gives: scores (logits), or probabilities. */
export type OutputKind = 'scores' | 'probabilities'

/** The smallest probability whose logarithm is taken, as in Keras. */
const epsilon = 1e-7

/** Classification losses take what the last layer gives: scores, or probabilities after a softmax or sigmoid. */
const losses = {
  sparseCategoricalCrossentropy: (output, target, kind) =>
    kind === 'scores'
      ? crossEntropy(output, positions(output, target))
      : nllLoss(output.maximum(epsilon).log(), positions(output, target)),
  categoricalCrossentropy: (output, target, kind) =>
    kind === 'scores'
      ? crossEntropy(output, likeOutput(output, target))
      : output
          .maximum(epsilon)
          .log()
          .mul(likeOutput(output, target))
          .sum({ axis: -1 })
          .mean()
          .neg(),
  binaryCrossentropy: (output, target, kind) =>
    kind === 'scores'
      ? bceWithLogitsLoss(output, likeOutput(output, target))
      : bceLoss(output, likeOutput(output, target)),
  meanSquaredError: (output, target) => mseLoss(output, likeOutput(output, target)),
  meanAbsoluteError: (output, target) => l1Loss(output, likeOutput(output, target)),
  huber: (output, target) => huberLoss(output, likeOutput(output, target)),
} satisfies Record<string, (output: Tensor, target: Tensor, kind: OutputKind) => Tensor>

/** The function a choice stands for. Throws a ValueError that lists the names for an unknown one. */
export function lossFunction(choice: LossChoice, kind: OutputKind): LossFunction {
  if (typeof choice === 'string') {
    if (!Object.hasOwn(losses, choice))
      throw new ValueError(
        `compile: unknown loss '${choice}'. Expected one of ${Object.keys(losses).join(', ')}, a function (output, target) => loss, or a module`,
      )
    const named: (output: Tensor, target: Tensor, kind: OutputKind) => Tensor = losses[choice]
    return (output, target) => named(output, target, kind)
  }
  const compute =
    choice instanceof Module
      ? (choice.forward.bind(choice) as (output: Tensor, target: Tensor) => Tensor)
      : choice
  if (typeof compute !== 'function')
    throw new ValueError(
      `compile: the loss is of type ${typeof choice}. Expected one of ${Object.keys(losses).join(', ')}, a function (output, target) => loss, or a module`,
    )
  return (output, target) => checked(compute(output, target))
}

/** Whether a model ends in a layer that makes probabilities, as far as its containers show. */
export function outputKind(module: Module): OutputKind {
  if (module instanceof Sequential && module.length > 0) return outputKind(module.at(-1))
  return module instanceof Softmax || module instanceof Sigmoid ? 'probabilities' : 'scores'
}

/** Class positions as integers [N ...]: Keras' users have them as floats and as [N, 1] too. */
export function positions(output: Tensor, target: Tensor): Tensor {
  const isColumn = target.ndim === output.ndim && target.shape.at(-1) === 1
  const flat = isColumn ? target.squeeze({ axis: -1 }) : target
  return isFloat(flat.dtype) ? flat.cast('int32') : flat
}

/** The target in the shape and dtype of the output, where only axes of size 1 differ. */
export function likeOutput(output: Tensor, target: Tensor): Tensor {
  const significant = (t: Tensor) => t.shape.filter((n, i) => i === 0 || n !== 1)
  const fits = !sameShape(target.shape, output.shape)
  const shaped =
    fits && sameShape(significant(target), significant(output))
      ? target.reshape(output.shape)
      : target
  return shaped.cast(output.dtype)
}

function checked(loss: unknown): Tensor {
  if (!(loss instanceof Tensor))
    throw new ValueError(
      `compile: the loss function returned a value of type ${typeof loss}. Expected a tensor with one element`,
    )
  if (loss.size !== 1)
    throw new ShapeError(
      `compile: the loss function returned shape [${loss.shape.join(', ')}]. Expected one element; add .mean()`,
    )
  return loss
}
