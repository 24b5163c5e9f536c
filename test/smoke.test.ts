import { expect, test } from 'vitest'
import { promote } from '../src/core/dtype.ts'
import { ExprBuilder } from '../src/ir/expr.ts'

test('promotion', () => expect(promote('int8', 'uint8')).toBe('int32'))
test('builder shares', () => {
  const s = new ExprBuilder()
  const x = s.param('f32', 0)
  expect(s.add(x, 1)).toBe(s.add(x, 1))
})
