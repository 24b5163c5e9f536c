/** @file Rules of arithmetic by which calls are replaced by cheaper ones. */
import { dtypes, isFloat, type DType } from '../../core/dtype.ts'
import type { Argument, Value } from '../graph.ts'
import {
  any,
  anything,
  call,
  commuting,
  named,
  number,
  type Match,
  type Pattern,
} from '../match.ts'

/** Makes a call with the ops' names. */
export type Make = (op: string, ...inputs: readonly Argument[]) => Value

/** A rule applies where what it makes has the same shape and dtype. */
export interface RewriteRule {
  /** The rule as one reads it. */
  readonly name: string
  readonly pattern: Pattern
  /** What else must hold; `result` is what is replaced. */
  readonly when?: (found: Match, result: Value) => boolean
  readonly make: (found: Match, make: Make) => Value
}

const x = any('x')
const y = any('y')
const a = number('a')
const b = number('b')

const give = (found: Match) => found.value('x')
const isWhole = (found: Match) => !isFloat(found.value('x').dtype)

// Whole numbers wrap where they are computed, so no sign is taken into a wider dtype.
const haveItsDType =
  (...names: string[]) =>
  (found: Match, { dtype }: Value) =>
    names.every((name) => isFloat(found.value(name).dtype) || found.value(name).dtype === dtype)

/** `op(op(x))` is `op(x)`. */
const idempotent = (op: string): RewriteRule => ({
  name: `${op}(${op}(x)) = ${op}(x)`,
  pattern: call(op, named('inner', call(op, x))),
  make: (found) => found.value('inner'),
})

/** The sign of what it is applied to does not matter to `op`; what has no signs wraps around. */
const even = (op: string, inner: string): RewriteRule => ({
  name: `${op}(${inner}(x)) = ${op}(x)`,
  pattern: call(op, call(inner, x)),
  when: (found) => found.value('x').dtype !== 'uint8',
  make: (found, make) => make(op, found.value('x')),
})

/**
 * Note [Exactness]: every rule gives the bits of what it replaces, NaN, infinities and -0 included. So x + 0
 * is x for whole numbers only: of floats it makes 0 of -0. Two rules round once less, x ^ 1 and the product of
 * two factors. These must lie on one side of 1, so that what overflows or vanishes in between does so in the
 * end, too. Views of views need no rule: a view knows nothing but its base.
 */
