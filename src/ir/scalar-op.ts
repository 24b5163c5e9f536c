/** @file The one table of scalar operations: what each means, and what it is made of where a target lacks it. */
import type { ScalarType } from '../core/dtype.ts'
import { bfloatToNumber } from '../core/float16.ts'
import * as math from './transcendental.ts'
import * as words from './words.ts'
import type { Expr, ExprBuilder } from './expr.ts'

/** A value inside the interpreter: bigint for i64, number (bool as 0 or 1) for everything else. */
export type ScalarValue = number | bigint

export interface ScalarOpInfo {
  readonly arity: 1 | 2 | 3
  /** Type of the result: that of the last argument, bool, or stated on the node ('convert', 'bitcast'). */
  readonly result: 'same' | 'bool' | 'stated'
  readonly types: readonly ScalarType[]
  /** All arguments but the last are i32 words that hold several small numbers each. */
  readonly takesWords?: true
  /** The reference meaning. `type` is the type of the last argument; f32 results are rounded by the caller. */
  evaluate(type: ScalarType, ...args: ScalarValue[]): ScalarValue
  /** The operation in terms of simpler rows; absent for the rows every target spells itself. */
  decompose?(s: ExprBuilder, ...args: Expr[]): Expr
  readonly commutative?: true
  readonly associative?: true
}

const numeric = ['f32', 'f64', 'i32', 'i64'] as const
const floating = ['f32', 'f64'] as const
const integer = ['i32', 'i64'] as const
const bits = ['i32', 'i64', 'bool'] as const
const every = ['f32', 'f64', 'i32', 'i64', 'bool'] as const

const row = <const T extends ScalarOpInfo>(
  info: T,
): ScalarOpInfo & { readonly arity: T['arity'] } => info

// Evaluations are written once for number and bigint: JavaScript's operators work on both, and the
// interpreter never mixes them. `any` says just that.
// eslint-disable-next-line typescript/no-explicit-any -- number | bigint arithmetic, see above
type N = any

const unaryFloat = (
  f: (x: number) => number,
  decompose?: (s: ExprBuilder, x: Expr) => Expr,
): ScalarOpInfo & { readonly arity: 1 } => ({
  arity: 1,
  result: 'same',
  types: floating,
  evaluate: (_t, x: N) => f(x),
  ...(decompose && { decompose }),
})

const compare = (f: (a: N, b: N) => boolean, commutative?: true) =>
  row({
    arity: 2,
    result: 'bool',
    types: every,
    evaluate: (_t, a, b) => (f(a, b) ? 1 : 0),
    ...(commutative && { commutative }),
  })

const wrapI32 = (type: ScalarType, x: N): N =>
  type === 'i32' ? Number(x) | 0 : type === 'i64' ? BigInt.asIntN(64, x) : x

