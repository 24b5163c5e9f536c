/** @file Arithmetic, rounding, exponential and trigonometric functions of one tensor, element by element. */
import type { Expr } from '../ir/expr.ts'
import { needsNumbers, unary } from './define.ts'

/**
 * Minus x. Shape and dtype of `x`. Throws a DTypeError for bools.
 *
 * @example
 * neg(tensor([1, -2])) // -> tensor([-1, 2], float32, cpu)
 */
export const neg = unary({
  name: 'neg',
  dtype: 'promote',
  onnx: 'Neg',
  scalar: (s, x) => s.neg(x),
  vjp: ({ g }) => [g.neg()],
  saves: 'none',
  refuse: needsNumbers,
})

/**
 * The size of x without its sign; its gradient at 0 is 0. Shape and dtype of `x`. Throws a DTypeError
 * for bools.
 *
 * @example
 * abs(tensor([1, -2])) // -> tensor([1, 2], float32, cpu)
 */
export const abs = unary({
  name: 'abs',
  dtype: 'promote',
  onnx: 'Abs',
  scalar: (s, x) => s.abs(x),
  partials: 'derived',
  refuse: needsNumbers,
})

/**
 * -1, 0 or 1 by the sign of x; NaN for NaN. No gradient flows. Shape and dtype of `x`. Throws a
 * DTypeError for bools.
 *
 * @example
 * sign(tensor([3, 0, -2])) // -> tensor([1, 0, -1], float32, cpu)
 */
export const sign = unary({
  name: 'sign',
  dtype: 'promote',
  onnx: 'Sign',
  scalar: (s, x) => s.select(s.gt(x, 0), s.like(x, 1), s.select(s.lt(x, 0), s.like(x, -1), x)),
  partials: [],
  refuse: needsNumbers,
})

/**
 * x times x. Shape and dtype of `x`. Throws a DTypeError for bools.
 *
 * @example
 * square(tensor([3, -2])) // -> tensor([9, 4], float32, cpu)
 */
export const square = unary({
  name: 'square',
  dtype: 'promote',
  scalar: (s, x) => s.mul(x, x),
  partials: 'derived',
  refuse: needsNumbers,
})

/**
 * The square root, exactly rounded; NaN below 0. Shape of `x`; integers become float32.
 *
 * @example
 * sqrt(tensor([4, 2])) // -> tensor([2.0000, 1.4142], float32, cpu)
 */
export const sqrt = unary({
  name: 'sqrt',
  dtype: 'floating',
  onnx: 'Sqrt',
  scalar: (s, x) => s.sqrt(x),
  fromOutput: (s, g, y) => s.div(g, s.mul(y, 2)),
})

/**
 * 1 / sqrt(x). Shape of `x`; integers become float32.
 *
 * @example
 * rsqrt(tensor([4, 1])) // -> tensor([0.5, 1.0], float32, cpu)
 */
export const rsqrt = unary({
  name: 'rsqrt',
  dtype: 'floating',
  scalar: (s, x) => s.div(s.like(x, 1), s.sqrt(x)),
  // -g y^3 / 2
  fromOutput: (s, g, y) => s.mul(s.mul(g, -0.5), s.mul(y, s.mul(y, y))),
})

/**
 * 1 / x. Shape of `x`; integers become float32.
 *
 * @example
 * reciprocal(tensor([4, -1])) // -> tensor([ 0.25, -1.00], float32, cpu)
 */
export const reciprocal = unary({
  name: 'reciprocal',
  dtype: 'floating',
  onnx: 'Reciprocal',
  scalar: (s, x) => s.div(s.like(x, 1), x),
  fromOutput: (s, g, y) => s.neg(s.mul(g, s.mul(y, y))),
})

// -- rounding

/**
 * The largest whole number that is not above x. Whole dtypes stay as they are. No gradient flows.
 *
 * @example
 * floor(tensor([1.5, -1.5])) // -> tensor([1, -2], float32, cpu)
 */
export const floor = unary({
  name: 'floor',
  dtype: 'promote',
  onnx: 'Floor',
  scalar: (s, x) => (isWhole(x) ? x : s.floor(x)),
  partials: [],
})

