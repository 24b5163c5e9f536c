/** @file Dropout. */
import type { Generator } from '../tensor/random.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions } from '../util/errors.ts'
import { checkProbability } from './checks.ts'
import { Module } from './module.ts'
import { keepsNothing } from './passing.ts'

export interface DropoutLayerOptions {
  /** The stream to draw from; default the one that `manualSeed` seeds. */
  readonly generator?: Generator
}

/**
 * While training, sets elements to 0 with probability p (default 0.5) and divides the others by 1 - p
 * (Srivastava et al., 2014); lets everything through in evaluation. Throws a ValueError for p outside 0
 * to 1.
 *
 * @example
 * const layer = new nn.Dropout(0.5)
 * layer.forward(ones([1000])).max() // -> tensor(2, float32, cpu)
 * layer.eval().forward(tensor([1, 2])) // -> tensor([1, 2], float32, cpu)
 */
export class Dropout extends Module {
  readonly p: number
  readonly #generator: Generator | undefined

  constructor(p = 0.5, options: DropoutLayerOptions = {}) {
    super()
    checkOptions('Dropout', options, ['generator'])
    this.p = checkProbability('Dropout', 'p', p)
    this.#generator = options.generator
  }

  forward(x: Tensor): Tensor {
    const generator = this.#generator
    return x.dropout({ p: this.p, training: this.training, ...(generator && { generator }) })
  }

  override extraRepr(): string {
    return `p=${this.p}`
  }
}

keepsNothing(Dropout)
