/** @file log, log1p and log2: x = 2^k m with m about 1, and log(m) as an inverse hyperbolic tangent. */
import type { Expr, ExprBuilder } from '../expr.ts'
import { bitsOf, formatOf, head, pick, polynomial, type PerFloat } from './float-format.ts'

// log(1 + f) = 2 atanh(s) with s = f / (2 + f), whose series needs few terms; the arrangement that
// keeps its error under one ulp is that of Sun's fdlibm (e_log.c).

/** ln 2 in two parts; the first is short enough for its product with k to be exact. */
const ln2: PerFloat<readonly [number, number]> = {
  f32: [0.69314575, 1.4286068e-6],
  f64: [0.6931471806019545, -4.2009150726810846e-11],
}
/** 1 / ln 2 in two parts; the product of the first with a `head` is exact. */
const log2e: PerFloat<readonly [number, number]> = {
  f32: [1.4428711, -0.00017605285],
  f64: [1.4426950514316559, -1.0542692476429138e-8],
}
/** (2 atanh(s) / s - 2) / s^2 in powers of s^2, for |s| <= (sqrt 2 - 1) / (sqrt 2 + 1). */
const atanhTail: PerFloat<readonly number[]> = {
  f32: [0.66666776, 0.39977568, 0.2987146],
  f64: [
    0.6666666666666735, 0.39999999999409375, 0.2857142874367736, 0.222221984302517,
    0.1818357227495345, 0.15313834500097281, 0.14798232939513442,
  ],
}
/** The bits of sqrt(1/2), of which f64 needs the upper half only. */
const sqrtHalfBits: PerFloat<number> = { f32: 0x3f3504f3, f64: 0x3fe6a09e00000000 }

export function log(s: ExprBuilder, x: Expr): Expr {
  const { exponent, fraction } = splitExponent(s, x)
  return withSpecialValues(s, x, sumOfLogs(s, exponent, fraction))
}

export function log1p(s: ExprBuilder, x: Expr): Expr {
  // u + lost = 1 + x exactly (Knuth's two-sum), and log(u + lost) = log(u) + lost / u closely.
  const u = s.add(x, 1)
  const one = s.sub(u, x)
  const lost = s.add(s.sub(x, s.sub(u, one)), s.sub(s.like(x, 1), one))
  const { exponent, fraction } = splitExponent(s, u)
  const result = sumOfLogs(s, exponent, fraction, s.div(lost, u))
  return s.select(s.eq(x, 0), x, withSpecialValues(s, u, result))
}

export function log2(s: ExprBuilder, x: Expr): Expr {
  const { exponent, fraction } = splitExponent(s, x)
  const [scaleHigh, scaleLow] = pick(log2e, x)
  const halfSquare = s.mul(s.mul(fraction, fraction), 0.5)
  const high = head(s, s.sub(fraction, halfSquare))
  const correction = seriesCorrection(s, fraction, halfSquare)
  const low = s.add(s.sub(s.sub(fraction, high), halfSquare), correction)
  const small = s.add(s.mul(s.add(low, high), scaleLow), s.mul(low, scaleHigh))
  const result = s.add(s.add(small, s.mul(high, scaleHigh)), exponent)
  return withSpecialValues(s, x, result)
}

/** x = 2^exponent (1 + fraction), fraction from sqrt(1/2) - 1 to sqrt(2) - 1, for positive finite x. */
export function splitExponent(s: ExprBuilder, x: Expr): { exponent: Expr; fraction: Expr } {
  const { mantissaBits, magic, magicBits, smallestNormal } = formatOf(x)
  const isSubnormal = s.lt(x, smallestNormal)
  const lift = mantissaBits + 1
  const bits = bitsOf(s, s.select(isSubnormal, s.mul(x, 2 ** lift), x))
  const k = s.shr(s.sub(bits, pick(sqrtHalfBits, x)), mantissaBits)
  const mantissa = s.bitcast(s.sub(bits, s.shl(k, mantissaBits)), x.type)
  const offset = s.select(isSubnormal, s.like(x, magic + lift), s.like(x, magic))
  const exponent = s.sub(s.bitcast(s.add(k, magicBits), x.type), offset)
  return { exponent, fraction: s.sub(mantissa, 1) }
}

/** exponent ln 2 + log(1 + fraction) + extra. */
function sumOfLogs(s: ExprBuilder, exponent: Expr, fraction: Expr, extra?: Expr): Expr {
  const [ln2High, ln2Low] = pick(ln2, fraction)
  const halfSquare = s.mul(s.mul(fraction, fraction), 0.5)
  const scaled = s.mul(exponent, ln2Low)
  const low = extra ? s.add(scaled, extra) : scaled
  const small = s.add(seriesCorrection(s, fraction, halfSquare), low)
  return s.add(s.mul(exponent, ln2High), s.sub(fraction, s.sub(halfSquare, small)))
}

/** log(1 + f) - (f - f^2 / 2), given f and f^2 / 2. */
function seriesCorrection(s: ExprBuilder, fraction: Expr, halfSquare: Expr): Expr {
  const ratio = s.div(fraction, s.add(fraction, 2))
  const square = s.mul(ratio, ratio)
  const tail = s.mul(square, polynomial(s, square, pick(atanhTail, fraction)))
  return s.mul(ratio, s.add(halfSquare, tail))
}

/** `result` where 0 < x < infinity, else what a logarithm gives there. */
function withSpecialValues(s: ExprBuilder, x: Expr, result: Expr): Expr {
  const atMostZero = s.select(s.eq(x, 0), s.like(x, -Infinity), s.like(x, NaN))
  return s.select(s.lt(s.like(x, 0), x), s.select(s.lt(x, Infinity), result, x), atMostZero)
}
