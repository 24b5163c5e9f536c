/** @file pow: 2^(y log2 |x|), the logarithm carried in two floats, and C's table of special cases. */
import type { Expr, ExprBuilder } from '../expr.ts'
import {
  bitsOf,
  formatOf,
  head,
  pick,
  polynomial,
  roundToWhole,
  type PerFloat,
} from './float-format.ts'
import { splitExponent } from './logarithm.ts'

// The method is that of fdlibm's e_pow.c: with s = f / (2 + f), log2(1 + f) = c s (3 + s^2 + ...) where
// c = 2 / (3 ln 2). Each factor is cut into a head of half the mantissa and a tail, so that products
// of heads are exact (Dekker, A Floating-Point Technique for Extending the Available Precision, 1971).

/** 2 / (3 ln 2): its head, and all of it less the head. */
const scale: PerFloat<readonly [number, number]> = {
  f32: [0.96191406, -0.000117368574],
  f64: [0.9617967009544373, -7.028461650952758e-9],
}
/** (3 atanh(s) / s - 3 - s^2) / s^4 in powers of s^2 (Remez exchange). */
const atanhTail: PerFloat<readonly number[]> = {
  f32: [0.6000023, 0.42820632, 0.35129592],
  f64: [
    0.6000000000000341, 0.4285714285513816, 0.33333333781982066, 0.2727267635931815,
    0.23080145143375713, 0.19885006488829615, 0.19796597958573936,
  ],
}
/** (2^r - 1) / r for |r| <= 1/2. */
export const exp2Tail: PerFloat<readonly number[]> = {
  f32: [0.69314724, 0.24022655, 0.055502728, 0.009617064, 0.0013417895, 0.00015820556],
  f64: [
    0.6931471805599453, 0.2402265069591007, 0.055504108664823366, 0.009618129107630236,
    0.0013333558146038376, 0.00015403530388902585, 1.5252734161709245e-5, 1.3215491255475113e-6,
    1.0177934231156481e-7, 7.053223801972606e-9, 4.473074117331591e-10, 2.770024242671926e-11,
  ],
}
/** A larger power of anything but 1 overflows or vanishes, and infinity would spoil the heads. */
const exponentLimit: PerFloat<number> = { f32: 2 ** 32, f64: 2 ** 64 }
/** 2^z is infinite above and zero below minus this. */
const resultLimit: PerFloat<number> = { f32: 160, f64: 1100 }

/** A value as the unevaluated sum of two floats. */
interface Pair {
  readonly high: Expr
  readonly low: Expr
}

export function pow(s: ExprBuilder, x: Expr, y: Expr): Expr {
  const limit = pick(exponentLimit, x)
  const bounded = s.max(s.min(y, limit), -limit)
  const exponent = timesHead(s, logarithm(s, s.abs(x)), bounded)
  return withSpecialCases(s, x, y, powerOfTwoPair(s, exponent))
}

