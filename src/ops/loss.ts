/** @file Losses between two tensors of the same shape: regression, binary classification, divergence, margin. */
import { dispatch } from '../tensor/dispatch.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ShapeError, ValueError } from '../util/errors.ts'
import { checkTensor, elementwise } from './define.ts'
import { checkReduction, checkSameShape, reduceLoss, type LossOptions } from './loss-reduction.ts'

export type { LossOptions, LossReduction } from './loss-reduction.ts'

function checked(
  where: string,
  x: Tensor,
  target: Tensor,
  options: LossOptions,
  more: string[] = [],
) {
  checkOptions(where, options, [...more, 'reduction'])
  checkSameShape(where, ['x', 'target'], x, target)
  return checkReduction(where, options.reduction)
}

/**
 * Squared differences. The mean by default; shape of `x` with reduction 'none'. Throws a ShapeError
 * unless both have the same shape.
 *
 * @example
 * mseLoss(tensor([1, 2]), tensor([1, 4])) // -> tensor(2, float32, cpu)
 */
export function mseLoss(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const reduction = checked('mseLoss', x, target, options)
  const difference = x.sub(target)
  return reduceLoss(difference.mul(difference), reduction)
}

/**
 * Absolute differences. The mean by default; shape of `x` with reduction 'none'. Throws a ShapeError
 * unless both have the same shape.
 *
 * @example
 * l1Loss(tensor([1, 2]), tensor([1, 5])) // -> tensor(1.5, float32, cpu)
 */
export function l1Loss(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const reduction = checked('l1Loss', x, target, options)
  return reduceLoss(x.sub(target).abs(), reduction)
}

export interface HuberLossOptions extends LossOptions {
  /** Where the loss changes from quadratic to linear; default 1. */
  readonly delta?: number
}

/**
 * d^2 / 2 for differences |d| up to delta, delta (|d| - delta / 2) beyond (Huber 1964). Reduced as in
 * `mseLoss`. Throws a ValueError unless delta > 0.
 *
 * @example
 * huberLoss(tensor([0.5, 4]), tensor([0, 0]), { reduction: 'none' }) // -> tensor([0.125, 3.500], float32, cpu)
 */
export function huberLoss(x: Tensor, target: Tensor, options: HuberLossOptions = {}): Tensor {
  const reduction = checked('huberLoss', x, target, options, ['delta'])
  const { delta = 1 } = options
  if (!(delta > 0))
    throw new ValueError(
      `huberLoss: delta must be > 0, received ${String(delta)}. 1 is the default`,
    )
  return reduceLoss(huber(x, target, delta), reduction)
}

export interface SmoothL1LossOptions extends LossOptions {
  /** Where the loss changes from quadratic to linear; default 1. 0 gives `l1Loss`. */
  readonly beta?: number
}

/**
 * d^2 / (2 beta) for differences |d| below beta, |d| - beta / 2 beyond (Girshick 2015): `huberLoss`
 * divided by beta. Reduced as in `mseLoss`. Throws a ValueError for a negative beta.
 *
 * @example
 * smoothL1Loss(tensor([0.5, 4]), tensor([0, 0]), { beta: 2 }) // -> tensor(1.5313, float32, cpu)
 */
export function smoothL1Loss(x: Tensor, target: Tensor, options: SmoothL1LossOptions = {}): Tensor {
  const reduction = checked('smoothL1Loss', x, target, options, ['beta'])
  const { beta = 1 } = options
  if (!(beta >= 0))
    throw new ValueError(
      `smoothL1Loss: beta must be >= 0, received ${String(beta)}. 1 is the default`,
    )
  if (beta === 0) return reduceLoss(x.sub(target).abs(), reduction)
  return reduceLoss(huber(x, target, beta).div(beta), reduction)
}

function huber(x: Tensor, target: Tensor, delta: number): Tensor {
  const difference = x.sub(target)
  const size = difference.abs()
  const quadratic = difference.mul(difference).mul(0.5)
  return size.le(delta).where(quadratic, size.sub(0.5 * delta).mul(delta))
}

