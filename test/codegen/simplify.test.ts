/** @file Every rewrite rule: the same value before and after, over random and special operands. */
import { expect, test } from 'vitest'
import { patternOf, rules, simplify } from '../../src/codegen/simplify.ts'
import type { ScalarType } from '../../src/core/dtype.ts'
import { ExprBuilder, type Expr } from '../../src/ir/expr.ts'
import { bitcastValue, convertValue, scalarOp, type ScalarValue } from '../../src/ir/scalar-op.ts'

const special: Record<ScalarType, ScalarValue[]> = {
  f32: [0, -0, 1, -1, NaN, Infinity, -Infinity, Math.fround(1e-45), 3.4028234663852886e38, 0.5],
  f64: [0, -0, 1, -1, NaN, Infinity, -Infinity, 5e-324, 1.7976931348623157e308, 0.5],
  i32: [0, 1, -1, 2147483647, -2147483648, 7],
  i64: [0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 7n],
  bool: [0, 1],
}

function evaluate(e: Expr, x: ScalarValue, y: ScalarValue): ScalarValue {
  if (e.kind === 'const') return e.value
  if (e.kind === 'param') return e.slot === 0 ? x : y
  if (e.kind !== 'op') throw new Error(`unexpected ${e.kind}`)
  const args = e.args.map((a) => evaluate(a, x, y))
  const type = e.args[e.args.length - 1]!.type
  if (e.op === 'convert') return convertValue(args[0]!, type, e.type)
  if (e.op === 'bitcast') return bitcastValue(args[0]!, type, e.type)
  const value = scalarOp(e.op).evaluate(type, ...args)
  return e.type === 'f32' ? Math.fround(value as number) : value
}

function randomValue(type: ScalarType): ScalarValue {
  const pool = special[type]
  if (Math.random() < 0.5) return pool[Math.floor(Math.random() * pool.length)]!
  const bits = new DataView(new ArrayBuffer(8))
  bits.setInt32(0, Math.floor(Math.random() * 2 ** 32))
  bits.setInt32(4, Math.floor(Math.random() * 2 ** 32))
  if (type === 'f32') return bits.getFloat32(0)
  if (type === 'f64') return bits.getFloat64(0)
  if (type === 'i64') return bits.getBigInt64(0)
  return type === 'i32' ? bits.getInt32(0) : bits.getInt32(0) & 1
}

const cases = rules.flatMap((rule) => rule.types.map((type) => [rule.name, type, rule] as const))

test.each(cases)('%s in %s', (_name, type, rule) => {
  const s = new ExprBuilder()
  const x = s.param(type, 0)
  const y = s.param(type, 1)
  const before = rule.before(s, type, x, y)
  const after = rule.after(s, type, x, y)
  expect(after.type).toBe(before.type)
  for (let i = 0; i < 2000; i++) {
    const [a, b] = [randomValue(type), randomValue(type)]
    const want = evaluate(before, a, b)
    const got = evaluate(after, a, b)
    if (!Object.is(want, got)) throw new Error(`x = ${a}, y = ${b}: ${want} became ${got}`)
  }
  // And the rule is found by the matcher.
  expect(simplify(s, before)).not.toBe(before)
  expect(patternOf(rule, type).kind).toBe('op')
})

test('random expressions keep their value', () => {
  const binary = ['add', 'sub', 'mul', 'min', 'max'] as const
  for (const type of ['f32', 'i32', 'f64', 'i64'] as const)
    for (let round = 0; round < 300; round++) {
      const s = new ExprBuilder()
      const pool: Expr[] = [s.param(type, 0), s.param(type, 1), s.const(type, 0), s.const(type, 1)]
      const pick = () => pool[Math.floor(Math.random() * pool.length)]!
      for (let i = 0; i < 8; i++) {
        const op = binary[Math.floor(Math.random() * binary.length)]!
        pool.push(Math.random() < 0.2 ? s.neg(pick()) : s[op](pick(), pick()))
        if (Math.random() < 0.2) pool.push(s.select(s.lt(pick(), pick()), pick(), pick()))
      }
      const root = pool[pool.length - 1]!
      const simple = simplify(s, root)
      for (let i = 0; i < 20; i++) {
        const [x, y] = [randomValue(type), randomValue(type)]
        expect(evaluate(simple, x, y)).toBe(evaluate(root, x, y))
      }
    }
})
