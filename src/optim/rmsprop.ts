/** @file RMSprop. */
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

export interface RMSpropOptions extends Hyperparameters {
  /** Learning rate; default 1e-2. */
  lr: number
  /** Decay rate of the average of squared gradients; default 0.99. */
  alpha: number
  /** Added to the root in the denominator; default 1e-8. */
  eps: number
  /** L2 penalty added to the gradient; default 0. */
  weightDecay: number
  /** Default 0. */
  momentum: number
  /** Divide by the standard deviation of the gradient rather than its root mean square; default false. */
  centered: boolean
}

type RMSpropAttributes = {
  readonly decay: boolean
  readonly momentum: boolean
  readonly centered: boolean
}

const rmspropOp = defineUpdate<RMSpropAttributes>({
  name: 'rmspropUpdate',
  cells: ({ momentum, centered }) => 2 + Number(centered) + Number(momentum),
  rule(s, cells, gradient, [lr, alpha, rest, eps, weightDecay, momentum], attributes) {
    const [p, v] = cells
    // v = alpha v + (1 - alpha) g^2;  p -= lr g / (sqrt(v [- mean^2]) + eps), through the momentum if any
    const g = attributes.decay ? s.add(gradient, s.mul(weightDecay!, p!)) : gradient
    const square = s.add(s.mul(alpha!, v!), s.mul(s.mul(rest!, g), g))
    const mean = attributes.centered ? s.add(s.mul(alpha!, cells[2]!), s.mul(rest!, g)) : undefined
    const variance = mean === undefined ? square : s.sub(square, s.mul(mean, mean))
    const scaled = s.div(g, s.add(s.sqrt(variance), eps!))
    const step = attributes.momentum
      ? s.add(s.mul(momentum!, cells[cells.length - 1]!), scaled)
      : scaled
    return [
      s.sub(p!, s.mul(lr!, step)),
      square,
      ...(mean === undefined ? [] : [mean]),
      ...(attributes.momentum ? [step] : []),
    ]
  },
})

/**
 * Divides the gradient by a running root mean square (Hinton, 2012); PyTorch's formulas
 * (`torch.optim.RMSprop`). Throws a ValueError for options outside their range.
 *
 * @example
 * const w = new nn.Parameter(tensor([1]))
 * const optimizer = new optim.RMSprop([w], { lr: 0.01 })
 * w.mul(w).sum().backward()
 * optimizer.step()
 * w.itemSync().toFixed(4) // -> 0.9000
 */
export class RMSprop extends Optimizer<RMSpropOptions> {
  constructor(params: ParametersOrGroups<RMSpropOptions>, options: Partial<RMSpropOptions> = {}) {
    super(params, options, {
      lr: 1e-2,
      alpha: 0.99,
      eps: 1e-8,
      weightDecay: 0,
      momentum: 0,
      centered: false,
    })
  }

  protected override check(name: string, group: RMSpropOptions): void {
    super.check(name, group)
    checkRate(name, 'alpha', group.alpha)
    checkNonNegative(name, 'eps', group.eps)
    checkNonNegative(name, 'weightDecay', group.weightDecay)
    checkNonNegative(name, 'momentum', group.momentum)
  }

  protected update(
    parameter: Parameter,
    gradient: Tensor,
    group: ParameterGroup<RMSpropOptions>,
    state: ParameterState,
  ): void {
    const attributes = {
      decay: assumed(() => group.weightDecay !== 0),
      momentum: assumed(() => group.momentum !== 0),
      centered: assumed(() => group.centered),
    }
    const { centered } = attributes
    const cells = [parameter, slotOf(state, 'squareAvg', parameter)]
    if (centered) cells.push(slotOf(state, 'gradAvg', parameter))
    if (attributes.momentum) cells.push(slotOf(state, 'momentumBuffer', parameter))
    const numbers = liveNumbers(6, () => {
      const { lr, alpha, eps, weightDecay, momentum } = group
      return [lr, alpha, 1 - alpha, eps, weightDecay, momentum]
    })
    const key = `${attributes.decay}${attributes.momentum}${centered}`
    updateCells(rmspropOp, cells, [gradient, ...numbers], attributes, key)
  }
}