export const scalarOps = {
  // -- arithmetic every target has
  add: row({
    arity: 2,
    result: 'same',
    types: numeric,
    evaluate: (t, a: N, b: N) => wrapI32(t, a + b),
    commutative: true,
    associative: true,
  }),
  sub: row({
    arity: 2,
    result: 'same',
    types: numeric,
    evaluate: (t, a: N, b: N) => wrapI32(t, a - b),
  }),
  mul: row({
    arity: 2,
    result: 'same',
    types: numeric,
    evaluate: (t, a: N, b: N) => (t === 'i32' ? Math.imul(a, b) : wrapI32(t, a * b)),
    commutative: true,
    associative: true,
  }),
  /** Floats divide exactly rounded; integers truncate towards zero (a zero divisor gives 0). */
  div: row({
    arity: 2,
    result: 'same',
    types: numeric,
    evaluate: (t, a: N, b: N) =>
      t === 'f32' || t === 'f64'
        ? a / b
        : Number(b) === 0
          ? wrapI32(t, b)
          : wrapI32(t, t === 'i32' ? Math.trunc(a / b) : a / b),
  }),
  /** Remainder of truncating integer division (a zero divisor gives 0). */
  rem: row({
    arity: 2,
    result: 'same',
    types: integer,
    evaluate: (t, a: N, b: N) => (Number(b) === 0 ? b : wrapI32(t, a % b)),
  }),
  /** NaN if either is NaN; -0 is less than +0. */
  min: row({
    arity: 2,
    result: 'same',
    types: numeric,
    evaluate: (t, a: N, b: N) => (t === 'i64' ? (a < b ? a : b) : Math.min(a, b)),
    commutative: true,
    associative: true,
  }),
  max: row({
    arity: 2,
    result: 'same',
    types: numeric,
    evaluate: (t, a: N, b: N) => (t === 'i64' ? (a > b ? a : b) : Math.max(a, b)),
    commutative: true,
    associative: true,
  }),
  neg: row({ arity: 1, result: 'same', types: numeric, evaluate: (t, a: N) => wrapI32(t, -a) }),
  abs: row({
    arity: 1,
    result: 'same',
    types: numeric,
    evaluate: (t, a: N) => wrapI32(t, t === 'i64' ? (a < 0n ? -a : a) : Math.abs(a)),
  }),
  sqrt: unaryFloat(Math.sqrt),
  floor: unaryFloat(Math.floor),
  ceil: unaryFloat(Math.ceil),
  trunc: unaryFloat(Math.trunc),
  /** To the nearest whole number, halves to even. */
  round: unaryFloat(roundHalfEven),

  // -- comparison and choice
  eq: compare((a, b) => a === b, true),
  ne: compare((a, b) => a !== b, true),
  lt: compare((a, b) => a < b),
  le: compare((a, b) => a <= b),
  /** select(condition, a, b): a where the condition holds, else b; both are evaluated. */
  select: row({
    arity: 3,
    result: 'same',
    types: every,
    evaluate: (_t, c, a, b) => (c ? a : b),
  }),

  // -- bits
  and: row({
    arity: 2,
    result: 'same',
    types: bits,
    evaluate: (_t, a: N, b: N) => a & b,
    commutative: true,
    associative: true,
  }),
  or: row({
    arity: 2,
    result: 'same',
    types: bits,
    evaluate: (_t, a: N, b: N) => a | b,
    commutative: true,
    associative: true,
  }),
  xor: row({
    arity: 2,
    result: 'same',
    types: bits,
    evaluate: (_t, a: N, b: N) => a ^ b,
    commutative: true,
    associative: true,
  }),
  not: row({
    arity: 1,
    result: 'same',
    types: bits,
    evaluate: (t, a: N) => (t === 'bool' ? 1 - a : ~a),
  }),
  shl: row({
    arity: 2,
    result: 'same',
    types: integer,
    evaluate: (t, a: N, b: N) => (t === 'i32' ? a << b : BigInt.asIntN(64, a << (b & 63n))),
  }),
  /** Arithmetic shift right: copies the sign. */
  shr: row({
    arity: 2,
    result: 'same',
    types: integer,
    evaluate: (t, a: N, b: N) => (t === 'i32' ? a >> b : a >> (b & 63n)),
  }),
  /** Logical shift right: fills with zeros. */
  ushr: row({
    arity: 2,
    result: 'same',
    types: integer,
    evaluate: (t, a: N, b: N) =>
      t === 'i32' ? (a >>> b) | 0 : BigInt.asIntN(64, BigInt.asUintN(64, a) >> (b & 63n)),
  }),

  // -- changes of type (the type wanted is stated on the node)
  /** Value conversion: floats to integers truncate and saturate (NaN gives 0); anything to bool is "not zero". */
  convert: row({ arity: 1, result: 'stated', types: every, evaluate: (_t, a) => a }),
  /** The same bits read as another type of the same width. */
  bitcast: row({
    arity: 1,
    result: 'stated',
    types: ['f32', 'f64', 'i32', 'i64'],
    evaluate: (_t, a) => a,
  }),

  // -- fused and transcendental rows: a target may spell them, none has to
  fma: row({
    arity: 3,
    result: 'same',
    types: floating,
    evaluate: (_t, a: N, b: N, c: N) => a * b + c,
    decompose: (s, a, b, c) => s.add(s.mul(a, b), c),
  }),
  /** c + the products of the two bfloat16 in a and b; targets round in between, and flush subnormals, as they like. */
  dotBf16: row({
    arity: 3,
    result: 'same',
    types: ['f32'],
    takesWords: true,
    evaluate: (_t, a: N, b: N, c: N) =>
      c + (bfloatAt(a, 0) * bfloatAt(b, 0) + bfloatAt(a, 1) * bfloatAt(b, 1)),
    decompose: words.dotBf16,
  }),
  /** c + the products of the four bytes in a, unsigned, with those in b, signed. */
  dotU8S8: row({
    arity: 3,
    result: 'same',
    types: ['i32'],
    takesWords: true,
    evaluate: (_t, a: N, b: N, c: N) =>
      (c +
        [0, 8, 16, 24].reduce((sum, i) => sum + ((a >>> i) & 255) * ((b << (24 - i)) >> 24), 0)) |
      0,
    decompose: words.dotU8S8,
  }),
  /** a 2^b for whole b, no larger than twice the largest exponent of a float; rounded once. */
  ldexp: row({
    arity: 2,
    result: 'same',
    types: floating,
    evaluate: (_t, a: N, b: N) => a * 2 ** Math.trunc(b / 2) * 2 ** (b - Math.trunc(b / 2)),
    decompose: math.ldexp,
  }),
  exp: unaryFloat(Math.exp, math.exp),
  expm1: unaryFloat(Math.expm1, math.expm1),
  log: unaryFloat(Math.log, math.log),
  log1p: unaryFloat(Math.log1p, math.log1p),
  log2: unaryFloat(Math.log2, math.log2),
  sin: unaryFloat(Math.sin, math.sin),
  cos: unaryFloat(Math.cos, math.cos),
  tan: unaryFloat(Math.tan, math.tan),
  asin: unaryFloat(Math.asin, math.asin),
  acos: unaryFloat(Math.acos, math.acos),
  atan: unaryFloat(Math.atan, math.atan),
  sinh: unaryFloat(Math.sinh, math.sinh),
  cosh: unaryFloat(Math.cosh, math.cosh),
  tanh: unaryFloat(Math.tanh, math.tanh),
  erf: unaryFloat(math.erfReference, math.erf),
  pow: row({
    arity: 2,
    result: 'same',
    types: floating,
    // C's pow, which PyTorch follows: pow(1, NaN) = pow(-1, +-Infinity) = 1, where JavaScript has NaN.
    evaluate: (_t, a: N, b: N) =>
      a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : Math.pow(a, b),
    decompose: math.pow,
  }),
} satisfies Record<string, ScalarOpInfo>