/**
 * The smallest whole number that is not below x. Whole dtypes stay as they are. No gradient flows.
 *
 * @example
 * ceil(tensor([1.5, -1.5])) // -> tensor([2, -1], float32, cpu)
 */
export const ceil = unary({
  name: 'ceil',
  dtype: 'promote',
  onnx: 'Ceil',
  scalar: (s, x) => (isWhole(x) ? x : s.ceil(x)),
  partials: [],
})

/**
 * x without its fraction. Whole dtypes stay as they are. No gradient flows.
 *
 * @example
 * trunc(tensor([1.5, -1.5])) // -> tensor([1, -1], float32, cpu)
 */
export const trunc = unary({
  name: 'trunc',
  dtype: 'promote',
  scalar: (s, x) => (isWhole(x) ? x : s.trunc(x)),
  partials: [],
})

/**
 * The nearest whole number, halves to the even one. Whole dtypes stay as they are. No gradient flows.
 *
 * @example
 * round(tensor([0.5, 1.5, 2.4])) // -> tensor([0, 2, 2], float32, cpu)
 */
export const round = unary({
  name: 'round',
  dtype: 'promote',
  onnx: 'Round',
  scalar: (s, x) => (isWhole(x) ? x : s.round(x)),
  partials: [],
})

// -- exponentials and logarithms, at most 2 units in the last place off

/**
 * e to the power x. Shape of `x`; integers become float32.
 *
 * @example
 * exp(tensor([0, 1])) // -> tensor([1.0000, 2.7183], float32, cpu)
 */
export const exp = unary({
  name: 'exp',
  dtype: 'floating',
  onnx: 'Exp',
  scalar: (s, x) => s.exp(x),
  vjp: ({ g, output }) => [g.mul(output)],
  saves: 'outputs',
})

/**
 * exp(x) - 1, accurate near 0. Shape of `x`; integers become float32.
 *
 * @example
 * expm1(tensor([0, 1])) // -> tensor([0.0000, 1.7183], float32, cpu)
 */
export const expm1 = unary({
  name: 'expm1',
  dtype: 'floating',
  scalar: (s, x) => s.expm1(x),
  fromOutput: (s, g, y) => s.mul(g, s.add(y, 1)),
})

/**
 * The natural logarithm; -Infinity at 0 and NaN below. Shape of `x`; integers become float32.
 *
 * @example
 * log(tensor([1, 10])) // -> tensor([0.0000, 2.3026], float32, cpu)
 */
export const log = unary({
  name: 'log',
  dtype: 'floating',
  onnx: 'Log',
  scalar: (s, x) => s.log(x),
  partials: 'derived',
})

/**
 * log(1 + x), accurate near 0. Shape of `x`; integers become float32.
 *
 * @example
 * log1p(tensor([0, 1])) // -> tensor([0.0000, 0.6931], float32, cpu)
 */
export const log1p = unary({
  name: 'log1p',
  dtype: 'floating',
  scalar: (s, x) => s.log1p(x),
  partials: 'derived',
})

/**
 * The logarithm to base 2. Shape of `x`; integers become float32.
 *
 * @example
 * log2(tensor([1, 8])) // -> tensor([0, 3], float32, cpu)
 */
export const log2 = unary({
  name: 'log2',
  dtype: 'floating',
  scalar: (s, x) => s.log2(x),
  partials: 'derived',
})

/**
 * The logarithm to base 10. Shape of `x`; integers become float32.
 *
 * @example
 * log10(tensor([1, 1000])) // -> tensor([0, 3], float32, cpu)
 */
export const log10 = unary({
  name: 'log10',
  dtype: 'floating',
  scalar: (s, x) => s.div(s.log(x), Math.LN10),
  partials: 'derived',
})

// -- trigonometric and hyperbolic functions; angles in radians

/**
 * The sine. Shape of `x`; integers become float32. Meant for |x| <= 1e5; beyond, digits are lost, and
 * past 2^22 (float64: 2^50) x counts as 0.
 *
 * @example
 * sin(tensor([0, 1])) // -> tensor([0.0000, 0.8415], float32, cpu)
 */
export const sin = unary({
  name: 'sin',
  dtype: 'floating',
  onnx: 'Sin',
  scalar: (s, x) => s.sin(x),
  partials: 'derived',
})

