/** @file Copies that read along one axis and write along another, with guards and arithmetic on the way. */
import { describe, expect, test } from 'vitest'
import { canonicalize } from '../../src/codegen/canonical.ts'
import { boxOf } from '../../src/codegen/guard-box.ts'
import { KernelBuilder, type Operand } from '../../src/codegen/kernel-builder.ts'
import { matchTranspose } from '../../src/codegen/transpose-pattern.ts'
import type { DType, TypedArray } from '../../src/core/dtype.ts'
import { layoutOf } from '../../src/core/layout.ts'
import { ExprBuilder, type Axis, type Expr } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'
import { agreesInLoops, agreesOnWasm } from './agree.ts'
import { Choices } from './fuzz/choices.ts'
import { randomData } from './fuzz/random-data.ts'
import { targetOf } from './run-group.ts'

interface Case {
  readonly s: ExprBuilder
  readonly group: Group
  readonly buffers: TypedArray[]
}

const extents = [16, 4, 7, 8, 17, 33, 1, 5, 32, 49, 12, 3]
const mostPoints = 3000
const stored: readonly DType[] = [
  ...(['float32', 'float32', 'int32', 'bfloat16', 'float16'] as const),
  ...(['int8', 'uint8', 'float64', 'bool'] as const),
]
const paddings = [
  [1, 1],
  [0, 2],
  [2, 0],
] as const

/** A copy into the order of its axes, of operands in another order that may be padded, and of others in its own order. */
function randomCopy(c: Choices): Case {
  const dtype = c.pick(stored)
  const shape: number[] = []
  for (let left = mostPoints, count = c.pick([2, 3, 4]); shape.length < count;) {
    const n = c.pick(extents.filter((x) => x <= left))
    shape.push(n)
    left = Math.floor(left / n)
  }
  const operands: Operand[] = []
  const buffers: TypedArray[] = []
  const add = (order: readonly number[], sizes: readonly number[]): number => {
    const strides = sizes.map(() => 0)
    let stride = 1
    for (const i of order.toReversed()) {
      strides[i] = stride
      // Sometimes there is more in a row than is used.
      stride *= sizes[i]! + (c.chance(0.1) ? 1 : 0)
    }
    buffers.push(randomData(dtype, stride, 'small', c.below(1 << 16)))
    return operands.push({ dtype, layout: layoutOf(sizes, strides) }) - 1
  }
  const plain = shape.map((_, i) => i)
  const order = c.shuffle(plain)
  const pads = shape.map((n) => (n > 2 && c.chance(0.3) ? c.pick(paddings) : ([0, 0] as const)))
  const inner = shape.map((n, i) => n - pads[i]![0] - pads[i]![1])
  const across = Array.from({ length: c.pick([1, 1, 2]) }, () => add(order, inner))
  const others = Array.from({ length: c.pick([0, 0, 1, 2]) }, () => {
    const kept = c.below(shape.length)
    return add(plain, c.chance(0.5) ? shape : shape.map((n, i) => (i === kept ? n : 1)))
  })
  const results = Array.from({ length: c.pick([1, 1, 2]) }, () => add(plain, shape))
  const k = new KernelBuilder('copy', operands)
  const { s } = k
  const axes = k.axes(shape)
  const positions = axes.map((axis, i) => ({ axis, step: 1, offset: -pads[i]![0] }))
  const guard = k.inside(inner, positions)
  const otherwise = c.pick([0, 0, 1])
  const read = [
    ...across.map((operand) => k.load(operand, positions, guard, otherwise)),
    ...others.map((operand) => k.load(operand, axes)),
  ]
  for (const result of results) {
    const value = read.reduce((x, y) => mix(c, s, x, y))
    k.store(result, axes, c.chance(0.3) && value.type !== 'bool' ? s.max(value, 0) : value)
  }
  const { group, operands: used } = k.finish()
  return { s, group, buffers: used.map((i) => buffers[i]!) }
}

// Nothing that is rounded in different ways.
function mix(c: Choices, s: ExprBuilder, x: Expr, y: Expr): Expr {
  if (x.type === 'bool') return s.xor(x, y)
  if (c.chance(0.3)) return s.select(s.lt(0, y), x, 0)
  return c.chance(0.3) ? s.max(x, y) : s.sub(x, y)
}

test.each(Array.from({ length: 16 }, (_, i) => i))(
  'copies agree with the interpreter, ten from seed %i0',
  (tens) => {
    for (let seed = 10 * tens; seed < 10 * tens + 10; seed++) {
      const c = Choices.seeded(seed + 1)
      const { s, group: made, buffers } = randomCopy(c)
      const { group, sizes } = canonicalize(s, made, c.chance(0.5))
      const run = { buffers, sizes: [...sizes] }
      agreesOnWasm(s, group, run, 0)
      agreesInLoops(s, group, run, 0)
    }
  },
)

