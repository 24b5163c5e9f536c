/** @file Activation functions, element by element: each is one kernel, and so is its gradient. */
import type { Expr, ExprBuilder } from '../ir/expr.ts'
import * as math from '../ir/transcendental.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ValueError } from '../util/errors.ts'
import { checkTensor, elementwise, needsNumbers, unary } from './define.ts'

const zero = (s: ExprBuilder, x: Expr) => s.like(x, 0)
const one = (s: ExprBuilder, x: Expr) => s.like(x, 1)

/** 1 / (1 + exp(-x)): the exponential may overflow, the quotient is right all the same. */
const logistic = (s: ExprBuilder, x: Expr) => s.div(one(s, x), s.add(s.exp(s.neg(x)), 1))

/** log(1 + exp(x)), which is x where the logarithm no longer tells them apart. */
function logOnePlusExp(s: ExprBuilder, x: Expr): Expr {
  const settled = x.type === 'f64' ? 40 : 20
  return s.select(s.gt(x, settled), x, s.log1p(s.exp(x)))
}

/**
 * max(x, 0). Shape and dtype of `x`; NaN stays NaN and the gradient at 0 is 0. Throws a DTypeError for
 * bools.
 *
 * @example
 * relu(tensor([-1, 2])) // -> tensor([0, 2], float32, cpu)
 */
export const relu = unary({
  name: 'relu',
  dtype: 'promote',
  onnx: 'Relu',
  scalar: (s, x) => s.max(x, 0),
  fromOutput: (s, g, y) => s.select(s.le(y, 0), zero(s, g), g),
  refuse: needsNumbers,
})

/**
 * relu that stops at 6: min(max(x, 0), 6). Shape and dtype of `x` (Howard et al. 2017, MobileNets).
 *
 * @example
 * relu6(tensor([-1, 2, 7])) // -> tensor([0, 2, 6], float32, cpu)
 */
export const relu6 = unary({
  name: 'relu6',
  dtype: 'promote',
  onnx: 'Clip',
  scalar: (s, x) => s.min(s.max(x, 0), 6),
  partials: [(s, g, x) => s.select(s.or(s.le(x, 0), s.ge(x, 6)), zero(s, g), g)],
  refuse: needsNumbers,
})

export interface LeakyReluOptions {
  /** Slope below 0; default 0.01. */
  readonly negativeSlope?: number
}

const leakyReluOp = elementwise({
  name: 'leakyRelu',
  dtype: 'promote',
  onnx: 'LeakyRelu',
  scalar: (s, x, slope) => s.select(s.gt(x, 0), x, s.mul(x, slope)),
  partials: 'derived',
  refuse: needsNumbers,
})

/**
 * x above 0, negativeSlope x below. Shape and dtype of `x` (Maas et al. 2013).
 *
 * @example
 * leakyRelu(tensor([-1, 2]), { negativeSlope: 0.1 }) // -> tensor([-0.1,  2.0], float32, cpu)
 */
export function leakyRelu(x: Tensor, options: LeakyReluOptions = {}): Tensor {
  checkTensor('leakyRelu', 'x', x)
  checkOptions('leakyRelu', options, ['negativeSlope'])
  return dispatch(leakyReluOp, [x, options.negativeSlope ?? 0.01])
}

export interface EluOptions {
  /** Limit towards -Infinity is -alpha; default 1. */
  readonly alpha?: number
}

const eluOp = elementwise({
  name: 'elu',
  dtype: 'floating',
  onnx: 'Elu',
  scalar: (s, x, alpha) => s.select(s.gt(x, 0), x, s.mul(alpha, s.expm1(x))),
  partials: 'derived',
})

/**
 * x above 0, alpha (exp(x) - 1) below. Shape of `x`; integers become float32 (Clevert et al. 2015).
 *
 * @example
 * elu(tensor([-1, 2])) // -> tensor([-0.6321,  2.0000], float32, cpu)
 */
export function elu(x: Tensor, options: EluOptions = {}): Tensor {
  checkTensor('elu', 'x', x)
  checkOptions('elu', options, ['alpha'])
  return dispatch(eluOp, [x, options.alpha ?? 1])
}

