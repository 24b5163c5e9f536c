/** @file Threefry-2x32 with 20 rounds (Salmon et al. 2011): random bits as a pure function of a key and a counter. */
import type { Expr, ExprBuilder } from '../ir/expr.ts'

// Rotations of Random123's threefry2x32, and the constant that makes the third word of the key.
const rotations = [13, 15, 26, 6, 17, 29, 16, 24] as const
const parity = 0x1bd11bda
const rounds = 20

/** Two words of 32 bits, as signed numbers. */
export type Words<T> = readonly [T, T]

interface Arithmetic<T> {
  add(a: T, b: T): T
  xor(a: T, b: T): T
  rotateLeft(a: T, bits: number): T
  constant(value: number): T
}

function threefry<T>(m: Arithmetic<T>, key: Words<T>, counter: Words<T>): Words<T> {
  const keys = [...key, m.xor(m.xor(key[0], key[1]), m.constant(parity))]
  let x = m.add(counter[0], keys[0]!)
  let y = m.add(counter[1], keys[1]!)
  for (let round = 0; round < rounds; round++) {
    x = m.add(x, y)
    y = m.xor(m.rotateLeft(y, rotations[round % 8]!), x)
    if (round % 4 !== 3) continue
    const turn = (round + 1) / 4
    x = m.add(x, keys[turn % 3]!)
    y = m.add(y, m.add(keys[(turn + 1) % 3]!, m.constant(turn)))
  }
  return [x, y]
}

const onNumbers: Arithmetic<number> = {
  add: (a, b) => (a + b) | 0,
  xor: (a, b) => a ^ b,
  rotateLeft: (a, bits) => (a << bits) | (a >>> (32 - bits)),
  constant: (value) => value,
}

/**
 * The random words of a key and a counter, computed here and now.
 *
 * @example
 * threefryOf([0, 0], [0, 0]) // -> [1797259609, -1715843330]
 */
export function threefryOf(key: Words<number>, counter: Words<number>): Words<number> {
  return threefry(onNumbers, key, counter)
}

/** The same as expressions of type i32, for kernels. */
export function threefryExpr(s: ExprBuilder, key: Words<Expr>, counter: Words<Expr>): Words<Expr> {
  return threefry<Expr>(
    {
      add: (a, b) => s.add(a, b),
      xor: (a, b) => s.xor(a, b),
      rotateLeft: (a, bits) => s.or(s.shl(a, bits), s.ushr(a, 32 - bits)),
      constant: (value) => s.const('i32', value),
    },
    key,
    counter,
  )
}