const wide = targetOf(64, 'mask')

/** The padded copy of an image [n, c, y, x] to [n, y, x, c], specialised. */
function imageCopy(shape: readonly [number, number, number, number], pad: number, dtype: DType) {
  const [n, channels, height, width] = shape
  const size = [n, height + 2 * pad, width + 2 * pad, channels]
  const layouts = [layoutOf(shape), layoutOf(size)]
  const k = new KernelBuilder(
    'image',
    layouts.map((layout) => ({ dtype, layout })),
  )
  const [i, y, x, c] = k.axes(size) as [Axis, Axis, Axis, Axis]
  const at = (axis: Axis) => ({ axis, step: 1, offset: -pad })
  const positions = [i, c, at(y), at(x)]
  k.store(1, [i, y, x, c], k.load(0, positions, k.inside(shape, positions)))
  return { s: k.s, group: canonicalize(k.s, k.finish().group, true).group }
}

const matched = (...args: Parameters<typeof imageCopy>) => {
  const { s, group } = imageCopy(...args)
  return matchTranspose(s, group, wide)
}

describe('what is recognised', () => {
  test('without padding, rows of an image are one axis, read in squares', () => {
    const found = matched([2, 32, 7, 7], 0, 'float32')
    expect(found?.across.map(({ extent }) => extent)).toEqual([49])
    expect(found?.along.extent).toBe(32)
    expect(found?.border).toBeUndefined()
  })

  test('padding becomes a border, and what is inside is read without a guard', () => {
    const found = matched([2, 32, 14, 14], 1, 'float32')
    expect(found?.across.map(({ extent }) => extent)).toEqual([14])
    expect(found?.border?.box.map(({ low, high }) => [low, high])).toEqual([
      [1, 15],
      [1, 15],
    ])
    expect(found?.parts.map(({ value }) => value.kind === 'load' && value.guard)).toEqual([
      undefined,
    ])
  })

  test('rows that come out even in a square are read several at once', () => {
    const found = matched([2, 32, 4, 4], 1, 'float32')
    expect(found?.across.map(({ extent }) => extent)).toEqual([4, 4])
    expect(found?.parts[0]?.across.extent).toBe(16)
  })

  test('elements of 16 bits are transposed as lanes of 32, those of 64 bits are not', () => {
    expect(matched([2, 32, 8, 8], 0, 'bfloat16')).toBeDefined()
    expect(matched([2, 32, 8, 8], 0, 'float64')).toBeUndefined()
  })

  test('what is short, or lies along the result, is left to plain loops', () => {
    expect(matched([2, 3, 8, 8], 0, 'float32')).toBeUndefined()
    expect(matched([2, 32, 1, 1], 0, 'float32')).toBeUndefined()
  })

  test('where squares would mostly be cut and nothing is masked, plain loops do it', () => {
    const { s, group } = imageCopy([2, 32, 14, 14], 1, 'float32')
    expect(matchTranspose(s, group, targetOf(32, 'scalar'))).toBeUndefined()
    expect(matchTranspose(s, group, targetOf(32, 'mask'))).toBeDefined()
  })

  test('two operands that read across are transposed as one', () => {
    const layouts = [layoutOf([32, 16]), layoutOf([32, 16]), layoutOf([16, 32])]
    const k = new KernelBuilder(
      'both',
      layouts.map((layout) => ({ dtype: 'float32', layout })),
    )
    const [y, x] = k.axes([16, 32]) as [Axis, Axis]
    const [g, input] = [k.load(0, [x, y]), k.load(1, [x, y])]
    k.store(2, [y, x], k.s.select(k.s.lt(0, input), g, 0))
    const { group } = canonicalize(k.s, k.finish().group, true)
    expect(matchTranspose(k.s, group, wide)?.parts.map(({ value }) => value.kind)).toEqual(['op'])
  })
})

test('a guard is a box where each of its conditions bounds one axis by constants', () => {
  const s = new ExprBuilder()
  const [a, b] = [s.axis(10), s.axis(6)]
  const [x, y] = [s.at(a), s.at(b)]
  const shown = (guard: Expr) => boxOf(s, guard)?.map(({ low, high }) => [low, high])
  expect(shown(s.and(s.le(0, s.sub(x, 2)), s.lt(y, 4)))).toEqual([
    [2, 10],
    [0, 4],
  ])
  expect(shown(s.lt(x, y))).toBeUndefined()
  expect(shown(s.or(s.lt(x, 3), s.lt(y, 4)))).toBeUndefined()
  expect(shown(s.lt(20, x))).toBeUndefined()
})
