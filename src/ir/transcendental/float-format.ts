/** @file What the decompositions share: facts about f32 and f64 as bit patterns, and polynomials. */
import type { Expr, ExprBuilder } from '../expr.ts'

export interface FloatFormat {
  /** The integer type of the same width. */
  readonly bits: 'i32' | 'i64'
  readonly width: number
  readonly mantissaBits: number
  readonly exponentBias: number
  /**
   * 1.5 * 2^mantissaBits. Adding it rounds a moderate number to a whole one, which then sits in the
   * low bits of the sum: rounding and conversion to an integer in a single addition.
   */
  readonly magic: number
  /** The bits of `magic`. */
  readonly magicBits: number
  readonly smallestNormal: number
  readonly signMask: number
  /** Keeps the upper half of the mantissa; products of two such halves are exact. */
  readonly headMask: number
}

/** One value per floating type. */
export type PerFloat<T> = Readonly<Record<'f32' | 'f64', T>>

const formats: PerFloat<FloatFormat> = {
  f32: {
    bits: 'i32',
    width: 32,
    mantissaBits: 23,
    exponentBias: 127,
    magic: 1.5 * 2 ** 23,
    magicBits: 0x4b400000,
    smallestNormal: 2 ** -126,
    signMask: -(2 ** 31),
    headMask: -(2 ** 12),
  },
  f64: {
    bits: 'i64',
    width: 64,
    mantissaBits: 52,
    exponentBias: 1023,
    magic: 1.5 * 2 ** 52,
    magicBits: 0x4338000000000000,
    smallestNormal: 2 ** -1022,
    signMask: -(2 ** 63),
    headMask: -(2 ** 27),
  },
}

/** The value of a table for the type of `x`. */
export const pick = <T>(table: PerFloat<T>, x: Expr): T => table[x.type === 'f32' ? 'f32' : 'f64']

export const formatOf = (x: Expr): FloatFormat => pick(formats, x)

/** The bits of a float as an integer of the same width. */
export const bitsOf = (s: ExprBuilder, x: Expr): Expr => s.bitcast(x, formatOf(x).bits)

/**
 * coefficients[0] + coefficients[1] x + ..., by Horner's rule. Multiplications and additions stay
 * separate rows, so that every target computes the same bits.
 */
export function polynomial(s: ExprBuilder, x: Expr, coefficients: readonly number[]): Expr {
  const [last, ...rest] = coefficients.toReversed()
  let sum: Expr = s.like(x, last!)
  for (const c of rest) sum = s.add(s.mul(sum, x), c)
  return sum
}

/**
 * The same with fused steps, where the target has them: faster, and no two targets need agree in the
 * last bit. Not for what random numbers are made of.
 */
export function fusedPolynomial(s: ExprBuilder, x: Expr, coefficients: readonly number[]): Expr {
  const [last, ...rest] = coefficients.toReversed()
  let sum: Expr = s.like(x, last!)
  for (const c of rest) sum = s.fma(sum, x, s.like(x, c))
  return sum
}

/** `magnitude` (not negative) with the sign bit of `x`. */
export function copySign(s: ExprBuilder, magnitude: Expr, x: Expr): Expr {
  const sign = s.and(bitsOf(s, x), formatOf(x).signMask)
  return s.bitcast(s.or(bitsOf(s, magnitude), sign), x.type)
}

/** `x` with the lower half of its mantissa cleared; `x` minus this is exact. */
export function head(s: ExprBuilder, x: Expr): Expr {
  return s.bitcast(s.and(bitsOf(s, x), formatOf(x).headMask), x.type)
}

/** The float 2^n, where integer `biased` holds n + exponentBias in its low bits. */
export function powerOfTwo(s: ExprBuilder, biased: Expr, x: Expr): Expr {
  return s.bitcast(s.shl(biased, formatOf(x).mantissaBits), x.type)
}

/** Rounds x factor to whole numbers: `whole` as a float, `bits` an integer with whole + offset in its low bits. */
export function roundToWhole(
  s: ExprBuilder,
  x: Expr,
  offset: number,
  factor = 1,
): { whole: Expr; bits: Expr } {
  const { magic } = formatOf(x)
  const shifted =
    factor === 1 ? s.add(x, magic + offset) : s.fma(x, s.like(x, factor), s.like(x, magic + offset))
  return { whole: s.sub(shifted, magic + offset), bits: bitsOf(s, shifted) }
}
