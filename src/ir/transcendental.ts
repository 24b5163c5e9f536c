/** @file The transcendental functions out of arithmetic, comparisons and bits, branch-free, for f32 and f64. */
export { cosh, exp, expm1, ldexp, sinh, tanh } from './transcendental/exponential.ts'
export { log, log1p, log2 } from './transcendental/logarithm.ts'
export { cos, sin, tan } from './transcendental/trigonometric.ts'
export { acos, asin, atan } from './transcendental/inverse-trigonometric.ts'
export { erf, erfReference, gelu } from './transcendental/error-function.ts'
export { pow } from './transcendental/power.ts'
