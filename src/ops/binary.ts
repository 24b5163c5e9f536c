/** @file Elementwise functions of two tensors, or of a tensor and a number. */
import { binary } from './define.ts'

/**
 * Sum of two tensors. Shapes broadcast, dtypes promote. Throws a ShapeError when the shapes do not
 * broadcast and a DeviceError when the tensors are on different devices.
 *
 * @example
 * add(tensor([1, 2]), tensor([10, 20])) // -> tensor([11, 22], float32, wasm)
 */
export const add = binary({
  name: 'add',
  dtype: 'promote',
  onnx: 'Add',
  scalar: (s, a, b) => (a.type === 'bool' ? s.or(a, b) : s.add(a, b)),
  vjp: ({ g }) => [g, g],
  saves: 'none',
})

/**
 * Product of two tensors. Shapes broadcast, dtypes promote.
 *
 * @example
 * mul(tensor([1, 2]), 3) // -> tensor([3, 6], float32, wasm)
 */
export const mul = binary({
  name: 'mul',
  dtype: 'promote',
  onnx: 'Mul',
  scalar: (s, a, b) => (a.type === 'bool' ? s.and(a, b) : s.mul(a, b)),
  vjp: ({ g, inputs: [a, b], needs }) => [
    needs(0) ? g.mul(b!) : undefined,
    needs(1) ? g.mul(a!) : undefined,
  ],
  saves: 'inputs',
})

/**
 * Where a > b. Shapes broadcast; the result is bool.
 *
 * @example
 * gt(tensor([1, 3]), 2) // -> tensor([false, true], bool, wasm)
 */
export const gt = binary({
  name: 'gt',
  dtype: 'bool',
  onnx: 'Greater',
  scalar: (s, a, b) => (a.type === 'bool' ? s.and(a, s.not(b)) : s.gt(a, b)),
})
