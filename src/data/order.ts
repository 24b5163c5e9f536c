/** @file Random orders on the host: the same on every backend, a new one for each epoch. */
import { ValueError } from '../util/errors.ts'

/**
 * The numbers 0 to length - 1 in a random order that depends on `seed` and `epoch` only (Fisher and
 * Yates' shuffle over the generator sfc32).
 *
 * @example
 * randomOrder(4, 1, 0).toSorted().join() // -> '0,1,2,3'
 */
export function randomOrder(length: number, seed: number, epoch: number): Int32Array {
  const order = Int32Array.from({ length }, (_, i) => i)
  const draw = sfc32(seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0, epoch >>> 0)
  for (let i = length - 1; i > 0; i--) {
    const j = below(draw, i + 1)
    const held = order[i]!
    order[i] = order[j]!
    order[j] = held
  }
  return order
}

/** The seed to use: the one given, checked, or the one of `manualSeed`. */
export function checkSeed(where: string, seed: number | undefined): number {
  if (seed === undefined) return 0
  if (!Number.isSafeInteger(seed))
    throw new ValueError(`${where}: seed is ${String(seed)}. Expected a whole number`)
  return seed
}

/** A whole number below `n`, every one as likely: draws that would favour small ones are repeated. */
function below(draw: () => number, n: number): number {
  const limit = 2 ** 32 - (2 ** 32 % n)
  let value = draw()
  while (value >= limit) value = draw()
  return value % n
}

/** Chris Doty-Humphrey's Small Fast Counter generator, 32 bits a draw. */
function sfc32(a: number, b: number, c: number): () => number {
  let counter = 1
  const draw = () => {
    const value = (a + b + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + value) | 0
    return value >>> 0
  }
  // The first draws still show the seed.
  for (let i = 0; i < 15; i++) draw()
  return draw
}