/** The constants of the fixed point at mean 0 and variance 1. */
const seluAlpha = 1.6732632423543772
const seluScale = 1.0507009873554805

/**
 * The self-normalizing elu: scale max(x, 0) + scale alpha min(exp(x) - 1, 0) with fixed constants.
 * Shape of `x`; integers become float32 (Klambauer et al. 2017).
 *
 * @example
 * selu(tensor([-1, 2])) // -> tensor([-1.1113, 2.1014], float32, cpu)
 */
export const selu = unary({
  name: 'selu',
  dtype: 'floating',
  onnx: 'Selu',
  scalar: (s, x) => s.mul(s.select(s.gt(x, 0), x, s.mul(s.expm1(x), seluAlpha)), seluScale),
  partials: 'derived',
})

/**
 * The logistic function 1 / (1 + exp(-x)). Shape of `x`; integers become float32.
 *
 * @example
 * sigmoid(tensor([0, 2])) // -> tensor([0.5000, 0.8808], float32, cpu)
 */
export const sigmoid = unary({
  name: 'sigmoid',
  dtype: 'floating',
  onnx: 'Sigmoid',
  scalar: logistic,
  fromOutput: (s, g, y) => s.mul(g, s.mul(y, s.sub(one(s, y), y))),
})

/**
 * log(sigmoid(x)) without overflow. Shape of `x`; integers become float32.
 *
 * @example
 * logSigmoid(tensor([0, -100])) // -> tensor([  -0.6931, -100.0000], float32, cpu)
 */
export const logSigmoid = unary({
  name: 'logSigmoid',
  dtype: 'floating',
  scalar: (s, x) => s.neg(logOnePlusExp(s, s.neg(x))),
  // 1 - sigmoid(x)
  partials: [(s, g, x) => s.div(g, s.add(s.exp(x), 1))],
})

/**
 * x sigmoid(x), also called swish. Shape of `x`; integers become float32 (Hendrycks & Gimpel 2016).
 *
 * @example
 * silu(tensor([0, 2])) // -> tensor([0.0000, 1.7616], float32, cpu)
 */
export const silu = unary({
  name: 'silu',
  dtype: 'floating',
  scalar: (s, x) => s.div(x, s.add(s.exp(s.neg(x)), 1)),
  // g y (1 + x (1 - y)) with y = sigmoid(x)
  partials: [
    (s, g, x) => {
      const y = logistic(s, x)
      return s.mul(s.mul(g, y), s.add(s.mul(x, s.sub(one(s, y), y)), 1))
    },
  ],
})

export interface GeluOptions {
  /** 'none': by the error function; 'tanh': its approximation, as GPT-2 has it. Default 'none'. */
  readonly approximate?: 'none' | 'tanh'
}

