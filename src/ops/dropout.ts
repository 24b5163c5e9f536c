/** @file Dropout: zeros at random, and the rest scaled to make up for them. */
import { isFloat } from '../core/dtype.ts'
import { defaultGenerator, type Generator } from '../tensor/random.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, DTypeError, ValueError } from '../util/errors.ts'
import { checkTensor } from './define.ts'
import { dropElements } from './dropout-op.ts'

export interface DropoutOptions {
  /** Probability of an element to become 0; default 0.5. */
  readonly p?: number
  /** Whether to drop at all; default true. Without, the result is `x` itself. */
  readonly training?: boolean
  /** The stream to draw from; default the one that `manualSeed` seeds. */
  readonly generator?: Generator
}

/**
 * Sets elements to 0 with probability p and divides the others by 1 - p, so that the mean stays what
 * it was (Srivastava et al. 2014). Shape and dtype of `x`, which must be floats. Throws a ValueError
 * for p outside 0 to 1.
 *
 * @example
 * dropout(tensor([1, 2]), { p: 0.5, training: false }) // -> tensor([1, 2], float32, cpu)
 * dropout(ones([1000]), { p: 0.5 }).max() // -> tensor(2, float32, cpu)
 */
export function dropout(x: Tensor, options: DropoutOptions = {}): Tensor {
  checkTensor('dropout', 'x', x)
  checkOptions('dropout', options, ['p', 'training', 'generator'])
  const { p = 0.5, training = true, generator = defaultGenerator } = options
  if (!(p >= 0 && p <= 1))
    throw new ValueError(`dropout: p is a probability from 0 to 1, received ${String(p)}`)
  if (!isFloat(x.dtype))
    throw new DTypeError(
      `dropout: x is ${x.dtype}, which cannot be scaled. Cast it: x.cast('float32')`,
    )
  if (!training || p === 0) return x
  return dropElements(x, { p, draw: generator.draw(x.size) })
}