/**
 * The cosine. Shape of `x`; integers become float32. Meant for |x| <= 1e5; beyond, digits are lost, and
 * past 2^22 (float64: 2^50) x counts as 0.
 *
 * @example
 * cos(tensor([0, 1])) // -> tensor([1.0000, 0.5403], float32, cpu)
 */
export const cos = unary({
  name: 'cos',
  dtype: 'floating',
  onnx: 'Cos',
  scalar: (s, x) => s.cos(x),
  partials: 'derived',
})

/**
 * The tangent. Shape of `x`; integers become float32. Meant for |x| <= 1e5; beyond, digits are lost, and
 * past 2^22 (float64: 2^50) x counts as 0.
 *
 * @example
 * tan(tensor([0, 1])) // -> tensor([0.0000, 1.5574], float32, cpu)
 */
export const tan = unary({
  name: 'tan',
  dtype: 'floating',
  onnx: 'Tan',
  scalar: (s, x) => s.tan(x),
  fromOutput: (s, g, y) => s.mul(g, s.add(s.mul(y, y), 1)),
})

/**
 * The inverse sine, from -pi/2 to pi/2; NaN outside -1 to 1. Shape of `x`; integers become float32.
 *
 * @example
 * asin(tensor([0, 1])) // -> tensor([0.0000, 1.5708], float32, cpu)
 */
export const asin = unary({
  name: 'asin',
  dtype: 'floating',
  onnx: 'Asin',
  scalar: (s, x) => s.asin(x),
  partials: 'derived',
})

/**
 * The inverse cosine, from 0 to pi; NaN outside -1 to 1. Shape of `x`; integers become float32.
 *
 * @example
 * acos(tensor([0, 1])) // -> tensor([1.5708, 0.0000], float32, cpu)
 */
export const acos = unary({
  name: 'acos',
  dtype: 'floating',
  onnx: 'Acos',
  scalar: (s, x) => s.acos(x),
  partials: 'derived',
})

/**
 * The inverse tangent, from -pi/2 to pi/2. Shape of `x`; integers become float32.
 *
 * @example
 * atan(tensor([0, 1])) // -> tensor([0.0000, 0.7854], float32, cpu)
 */
export const atan = unary({
  name: 'atan',
  dtype: 'floating',
  onnx: 'Atan',
  scalar: (s, x) => s.atan(x),
  partials: 'derived',
})

/**
 * The hyperbolic sine. Shape of `x`; integers become float32.
 *
 * @example
 * sinh(tensor([0, 1])) // -> tensor([0.0000, 1.1752], float32, cpu)
 */
export const sinh = unary({
  name: 'sinh',
  dtype: 'floating',
  onnx: 'Sinh',
  scalar: (s, x) => s.sinh(x),
  partials: 'derived',
})

/**
 * The hyperbolic cosine. Shape of `x`; integers become float32.
 *
 * @example
 * cosh(tensor([0, 1])) // -> tensor([1.0000, 1.5431], float32, cpu)
 */
export const cosh = unary({
  name: 'cosh',
  dtype: 'floating',
  onnx: 'Cosh',
  scalar: (s, x) => s.cosh(x),
  partials: 'derived',
})

/**
 * The hyperbolic tangent. Shape of `x`; integers become float32.
 *
 * @example
 * tanh(tensor([0, 1])) // -> tensor([0.0000, 0.7616], float32, cpu)
 */
export const tanh = unary({
  name: 'tanh',
  dtype: 'floating',
  onnx: 'Tanh',
  scalar: (s, x) => s.tanh(x),
  fromOutput: (s, g, y) => s.mul(g, s.sub(s.like(y, 1), s.mul(y, y))),
})

/**
 * The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x. Shape of `x`; integers
 * become float32.
 *
 * @example
 * erf(tensor([0, 1])) // -> tensor([0.0000, 0.8427], float32, cpu)
 */
export const erf = unary({
  name: 'erf',
  dtype: 'floating',
  onnx: 'Erf',
  scalar: (s, x) => s.erf(x),
  partials: 'derived',
})

const isWhole = (x: Expr) => x.type !== 'f32' && x.type !== 'f64'
