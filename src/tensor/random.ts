/** @file Streams of random numbers: a key, a counter that moves on with every draw, and the kernels' view of them. */
import type { KernelBuilder } from '../codegen/kernel-builder.ts'
import type { DType, ScalarType } from '../core/dtype.ts'
import type { Axis, Expr, ExprBuilder } from '../ir/expr.ts'
import { ValueError } from '../util/errors.ts'
import { liveNumbers } from './tracing.ts'
import { threefryExpr, threefryOf, type Words } from './threefry.ts'

/** Where a stream stands: plain data, to be kept in a checkpoint. */
export interface GeneratorState {
  readonly seed: number
  /** How many numbers were drawn. */
  readonly counter: number
}

/** What a draw hands to its kernel: key and counter as two signed words each. */
export type Draw = readonly [key0: number, key1: number, counter0: number, counter1: number]

const word = 2 ** 32

/**
 * A stream of random numbers (Threefry-2x32, counter-based): number i of the stream depends on the seed
 * and i alone, so a seed gives the same values on every backend and for any number of threads. Throws
 * a ValueError unless the seed is a safe integer.
 *
 * @example
 * const generator = new Generator(7)
 * const first = rand([2], { generator })
 * generator.manualSeed(7)
 * rand([2], { generator }).sub(first) // -> tensor([0, 0], float32, cpu)
 */
export class Generator {
  #seed = 0
  #counter = 0

  constructor(seed = 0) {
    this.manualSeed(seed)
  }

  /** The seed in force. */
  get seed(): number {
    return this.#seed
  }

  /** Starts the stream of another seed from its beginning. Returns the generator. */
  manualSeed(seed: number): this {
    if (!Number.isSafeInteger(seed))
      throw new ValueError(
        `manualSeed: a seed is a whole number up to 2^53 - 1, received ${String(seed)}. Try 0`,
      )
    this.#seed = seed
    this.#counter = 0
    return this
  }

