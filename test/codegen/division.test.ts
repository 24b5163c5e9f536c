import { test } from 'vitest'
import { ExprBuilder } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'
import { agreesOnX86 } from './agree.ts'

const divisors = [2, 3, 5, 7, 9, 14, 48, 64, 147, 1000, 65535, 65537, 1000003, 2 ** 30, 2 ** 31 - 1]
const starts = [-2000000000, -(2 ** 31) + 2000, -70, 0, 1, 1234567890, 2 ** 31 - 3000]

test.each(divisors)('positions divided by the constant %i', (divisor) => {
  for (const start of starts) {
    const s = new ExprBuilder()
    const i = s.axis({ slot: 0 })
    const x = s.add(s.at(i), s.size({ slot: 1 }))
    const index = { offset: 0, terms: [{ index: s.at(i), stride: 1 }] }
    const output = { dtype: 'int32', access: 'write' } as const
    const group: Group = {
      name: 'divide',
      axes: [i],
      buffers: [output, output],
      stores: [
        { buffer: 0, index, value: s.div(x, divisor) },
        { buffer: 1, index, value: s.rem(x, divisor) },
      ],
      checks: [],
      params: [],
      sizeCount: 2,
    }
    const buffers = [new Int32Array(200), new Int32Array(200)]
    agreesOnX86(s, group, { buffers, sizes: [200, start] }, 0)
  }
})
