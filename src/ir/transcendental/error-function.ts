/** @file The error function, as a decomposition and as the interpreter's double-precision reference. */
import type { Expr, ExprBuilder } from '../expr.ts'
import { expWithin } from './exponential.ts'
import {
  copySign,
  formatOf,
  fusedPolynomial,
  pick,
  powerOfTwo,
  roundToWhole,
  type PerFloat,
} from './float-format.ts'
import { exp2Tail } from './power.ts'

/** erf(x) / x - 1 in powers of x^2, for |x| <= 1 (Remez exchange). */
const nearZero: PerFloat<readonly number[]> = {
  f32: [0.12837912, -0.3761232, 0.112801135, -0.026709216, 0.0049149077, -0.0005619881],
  f64: [
    0.12837916709551256, -0.37612638903183343, 0.1128379167093695, -0.026866170641959203,
    0.005223977596737302, -0.0008548325485121861, 0.00012055280502097545, -1.4924465782965454e-5,
    1.644415279642288e-6, -1.618401162830164e-7, 1.3616801725743287e-8, -7.608027822181913e-10,
  ],
}
/**
 * log(1 - erf(x)) in powers of x from 1 to `saturation`, fitted with weight 1 - erf(x): the further
 * out, the less of it matters.
 */
const logComplement: PerFloat<readonly number[]> = {
  f32: [
    -0.0003394197, -1.1270974, -0.63813186, -0.103117496, 0.02184295, -0.0029488131, 0.00018648965,
  ],
  f64: [
    -4.995167571918025e-7, -1.1283741204356637, -0.6366434945508879, -0.10270379466715453,
    0.018990831022873127, 0.00040975051765160866, -0.0019150479710693688, 0.0007699352965489378,
    -0.0001346113415986872, -2.0481474371314595e-5, 2.2905442454760847e-5, -8.6922943250561e-6,
    2.141580446160379e-6, -3.7435543617430386e-7, 4.656048763018332e-8, -3.946689013956659e-9,
    2.051888781336183e-10, -4.946543641473422e-12,
  ],
}
/** From here on erf is 1 to the last bit. */
const saturation: PerFloat<number> = { f32: 4, f64: 6 }

/**
 * log2 of P(X > x) for X of the standard normal distribution, in powers of x: a fit from 0 to 5.6, whose
 * errors count as much as they change x P(X > x). Further out it falls, and faster than it should.
 */
const logTail = [
  -1, -1.151106, -0.4591986, -0.05253278, 0.007125797, -0.00019097039, -0.00016156836, 3.3790457e-5,
  -2.3389784e-6,
]
/** Here the exponent is -127, which makes zeros of the bits of 2^-127: P(X > x) is 0 from here on. */
const deepTail = 10.183

/** x P(X < x) for X of the standard normal distribution. */
export function gelu(s: ExprBuilder, x: Expr): Expr {
  if (x.type === 'f64') return s.mul(s.mul(x, 0.5), s.add(s.erf(s.mul(x, Math.SQRT1_2)), 1))
  // max(x, 0) - |x| P(X > |x|): one formula on both sides, and nothing cancels.
  // Infinity times nothing is avoided on the right only: on the left it is PyTorch's NaN.
  const magnitude = s.abs(s.min(x, deepTail))
  const exponent = fusedPolynomial(s, s.min(magnitude, deepTail), logTail)
  // 2^8 too much in the exponent's place is the sign bit: the power comes out negative.
  const { whole, bits } = roundToWhole(s, exponent, formatOf(x).exponentBias + 2 ** 8)
  const power = fusedPolynomial(s, s.sub(exponent, whole), [1, ...pick(exp2Tail, x)])
  return s.fma(magnitude, s.mul(power, powerOfTwo(s, bits, x)), s.max(x, -0))
}

export function erf(s: ExprBuilder, x: Expr): Expr {
  const magnitude = s.abs(x)
  const clamped = s.min(magnitude, pick(saturation, x))
  const complement = expWithin(s, fusedPolynomial(s, clamped, pick(logComplement, x)))
  const large = copySign(s, s.sub(s.like(x, 1), complement), x)
  const small = s.fma(x, fusedPolynomial(s, s.mul(x, x), pick(nearZero, x)), x)
  return s.select(s.lt(magnitude, 1), small, large)
}

/**
 * erf(x) within 2 ulp: its Taylor series, from the smallest term up, below 1, and Laplace's continued
 * fraction for 1 - erf from there on (Abramowitz and Stegun 7.1.5 and 7.1.14).
 */
export function erfReference(x: number): number {
  if (Number.isNaN(x)) return x
  const magnitude = Math.abs(x)
  if (magnitude >= 6) return Math.sign(x)
  const square = x * x
  if (magnitude < 1) {
    let sum = 0
    for (let n = 22; n >= 0; n--) sum = 1 / (2 * n + 1) - (square / (n + 1)) * sum
    const integral = x * sum
    // 2 / sqrt(pi) is 1 and this: so its own rounding hardly counts.
    return integral + integral * 0.12837916709551256
  }
  let fraction = magnitude
  for (let n = Math.ceil(200 / square) + 4; n > 0; n--) fraction = magnitude + n / 2 / fraction
  return Math.sign(x) * (1 - Math.exp(-square) / (Math.sqrt(Math.PI) * fraction))
}
