/** @file asin, acos and atan: an odd polynomial near 0, identities that bring everything else there. */
import type { Expr, ExprBuilder } from '../expr.ts'
import { copySign, pick, polynomial, type PerFloat } from './float-format.ts'

// Identities: asin(a) = pi/2 - 2 asin(sqrt((1 - a) / 2)) and, as in Cephes,
// atan(a) = pi/4 + atan((a - 1) / (a + 1)) = pi/2 - atan(1 / a). Coefficients by Remez exchange.

/** pi/2 rounded, and the rest. */
const halfPi: PerFloat<readonly [number, number]> = {
  f32: [1.5707964, -4.371139e-8],
  f64: [1.5707963267948966, 6.123233995736766e-17],
}
/** (asin(x) / x - 1) / x^2 in powers of x^2, for |x| <= 1/2. */
const asinTail: PerFloat<readonly number[]> = {
  f32: [0.16666752, 0.074953064, 0.045469772, 0.02418077, 0.04216643],
  f64: [
    0.16666666666665403, 0.07500000000338558, 0.04464285682697475, 0.030381959195542766,
    0.02237175658782587, 0.01735972761321358, 0.013885002534858696, 0.012170785443626623,
    0.006520987153751728, 0.019547862018996894, -0.016255713243741237, 0.03193430027404142,
  ],
}
/** (atan(x) / x - 1) / x^2 in powers of x^2, for |x| <= sqrt(2) - 1. */
const atanTail: PerFloat<readonly number[]> = {
  f32: [-0.33333316, 0.19998524, -0.14244254, 0.105978735, -0.060862105],
  f64: [
    -0.3333333333333319, 0.1999999999995218, -0.14285714280053463, 0.11111110776254761,
    -0.09090897549389705, 0.07692056490964527, -0.06663061519925835, 0.05847578375630555,
    -0.05037896922858676, 0.03802861951025094, -0.017867659514040922,
  ],
}

export function asin(s: ExprBuilder, x: Expr): Expr {
  const { isLarge, angle, curve } = halvedArc(s, x)
  const [high, low] = pick(halfPi, x)
  // The rounding error of `rest` is kept: where it passes 1 on the way below, it would cost an ulp.
  const twice = s.add(angle, angle)
  const rest = s.sub(s.like(x, high), twice)
  const lost = s.sub(s.sub(s.like(x, high), rest), twice)
  const large = s.add(rest, s.sub(s.add(lost, low), s.add(curve, curve)))
  return copySign(s, s.select(isLarge, large, s.add(angle, curve)), x)
}

export function acos(s: ExprBuilder, x: Expr): Expr {
  const { isLarge, angle, curve } = halvedArc(s, x)
  const [high, low] = pick(halfPi, x)
  const arc = s.add(angle, curve)
  const twice = s.add(arc, arc)
  const isNegative = s.lt(x, 0)
  const opposite = s.sub(s.like(x, 2 * high), s.sub(twice, 2 * low))
  const large = s.select(isNegative, opposite, twice)
  const signedAngle = s.select(isNegative, s.neg(angle), angle)
  const signedCurve = s.select(isNegative, s.neg(curve), curve)
  const small = s.sub(s.like(x, high), s.add(signedAngle, s.sub(signedCurve, low)))
  return s.select(isLarge, large, small)
}

export function atan(s: ExprBuilder, x: Expr): Expr {
  const magnitude = s.abs(x)
  const isMiddle = s.lt(s.like(x, Math.SQRT2 - 1), magnitude)
  const isLarge = s.lt(s.like(x, Math.SQRT2 + 1), magnitude)
  const choose = (small: Expr, middle: Expr, large: Expr): Expr =>
    s.select(isLarge, large, s.select(isMiddle, middle, small))
  const constant = (value: number): Expr => s.like(x, value)
  const numerator = choose(magnitude, s.sub(magnitude, 1), constant(-1))
  const denominator = choose(constant(1), s.add(magnitude, 1), magnitude)
  const [high, low] = pick(halfPi, x)
  const t = s.div(numerator, denominator)
  const square = s.mul(t, t)
  const curve = s.mul(s.mul(t, square), polynomial(s, square, pick(atanTail, x)))
  const small = s.add(t, s.add(curve, choose(constant(0), constant(low / 2), constant(low))))
  return copySign(s, s.add(choose(constant(0), constant(high / 2), constant(high)), small), x)
}

/** Where |x| <= 1/2, angle + curve = asin |x|; elsewhere (isLarge) that is half of acos |x|. */
function halvedArc(s: ExprBuilder, x: Expr): { isLarge: Expr; angle: Expr; curve: Expr } {
  const magnitude = s.abs(x)
  const isLarge = s.lt(s.like(x, 0.5), magnitude)
  const halved = s.mul(s.sub(s.like(x, 1), magnitude), 0.5)
  const square = s.select(isLarge, halved, s.mul(x, x))
  const angle = s.select(isLarge, s.sqrt(halved), magnitude)
  const curve = s.mul(s.mul(angle, square), polynomial(s, square, pick(asinTail, x)))
  return { isLarge, angle, curve }
}
