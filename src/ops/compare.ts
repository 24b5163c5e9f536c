/** @file Comparison, logic and bits. */
import { isFloat, type DType } from '../core/dtype.ts'
import type { Expr, ExprBuilder } from '../ir/expr.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions } from '../util/errors.ts'
import { binary, checkOperands, elementwise, unary, type Operand } from './define.ts'

/** A comparison: of numbers, and of bools (false before true). */
const comparison = (
  name: string,
  onnx: string | undefined,
  numbers: (s: ExprBuilder, a: Expr, b: Expr) => Expr,
  bools: (s: ExprBuilder, a: Expr, b: Expr) => Expr,
) =>
  binary({
    name,
    dtype: 'bool',
    ...(onnx !== undefined && { onnx }),
    scalar: (s, a, b) => (a.type === 'bool' ? bools(s, a, b) : numbers(s, a, b)),
  })

/**
 * Where a equals b. Shapes broadcast, operands are compared at their promoted dtype; the result is
 * bool. NaN equals nothing. See `isClose` for floats that were computed.
 *
 * @example
 * eq(tensor([1, 2]), 2) // -> tensor([false, true], bool, cpu)
 */
export const eq = comparison(
  'eq',
  'Equal',
  (s, a, b) => s.eq(a, b),
  (s, a, b) => s.not(s.xor(a, b)),
)

/**
 * Where a differs from b. Shapes broadcast; the result is bool. NaN differs from everything.
 *
 * @example
 * ne(tensor([1, 2]), 2) // -> tensor([true, false], bool, cpu)
 */
export const ne = comparison(
  'ne',
  undefined,
  (s, a, b) => s.ne(a, b),
  (s, a, b) => s.xor(a, b),
)

/**
 * Where a < b. Shapes broadcast; the result is bool.
 *
 * @example
 * lt(tensor([1, 3]), 2) // -> tensor([true, false], bool, cpu)
 */
export const lt = comparison(
  'lt',
  'Less',
  (s, a, b) => s.lt(a, b),
  (s, a, b) => s.and(s.not(a), b),
)

/**
 * Where a <= b. Shapes broadcast; the result is bool.
 *
 * @example
 * le(tensor([1, 2, 3]), 2) // -> tensor([true, true, false], bool, cpu)
 */
export const le = comparison(
  'le',
  'LessOrEqual',
  (s, a, b) => s.le(a, b),
  (s, a, b) => s.or(s.not(a), b),
)

/**
 * Where a > b. Shapes broadcast; the result is bool.
 *
 * @example
 * gt(tensor([1, 3]), 2) // -> tensor([false, true], bool, cpu)
 */
export const gt = comparison(
  'gt',
  'Greater',
  (s, a, b) => s.gt(a, b),
  (s, a, b) => s.and(a, s.not(b)),
)

/**
 * Where a >= b. Shapes broadcast; the result is bool.
 *
 * @example
 * ge(tensor([1, 2, 3]), 2) // -> tensor([false, true, true], bool, cpu)
 */
export const ge = comparison(
  'ge',
  'GreaterOrEqual',
  (s, a, b) => s.ge(a, b),
  (s, a, b) => s.or(a, s.not(b)),
)

const truth = (s: ExprBuilder, x: Expr) => s.convert(x, 'bool')

/**
 * Where both are true (not zero). Shapes broadcast; the result is bool.
 *
 * @example
 * logicalAnd(tensor([true, true]), tensor([true, false])) // -> tensor([true, false], bool, cpu)
 */
export const logicalAnd = binary({
  name: 'logicalAnd',
  dtype: 'bool',
  onnx: 'And',
  scalar: (s, a, b) => s.and(truth(s, a), truth(s, b)),
})

/**
 * Where either is true (not zero). Shapes broadcast; the result is bool.
 *
 * @example
 * logicalOr(tensor([true, false]), tensor([false, false])) // -> tensor([true, false], bool, cpu)
 */
export const logicalOr = binary({
  name: 'logicalOr',
  dtype: 'bool',
  onnx: 'Or',
  scalar: (s, a, b) => s.or(truth(s, a), truth(s, b)),
})

/**
 * Where one is true (not zero) and the other is not. Shapes broadcast; the result is bool.
 *
 * @example
 * logicalXor(tensor([true, true]), tensor([true, false])) // -> tensor([false, true], bool, cpu)
 */
export const logicalXor = binary({
  name: 'logicalXor',
  dtype: 'bool',
  onnx: 'Xor',
  scalar: (s, a, b) => s.xor(truth(s, a), truth(s, b)),
})

/**
 * Where x is false (zero). The result is bool.
 *
 * @example
 * logicalNot(tensor([true, false])) // -> tensor([false, true], bool, cpu)
 */
export const logicalNot = unary({
  name: 'logicalNot',
  dtype: 'bool',
  onnx: 'Not',
  scalar: (s, x) => s.not(truth(s, x)),
})

const needsBits = (dtype: DType) =>
  isFloat(dtype) ? "Expected integers or bools; cast first: x.cast('int32')" : undefined

/**
 * The bits set in both. Shapes broadcast, dtypes promote. Throws a DTypeError for floats.
 *
 * @example
 * bitwiseAnd(tensor([6], { dtype: 'int32' }), 3) // -> tensor([2], int32, cpu)
 */