/** log2(x) for finite x > 0; `high` is a head. */
function logarithm(s: ExprBuilder, x: Expr): Pair {
  const { exponent, fraction } = splitExponent(s, x)
  // ratio = f / (f + 2) as ratioHigh + ratioLow: the remainder of the division, divided again.
  const denominator = s.add(fraction, 2)
  const denominatorHigh = head(s, denominator)
  const denominatorLow = s.sub(fraction, s.sub(denominatorHigh, 2))
  const ratio = s.div(fraction, denominator)
  const ratioHigh = head(s, ratio)
  const remainder = s.sub(
    s.sub(fraction, s.mul(ratioHigh, denominatorHigh)),
    s.mul(ratioHigh, denominatorLow),
  )
  const ratioLow = s.div(remainder, denominator)
  // series = 3 + s^2 + s^4 (...), of which 3 + ratioHigh^2 is exact in two pieces.
  const squareHigh = s.mul(ratioHigh, ratioHigh)
  const square = s.mul(ratio, ratio)
  const tail = s.add(
    s.mul(s.mul(square, square), polynomial(s, square, pick(atanhTail, x))),
    s.mul(ratioLow, s.add(ratioHigh, ratio)),
  )
  const seriesHigh = head(s, s.add(s.add(squareHigh, 3), tail))
  const seriesLow = s.sub(tail, s.sub(s.sub(seriesHigh, 3), squareHigh))
  // product = ratio series, then times the scale, then plus the exponent.
  const exact = s.mul(ratioHigh, seriesHigh)
  const rest = s.add(s.mul(ratioLow, seriesHigh), s.mul(seriesLow, ratio))
  const productHigh = head(s, s.add(exact, rest))
  const productLow = s.sub(rest, s.sub(productHigh, exact))
  const [scaleHigh, scaleLow] = pick(scale, x)
  const scaledHigh = s.mul(productHigh, scaleHigh)
  const scaledLow = s.add(s.mul(productHigh, scaleLow), s.mul(productLow, scaleHigh + scaleLow))
  const high = head(s, s.add(s.add(scaledHigh, scaledLow), exponent))
  const low = s.sub(scaledLow, s.sub(s.sub(high, exponent), scaledHigh))
  return { high, low }
}

/** y (a.high + a.low), where a.high is a head. */
function timesHead(s: ExprBuilder, a: Pair, y: Expr): Pair {
  const yHigh = head(s, y)
  const low = s.add(s.mul(s.sub(y, yHigh), a.high), s.mul(y, a.low))
  return { high: s.mul(yHigh, a.high), low }
}

/** 2^(z.high + z.low), overflow and gradual underflow included. */
function powerOfTwoPair(s: ExprBuilder, z: Pair): Expr {
  const { mantissaBits, exponentBias } = formatOf(z.high)
  const limit = pick(resultLimit, z.high)
  const high = s.max(s.min(z.high, limit), -limit)
  const low = s.max(s.min(z.low, 1), -1)
  const { whole, bits } = roundToWhole(s, s.add(high, low), 2 * exponentBias)
  const r = s.add(s.sub(high, whole), low)
  const value = s.add(s.mul(r, polynomial(s, r, pick(exp2Tail, r))), 1)
  // In two steps, as in `exp`, so that only the last product rounds.
  const half = s.shr(bits, 1)
  const first = s.bitcast(s.shl(half, mantissaBits), r.type)
  const second = s.bitcast(s.shl(s.sub(bits, half), mantissaBits), r.type)
  return s.mul(s.mul(value, first), second)
}

/** The rules of C (Annex F), given |x|^y for finite x other than 0. */
function withSpecialCases(s: ExprBuilder, x: Expr, y: Expr, power: Expr): Expr {
  const magnitude = s.abs(x)
  const isExtreme = s.or(s.eq(magnitude, 0), s.eq(magnitude, Infinity))
  const grows = s.xor(s.lt(magnitude, 1), s.lt(s.like(y, 0), y))
  const extreme = s.select(grows, s.like(x, Infinity), s.like(x, 0))
  const value = s.select(isExtreme, extreme, power)

  const isWhole = s.eq(s.trunc(y), y)
  const half = s.mul(y, 0.5)
  const isOdd = s.and(isWhole, s.ne(s.trunc(half), half))
  const sign = s.and(bitsOf(s, x), formatOf(x).signMask)
  const negated = s.bitcast(s.or(bitsOf(s, value), sign), x.type)
  const signed = s.select(isOdd, negated, value)

  const hasNoRoot = s.and(s.not(isWhole), s.and(s.lt(x, 0), s.not(isExtreme)))
  const isNaN = s.or(hasNoRoot, s.or(s.ne(x, x), s.ne(y, y)))
  const isOne = s.or(s.eq(y, 0), s.eq(x, 1))
  return s.select(isOne, s.like(x, 1), s.select(isNaN, s.like(x, NaN), signed))
}
