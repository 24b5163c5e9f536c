/** @file Every rule of src/ir/derivative.ts against central differences, by interpreting the expressions. */
import { describe, expect, test } from 'vitest'
import { derivative } from '../../src/ir/derivative.ts'
import { ExprBuilder, type Expr } from '../../src/ir/expr.ts'
import { interpretGroup } from '../../src/ir/interpret.ts'

type Build = (s: ExprBuilder, x: Expr, y: Expr) => Expr

const cases: Record<string, Build> = {
  add: (s, x, y) => s.add(x, y),
  sub: (s, x, y) => s.sub(x, y),
  mul: (s, x, y) => s.mul(x, y),
  square: (s, x) => s.mul(x, x),
  div: (s, x, y) => s.div(x, y),
  min: (s, x, y) => s.min(s.mul(x, 3), y),
  max: (s, x, y) => s.max(s.mul(x, 3), y),
  neg: (s, x) => s.neg(x),
  abs: (s, x) => s.abs(s.sub(x, 1)),
  sqrt: (s, x) => s.sqrt(x),
  select: (s, x, y) => s.select(s.lt(x, y), s.mul(x, x), y),
  fma: (s, x, y) => s.fma(x, y, x),
  convert: (s, x) => s.convert(s.convert(s.mul(x, 2), 'f32'), 'f64'),
  exp: (s, x) => s.exp(x),
  expm1: (s, x) => s.expm1(x),
  log: (s, x) => s.log(x),
  log1p: (s, x) => s.log1p(x),
  log2: (s, x) => s.log2(x),
  sin: (s, x) => s.sin(x),
  cos: (s, x) => s.cos(x),
  tan: (s, x) => s.tan(x),
  asin: (s, x) => s.asin(x),
  acos: (s, x) => s.acos(x),
  atan: (s, x) => s.atan(x),
  sinh: (s, x) => s.sinh(x),
  cosh: (s, x) => s.cosh(x),
  tanh: (s, x) => s.tanh(x),
  erf: (s, x) => s.erf(x),
  pow: (s, x, y) => s.pow(x, y),
  rounding: (s, x, y) => s.mul(s.floor(x), y),
}

const point = [0.4, 0.7] as const

describe.each(Object.entries(cases))('%s', (name, build) => {
  test.each([0, 1])('operand %d', (i) => {
    const s = new ExprBuilder()
    const leaves = [s.param('f64', 0), s.param('f64', 1)] as const
    const value = build(s, ...leaves)
    const slope = derivative(s, value, leaves[i]!, s.const('f64', 2))
    const found = slope === undefined ? 0 : evaluate(slope, point)
    // float32 in between leaves few digits to a difference.
    const [step, digits] = name === 'convert' ? [1e-2, 4] : [1e-6, 8]
    const at = (sign: number) =>
      evaluate(
        value,
        point.map((p, k) => p + (k === i ? sign * step : 0)),
      )
    expect(found).toBeCloseTo(at(1) - at(-1) === 0 ? 0 : (at(1) - at(-1)) / step, digits)
  })
})

test('what does not depend on the leaf has no derivative', () => {
  const s = new ExprBuilder()
  const [x, y] = [s.param('f64', 0), s.param('f64', 1)]
  expect(derivative(s, s.exp(y), x, s.const('f64', 1))).toBeUndefined()
  expect(derivative(s, s.lt(x, y), x, s.const('f64', 1))).toBeUndefined()
})

test('equal operands of max share the slope, as 0 does for abs', () => {
  const s = new ExprBuilder()
  const [x, y] = [s.param('f64', 0), s.param('f64', 1)]
  const one = s.const('f64', 1)
  expect(evaluate(derivative(s, s.max(x, y), x, one)!, [1, 1])).toBe(0.5)
  expect(evaluate(derivative(s, s.abs(x), x, one)!, [0, 0])).toBe(0)
})

test('expressions made of bits are refused', () => {
  const s = new ExprBuilder()
  const x = s.param('f64', 0)
  const bits = s.bitcast(s.bitcast(x, 'i64'), 'f64')
  expect(() => derivative(s, bits, x, s.const('f64', 1))).toThrow(/has to be stated/)
})

function evaluate(value: Expr, params: readonly number[]): number {
  const elements = new Float64Array(1)
  const group = {
    name: 'value',
    axes: [],
    buffers: [{ dtype: 'float64', access: 'write' }],
    stores: [{ buffer: 0, index: { offset: 0, terms: [] }, value }],
    checks: [],
    params: ['f64', 'f64'],
    sizeCount: 0,
  } as const
  interpretGroup(group, { buffers: [{ elements, offset: 0 }], sizes: [], params })
  return elements[0]!
}
