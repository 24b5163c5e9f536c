import { expect, test } from 'vitest'
import { lowerGroup } from '../../src/codegen/lower.ts'
import { ExprBuilder } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'
import { printGroup } from '../../src/ir/print-group.ts'
import { printKernel } from '../../src/ir/print-loops.ts'
import { verifyKernel } from '../../src/ir/verify-loops.ts'
import { product } from '../codegen/contractions.ts'
import { targetOf } from '../codegen/run-group.ts'

test('a product with bias and relu', () => {
  const group = product(new ExprBuilder(), { transposeB: true, bias: true, relu: true })
  expect(printGroup(group)).toBe(`group product over a < s0, b < s1
  b0: float32 read
  b1: float32 read
  b2: float32 read
  b3: float32 write
  b3[a*s1 + b] = max(add{c < s2}(b0[a*s2 + c] * b1[b*s2 + c]) + b2[b], 0)`)
})

function rowSums(): { s: ExprBuilder; group: Group } {
  const s = new ExprBuilder()
  const [i, j] = [s.axis(4), s.axis({ slot: 0 })]
  const terms = [
    { index: s.at(i), stride: { slot: 0 } },
    { index: s.at(j), stride: 1 },
  ]
  const x = s.load(0, 'float32', { offset: 0, terms }, s.lt(s.at(j), 7))
  const sum = s.reduce('max', [j], s.mul(x, x))
  const group: Group = {
    name: 'rows',
    axes: [i],
    buffers: [
      { dtype: 'float32', access: 'read' },
      { dtype: 'float32', access: 'write' },
    ],
    stores: [
      { buffer: 1, index: { offset: 2, terms: [{ index: s.at(i), stride: 1 }] }, value: sum },
    ],
    checks: [s.lt(s.at(i), s.size({ slot: 0 }))],
    params: [],
    sizeCount: 1,
  }
  return { s, group }
}

test('checks, guards, offsets and shared values', () => {
  expect(printGroup(rowSums().group)).toBe(`group rows over a < 4
  b0: float32 read
  b1: float32 write
  check a < s0
  b1[a + 2] = max{b < s0}((b < 7 ? b0[a*s0 + b] : 0) * (b < 7 ? b0[a*s0 + b] : 0))`)
  const s = new ExprBuilder()
  const i = s.axis(3)
  const x = s.load(0, 'float32', { offset: 0, terms: [{ index: s.at(i), stride: 1 }] })
  const e = s.exp(x)
  const group: Group = {
    ...rowSums().group,
    axes: [i],
    checks: [],
    stores: [
      {
        buffer: 1,
        index: { offset: 0, terms: [{ index: s.at(i), stride: 1 }] },
        value: s.div(e, s.add(e, 1)),
      },
    ],
  }
  expect(printGroup(group)).toContain('  t0 = exp(b0[a])\n  b1[a] = t0 / (t0 + 1)')
})

test('a map in loop form', () => {
  const s = new ExprBuilder()
  const i = s.axis({ slot: 0 })
  const index = { offset: 0, terms: [{ index: s.at(i), stride: 1 }] }
  const group: Group = {
    name: 'scale',
    axes: [i],
    buffers: [
      { dtype: 'float32', access: 'read' },
      { dtype: 'float32', access: 'write' },
    ],
    stores: [{ buffer: 1, index, value: s.mul(s.load(0, 'float32', index), s.param('f32', 0)) }],
    checks: [],
    params: ['f32'],
    sizeCount: 1,
  }
  const kernel = lowerGroup(s, group, targetOf(32, 'mask'))
  verifyKernel(kernel)
  const text = printKernel(kernel)
  expect(text).toContain('kernel scale(b0: f32, b1: f32 written)')
  expect(text).toMatch(/for i\d+ in 0\.\.v\d+ parallel, in runs that end at i\d+/)
  expect(text).toMatch(/for i\d+ in v\d+\.\.v\d+ step 32/)
  expect(text).toMatch(/v\d+ = load b0\[i\d+\] : f32x32/)
  expect(text).toMatch(/v\d+ = load b0\[i\d+\] mask v\d+ : f32x8/)
  expect(text).toMatch(/store b1\[i\d+\] = v\d+ mask v\d+/)
})

test('the verifier names what is wrong', () => {
  const { s, group } = rowSums()
  const kernel = lowerGroup(s, group, targetOf(16, 'scalar'))
  expect(() => verifyKernel(kernel)).not.toThrow()
  const broken = { ...kernel, body: kernel.body.filter((x) => x.kind !== 'set') }
  expect(() => verifyKernel(broken)).toThrow(/kernel rows: .*read before set/)
})