  /** Seed and position, as plain data. */
  getState(): GeneratorState {
    return { seed: this.#seed, counter: this.#counter }
  }

  /** Goes on from where `getState` was called. */
  setState({ seed, counter }: GeneratorState): void {
    if (!Number.isSafeInteger(counter) || counter < 0)
      throw new ValueError(
        `setState: counter is a whole number >= 0, received ${String(counter)}. Pass what getState returned`,
      )
    this.manualSeed(seed)
    this.#counter = counter
  }

  /** Takes the next `count` numbers off the stream and says where they begin. */
  draw(count: number): Draw {
    return liveNumbers(4, ([n]) => this.#take(n!), [count]) as Draw
  }

  #take(count: number): Draw {
    // A draw never crosses a multiple of 2^32, so that kernels add to the low word only.
    const room = word - (this.#counter % word)
    if (count > room) this.#counter += room
    const begin = this.#counter
    this.#counter += count
    return [...words(this.#seed), ...words(begin)]
  }
}

// Two's complement: negative seeds are streams of their own.
const words = (x: number): Words<number> => [(x % word) | 0, Math.floor(x / word) | 0]

/** The generator used where none is given. It starts from a random seed; see `manualSeed`. */
export const defaultGenerator = new Generator(Math.floor(Math.random() * Number.MAX_SAFE_INTEGER))

/**
 * Seeds the default generator: what is drawn after this is the same in every run. Returns it. Throws a
 * ValueError unless the seed is a safe integer.
 *
 * @example
 * manualSeed(0)
 * const a = randn([3])
 * manualSeed(0)
 * randn([3]).sub(a) // -> tensor([0, 0, 0], float32, cpu)
 */
export function manualSeed(seed: number): Generator {
  return defaultGenerator.manualSeed(seed)
}

/**
 * The numbers 0 to n - 1 in random order, made here rather than by a kernel (Fisher & Yates).
 *
 * @example
 * [...permutation(5, new Generator(0))].sort() // -> [0, 1, 2, 3, 4]
 */
export function permutation(
  n: number,
  generator: Generator = defaultGenerator,
): Int32Array<ArrayBuffer> {
  const order = Int32Array.from({ length: n }, (_, i) => i)
  const [key0, key1, counter0, counter1] = generator.draw(n)
  for (let i = n - 1; i > 0; i--) {
    const [high, low] = threefryOf([key0, key1], [(counter0 + i) | 0, counter1])
    // 53 random bits as a fraction: its product with i + 1 has no bias that could be measured.
    const fraction = ((high >>> 5) * 2 ** 26 + (low >>> 6)) * 2 ** -53
    const j = Math.floor(fraction * (i + 1))
    const kept = order[i]!
    order[i] = order[j]!
    order[j] = kept
  }
  return order
}

// -- inside kernels

/** The random words of element `at` of a draw, whose four numbers are params `first` to `first + 3`. */
export function randomWords(k: KernelBuilder, at: Axis | Expr, first: number): Words<Expr> {
  const param = (i: number) => k.s.convert(k.param(first + i), 'i32')
  return threefryExpr(k.s, [param(0), param(1)], [k.s.add(k.at(at), param(2)), param(3)])
}

// Multiples of 2^-bits that the dtype holds exactly: rounding to it must not reach 1.
const uniformBits: Partial<Record<DType, number>> = { bfloat16: 8, float16: 11, float32: 24 }

/** A number from 0 (possible) to 1 (excluded), exact in the dtype. */
export function uniformExpr(s: ExprBuilder, [high, low]: Words<Expr>, dtype: DType): Expr {
  const bits = uniformBits[dtype]
  if (bits !== undefined) return s.mul(s.convert(s.ushr(high, 32 - bits), 'f32'), 2 ** -bits)
  const top = s.convert(s.ushr(high, 5), 'f64')
  return s.mul(s.add(s.mul(top, 2 ** 26), s.convert(s.ushr(low, 6), 'f64')), 2 ** -53)
}

/** A standard normal number (Box & Muller 1958): sqrt(-2 log u) cos(2 pi v), u never 0. */
export function normalExpr(s: ExprBuilder, [high, low]: Words<Expr>, type: ScalarType): Expr {
  const u = s.mul(s.add(s.convert(s.ushr(high, 1), type), 1), 2 ** -31)
  const angle = s.mul(s.convert(s.ushr(low, 1), type), 2 * Math.PI * 2 ** -31)
  return s.mul(s.sqrt(s.mul(s.log(u), -2)), s.cos(angle))
}

/**
 * A whole number from 0 to range - 1, where range = high half * 2^16 + low half may be up to 2^32:
 * the upper word of 64 random bits times range, as unsigned numbers. The bias is below 2^-32.
 */
export function integerExpr(s: ExprBuilder, words: Words<Expr>, range: Words<Expr>): Expr {
  const [high, low] = words
  const whole = s.add(s.shl(range[0], 16), range[1])
  const lower = s.mul(high, whole)
  const sum = s.add(lower, upperProduct(s, low, range))
  const carry = s.convert(unsignedLess(s, sum, lower), 'i32')
  return s.add(upperProduct(s, high, range), carry)
}

// The upper word of x * range, both unsigned, from products of halves.
function upperProduct(s: ExprBuilder, x: Expr, [c, d]: Words<Expr>): Expr {
  const a = s.ushr(x, 16)
  const b = s.and(x, 0xffff)
  const first = s.add(s.mul(a, d), s.ushr(s.mul(b, d), 16))
  const second = s.add(s.mul(b, c), s.and(first, 0xffff))
  return s.add(s.add(s.mul(a, c), s.ushr(first, 16)), s.ushr(second, 16))
}

const unsignedLess = (s: ExprBuilder, a: Expr, b: Expr): Expr => {
  const sign = s.const('i32', -(2 ** 31))
  return s.lt(s.xor(a, sign), s.xor(b, sign))
}