export const bitwiseAnd = binary({
  name: 'bitwiseAnd',
  dtype: 'promote',
  onnx: 'BitwiseAnd',
  scalar: (s, a, b) => s.and(a, b),
  refuse: needsBits,
})

/**
 * The bits set in either. Shapes broadcast, dtypes promote. Throws a DTypeError for floats.
 *
 * @example
 * bitwiseOr(tensor([6], { dtype: 'int32' }), 3) // -> tensor([7], int32, cpu)
 */
export const bitwiseOr = binary({
  name: 'bitwiseOr',
  dtype: 'promote',
  onnx: 'BitwiseOr',
  scalar: (s, a, b) => s.or(a, b),
  refuse: needsBits,
})

/**
 * The bits set in one only. Shapes broadcast, dtypes promote. Throws a DTypeError for floats.
 *
 * @example
 * bitwiseXor(tensor([6], { dtype: 'int32' }), 3) // -> tensor([5], int32, cpu)
 */
export const bitwiseXor = binary({
  name: 'bitwiseXor',
  dtype: 'promote',
  onnx: 'BitwiseXor',
  scalar: (s, a, b) => s.xor(a, b),
  refuse: needsBits,
})

/**
 * Every bit inverted; for bool, `logicalNot`. Throws a DTypeError for floats.
 *
 * @example
 * bitwiseNot(tensor([6], { dtype: 'int32' })) // -> tensor([-7], int32, cpu)
 */
export const bitwiseNot = unary({
  name: 'bitwiseNot',
  dtype: 'promote',
  onnx: 'BitwiseNot',
  scalar: (s, x) => s.not(x),
  refuse: needsBits,
})

/**
 * Where x is not a number. The result is bool; integers never are NaN.
 *
 * @example
 * isNaN(tensor([1, NaN, Infinity])) // -> tensor([false, true, false], bool, cpu)
 */
export const isNaN = unary({
  name: 'isNaN',
  dtype: 'bool',
  onnx: 'IsNaN',
  scalar: (s, x) => (isFloating(x) ? s.ne(x, x) : s.const('bool', false)),
})

/**
 * Where x is plus or minus infinity. The result is bool.
 *
 * @example
 * isInf(tensor([1, NaN, -Infinity])) // -> tensor([false, false, true], bool, cpu)
 */
export const isInf = unary({
  name: 'isInf',
  dtype: 'bool',
  onnx: 'IsInf',
  scalar: (s, x) => (isFloating(x) ? s.eq(s.abs(x), Infinity) : s.const('bool', false)),
})

/**
 * Where x is neither infinite nor NaN. The result is bool.
 *
 * @example
 * isFinite(tensor([1, NaN, Infinity])) // -> tensor([true, false, false], bool, cpu)
 */
export const isFinite = unary({
  name: 'isFinite',
  dtype: 'bool',
  scalar: (s, x) => (isFloating(x) ? s.lt(s.abs(x), Infinity) : s.const('bool', true)),
})

const isFloating = (x: Expr) => x.type === 'f32' || x.type === 'f64'

export interface CloseOptions {
  /** Allowed difference relative to |b|; default 1e-5. */
  readonly rtol?: number
  /** Allowed difference besides; default 1e-8. */
  readonly atol?: number
  /** Whether NaN is close to NaN; default false. */
  readonly equalNaN?: boolean
}

const isCloseOp = elementwise({
  name: 'isClose',
  dtype: 'bool',
  scalar(s, a, b, rtol, atol) {
    const near = s.le(s.abs(s.sub(a, b)), s.add(atol, s.mul(rtol, s.abs(b))))
    // An infinite bound would admit everything.
    const bounded = isFloating(b) ? s.and(near, s.lt(s.abs(b), Infinity)) : near
    return s.or(s.eq(a, b), bounded)
  },
})

/**
 * Where |a - b| <= atol + rtol |b|. Shapes broadcast; the result is bool. Infinities are close to
 * themselves only.
 *
 * @example
 * isClose(tensor([1, 1.1]), 1) // -> tensor([true, false], bool, cpu)
 */
export function isClose(a: Operand, b: Operand, options: CloseOptions = {}): Tensor {
  checkOperands('isClose', a, b)
  checkOptions('isClose', options, ['rtol', 'atol', 'equalNaN'])
  const { rtol = 1e-5, atol = 1e-8, equalNaN = false } = options
  const close = dispatch(isCloseOp, [a, b, rtol, atol])
  if (!equalNaN || Number.isFinite(a) || Number.isFinite(b)) return close
  const tensors = [a, b].filter((x) => typeof x !== 'number')
  return close.logicalOr(tensors.map((x) => x.isNaN()).reduce((x, y) => x.logicalAnd(y)))
}

/**
 * Whether all elements are close, as `isClose` says: a 0-d bool.
 *
 * @example
 * allClose(tensor([1, 2]), tensor([1, 2.000001])) // -> tensor(true, bool, cpu)
 */
export function allClose(a: Operand, b: Operand, options: CloseOptions = {}): Tensor {
  checkOperands('allClose', a, b)
  checkOptions('allClose', options, ['rtol', 'atol', 'equalNaN'])
  return isClose(a, b, options).all()
}
