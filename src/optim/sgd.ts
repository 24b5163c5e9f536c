/** @file Stochastic gradient descent, with momentum. */
import { updateCells, type Parameter } from '../tensor/cell.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { assumed, liveNumbers } from '../tensor/tracing.ts'
import { ValueError } from '../util/errors.ts'
import {
  checkNonNegative,
  Optimizer,
  slotOf,
  type Hyperparameters,
  type ParameterGroup,
  type ParametersOrGroups,
  type ParameterState,
} from './optimizer.ts'
import { defineUpdate } from './update.ts'

export interface SGDOptions extends Hyperparameters {
  /** Learning rate; default 1e-3. */
  lr: number
  /** How much of the last step is taken again; default 0. */
  momentum: number
  /** How much less than all of the gradient enters the momentum; default 0. */
  dampening: number
  /** Look ahead by one momentum step; needs momentum and no dampening. Default false. */
  nesterov: boolean
  /** L2 penalty added to the gradient; default 0. */
  weightDecay: number
}

type SGDAttributes = {
  readonly momentum: boolean
  readonly nesterov: boolean
  readonly decay: boolean
}

const sgdOp = defineUpdate<SGDAttributes>({
  name: 'sgdUpdate',
  cells: ({ momentum }) => (momentum ? 2 : 1),
  rule(s, [p, buffer], gradient, [lr, weightDecay, momentum, undamped], attributes) {
    // g = gradient + weightDecay p;  b = momentum b + (1 - dampening) g;  p -= lr (g + momentum b | b)
    const g = attributes.decay ? s.add(gradient, s.mul(weightDecay!, p!)) : gradient
    if (!attributes.momentum) return [s.sub(p!, s.mul(lr!, g))]
    const b = s.add(s.mul(momentum!, buffer!), s.mul(undamped!, g))
    const direction = attributes.nesterov ? s.add(g, s.mul(momentum!, b)) : b
    return [s.sub(p!, s.mul(lr!, direction)), b]
  },
})

/**
 * Stochastic gradient descent, with momentum, Nesterov momentum and L2 penalty; PyTorch's formulas
 * (`torch.optim.SGD`). Throws a ValueError for negative options.
 *
 * @example
 * const w = new nn.Parameter(tensor([1]))
 * const optimizer = new optim.SGD([w], { lr: 0.1, momentum: 0.9 })
 * for (let i = 0; i < 2; i++) {
 *   optimizer.zeroGrad()
 *   w.mul(5).sum().backward()
 *   optimizer.step()
 * }
 * w.itemSync().toFixed(3) // -> -0.450
 */
export class SGD extends Optimizer<SGDOptions> {
  constructor(params: ParametersOrGroups<SGDOptions>, options: Partial<SGDOptions> = {}) {
    super(params, options, {
      lr: 1e-3,
      momentum: 0,
      dampening: 0,
      nesterov: false,
      weightDecay: 0,
    })
  }

  protected override check(name: string, group: SGDOptions): void {
    super.check(name, group)
    checkNonNegative(name, 'momentum', group.momentum)
    checkNonNegative(name, 'weightDecay', group.weightDecay)
    if (group.nesterov && (group.momentum === 0 || group.dampening !== 0))
      throw new ValueError(
        `${name}: nesterov needs a momentum above 0 and no dampening, received momentum ${group.momentum} and dampening ${group.dampening}`,
      )
  }

  protected update(
    parameter: Parameter,
    gradient: Tensor,
    group: ParameterGroup<SGDOptions>,
    state: ParameterState,
  ): void {
    const attributes = {
      momentum: assumed(() => group.momentum !== 0),
      nesterov: assumed(() => group.nesterov),
      decay: assumed(() => group.weightDecay !== 0),
    }
    const cells = attributes.momentum
      ? [parameter, slotOf(state, 'momentumBuffer', parameter)]
      : [parameter]
    const numbers = liveNumbers(4, () => {
      const { lr, weightDecay, momentum, dampening } = group
      // The first momentum is the gradient itself, undamped.
      return [lr, weightDecay, momentum, state.step === 1 ? 1 : 1 - dampening]
    })
    const key = `${attributes.momentum}${attributes.nesterov}${attributes.decay}`
    updateCells(sgdOp, cells, [gradient, ...numbers], attributes, key)
  }
}