export type ScalarOp = keyof typeof scalarOps

/** Looks a row up with its full type (the table's own type is narrower per row). */
export const scalarOp = (name: ScalarOp): ScalarOpInfo => scalarOps[name]

/** Converts a value between scalar types, as the `convert` row does. */
export function convertValue(value: ScalarValue, from: ScalarType, to: ScalarType): ScalarValue {
  if (to === 'bool') return Number(value) !== 0 ? 1 : 0
  if (to === 'f32') return Math.fround(Number(value))
  if (to === 'f64') return Number(value)
  if (from === 'f32' || from === 'f64') return saturate(Number(value), to)
  return to === 'i64' ? BigInt(value) : Number(BigInt.asIntN(32, BigInt(value)))
}

const view = new DataView(new ArrayBuffer(8))

/** Reads the bits of a value as another type of the same width. */
export function bitcastValue(value: ScalarValue, from: ScalarType, to: ScalarType): ScalarValue {
  if (from === 'f32') view.setFloat32(0, value as number)
  else if (from === 'f64') view.setFloat64(0, value as number)
  else if (from === 'i64') view.setBigInt64(0, value as bigint)
  else view.setInt32(0, value as number)
  if (to === 'f32') return view.getFloat32(0)
  if (to === 'f64') return view.getFloat64(0)
  return to === 'i64' ? view.getBigInt64(0) : view.getInt32(0)
}

const bfloatAt = (word: number, i: 0 | 1): number => bfloatToNumber((word >>> (16 * i)) & 0xffff)

function saturate(value: number, to: 'i32' | 'i64'): ScalarValue {
  if (Number.isNaN(value)) return to === 'i64' ? 0n : 0
  if (to === 'i32') return Math.max(-2147483648, Math.min(2147483647, Math.trunc(value)))
  if (value >= 2 ** 63) return 2n ** 63n - 1n
  if (value <= -(2 ** 63)) return -(2n ** 63n)
  return BigInt(Math.trunc(value))
}

function roundHalfEven(x: number): number {
  const r = Math.round(x)
  const even = r - x === 0.5 && r % 2 !== 0 ? r - 1 : r
  return even === 0 && (x < 0 || Object.is(x, -0)) ? -0 : even
}
