/** @file The orders of shuffled epochs: the same on every backend, a new one for each epoch. */
import { Generator, defaultGenerator, permutation } from '../tensor/random.ts'
import { ValueError } from '../util/errors.ts'

/** Orders are drawn from a far part of the seed's stream, which no model's draws reach. */
const farPart = 2 ** 52
/** Room for one epoch's draws. */
const epochRoom = 2 ** 32

/**
 * The numbers 0 to length - 1 in a random order that depends on `seed` and `epoch` only.
 *
 * @example
 * randomOrder(4, 1, 0).toSorted().join() // -> '0,1,2,3'
 */
export function randomOrder(length: number, seed: number, epoch: number): Int32Array {
  const generator = new Generator()
  generator.setState({ seed, counter: farPart + epoch * epochRoom })
  return permutation(length, generator)
}

/** The seed to use: the one given, checked, or the one of `manualSeed`. */
export function checkSeed(where: string, seed: number | undefined): number {
  if (seed === undefined) return defaultGenerator.seed
  if (!Number.isSafeInteger(seed))
    throw new ValueError(`${where}: seed is ${String(seed)}. Expected a whole number`)
  return seed
}