export interface BceLossOptions extends LossOptions {
  /** Weight of each loss; broadcasts. */
  readonly weight?: Tensor
}

const bceOp = elementwise({
  name: 'bce',
  dtype: 'floating',
  scalar(s, p, t) {
    // The logarithms stop at -100, so that a sure mistake has a large loss, not an infinite one.
    const log = s.max(s.log(p), -100)
    const logNot = s.max(s.log1p(s.neg(p)), -100)
    return s.neg(s.add(s.mul(t, log), s.mul(s.sub(s.like(t, 1), t), logNot)))
  },
  // dp = (p - t) / (p (1 - p)), dt = log(1 - p) - log(p)
  vjp({ g, inputs, needs }) {
    const [p, t] = inputs as [Tensor, Tensor]
    const spread = p.mul(p.neg().add(1))
    return [
      needs(0) ? g.mul(p.sub(t).div(spread.maximum(1e-12))) : undefined,
      needs(1) ? g.mul(p.neg().log1p().maximum(-100).sub(p.log().maximum(-100))) : undefined,
    ]
  },
  saves: 'inputs',
})

/**
 * Binary cross entropy of probabilities: -(t log(x) + (1 - t) log(1 - x)), each logarithm at least
 * -100, as in PyTorch. Reduced as in `mseLoss`. Prefer `bceWithLogitsLoss`, which takes scores and
 * loses no precision. Throws a ShapeError unless `x` and `target` have the same shape.
 *
 * @example
 * bceLoss(tensor([0.9, 0.2]), tensor([1, 0])) // -> tensor(0.1643, float32, cpu)
 */
export function bceLoss(x: Tensor, target: Tensor, options: BceLossOptions = {}): Tensor {
  const reduction = checked('bceLoss', x, target, options, ['weight'])
  return reduceLoss(weighted('bceLoss', dispatch(bceOp, [x, target]), options.weight), reduction)
}

export interface BceWithLogitsLossOptions extends BceLossOptions {
  /** Weight of positive examples; broadcasts. More than 1 favours recall. */
  readonly posWeight?: Tensor
}

// (1 - t) x + c softplus(-x) with c = 1 + (posWeight - 1) t and softplus(-x) = log(1 + exp(-x)),
// computed as log1p(exp(-|x|)) + max(-x, 0), which never overflows.
const bceWithLogitsOp = elementwise({
  name: 'bceWithLogits',
  dtype: 'floating',
  scalar(s, x, t, positive) {
    const one = s.like(t, 1)
    const soft = s.add(s.log1p(s.exp(s.neg(s.abs(x)))), s.max(s.neg(x), 0))
    const c = s.add(one, s.mul(s.sub(positive!, one), t))
    return s.add(s.mul(s.sub(one, t), x), s.mul(c, soft))
  },
  // dx = (1 - t) - c sigmoid(-x), dt = (posWeight - 1) softplus(-x) - x
  vjp({ g, inputs, needs }) {
    const [x, t, positive] = inputs as [Tensor, Tensor | number, Tensor | number]
    const extra = typeof positive === 'number' ? undefined : positive.sub(1)
    const c = extra === undefined ? undefined : extra.mul(t).add(1)
    const chance = x.neg().sigmoid()
    const slope = (c === undefined ? chance : chance.mul(c)).add(t).neg().add(1)
    const towards = extra === undefined ? x.neg() : softMinus(x).mul(extra).sub(x)
    return [needs(0) ? g.mul(slope) : undefined, needs(1) ? g.mul(towards) : undefined]
  },
  saves: 'inputs',
})

// softplus(-x): the loss of a score for a positive example.
const softMinus = (x: Tensor): Tensor => dispatch(bceWithLogitsOp, [x, 1, 1])

