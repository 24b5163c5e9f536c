/** @file Losses as modules: a loss function together with its options. */
import type { CrossEntropyOptions, NllLossOptions } from '../ops/cross-entropy.ts'
import type {
  BceLossOptions,
  BceWithLogitsLossOptions,
  HuberLossOptions,
  KlDivLossOptions,
  LossOptions,
  SmoothL1LossOptions,
} from '../ops/loss.ts'
import { Buffer } from '../tensor/cell.ts'
import { Tensor } from '../tensor/tensor.ts'
import { checkOptions } from '../util/errors.ts'
import { checkChoice } from './checks.ts'
import { Module } from './module.ts'

/** A loss with its options. Tensors among them become buffers, so that they move with the module. */
abstract class Loss<O extends { readonly reduction?: string }> extends Module {
  readonly #options: O
  readonly #known: readonly (keyof O & string)[]

  constructor(
    options: O,
    known: readonly (keyof O & string)[],
    reductions: readonly string[] = ['mean', 'sum', 'none'],
  ) {
    super()
    const name = new.target.name
    checkOptions(name, options, ['reduction', ...known])
    checkChoice(name, 'reduction', options.reduction ?? 'mean', reductions)
    this.#options = options
    this.#known = known
    for (const [key, value] of Object.entries<unknown>(options))
      if (value instanceof Tensor) Object.assign(this, { [key]: new Buffer(value) })
  }

  /** The options, tensors as they are now. */
  get options(): O {
    let options = this.#options
    for (const key of this.#known) {
      const value = (this as Record<string, unknown>)[key]
      if (value instanceof Buffer) options = { ...options, [key]: value }
    }
    return options
  }

  override extraRepr(): string {
    return Object.entries<unknown>(this.#options)
      .filter(([, value]) => !(value instanceof Tensor))
      .map(([name, value]) => `${name}=${String(value)}`)
      .join(', ')
  }
}

/**
 * Cross entropy between logits [batch, classes, ...] and class positions, or probabilities; see
 * `crossEntropy`. Softmax is part of it: pass raw scores.
 *
 * @example
 * const lossOf = new nn.CrossEntropyLoss()
 * lossOf.forward(tensor([[2, 0, 0], [0, 1, 0]]), tensor([0, 2], { dtype: 'int32' })) // -> tensor(0.8955, float32, cpu)
 */
export class CrossEntropyLoss extends Loss<CrossEntropyOptions> {
  constructor(options: CrossEntropyOptions = {}) {
    super(options, ['weight', 'ignoreIndex', 'labelSmoothing'])
  }
  forward(logits: Tensor, target: Tensor): Tensor {
    return logits.crossEntropy(target, this.options)
  }
}

/**
 * Minus the log probability of the target class, for input that is `logSoftmax` already; see `nllLoss`.
 *
 * @example
 * const x = tensor([[0.25, 0.75]]).log()
 * new nn.NLLLoss().forward(x, tensor([1], { dtype: 'int32' })) // -> tensor(0.2877, float32, cpu)
 */
export class NLLLoss extends Loss<NllLossOptions> {
  constructor(options: NllLossOptions = {}) {
    super(options, ['weight', 'ignoreIndex'])
  }
  forward(logProbabilities: Tensor, target: Tensor): Tensor {
    return logProbabilities.nllLoss(target, this.options)
  }
}

/**
 * Squared differences; see `mseLoss`.
 *
 * @example
 * new nn.MSELoss().forward(tensor([1, 2]), tensor([1, 4])) // -> tensor(2, float32, cpu)
 */
export class MSELoss extends Loss<LossOptions> {
  constructor(options: LossOptions = {}) {
    super(options, [])
  }
  forward(x: Tensor, target: Tensor): Tensor {
    return x.mseLoss(target, this.options)
  }
}

/**
 * Absolute differences; see `l1Loss`.
 *
 * @example
 * new nn.L1Loss({ reduction: 'sum' }).forward(tensor([1, 2]), tensor([1, 5])) // -> tensor(3, float32, cpu)
 */
export class L1Loss extends Loss<LossOptions> {
  constructor(options: LossOptions = {}) {
    super(options, [])
  }
  forward(x: Tensor, target: Tensor): Tensor {
    return x.l1Loss(target, this.options)
  }
}

/**
 * Squared near 0, linear beyond delta (default 1); see `huberLoss`.
 *
 * @example
 * new nn.HuberLoss().forward(tensor([0, 0]), tensor([1, 3])) // -> tensor(1.5, float32, cpu)
 */
export class HuberLoss extends Loss<HuberLossOptions> {
  constructor(options: HuberLossOptions = {}) {
    super(options, ['delta'])
  }
  forward(x: Tensor, target: Tensor): Tensor {
    return x.huberLoss(target, this.options)
  }
}

/**
 * Squared near 0, absolute beyond beta (default 1); see `smoothL1Loss`.
 *
 * @example
 * new nn.SmoothL1Loss().forward(tensor([0, 0]), tensor([1, 3])) // -> tensor(1.5, float32, cpu)
 */
export class SmoothL1Loss extends Loss<SmoothL1LossOptions> {
  constructor(options: SmoothL1LossOptions = {}) {
    super(options, ['beta'])
  }
  forward(x: Tensor, target: Tensor): Tensor {
    return x.smoothL1Loss(target, this.options)
  }
}

/**
 * Binary cross entropy of probabilities; see `bceLoss`. `BCEWithLogitsLoss` is more exact.
 *
 * @example
 * new nn.BCELoss().forward(tensor([0.9, 0.2]), tensor([1, 0])) // -> tensor(0.1643, float32, cpu)
 */
export class BCELoss extends Loss<BceLossOptions> {
  constructor(options: BceLossOptions = {}) {
    super(options, ['weight'])
  }
  forward(x: Tensor, target: Tensor): Tensor {
    return x.bceLoss(target, this.options)
  }
}

/**
 * Binary cross entropy of raw scores, without overflow; see `bceWithLogitsLoss`.
 *
 * @example
 * new nn.BCEWithLogitsLoss().forward(tensor([2, -1000]), tensor([1, 0])) // -> tensor(0.0635, float32, cpu)
 */
export class BCEWithLogitsLoss extends Loss<BceWithLogitsLossOptions> {
  constructor(options: BceWithLogitsLossOptions = {}) {
    super(options, ['weight', 'posWeight'])
  }
  forward(x: Tensor, target: Tensor): Tensor {
    return x.bceWithLogitsLoss(target, this.options)
  }
}

/**
 * Kullback-Leibler divergence of log probabilities from target probabilities; see `klDivLoss`.
 *
 * @example
 * const x = tensor([[0.5, 0.5]]).log()
 * new nn.KLDivLoss({ reduction: 'batchMean' }).forward(x, tensor([[0.75, 0.25]])) // -> tensor(0.1308, float32, cpu)
 */
export class KLDivLoss extends Loss<KlDivLossOptions> {
  constructor(options: KlDivLossOptions = {}) {
    super(options, ['logTarget'], ['mean', 'sum', 'none', 'batchMean'])
  }
  forward(x: Tensor, target: Tensor): Tensor {
    return x.klDivLoss(target, this.options)
  }
}
