/** @file Layers that only change the shape, or nothing at all. */
import { checkOptions } from '../util/errors.ts'
import type { FlattenOptions } from '../ops/movement.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { Module } from './module.ts'
import { keepsNothing } from './passing.ts'

/**
 * Joins axes into one, by default all but the first: [batch, ...] -> [batch, features].
 *
 * @example
 * new nn.Flatten().forward(zeros([2, 3, 4])).shape // -> [2, 12]
 */
export class Flatten extends Module {
  readonly startAxis: number
  readonly endAxis: number

  constructor(options: FlattenOptions = {}) {
    super()
    checkOptions('Flatten', options, ['startAxis', 'endAxis'])
    this.startAxis = options.startAxis ?? 1
    this.endAxis = options.endAxis ?? -1
  }

  forward(x: Tensor): Tensor {
    return x.flatten({ startAxis: this.startAxis, endAxis: this.endAxis })
  }

  override extraRepr(): string {
    return `startAxis=${this.startAxis}, endAxis=${this.endAxis}`
  }
}

/**
 * Its input, unchanged: a place to put a layer later.
 *
 * @example
 * new nn.Identity().forward(tensor([1, 2])) // -> tensor([1, 2], float32, cpu)
 */
export class Identity extends Module {
  forward(x: Tensor): Tensor {
    return x
  }
}

keepsNothing(Flatten, Identity)