/**
 * Binary cross entropy of scores: `bceLoss` of sigmoid(x) without overflow or lost digits. Reduced as
 * in `mseLoss`. PyTorch's `binary_cross_entropy_with_logits`. Throws a ShapeError unless `x` and
 * `target` have the same shape.
 *
 * @example
 * bceWithLogitsLoss(tensor([2, -1000]), tensor([1, 0])) // -> tensor(0.0635, float32, cpu)
 */
export function bceWithLogitsLoss(
  x: Tensor,
  target: Tensor,
  options: BceWithLogitsLossOptions = {},
): Tensor {
  const where = 'bceWithLogitsLoss'
  const reduction = checked(where, x, target, options, ['weight', 'posWeight'])
  const { weight, posWeight = 1 } = options
  if (typeof posWeight !== 'number') checkTensor(where, 'posWeight', posWeight)
  const losses = dispatch(bceWithLogitsOp, [x, target, posWeight])
  return reduceLoss(weighted(where, losses, weight), reduction)
}

function weighted(where: string, losses: Tensor, weight: Tensor | undefined): Tensor {
  if (weight === undefined) return losses
  checkTensor(where, 'weight', weight)
  return losses.mul(weight)
}

export interface KlDivLossOptions {
  /** 'batchMean' divides the sum by the size of axis 0: the divergence as defined. Default 'mean'. */
  readonly reduction?: 'mean' | 'sum' | 'none' | 'batchMean'
  /** Whether `target` holds log probabilities too; default false. */
  readonly logTarget?: boolean
}

/**
 * Kullback-Leibler divergence, element by element: t (log(t) - x), where `x` holds log probabilities
 * (see `logSoftmax`) and `target` probabilities; 0 where t is 0. Throws a ShapeError unless both have
 * the same shape.
 *
 * @example
 * const x = tensor([[0.5, 0.5]]).log()
 * klDivLoss(x, tensor([[0.75, 0.25]]), { reduction: 'batchMean' }) // -> tensor(0.1308, float32, cpu)
 */
export function klDivLoss(x: Tensor, target: Tensor, options: KlDivLossOptions = {}): Tensor {
  const where = 'klDivLoss'
  checkOptions(where, options, ['reduction', 'logTarget'])
  checkSameShape(where, ['x', 'target'], x, target)
  const reductions = ['mean', 'sum', 'none', 'batchMean'] as const
  const reduction = checkReduction<(typeof reductions)[number]>(
    where,
    options.reduction,
    reductions,
  )
  if (reduction === 'batchMean' && x.ndim === 0)
    throw new ShapeError(`${where}: 'batchMean' of 0-d tensors, which have no batch. Use 'sum'`)
  const losses =
    options.logTarget === true ? target.exp().mul(target.sub(x)) : divergence(x, target)
  return reduction === 'batchMean' ? losses.sum().div(x.shape[0]!) : reduceLoss(losses, reduction)
}

function divergence(x: Tensor, target: Tensor): Tensor {
  const isPositive = target.gt(0)
  const log = isPositive.where(target, 1).log()
  return isPositive.where(target.mul(log.sub(x)), 0)
}

export interface HingeLossOptions extends LossOptions {
  /** How far on the right side a score must be to cost nothing; default 1. */
  readonly margin?: number
}

/**
 * max(0, margin - t x) for scores `x` and targets -1 or 1 (Cortes & Vapnik 1995). Reduced as in
 * `mseLoss`. Throws a ShapeError unless both have the same shape.
 *
 * @example
 * hingeLoss(tensor([2, 0.5, -1]), tensor([1, 1, 1]), { reduction: 'none' }) // -> tensor([0.0, 0.5, 2.0], float32, cpu)
 */
export function hingeLoss(x: Tensor, target: Tensor, options: HingeLossOptions = {}): Tensor {
  const reduction = checked('hingeLoss', x, target, options, ['margin'])
  const { margin = 1 } = options
  return reduceLoss(x.mul(target).neg().add(margin).relu(), reduction)
}
