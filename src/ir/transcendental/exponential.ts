/** @file exp and its kin: x = n ln 2 + r, a polynomial for e^r - 1, and 2^n put into the exponent bits. */
import type { Expr, ExprBuilder } from '../expr.ts'
import {
  copySign,
  formatOf,
  pick,
  fusedPolynomial,
  powerOfTwo,
  roundToWhole,
  type PerFloat,
} from './float-format.ts'

// The reduction is Cody and Waite's (Software Manual for the Elementary Functions, 1980). All
// polynomials are minimax fits (Remez exchange, coefficients rounded one by one and the rest refitted).

const log2e = 1.4426950408889634
/** ln 2 in two parts; the first is short enough for its product with n to be exact. */
const ln2: PerFloat<readonly [number, number]> = {
  f32: [0.69314575, 1.4286068e-6],
  f64: [0.6931471806019545, -4.2009150726810846e-11],
}
/** (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2. */
const expTail: PerFloat<readonly number[]> = {
  f32: [0.49999994, 0.16666517, 0.041668106, 0.008369133, 0.0013836487],
  f64: [
    0.5, 0.16666666666666688, 0.041666666666666824, 0.008333333333313897, 0.0013888888888778043,
    0.00019841269903410761, 2.480158755788815e-5, 2.755722830990029e-6, 2.7557038966555567e-7,
    2.511422065660474e-8, 2.100326111003418e-9,
  ],
}
/** (sinh(x) / x - 1) / x^2 in powers of x^2, for |x| <= 1. */
const sinhTail: PerFloat<readonly number[]> = {
  f32: [0.16666667, 0.0083333105, 0.00019842891, 2.7822673e-6],
  f64: [
    0.16666666666666669, 0.008333333333332912, 0.00019841269841593408, 2.7557319106757833e-6,
    2.5052130998598832e-8, 1.6056659160900586e-10, 7.776601343005757e-13,
  ],
}
/** Up to here tanh is a polynomial of its own, which e^(2x) could not match. */
const tanhSwitch = 0.55
/** (tanh(x) / x - 1) / x^2 in powers of x^2, for |x| <= tanhSwitch. */
const tanhTail: PerFloat<readonly number[]> = {
  f32: [-0.33332947, 0.13320729, -0.052672006, 0.016437866],
  f64: [
    -0.33333333333332316, 0.13333333333168923, -0.05396825387615734, 0.02186948597628605,
    -0.008863194520676576, 0.003591719812345068, -0.0014532172551440972, 0.0005791383353791933,
    -0.00021030434826664794, 5.1022708691426114e-5,
  ],
}
/** Beyond these the result is 0 or infinite. */
const expRange: PerFloat<readonly [number, number]> = { f32: [-104, 89], f64: [-746, 710] }
/** Below this expm1 is -1 to the last bit, above it infinite. */
const expm1Range: PerFloat<readonly [number, number]> = { f32: [-18, 89], f64: [-38, 710] }
/** Below this expm1(x) is x to the last bit. */
const expm1Tiny: PerFloat<number> = { f32: 2 ** -25, f64: 2 ** -54 }
/** sinh and cosh overflow before it. */
const hyperbolicLimit: PerFloat<number> = { f32: 89.5, f64: 710.6 }
/** tanh(limit / 2) is 1 to the last bit. */
const tanhLimit: PerFloat<number> = { f32: 20, f64: 40 }

export function exp(s: ExprBuilder, x: Expr): Expr {
  const [low, high] = pick(expRange, x)
  const { whole, rest } = reduce(s, s.max(s.min(x, high), low), 0)
  return s.ldexp(fusedPolynomial(s, rest, [1, 1, ...pick(expTail, x)]), whole)
}