const exactGelu = unary({
  name: 'gelu',
  dtype: 'floating',
  onnx: 'Gelu',
  scalar: math.gelu,
  // P(X < x) + x times the density at x
  partials: [
    (s, g, x) => {
      const below = s.add(s.mul(s.erf(s.mul(x, Math.SQRT1_2)), 0.5), 0.5)
      const density = s.mul(s.exp(s.mul(s.mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI))
      return s.mul(g, s.add(below, s.mul(x, density)))
    },
  ],
})

const tanhGelu = unary({
  name: 'geluTanh',
  dtype: 'floating',
  onnx: 'Gelu',
  scalar(s, x) {
    const cube = s.mul(x, s.mul(x, x))
    const inner = s.mul(s.add(x, s.mul(cube, 0.044715)), Math.sqrt(2 / Math.PI))
    return s.mul(s.mul(x, 0.5), s.add(s.tanh(inner), 1))
  },
  partials: 'derived',
})

/**
 * x times the normal distribution function at x. Shape of `x`; integers become float32. Throws a
 * ValueError for an unknown approximation (Hendrycks & Gimpel 2016).
 *
 * @example
 * gelu(tensor([0, 2])) // -> tensor([0.0000, 1.9545], float32, cpu)
 * gelu(tensor([0, 2]), { approximate: 'tanh' }) // -> tensor([0.0000, 1.9546], float32, cpu)
 */
export function gelu(x: Tensor, options: GeluOptions = {}): Tensor {
  checkTensor('gelu', 'x', x)
  checkOptions('gelu', options, ['approximate'])
  const { approximate = 'none' } = options
  if (approximate === 'none') return exactGelu(x)
  if (approximate === 'tanh') return tanhGelu(x)
  throw new ValueError(
    `gelu: unknown approximation ${JSON.stringify(approximate)}. Expected 'none' or 'tanh'`,
  )
}

export interface SoftplusOptions {
  /** Sharpness of the bend; default 1. */
  readonly beta?: number
}

const softplusOp = elementwise({
  name: 'softplus',
  dtype: 'floating',
  onnx: 'Softplus',
  scalar: (s, x, beta) => s.div(logOnePlusExp(s, s.mul(x, beta)), beta),
  partials: [(s, g, x, beta) => s.div(g, s.add(s.exp(s.neg(s.mul(x, beta))), 1))],
})

/**
 * log(1 + exp(beta x)) / beta, a smooth relu, without overflow. Shape of `x`; integers become float32.
 *
 * @example
 * softplus(tensor([0, 100])) // -> tensor([  0.6931, 100.0000], float32, cpu)
 */
export function softplus(x: Tensor, options: SoftplusOptions = {}): Tensor {
  checkTensor('softplus', 'x', x)
  checkOptions('softplus', options, ['beta'])
  return dispatch(softplusOp, [x, options.beta ?? 1])
}

/**
 * x / (1 + |x|). Shape of `x`; integers become float32.
 *
 * @example
 * softsign(tensor([-1, 3])) // -> tensor([-0.50,  0.75], float32, cpu)
 */
export const softsign = unary({
  name: 'softsign',
  dtype: 'floating',
  onnx: 'Softsign',
  scalar: (s, x) => s.div(x, s.add(s.abs(x), 1)),
  // g / (1 + |x|)^2
  partials: [
    (s, g, x) => {
      const scale = s.add(s.abs(x), 1)
      return s.div(g, s.mul(scale, scale))
    },
  ],
})

/**
 * relu6(x + 3) / 6, a sigmoid of straight lines. Shape of `x`; integers become float32.
 *
 * @example
 * hardSigmoid(tensor([-3, 0, 1.5])) // -> tensor([0.00, 0.50, 0.75], float32, cpu)
 */
export const hardSigmoid = unary({
  name: 'hardSigmoid',
  dtype: 'floating',
  onnx: 'HardSigmoid',
  scalar: (s, x) => s.div(s.min(s.max(s.add(x, 3), 0), 6), 6),
  partials: [(s, g, x) => s.select(s.lt(s.abs(x), 3), s.div(g, 6), zero(s, g))],
})

/**
 * x hardSigmoid(x). Shape of `x`; integers become float32 (Howard et al. 2019, MobileNetV3).
 *
 * @example
 * hardSwish(tensor([-3, 1, 4])) // -> tensor([0.0000, 0.6667, 4.0000], float32, cpu)
 */
export const hardSwish = unary({
  name: 'hardSwish',
  dtype: 'floating',
  onnx: 'HardSwish',
  scalar: (s, x) => s.div(s.mul(x, s.min(s.max(s.add(x, 3), 0), 6)), 6),
  partials: [
    (s, g, x) => {
      const bend = s.mul(g, s.add(s.div(x, 3), 0.5))
      return s.select(s.lt(x, -3), zero(s, g), s.select(s.le(x, 3), bend, g))
    },
  ],
})

/**
 * x tanh(softplus(x)). Shape of `x`; integers become float32 (Misra 2019).
 *
 * @example
 * mish(tensor([0, 2])) // -> tensor([0.000, 1.944], float32, cpu)
 */
export const mish = unary({
  name: 'mish',
  dtype: 'floating',
  onnx: 'Mish',
  // tanh(log(1 + e)) = w / (w + 2) with w = e (e + 2): one exponential in all
  scalar(s, x) {
    const e = s.exp(x)
    const w = s.mul(e, s.add(e, 2))
    return s.select(s.gt(x, 20), x, s.mul(x, s.div(w, s.add(w, 2))))
  },
  partials: 'derived',
})
