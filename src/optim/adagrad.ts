/** @file Adagrad. */
import { full } from '../ops/create.ts'
import { Buffer, ownedAtOnce, updateCells, type Parameter } from '../tensor/cell.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { assumed, liveNumbers } from '../tensor/tracing.ts'
import {
  checkNonNegative,
  Optimizer,
  type Hyperparameters,
  type ParameterGroup,
  type ParametersOrGroups,
  type ParameterState,
} from './optimizer.ts'
import { defineUpdate } from './update.ts'

export interface AdagradOptions extends Hyperparameters {
  /** Learning rate; default 1e-2. */
  lr: number
  /** How much the rate falls per step: lr / (1 + (t - 1) lrDecay); default 0. */
  lrDecay: number
  /** L2 penalty added to the gradient; default 0. */
  weightDecay: number
  /** What the sums of squares start from; default 0. */
  initialAccumulatorValue: number
  /** Added to the root in the denominator; default 1e-10. */
  eps: number
}

const adagradOp = defineUpdate<{ readonly decay: boolean }>({
  name: 'adagradUpdate',
  cells: () => 2,
  rule(s, [p, sum], gradient, [rate, eps, weightDecay], { decay }) {
    // sum += g^2;  p -= rate g / (sqrt(sum) + eps)
    const g = decay ? s.add(gradient, s.mul(weightDecay!, p!)) : gradient
    const total = s.add(sum!, s.mul(g, g))
    return [s.sub(p!, s.div(s.mul(rate!, g), s.add(s.sqrt(total), eps!))), total]
  },
})

/**
 * Divides by the root of the sum of all squared gradients (Duchi et al., 2011); PyTorch's formulas
 * (`torch.optim.Adagrad`). Throws a ValueError for negative options.
 *
 * @example
 * const w = new nn.Parameter(tensor([1]))
 * const optimizer = new optim.Adagrad([w], { lr: 0.1 })
 * w.mul(w).sum().backward()
 * optimizer.step()
 * w.itemSync().toFixed(4) // -> 0.9000
 */
export class Adagrad extends Optimizer<AdagradOptions> {
  constructor(params: ParametersOrGroups<AdagradOptions>, options: Partial<AdagradOptions> = {}) {
    super(params, options, {
      lr: 1e-2,
      lrDecay: 0,
      weightDecay: 0,
      initialAccumulatorValue: 0,
      eps: 1e-10,
    })
  }

  protected override check(name: string, group: AdagradOptions): void {
    super.check(name, group)
    for (const key of ['lrDecay', 'weightDecay', 'initialAccumulatorValue', 'eps'] as const)
      checkNonNegative(name, key, group[key])
  }

  protected update(
    parameter: Parameter,
    gradient: Tensor,
    group: ParameterGroup<AdagradOptions>,
    state: ParameterState,
  ): void {
    const { shape, dtype, device } = parameter
    const start = () => full(shape, group.initialAccumulatorValue, { dtype, device })
    const sum = (state.slots['sum'] ??= ownedAtOnce(Buffer, start))
    const numbers = liveNumbers(3, () => {
      const { lr, lrDecay, eps, weightDecay } = group
      return [lr / (1 + (state.step - 1) * lrDecay), eps, weightDecay]
    })
    const decay = assumed(() => group.weightDecay !== 0)
    updateCells(adagradOp, [parameter, sum], [gradient, ...numbers], { decay }, `${decay}`)
  }
}