/** x 2^n. */
export function ldexp(s: ExprBuilder, x: Expr, n: Expr): Expr {
  const { mantissaBits, exponentBias } = formatOf(x)
  // Two factors of about 2^(n/2): each is a normal number where 2^n is not, and only the last
  // product rounds, so that subnormal results are right.
  const { bits } = roundToWhole(s, n, 2 * exponentBias)
  const half = s.shr(bits, 1)
  const first = s.bitcast(s.shl(half, mantissaBits), x.type)
  const second = s.bitcast(s.shl(s.sub(bits, half), mantissaBits), x.type)
  return s.mul(s.mul(x, first), second)
}

/** 2^shift e^x in fewer operations, where x / ln 2 + shift stays among the exponents of normal numbers. */
export function expWithin(s: ExprBuilder, x: Expr, shift = 0): Expr {
  const { bits, rest } = reduce(s, x, formatOf(x).exponentBias + shift)
  return s.mul(fusedPolynomial(s, rest, [1, 1, ...pick(expTail, x)]), powerOfTwo(s, bits, x))
}

export function expm1(s: ExprBuilder, x: Expr): Expr {
  const [least, most] = pick(expm1Range, x)
  const clamped = s.max(s.min(x, most), least)
  // Half of 2^n, since 2^n itself overflows before the result does.
  const { bits, high, low, rest } = reduce(s, clamped, formatOf(x).exponentBias - 1)
  const tail = s.mul(s.mul(rest, rest), fusedPolynomial(s, rest, pick(expTail, x)))
  // `high` is exact and `rest` is not: adding the small parts first keeps its rounding error out.
  const fraction = s.add(high, s.add(tail, low))
  const scale = powerOfTwo(s, bits, x)
  const half = s.add(s.mul(fraction, scale), s.sub(scale, 0.5))
  return s.select(s.lt(s.abs(x), pick(expm1Tiny, x)), x, s.add(half, half))
}

export function sinh(s: ExprBuilder, x: Expr): Expr {
  const square = s.mul(x, x)
  const small = s.add(x, s.mul(s.mul(x, square), fusedPolynomial(s, square, pick(sinhTail, x))))
  const magnitude = s.abs(x)
  const [grown, decayed] = quarterExponentials(s, magnitude)
  const half = s.sub(grown, decayed)
  return s.select(s.lt(magnitude, 1), small, copySign(s, s.add(half, half), x))
}

export function cosh(s: ExprBuilder, x: Expr): Expr {
  const [grown, decayed] = quarterExponentials(s, s.abs(x))
  const half = s.add(grown, decayed)
  return s.add(half, half)
}

export function tanh(s: ExprBuilder, x: Expr): Expr {
  const magnitude = s.abs(x)
  const square = s.mul(magnitude, magnitude)
  const curve = s.mul(s.mul(magnitude, square), fusedPolynomial(s, square, pick(tanhTail, x)))
  const doubled = s.min(s.add(magnitude, magnitude), pick(tanhLimit, x))
  const large = s.sub(s.like(x, 1), s.div(s.like(x, 2), s.add(expWithin(s, doubled), 1)))
  return copySign(s, s.select(s.lt(magnitude, tanhSwitch), s.add(magnitude, curve), large), x)
}

/** e^x / 4 and e^-x / 4 for x >= 0: quarters, since the halves that cosh adds may overflow early. */
function quarterExponentials(s: ExprBuilder, x: Expr): readonly [Expr, Expr] {
  const grown = expWithin(s, s.min(x, pick(hyperbolicLimit, x)), -2)
  return [grown, s.div(s.like(x, 0.0625), grown)]
}

/** x = n ln 2 + r: n whole, n + offset in the low bits of `bits`, and r as `high`, exact, + `low`, and rounded. */
function reduce(s: ExprBuilder, x: Expr, offset: number) {
  const [ln2High, ln2Low] = pick(ln2, x)
  const { whole, bits } = roundToWhole(s, x, offset, log2e)
  const high = s.fma(whole, s.like(x, -ln2High), x)
  const low = s.mul(whole, -ln2Low)
  return { whole, bits, high, low, rest: s.fma(whole, s.like(x, -ln2Low), high) }
}
