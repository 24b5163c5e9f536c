/** @file The dense layer. */
import { linear } from '../ops/linear.ts'
import type { Parameter } from '../tensor/cell.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions } from '../util/errors.ts'
import { checkSize } from './checks.ts'
import { Module } from './module.ts'
import { keepsNothing } from './passing.ts'
import { uniformParameter, type Placement } from './placement.ts'

export interface LinearOptions extends Placement {
  /** Whether a bias is added; default true. */
  readonly bias?: boolean
}

/**
 * y = x W^T + b over the last axis: [..., inFeatures] -> [..., outFeatures]. weight is
 * [outFeatures, inFeatures], drawn from +-1/sqrt(inFeatures) as in PyTorch (Kaiming uniform with
 * a = sqrt(5)), bias [outFeatures] likewise. Throws a ValueError unless the sizes are positive.
 *
 * @example
 * const layer = new nn.Linear(3, 2)
 * layer // -> Linear(inFeatures=3, outFeatures=2, bias=true)
 * layer.forward(ones([5, 3])).shape // -> [5, 2]
 * new nn.Linear(3, 0)
 * // ValueError: Linear: outFeatures must be a whole number of at least 1, received 0
 */
export class Linear extends Module {
  readonly inFeatures: number
  readonly outFeatures: number
  weight: Parameter
  bias: Parameter | undefined

  constructor(inFeatures: number, outFeatures: number, options: LinearOptions = {}) {
    super()
    this.inFeatures = checkSize('Linear', 'inFeatures', inFeatures)
    this.outFeatures = checkSize('Linear', 'outFeatures', outFeatures)
    checkOptions('Linear', options, ['bias', 'dtype', 'device'])
    const { bias = true, ...placement } = options
    const bound = 1 / Math.sqrt(inFeatures)
    this.weight = uniformParameter([outFeatures, inFeatures], bound, placement)
    this.bias = bias ? uniformParameter([outFeatures], bound, placement) : undefined
  }

  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias)
  }

  override extraRepr(): string {
    return `inFeatures=${this.inFeatures}, outFeatures=${this.outFeatures}, bias=${this.bias !== undefined}`
  }
}

keepsNothing(Linear)