export const simplifyRules: readonly RewriteRule[] = [
  { name: 'x * 1 = x', pattern: commuting('mul', x, number(1)), make: give },
  { name: 'x / 1 = x', pattern: call('div', x, number(1)), make: give },
  { name: 'x - 0 = x', pattern: call('sub', x, number(0)), make: give },
  { name: 'x + -0 = x', pattern: commuting('add', x, number(-0)), make: give },
  { name: 'x + 0 = x', pattern: commuting('add', x, number(0)), when: isWhole, make: give },
  { name: 'x ^ 1 = x', pattern: call('pow', x, number(1)), make: give },
  {
    name: 'x ^ 2 = square(x)',
    pattern: call('pow', x, number(2)),
    make: (found, make) => make('square', found.value('x')),
  },
  { name: '-(-x) = x', pattern: call('neg', call('neg', x)), make: give },
  {
    name: 'x * -1 = -x',
    pattern: commuting('mul', x, number(-1)),
    when: (found, { dtype }) => found.value('x').dtype === dtype,
    make: (found, make) => make('neg', found.value('x')),
  },
  {
    name: 'x + -y = x - y',
    pattern: commuting('add', x, call('neg', y)),
    when: haveItsDType('y'),
    make: (found, make) => make('sub', found.value('x'), found.value('y')),
  },
  {
    name: 'x - -y = x + y',
    pattern: call('sub', x, call('neg', y)),
    when: haveItsDType('y'),
    make: (found, make) => make('add', found.value('x'), found.value('y')),
  },
  {
    name: '-x * -y = x * y',
    pattern: call('mul', call('neg', x), call('neg', y)),
    when: haveItsDType('x', 'y'),
    make: (found, make) => make('mul', found.value('x'), found.value('y')),
  },
  {
    name: '-x * a = x * -a',
    pattern: commuting('mul', call('neg', x), a),
    when: (found, { dtype }) =>
      isFloat(found.value('x').dtype) ||
      (found.value('x').dtype === dtype && isSmall(found.number('a'))),
    make: (found, make) => make('mul', found.value('x'), -found.number('a')),
  },
  {
    name: 'x / 2^n = x * 2^-n',
    pattern: call('div', x, a),
    when: (found) => isPowerOfTwo(found.number('a')),
    make: (found, make) => make('mul', found.value('x'), 1 / found.number('a')),
  },
  {
    name: '(x * a) * b = x * (a * b)',
    pattern: commuting('mul', named('inner', commuting('mul', x, a)), b),
    when: (found) =>
      found.value('inner').dtype === found.value('x').dtype &&
      mayMultiply(found.value('x').dtype, found.number('a'), found.number('b')),
    make: (found, make) => make('mul', found.value('x'), found.number('a') * found.number('b')),
  },
  {
    name: '(x + a) + b = x + (a + b)',
    pattern: commuting('add', named('inner', commuting('add', x, a)), b),
    when: (found) =>
      found.value('inner').dtype === found.value('x').dtype &&
      isWhole(found) &&
      [found.number('a'), found.number('b')].every(isSmall),
    make: (found, make) => make('add', found.value('x'), found.number('a') + found.number('b')),
  },
  { name: 'max(x, x) = x', pattern: call('maximum', x, x), make: give },
  { name: 'min(x, x) = x', pattern: call('minimum', x, x), make: give },
  { name: 'where(c, x, x) = x', pattern: call('where', anything('c'), x, x), make: give },
  ...['abs', 'sign', 'relu', 'relu6', 'floor', 'ceil', 'trunc', 'round'].map(idempotent),
  even('abs', 'neg'),
  even('square', 'neg'),
  even('square', 'abs'),
  {
    name: 'cast(x, its dtype) = x',
    pattern: call('cast', x),
    make: give,
  },
  {
    name: 'cast(cast(x)) = cast(x), where the inner one loses nothing',
    pattern: named('outer', call('cast', named('inner', call('cast', x)))),
    when: (found) => holds(found.value('x').dtype, found.value('inner').dtype),
    make: (found, make) => make('cast', found.value('x')),
  },
  {
    name: 'copy(x) = x, where x is no view',
    pattern: call('copy', x),
    when: (found) => found.value('x').node.kind !== 'view',
    make: give,
  },
]

/** Small enough that neither a sum of two nor one of them is cut off on its way into a kernel. */
const isSmall = (n: number) => Number.isInteger(n) && Math.abs(n) < 2 ** 30

function isPowerOfTwo(n: number): boolean {
  const exponent = Math.log2(Math.abs(n))
  return Number.isInteger(exponent) && Math.abs(exponent) <= 60
}

function mayMultiply(dtype: DType, a: number, b: number): boolean {
  if (!isFloat(dtype)) return dtype !== 'bool' && [a, b, a * b].every(isSmall)
  const [low, high] = [Math.abs(a), Math.abs(b)].sort((m, n) => m - n) as [number, number]
  const product = low * high
  return (low >= 1 && product <= 2 ** 15) || (high <= 1 && product >= 2 ** -14)
}

/**
 * Whether every value of one dtype is one of another.
 *
 * @example
 * holds('float16', 'float32') // -> true
 * holds('int32', 'float32') // -> false
 */
export function holds(from: DType, to: DType): boolean {
  if (from === to || from === 'bool') return true
  const digits = (dtype: DType) => significantBits[dtype]
  if (dtypes[from].kind === 'float')
    return dtypes[to].kind === 'float' && dtypes[to].bytes > dtypes[from].bytes
  if (dtypes[to].kind === 'float') return digits(from) <= digits(to)
  const isSigned = (dtype: DType) => dtype !== 'uint8'
  return digits(from) <= digits(to) && (isSigned(to) || !isSigned(from)) && to !== 'bool'
}

/** Bits of the whole numbers that a dtype has without gaps, without the sign. */
const significantBits = {
  bool: 1,
  uint8: 8,
  int8: 7,
  int32: 31,
  int64: 63,
  float16: 11,
  bfloat16: 8,
  float32: 24,
  float64: 53,
} satisfies Record<DType, number>
