/** @file sin, cos and tan: x = n pi/2 + r in several parts, then a polynomial chosen by n mod 4. */
import type { Expr, ExprBuilder } from '../expr.ts'
import { bitsOf, formatOf, pick, polynomial, roundToWhole, type PerFloat } from './float-format.ts'

// Note [Range of the trigonometric functions]
// The parts of pi/2 are so short (Cody and Waite's method) that their products with n are exact
// while |n| < 2^16, so results are good to 2 ulp for |x| <= 1e5, even where they are nearly zero.
// Beyond, r loses accuracy, and past `limit` finite x count as 0: always finite, never beyond +-1.

/** Parts of pi/2, all positive (truncated, not rounded) so that -0 survives the reduction. */
interface HalfPi {
  /** Subtracting n times these from x is exact. */
  readonly exact: readonly number[]
  /** n times these is exact, the subtraction is not: its rounding error is carried along. */
  readonly carried: readonly number[]
  readonly tail: readonly number[]
}
const halfPi: PerFloat<HalfPi> = {
  f32: {
    exact: [1.5703125, 0.0004825592],
    carried: [1.2665987e-6, 9.895302e-10],
    tail: [5.390303e-15, 2.5579538e-12],
  },
  f64: {
    exact: [1.5707963267341256],
    carried: [6.077100506303966e-11, 2.0222662487111665e-21],
    tail: [8.4784276603689e-32],
  },
}
const limit: PerFloat<number> = { f32: 2 ** 22, f64: 2 ** 50 }
/** (sin(r) / r - 1) / r^2 in powers of r^2, for |r| <= pi / 4 (Remez exchange, as all below). */
const sinTail: PerFloat<readonly number[]> = {
  f32: [-0.16666654, 0.008332106, -0.00019507883],
  f64: [
    -0.1666666666666663, 0.00833333333332184, -0.0001984126982935859, 2.755731353856118e-6,
    -2.5050734400460344e-8, 1.589543414562605e-10,
  ],
}
/** (cos(r) - 1 + r^2 / 2) / r^4 in powers of r^2. */
const cosTail: PerFloat<readonly number[]> = {
  f32: [0.041666646, -0.0013887308, 2.4432102e-5],
  f64: [
    0.04166666666666659, -0.0013888888888872186, 2.480158728829538e-5, -2.7557314016723345e-7,
    2.087567875612331e-9, -1.1357404222071844e-11,
  ],
}

export const sin = (s: ExprBuilder, x: Expr): Expr => wave(s, x, 0)
export const cos = (s: ExprBuilder, x: Expr): Expr => wave(s, x, 1)

export function tan(s: ExprBuilder, x: Expr): Expr {
  const { quarter, r, lost } = reduce(s, x)
  const sine = sineOf(s, r, lost)
  const cosine = cosineOf(s, r, lost)
  const isEven = s.eq(s.and(quarter, 1), 0)
  const numerator = s.select(isEven, sine.value, s.neg(cosine.value))
  const denominator = s.select(isEven, cosine.value, sine.value)
  // First order in what sine and cosine lost to rounding, or three roundings would add up.
  const numeratorLost = s.select(isEven, sine.lost(), s.neg(cosine.lost()))
  const denominatorLost = s.select(isEven, cosine.lost(), sine.lost())
  const quotient = s.div(numerator, denominator)
  const correction = s.sub(numeratorLost, s.mul(quotient, denominatorLost))
  return s.sub(quotient, s.div(correction, denominator))
}

/** sin(x + phase pi/2). */
function wave(s: ExprBuilder, x: Expr, phase: 0 | 1): Expr {
  const { quarter, r, lost } = reduce(s, x)
  const turned = phase === 0 ? quarter : s.add(quarter, phase)
  const isEven = s.eq(s.and(turned, 1), 0)
  const value = s.select(isEven, sineOf(s, r, lost).value, cosineOf(s, r, lost).value)
  // Bit 1 of the quarter becomes the sign bit.
  const { width, signMask } = formatOf(x)
  const sign = s.and(s.shl(turned, width - 2), signMask)
  return s.bitcast(s.xor(bitsOf(s, value), sign), x.type)
}

/** x = n pi/2 + r - lost with n mod 4 in the low bits of `quarter`. */
function reduce(s: ExprBuilder, x: Expr): { quarter: Expr; r: Expr; lost: Expr } {
  const { exact, carried, tail } = pick(halfPi, x)
  const inRange = s.le(s.abs(x), pick(limit, x))
  const bounded = s.select(inRange, x, s.mul(x, 0))
  const { whole, bits } = roundToWhole(s, s.mul(bounded, 2 / Math.PI), 0)
  let r = exact.reduce((rest, part) => s.sub(rest, s.mul(whole, part)), bounded)
  let lost: Expr = tail.map((part) => s.mul(whole, part)).reduce((a, b) => s.add(a, b))
  for (const part of carried) {
    const product = s.mul(whole, part)
    const next = s.sub(r, product)
    lost = s.add(lost, s.sub(product, s.sub(r, next)))
    r = next
  }
  const sum = s.sub(r, lost)
  return { quarter: bits, r: sum, lost: s.sub(lost, s.sub(r, sum)) }
}

/** sin(r - lost), and how much too large the rounded value is. */
function sineOf(s: ExprBuilder, r: Expr, lost: Expr): { value: Expr; lost(): Expr } {
  const square = s.mul(r, r)
  const curve = s.mul(s.mul(r, square), polynomial(s, square, pick(sinTail, r)))
  // Written as r - (...) so that -0 stays -0.
  const small = s.sub(lost, curve)
  const value = s.sub(r, small)
  return { value, lost: () => s.sub(small, s.sub(r, value)) }
}

/** cos(r - lost), and how much too large the rounded value is. */
function cosineOf(s: ExprBuilder, r: Expr, lost: Expr): { value: Expr; lost(): Expr } {
  const square = s.mul(r, r)
  const curve = s.mul(s.mul(square, square), polynomial(s, square, pick(cosTail, r)))
  const drop = s.sub(s.mul(square, 0.5), s.add(curve, s.mul(r, lost)))
  const one = s.like(r, 1)
  const value = s.sub(one, drop)
  return { value, lost: () => s.sub(drop, s.sub(one, value)) }
}
