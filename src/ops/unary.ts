/** @file Elementwise functions of one tensor. */
import { unary } from './define.ts'

/**
 * Minus x. Shape and dtype of `x`.
 *
 * @example
 * neg(tensor([1, -2])) // -> tensor([-1, 2], float32, wasm)
 */
export const neg = unary({
  name: 'neg',
  dtype: 'promote',
  onnx: 'Neg',
  scalar: (s, x) => s.neg(x),
  vjp: ({ g }) => [g.neg()],
  saves: 'none',
})

/**
 * The exponential function. Shape of `x`; integers become float32. At most 2 ulp off.
 *
 * @example
 * exp(tensor([0, 1])) // -> tensor([1, 2.7183], float32, wasm)
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
 * max(x, 0). Shape and dtype of `x`.
 *
 * @example
 * relu(tensor([-1, 2])) // -> tensor([0, 2], float32, wasm)
 */
export const relu = unary({
  name: 'relu',
  dtype: 'promote',
  onnx: 'Relu',
  scalar: (s, x) => s.max(x, 0),
  vjp: ({ g, output }) => [g.mul(output.gt(0))],
  saves: 'outputs',
})
