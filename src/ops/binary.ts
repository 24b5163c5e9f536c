/** @file Arithmetic of two tensors, or of a tensor and a number. */
import { isFloat } from '../core/dtype.ts'
import type { Expr, ExprBuilder } from '../ir/expr.ts'
import { flooredQuotient, flooredRemainder, truncatedRemainder } from '../ir/remainder.ts'
import { copySign } from '../ir/transcendental/float-format.ts'
import { dispatch } from '../tensor/dispatch.ts'
import { Tensor } from '../tensor/tensor.ts'
import { DTypeError } from '../util/errors.ts'
import { binary, checkOperands, elementwise, needsNumbers, type Operand } from './define.ts'
import { reciprocal, rsqrt, sqrt, square } from './unary.ts'

/**
 * Sum of two tensors. Shapes broadcast, dtypes promote; bools are joined by "or". Throws a ShapeError
 * when the shapes do not broadcast and a DeviceError when the tensors are on different devices, as do
 * all functions of two tensors.
 *
 * @example
 * add(tensor([1, 2]), tensor([10, 20])) // -> tensor([11, 22], float32, cpu)
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
 * Difference a - b. Shapes broadcast, dtypes promote. Throws a DTypeError for bools.
 *
 * @example
 * sub(tensor([5, 7]), 1) // -> tensor([4, 6], float32, cpu)
 * sub(1, tensor([5, 7])) // -> tensor([-4, -6], float32, cpu)
 */
export const sub = binary({
  name: 'sub',
  dtype: 'promote',
  onnx: 'Sub',
  scalar: (s, a, b) => s.sub(a, b),
  vjp: ({ g, needs }) => [g, needs(1) ? g.neg() : undefined],
  saves: 'none',
  refuse: (dtype) =>
    dtype === 'bool' ? 'Bools have no difference; use logicalXor, or cast first' : undefined,
})

/**
 * Product of two tensors. Shapes broadcast, dtypes promote; bools are joined by "and".
 *
 * @example
 * mul(tensor([1, 2]), 3) // -> tensor([3, 6], float32, cpu)
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
 * True quotient a / b. Shapes broadcast, dtypes promote and integers become float32. See
 * `floorDivide` for whole quotients.
 *
 * @example
 * div(tensor([1, 3]), 2) // -> tensor([0.5, 1.5], float32, cpu)
 */
export const div = binary({
  name: 'div',
  dtype: 'floating',
  onnx: 'Div',
  scalar: (s, a, b) => s.div(a, b),
  partials: [
    (s, g, _a, b) => s.div(g, b),
    // -g a / b^2
    (s, g, a, b) => s.neg(s.div(s.mul(g, s.div(a, b)), b)),
  ],
})

/**
 * Quotient rounded down, Python's `//`. Shapes broadcast, dtypes promote. A zero divisor gives 0 for
 * integers, and what `div` gives for floats. No gradient flows. Throws a DTypeError for bools.
 *
 * @example
 * floorDivide(tensor([7, -7]), 2) // -> tensor([3, -4], float32, cpu)
 */
export const floorDivide = binary({
  name: 'floorDivide',
  dtype: 'promote',
  scalar: flooredQuotient,
  partials: [],
  refuse: needsNumbers,
})

/**
 * Remainder of `floorDivide`, with the sign of the divisor: Python's `%`. Shapes broadcast, dtypes
 * promote. Floats are exact while |a / b| < 2^24 (float64: 2^53). A zero divisor gives 0 for integers
 * and NaN for floats. Throws a DTypeError for bools.
 *
 * @example
 * remainder(tensor([7, -7]), 3) // -> tensor([1, 2], float32, cpu)
 */
export const remainder = binary({
  name: 'remainder',
  dtype: 'promote',
  onnx: 'Mod',
  scalar: flooredRemainder,
  // a - b floor(a / b), the quotient constant between its jumps
  vjp: ({ g, inputs: [a, b], needs }) => [
    g,
    needs(1) ? g.mul(floorDivide(a!, b!)).neg() : undefined,
  ],
  saves: 'inputs',
  refuse: needsNumbers,
})

/**
 * Remainder of the quotient rounded towards zero, with the sign of the dividend: C's `fmod`. Shapes
 * broadcast, dtypes promote; exactness, zero divisors and bools as for `remainder`.
 *
 * @example
 * fmod(tensor([7, -7]), 3) // -> tensor([1, -1], float32, cpu)
 */
export const fmod = binary({
  name: 'fmod',
  dtype: 'promote',
  onnx: 'Mod',
  scalar: truncatedRemainder,
  // a - b trunc(a / b)
  vjp: ({ g, inputs: [a, b], needs }) => [
    g,
    needs(1) ? g.mul(div(a!, b!).trunc()).neg() : undefined,
  ],
  saves: 'inputs',
  refuse: needsNumbers,
})

const powOp = elementwise({
  name: 'pow',
  dtype: 'promote',
  onnx: 'Pow',
  scalar: (s, a, b) => (a.type === 'i32' || a.type === 'i64' ? wholePower(s, a, b) : s.pow(a, b)),
  partials: 'derived',
  refuse: needsNumbers,
})

/** Powers that a cheaper op computes; their values are those of `pow` up to rounding. */
const shortPowers = new Map([
  [2, square],
  [0.5, sqrt],
  [-0.5, rsqrt],
  [-1, reciprocal],
])

