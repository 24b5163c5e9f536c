/** @file Adam and AdamW. */
import { updateCells, type Parameter } from '../tensor/cell.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { assumed, liveNumbers } from '../tensor/tracing.ts'
import {
  checkNonNegative,
  checkRate,
  Optimizer,
  slotOf,
  type Hyperparameters,
  type ParameterGroup,
  type ParametersOrGroups,
  type ParameterState,
} from './optimizer.ts'
import { defineUpdate } from './update.ts'

export interface AdamOptions extends Hyperparameters {
  /** Learning rate; default 1e-3. */
  lr: number
  /** Decay rates of the averages of the gradient and of its square; default [0.9, 0.999]. */
  betas: readonly [number, number]
  /** Added to the root in the denominator; default 1e-8. */
  eps: number
  /** Adam: L2 penalty added to the gradient, default 0. AdamW: decay of the weights, default 0.01. */
  weightDecay: number
  /** Divide by the largest average of squares so far; default false. */
  amsgrad: boolean
}

type AdamAttributes = {
  readonly decay: 'none' | 'penalty' | 'decoupled'
  readonly amsgrad: boolean
}

const adamOp = defineUpdate<AdamAttributes>({
  name: 'adamUpdate',
  cells: ({ amsgrad }) => (amsgrad ? 4 : 3),
  rule(s, [p, m, v, largest], gradient, numbers, { decay, amsgrad }) {
    const [beta1, rest1, beta2, rest2, eps, stepSize, rootScale, amount] = numbers
    // m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
    // p -= lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
    const g = decay === 'penalty' ? s.add(gradient, s.mul(amount!, p!)) : gradient
    const mean = s.add(s.mul(beta1!, m!), s.mul(rest1!, g))
    const square = s.add(s.mul(beta2!, v!), s.mul(s.mul(rest2!, g), g))
    const most = amsgrad ? s.max(largest!, square) : square
    const root = s.add(s.mul(s.sqrt(most), rootScale!), eps!)
    const kept = decay === 'decoupled' ? s.mul(amount!, p!) : p!
    const moved = s.sub(kept, s.div(s.mul(stepSize!, mean), root))
    return amsgrad ? [moved, mean, square, most] : [moved, mean, square]
  },
})

/**
 * Adam (Kingma and Ba, 2015), with AMSGrad on request; PyTorch's formulas (`torch.optim.Adam`). One
 * fused kernel per parameter and step; in a compiled step all of them are shared as one. Throws a ValueError for rates outside their range.
 *
 * @example
 * const w = new nn.Parameter(tensor([1]))
 * const optimizer = new optim.Adam([w], { lr: 0.1 })
 * w.mul(w).sum().backward()
 * optimizer.step()
 * w.itemSync().toFixed(4) // -> 0.9000
 */
export class Adam extends Optimizer<AdamOptions> {
  /** Whether weight decay acts on the weights themselves rather than through the gradient. */
  protected readonly decoupled: boolean = false

  constructor(params: ParametersOrGroups<AdamOptions>, options: Partial<AdamOptions> = {}) {
    super(params, options, adamDefaults)
  }

  protected override check(name: string, group: AdamOptions): void {
    super.check(name, group)
    checkRate(name, 'betas[0]', group.betas?.[0])
    checkRate(name, 'betas[1]', group.betas?.[1])
    checkNonNegative(name, 'eps', group.eps)
    checkNonNegative(name, 'weightDecay', group.weightDecay)
  }

  protected update(
    parameter: Parameter,
    gradient: Tensor,
    group: ParameterGroup<AdamOptions>,
    state: ParameterState,
  ): void {
    adamStep(parameter, gradient, group, state, this.decoupled)
  }
}

/**
 * Adam with weight decay that does not go through the averages (Loshchilov and Hutter, 2019):
 * w = (1 - lr weightDecay) w before the update. PyTorch's `torch.optim.AdamW`; weightDecay is 0.01
 * unless given.
 *
 * @example
 * const w = new nn.Parameter(tensor([1]))
 * const optimizer = new optim.AdamW([w], { lr: 0.1, weightDecay: 0.5 })
 * w.mul(w).sum().backward()
 * optimizer.step()
 * w.itemSync().toFixed(4) // -> 0.8500
 */
export class AdamW extends Adam {
  protected override readonly decoupled = true

  constructor(params: ParametersOrGroups<AdamOptions>, options: Partial<AdamOptions> = {}) {
    super(params, { ...options, weightDecay: options.weightDecay ?? 0.01 })
  }
}

const adamDefaults: AdamOptions = {
  lr: 1e-3,
  betas: [0.9, 0.999],
  eps: 1e-8,
  weightDecay: 0,
  amsgrad: false,
}

function adamStep(
  parameter: Parameter,
  gradient: Tensor,
  group: AdamOptions,
  state: ParameterState,
  decoupled: boolean,
): void {
  const decays = decoupled ? 'decoupled' : 'penalty'
  const decay = assumed(() => (group.weightDecay === 0 ? 'none' : decays))
  const amsgrad = assumed(() => group.amsgrad)
  const mean = slotOf(state, 'expAvg', parameter)
  const square = slotOf(state, 'expAvgSq', parameter)
  const cells = amsgrad
    ? [parameter, mean, square, slotOf(state, 'maxExpAvgSq', parameter)]
    : [parameter, mean, square]
  const numbers = liveNumbers(8, () => {
    const { lr, betas, eps, weightDecay } = group
    const [beta1, beta2] = betas
    const stepSize = lr / (1 - beta1 ** state.step)
    const rootScale = 1 / Math.sqrt(1 - beta2 ** state.step)
    const amount = decoupled ? 1 - lr * weightDecay : weightDecay
    return [beta1, 1 - beta1, beta2, 1 - beta2, eps, stepSize, rootScale, amount]
  })
  const key = `${decay}${amsgrad}`
  updateCells(adamOp, cells, [gradient, ...numbers], { decay, amsgrad }, key)
}
