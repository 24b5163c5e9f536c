/** @file Products whose sums are made in vectors along the depth: what they compute, and when they are. */
import { describe, expect, test } from 'vitest'
import { matchContraction } from '../../src/codegen/contract-pattern.ts'
import { planAlong } from '../../src/codegen/along-pattern.ts'
import { ExprBuilder, type Axis } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'
import { agreesInLoops, agreesOnWasm } from './agree.ts'
import { at, convolution, type ConvShape } from './contractions.ts'
import { randomContraction, toleranceOf } from './random-contraction.ts'
import { targetOf } from './run-group.ts'

const random = (n: number) => Float32Array.from({ length: n }, () => Math.random() - 0.5)

const along = (group: Group): Group => ({ ...group, lanes: 'depth' })

function planOf(s: ExprBuilder, group: Group, bytes: 16 | 32 | 64, tail: 'scalar' | 'mask') {
  const traits = targetOf(bytes, tail)
  return planAlong(s, group, matchContraction(s, group, traits)!, traits)
}

const shapes: [string, ConvShape][] = [
  ['whole vectors', { images: 2, inputs: 2, outputs: 6, height: 6, width: 18, kernel: 3 }],
  ['a part of a vector', { images: 3, inputs: 3, outputs: 8, height: 5, width: 16, kernel: 3 }],
  ['several and a part', { images: 1, inputs: 1, outputs: 7, height: 6, width: 41, kernel: 5 }],
  ['planes as one run', { images: 2, inputs: 12, outputs: 10, height: 7, width: 5, kernel: 1 }],
]

describe.each(shapes)("a weight's gradient over %s", (_name, shape) => {
  test('is what the interpreter says', () => {
    const s = new ExprBuilder()
    const { group, lengths } = convolution(s, shape, 'weight')
    const run = { buffers: lengths.map(random) }
    expect(planOf(s, along(group), 64, 'mask')).toBeDefined()
    agreesInLoops(s, along(group), run, 2e-5)
    agreesOnWasm(s, along(group), run, 2e-5)
  })
})

// [batch, m, n] of [batch, m, k] and [batch, n, k].
function batched(s: ExprBuilder, dtype: 'float32' | 'float64', sizes: readonly number[]): Group {
  const [p, m, n, k] = sizes.map((size) => s.axis(size)) as [Axis, Axis, Axis, Axis]
  const [, M, N, K] = sizes as [number, number, number, number]
  const a = s.load(0, dtype, at(s, [p, M * K], [m, K], [k, 1]))
  const b = s.load(1, dtype, at(s, [p, N * K], [n, K], [k, 1]))
  const sum = s.reduce('add', [k], s.mul(a, b))
  const index = at(s, [p, M * N], [m, N], [n, 1])
  const bias = s.load(2, dtype, at(s, [n, 1]))
  return {
    name: 'batched',
    axes: [p, m, n],
    buffers: (['read', 'read', 'read', 'write'] as const).map((access) => ({ dtype, access })),
    stores: [{ buffer: 3, index, value: s.max(s.add(sum, bias), 0) }],
    checks: [],
    params: [],
    sizeCount: 0,
    lanes: 'depth',
  }
}

test.each(['float32', 'float64'] as const)('a batch of products of %s, with a bias', (dtype) => {
  for (const sizes of [
    [3, 8, 9, 40],
    [1, 5, 3, 64],
    [2, 7, 11, 3],
  ]) {
    const s = new ExprBuilder()
    const [p, m, n, k] = sizes as [number, number, number, number]
    const numbers = [p * m * k, p * n * k, n, p * m * n].map(random)
    const buffers = dtype === 'float32' ? numbers : numbers.map((x) => Float64Array.from(x))
    const group = batched(s, dtype, sizes)
    expect(planOf(s, group, 32, 'mask')).toBeDefined()
    agreesInLoops(s, group, { buffers }, 2e-5)
  }
})

test('without masks a run has to be made of whole vectors', () => {
  const s = new ExprBuilder()
  expect(planOf(s, batched(s, 'float32', [1, 4, 4, 24]), 32, 'scalar')).toBeDefined()
  expect(planOf(s, batched(s, 'float32', [1, 4, 4, 28]), 32, 'scalar')).toBeUndefined()
})

test('only a group that asks for it is summed so, and only factors that lie so', () => {
  const s = new ExprBuilder()
  const { lanes, ...usual } = batched(s, 'float32', [1, 4, 4, 32])
  expect(lanes).toBe('depth')
  expect(planOf(s, usual, 64, 'mask')).toBeUndefined()
  const padded: ConvShape = { ...shapes[0]![1], padding: 1 }
  expect(planOf(s, along(convolution(s, padded, 'weight').group), 64, 'mask')).toBeUndefined()
  const strided: ConvShape = { ...shapes[0]![1], stride: 2 }
  expect(planOf(s, along(convolution(s, strided, 'weight').group), 64, 'mask')).toBeUndefined()
})

test.each(Array.from({ length: 12 }, (_, i) => 4000 + i))(
  'random contractions, seed %i',
  (seed) => {
    const { s, group, ...run } = randomContraction(seed)
    const { buffer, value } = group.stores[0]!
    agreesInLoops(s, along(group), run, toleranceOf(group.buffers[buffer]!.dtype, value.type))
  },
)