/**
 * a to the power b. Shapes broadcast, dtypes promote; integer powers wrap around on overflow. Special
 * values are those of C's pow. Throws a DTypeError for bools, and for integers to a negative number.
 *
 * @example
 * pow(tensor([1, 2, 3]), 2) // -> tensor([1, 4, 9], float32, cpu)
 * pow(2, tensor([1, 2, 3])) // -> tensor([2, 4, 8], float32, cpu)
 */
export function pow(a: Operand, b: Operand): Tensor {
  checkOperands('pow', a, b)
  if (typeof b === 'number' && a instanceof Tensor) {
    if (isFloat(a.dtype)) {
      const short = shortPowers.get(b)
      if (short !== undefined) return short(a)
    } else if (b < 0 && Number.isInteger(b))
      throw new DTypeError(
        `pow: ${a.dtype} to the power ${b} is not whole. Cast first: x.cast('float32')`,
      )
  }
  return dispatch(powOp, [a, b])
}

/** By repeated squaring; negative exponents leave the reciprocal rounded towards zero. */
function wholePower(s: ExprBuilder, a: Expr, b: Expr): Expr {
  const exponentBits = 31
  let result: Expr = s.like(a, 1)
  let base = a
  for (let bit = 0; bit < exponentBits; bit++) {
    if (bit > 0) base = s.mul(base, base)
    const isSet = s.ne(s.and(b, 2 ** bit), 0)
    result = s.mul(result, s.select(isSet, base, s.like(a, 1)))
  }
  const isOdd = s.ne(s.and(b, 1), 0)
  const ofMinusOne = s.select(s.and(isOdd, s.eq(a, -1)), s.like(a, -1), s.like(a, 1))
  const isUnit = s.or(s.eq(a, 1), s.eq(a, -1))
  return s.select(s.lt(b, 0), s.select(isUnit, ofMinusOne, s.like(a, 0)), result)
}

/**
 * The larger of two elements; NaN if either is NaN. Shapes broadcast, dtypes promote. Equal elements
 * share the gradient in halves.
 *
 * @example
 * maximum(tensor([-1, 2]), 0) // -> tensor([0, 2], float32, cpu)
 */
export const maximum = binary({
  name: 'maximum',
  dtype: 'promote',
  onnx: 'Max',
  scalar: (s, a, b) => (a.type === 'bool' ? s.or(a, b) : s.max(a, b)),
  partials: 'derived',
})

/**
 * The smaller of two elements; NaN if either is NaN. Shapes broadcast, dtypes promote. Equal elements
 * share the gradient in halves.
 *
 * @example
 * minimum(tensor([-1, 2]), 0) // -> tensor([-1, 0], float32, cpu)
 */
export const minimum = binary({
  name: 'minimum',
  dtype: 'promote',
  onnx: 'Min',
  scalar: (s, a, b) => (a.type === 'bool' ? s.and(a, b) : s.min(a, b)),
  partials: 'derived',
})

/**
 * The angle of the point (x, y) = (b, a) from the positive x axis, from -pi to pi. Shapes broadcast;
 * integers become float32. Signed zeros and infinities as in C.
 *
 * @example
 * atan2(tensor([0, 1]), tensor([-1, 0])) // -> tensor([3.1416, 1.5708], float32, cpu)
 */
export const atan2 = binary({
  name: 'atan2',
  dtype: 'floating',
  scalar: angle,
  partials: [
    (s, g, y, x) => s.div(s.mul(g, x), s.add(s.mul(x, x), s.mul(y, y))),
    (s, g, y, x) => s.neg(s.div(s.mul(g, y), s.add(s.mul(x, x), s.mul(y, y)))),
  ],
})

// The arctangent of a ratio of at most 1, brought to its octant.
function angle(s: ExprBuilder, y: Expr, x: Expr): Expr {
  const [width, height] = [s.abs(x), s.abs(y)]
  const [small, large] = [s.min(width, height), s.max(width, height)]
  const isDiagonal = s.and(s.eq(small, large), s.ne(large, 0))
  const ratio = s.select(isDiagonal, s.like(x, 1), s.div(small, s.max(large, smallest(s, x))))
  const within = s.atan(ratio)
  const upright = s.select(s.lt(width, height), s.sub(s.like(x, Math.PI / 2), within), within)
  const isLeft = s.lt(copySign(s, s.like(x, 1), x), 0)
  return copySign(s, s.select(isLeft, s.sub(s.like(x, Math.PI), upright), upright), y)
}

/** Not zero, and no larger than any number but zero. */
const smallest = (s: ExprBuilder, x: Expr) => s.like(x, x.type === 'f32' ? 2 ** -149 : 2 ** -1074)

/**
 * log(exp(a) + exp(b)) without overflow. Shapes broadcast; integers become float32.
 *
 * @example
 * logaddexp(tensor([1000, 0]), tensor([1000, 1])) // -> tensor([1000.6932,    1.3133], float32, cpu)
 */
export const logaddexp = binary({
  name: 'logaddexp',
  dtype: 'floating',
  scalar(s, a, b) {
    const gap = s.abs(s.sub(a, b))
    const sum = s.add(s.max(a, b), s.log1p(s.exp(s.neg(gap))))
    // Equal infinities have no gap.
    const isSettled = s.and(s.eq(a, b), s.eq(s.abs(a), Infinity))
    return s.select(isSettled, a, sum)
  },
  partials: [
    (s, g, a, b) => s.div(g, s.add(s.exp(s.sub(b, a)), 1)),
    (s, g, a, b) => s.div(g, s.add(s.exp(s.sub(a, b)), 1)),
  ],
})
