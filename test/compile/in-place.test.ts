/** @file Which results may be written over an operand, kernel by kernel. */
import { describe, expect, test } from 'vitest'
import { ExprBuilder, type Expr, type Index } from '../../src/ir/expr.ts'
import type { Group, Store } from '../../src/ir/group.ts'
import { mayOverwrite } from '../../src/compile/in-place.ts'
import type { ScheduledKernel } from '../../src/compile/schedule.ts'

const s = new ExprBuilder()
const [i, j] = [s.axis(5), s.axis(8)]
const at = (offset: number, ...terms: (readonly [Expr, number])[]): Index => ({
  offset,
  terms: terms.map(([index, stride]) => ({ index, stride })),
})
const here = at(0, [s.at(i), 8], [s.at(j), 1])

interface Case {
  readonly value: (load: (index: Index, guard?: Expr) => Expr) => Expr
  readonly index?: Index
  readonly others?: readonly Omit<Store, 'index'>[]
  readonly changes?: Partial<Group>
  readonly offset?: number
}

/** Buffer 0 is read, 1 is written, 2 and 3 are others. */
function kernel({ value, index = here, others = [], changes, offset = 0 }: Case): ScheduledKernel {
  const load = (where: Index, guard?: Expr) => s.load(0, 'float32', where, guard)
  const group: Group = {
    name: 'test',
    axes: [i, j],
    buffers: (['read', 'write', 'read', 'write'] as const).map((access) => ({
      dtype: 'float32',
      access,
    })),
    stores: [
      { buffer: 1, index, value: value(load) },
      ...others.map((store) => ({ ...store, index: here })),
    ],
    checks: [],
    params: [],
    sizeCount: 0,
    ...changes,
  }
  const operands = [0, 1, 2, 3].map((buffer) => ({ buffer, offset: buffer === 0 ? offset : 0 }))
  return { step: { s, group }, operands } as unknown as ScheduledKernel
}

const twice = (load: (index: Index) => Expr) => s.mul(load(here), 2)

describe('a result may be written over an operand', () => {
  test.each<[string, boolean, Case]>([
    ['that is read where it is written', true, { value: twice }],
    [
      'not at another position',
      false,
      { value: (load) => load(at(1, [s.at(i), 8], [s.at(j), 1])) },
    ],
    [
      'not with its axes exchanged',
      false,
      { value: (load) => load(at(0, [s.at(j), 8], [s.at(i), 1])) },
    ],
    [
      'not if it also is read elsewhere',
      false,
      { value: (load) => s.add(load(here), load(at(0, [s.at(j), 1]))) },
    ],
    ['not where it begins elsewhere in its buffer', false, { value: twice, offset: 8 }],
    ['not under a guard', false, { value: (load) => load(here, s.lt(s.at(i), 3)) }],
    [
      'not where several points meet',
      false,
      { value: (load) => load(at(0, [s.at(j), 1])), index: at(0, [s.at(j), 1]) },
    ],
    [
      'not in a reduction',
      false,
      {
        value: (load) =>
          s.add(load(here), s.reduce('add', [s.axis(3)], s.load(2, 'float32', here))),
      },
    ],
    [
      'not of another dtype',
      false,
      {
        value: twice,
        changes: {
          buffers: (['float32', 'float16', 'float32', 'float32'] as const).map((dtype, k) => ({
            dtype,
            access: k % 2 === 0 ? 'read' : 'write',
          })),
        },
      },
    ],
    [
      'not by a kernel with checks',
      false,
      { value: twice, changes: { checks: [s.lt(s.at(i), 3)] } },
    ],
    [
      'that both results are made of',
      true,
      { value: twice, others: [{ buffer: 3, value: s.add(s.load(0, 'float32', here), 1) }] },
    ],
    [
      'not one that only another result is made of',
      false,
      {
        value: () => s.load(2, 'float32', here),
        others: [{ buffer: 3, value: s.load(0, 'float32', here) }],
      },
    ],
  ])('%s', (_, expected, given) => {
    expect(mayOverwrite(kernel(given), 0, 1)).toBe(expected)
  })

  test('but not over another result', () => {
    const given = { value: twice, others: [{ buffer: 3, value: s.load(2, 'float32', here) }] }
    expect(mayOverwrite(kernel(given), 3, 1)).toBe(false)
  })
})
