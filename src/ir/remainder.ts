/** @file Division with remainder of floats and integers, in the C and the Python way. */
import type { Expr, ExprBuilder } from './expr.ts'
import { copySign, head, pick } from './transcendental/float-format.ts'

const isInteger = (x: Expr) => x.type === 'i32' || x.type === 'i64'

/** Above this quotient neighbouring floats are further apart than the divisor. */
const largestQuotient = { f32: 2 ** 24, f64: 2 ** 53 }

/**
 * The remainder of truncating division, with the sign of `a` (C's fmod). Exact for floats while
 * |a / b| stays below 2^24 (f64: 2^53), and 0 above.
 */
export function truncatedRemainder(s: ExprBuilder, a: Expr, b: Expr): Expr {
  if (isInteger(a)) return s.rem(a, b)
  const quotient = s.div(a, b)
  const q = s.trunc(quotient)
  // a - q b with the product as an exact sum of two floats: products of halves do not round.
  const product = s.mul(q, b)
  const [qHigh, bHigh] = [head(s, q), head(s, b)]
  const [qLow, bLow] = [s.sub(q, qHigh), s.sub(b, bHigh)]
  const crossed = s.add(s.mul(qHigh, bLow), s.mul(qLow, bHigh))
  const error = s.add(s.add(s.sub(s.mul(qHigh, bHigh), product), crossed), s.mul(qLow, bLow))
  const rest = s.sub(s.sub(a, product), error)
  // The rounded quotient may have reached the next whole number: then the rest changed sides.
  const size = s.abs(b)
  const along = copySign(s, size, a)
  const back = s.lt(s.mul(rest, copySign(s, s.like(a, 1), a)), 0)
  const mended = s.select(back, s.add(rest, along), rest)
  const isHuge = s.ge(s.abs(quotient), pick(largestQuotient, a))
  const value = s.select(isHuge, s.div(s.mul(a, 0), b), mended)
  return s.select(s.lt(s.abs(a), size), a, copySign(s, s.abs(value), a))
}

/** The remainder of flooring division, with the sign of `b` (Python's %). */
export function flooredRemainder(s: ExprBuilder, a: Expr, b: Expr): Expr {
  const rest = truncatedRemainder(s, a, b)
  return s.select(isOpposite(s, rest, b), s.add(rest, b), rest)
}

/** The quotient rounded down (Python's //); for floats consistent with `flooredRemainder`. */
export function flooredQuotient(s: ExprBuilder, a: Expr, b: Expr): Expr {
  const rest = truncatedRemainder(s, a, b)
  const down = isOpposite(s, rest, b)
  if (isInteger(a)) {
    const quotient = s.div(a, b)
    return s.select(down, s.sub(quotient, 1), quotient)
  }
  const direct = s.div(a, b)
  const exact = s.div(s.sub(a, rest), b)
  const lowered = s.select(down, s.sub(exact, 1), exact)
  // Nearly whole already: the division by b may have rounded either way.
  const whole = s.round(lowered)
  const signed = s.select(s.eq(whole, 0), copySign(s, s.like(a, 0), direct), whole)
  return s.select(s.eq(b, 0), direct, signed)
}

const isOpposite = (s: ExprBuilder, rest: Expr, b: Expr) =>
  s.and(s.ne(rest, 0), s.xor(s.lt(rest, 0), s.lt(b, 0)))
