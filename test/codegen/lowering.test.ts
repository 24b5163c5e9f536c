import { describe, expect, test } from 'vitest'
import { lowerGroup } from '../../src/codegen/lower.ts'
import { ExprBuilder, type Axis, type Expr, type Index, type Size } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'
import { dtypes, type TypedArray } from '../../src/core/dtype.ts'
import { agreesInLoops, agreesOnWasm } from './agree.ts'
import { targetOf, type Run } from './run-group.ts'

const f32 = (n: number, f: (i: number) => number = Math.random) =>
  Float32Array.from({ length: n }, (_, i) => f(i))
const at = (s: ExprBuilder, ...terms: [Axis, Size][]): Index => ({
  offset: 0,
  terms: terms.map(([a, stride]) => ({ index: s.at(a), stride })),
})
const group = (g: Partial<Group> & Pick<Group, 'axes' | 'buffers' | 'stores'>): Group => ({
  name: 'test',
  checks: [],
  params: [],
  sizeCount: 0,
  ...g,
})
const read = { dtype: 'float32', access: 'read' } as const
const write = { dtype: 'float32', access: 'write' } as const

function agree(s: ExprBuilder, g: Group, run: Run, tolerance = 1e-5) {
  agreesOnWasm(s, g, run, tolerance)
  agreesInLoops(s, g, run, tolerance)
}

describe('lowering agrees with the interpreter', () => {
  test.each([1, 3, 4, 17, 100, 1000])('map over %i', (n) => {
    const s = new ExprBuilder()
    const i = s.axis({ slot: 0 })
    const x = s.load(0, 'float32', at(s, [i, 1]))
    const y = s.load(1, 'float32', at(s, [i, 1]))
    agree(
      s,
      group({
        axes: [i],
        buffers: [read, read, write],
        sizeCount: 1,
        params: ['f32'],
        stores: [{ buffer: 2, index: at(s, [i, 1]), value: s.add(s.mul(x, s.param('f32', 0)), y) }],
      }),
      { buffers: [f32(n), f32(n), f32(n)], sizes: [n], params: [2.5] },
    )
  })
  test('transposed and broadcast inputs', () => {
    const s = new ExprBuilder()
    const [i, j] = [s.axis(7), s.axis(13)]
    const x = s.load(0, 'float32', at(s, [i, 1], [j, 7]))
    const y = s.load(1, 'float32', at(s, [j, 1]))
    agree(
      s,
      group({
        axes: [i, j],
        buffers: [read, read, write],
        stores: [{ buffer: 2, index: at(s, [i, 13], [j, 1]), value: s.max(s.add(x, y), 0.5) }],
      }),
      { buffers: [f32(91), f32(13), f32(91)] },
    )
  })
  describe.each([2, 3, 4])('windows of %i that move by two', (taps) => {
    test.each(['float32', 'float16', 'int32', 'int8'] as const)('of %s', (dtype) => {
      for (const n of [1, 7, 16, 37])
        for (const size of [n, { slot: 0 }]) {
          const s = new ExprBuilder()
          const [row, i, tap] = [s.axis(2), s.axis(size), s.axis(taps)]
          const width = 2 * (n - 1) + taps
          const element = s.load(0, dtype, at(s, [row, width], [i, 2], [tap, 1]))
          const g = group({
            axes: [row, i],
            buffers: [
              { dtype, access: 'read' },
              { dtype, access: 'write' },
            ],
            sizeCount: 1,
            stores: [
              { buffer: 1, index: at(s, [row, n], [i, 1]), value: s.reduce('max', [tap], element) },
            ],
          })
          const elements = (length: number) =>
            new dtypes[dtype].array(new ArrayBuffer(length * dtypes[dtype].bytes))
          const x = elements(2 * width)
          for (let k = 0; k < x.length; k++) x[k] = (k * 37) % 101
          agree(s, g, { buffers: [x, elements(2 * n)], sizes: [n] }, 0)
          const { body } = lowerGroup(s, g, targetOf(32, 'mask', false))
          expect(JSON.stringify(body).includes('"transposed"')).toBe(size !== 1)
        }
    })
  })
  // Exponentials are worth keeping in the output until their sum is known, squares are not.
  test.each([
    [3, 5, 'square'],
    [3, 5, 'exp'],
    [4, 64, 'square'],
    [4, 72, 'exp'],
    [2, 9000, 'square'],
  ])('softmax of %i x %i with %s', (m, n, name) => {
    const s = new ExprBuilder()
    const [r, i, j, k] = [s.axis(m), s.axis(n), s.axis(n), s.axis(n)]
    const x = (a: Axis) => s.load(0, 'float32', at(s, [r, n], [a, 1]))
    const soft = (v: Expr) => (name === 'exp' ? s.exp(v) : s.mul(v, v))
    const top = s.reduce('max', [i], x(i))
    const sum = s.reduce('add', [k], soft(s.sub(x(k), top)))
    agree(
      s,
      group({
        axes: [r, j],
        buffers: [read, write],
        stores: [
          { buffer: 1, index: at(s, [r, n], [j, 1]), value: s.div(soft(s.sub(x(j), top)), sum) },
        ],
      }),
      { buffers: [f32(m * n), f32(m * n)] },
      1e-4,
    )
  })
  test.each([0, 1])('sum over axis %i', (axis) => {
    const s = new ExprBuilder()
    const [i, j] = [s.axis(33), s.axis(18)]
    const x = s.load(0, 'float32', at(s, [i, 18], [j, 1]))
    const [kept, gone] = axis === 0 ? [j, i] : [i, j]
    agree(
      s,
      group({
        axes: [kept],
        buffers: [read, write],
        stores: [{ buffer: 1, index: at(s, [kept, 1]), value: s.reduce('add', [gone], x) }],
      }),
      { buffers: [f32(33 * 18), f32(33)] },
    )
  })
  test.each(['max', 'min', 'add'] as const)('%s of int64 over the outer axis', (combine) => {
    const s = new ExprBuilder()
    const [i, j] = [s.axis(5), s.axis(18)]
    const x = s.load(0, 'int64', at(s, [i, 18], [j, 1]))
    agree(
      s,
      group({
        axes: [j],
        buffers: [
          { dtype: 'int64', access: 'read' },
          { dtype: 'int64', access: 'write' },
        ],
        stores: [{ buffer: 1, index: at(s, [j, 1]), value: s.reduce(combine, [i], x) }],
      }),
      {
        buffers: [
          BigInt64Array.from({ length: 90 }, (_, n) => BigInt((n * 37) % 91) - 45n),
          new BigInt64Array(18),
        ],
      },
      0,
    )
  })
  test.each([
    [5, 37],
    [5, 0],
    [1, 200],
  ])('rows of %i x %i that keep what they share', (m, n) => {
    const s = new ExprBuilder()
    const [i, j, k] = [s.axis({ slot: 0 }), s.axis({ slot: 1 }), s.axis({ slot: 1 })]
    const row: [Axis, Size] = [i, { slot: 1 }]
    const total = s.reduce('add', [k], s.load(0, 'float32', at(s, row, [k, 1])))
    const scale = s.div(s.like(total, 1), s.sqrt(total))
    const value = s.mul(s.load(0, 'float32', at(s, row, [j, 1])), scale)
    agree(
      s,
      group({
        axes: [i, j],
        buffers: [read, write, write, write],
        sizeCount: 2,
        stores: [
          { buffer: 1, index: at(s, [i, 1]), value: total },
          { buffer: 2, index: at(s, row, [j, 1]), value },
          { buffer: 3, index: at(s), value: s.const('f32', 7) },
        ],
      }),
      { buffers: [f32(m * n), f32(m), f32(m * n), f32(1)], sizes: [m, n] },
    )
  })
  test.each([
    [37, 1],
    [1, 9000],
  ])('two sums in one loop, steps of %i and %i', (down, right) => {
    const s = new ExprBuilder()
    const n = down === 1 ? 9000 : 20
    const [i, k] = [s.axis(37), s.axis({ slot: 0 })]
    const x = s.load(0, 'float32', at(s, [i, right], [k, down]))
    const total = s.reduce('add', [k], x)
    // Of the same axis, but made of the first.
    const rest = s.reduce('add', [k], s.abs(s.sub(x, s.div(total, n))))
    const squares = s.reduce('add', [k], s.mul(x, x))
    agree(
      s,
      group({
        axes: [i],
        buffers: [read, write, write, write],
        sizeCount: 1,
        stores: [total, rest, squares].map((value, b) => ({
          buffer: b + 1,
          index: at(s, [i, 1]),
          value,
        })),
      }),
      { buffers: [f32(37 * n), f32(37), f32(37), f32(37)], sizes: [n] },
    )
  })
  test('cumulative sum along either axis', () => {
    for (const axis of [0, 1]) {
      const s = new ExprBuilder()
      const [i, j] = [s.axis(9), s.axis(11)]
      const x = s.load(0, 'float32', at(s, [i, 11], [j, 1]))
      agree(
        s,
        group({
          axes: [i, j],
          buffers: [read, write],
          stores: [
            { buffer: 1, index: at(s, [i, 11], [j, 1]), value: s.scan('add', axis ? j : i, x) },
          ],
        }),
        { buffers: [f32(99), f32(99)] },
      )
    }
  })
  test('gather with a check, scatter with accumulation', () => {
    for (const bad of [false, true]) {
      const s = new ExprBuilder()
      const [i, j] = [s.axis(6), s.axis(10)]
      const index = s.load(1, 'int32', at(s, [i, 1]))
      const inside = s.and(s.le(s.like(index, 0), index), s.lt(index, 5))
      const indices = Int32Array.from([0, 4, 2, 2, 1, bad ? 7 : 3])
      const x = s.load(
        0,
        'float32',
        {
          offset: 0,
          terms: [
            { index, stride: 10 },
            { index: s.at(j), stride: 1 },
          ],
        },
        inside,
      )
      agree(
        s,
        group({
          axes: [i, j],
          buffers: [read, { dtype: 'int32', access: 'read' }, write],
          checks: [inside],
          stores: [{ buffer: 2, index: at(s, [i, 10], [j, 1]), value: x }],
        }),
        { buffers: [f32(50), indices, new Float32Array(60)] },
      )
      const y = s.load(0, 'float32', at(s, [i, 10], [j, 1]))
      agree(
        s,
        group({
          axes: [i, j],
          buffers: [
            read,
            { dtype: 'int32', access: 'read' },
            { dtype: 'float32', access: 'update' },
          ],
          checks: [inside],
          stores: [
            {
              buffer: 2,
              accumulate: true,
              value: y,
              index: {
                offset: 0,
                terms: [
                  { index, stride: 10 },
                  { index: s.at(j), stride: 1 },
                ],
              },
            },
          ],
        }),
        { buffers: [f32(60), indices, f32(50)] },
      )
    }
  })
  test('argmax and comparison to bool', () => {
    const s = new ExprBuilder()
    const [r, k] = [s.axis(5), s.axis(37)]
    const x = s.load(0, 'float32', at(s, [r, 37], [k, 1]))
    const top = s.reduce('max', [k], x)
    const arg = s.reduce('min', [k], s.select(s.eq(x, top), s.at(k), s.const('i32', 1e9)))
    agree(
      s,
      group({
        axes: [r],
        buffers: [read, { dtype: 'int32', access: 'write' }],
        stores: [{ buffer: 1, index: at(s, [r, 1]), value: arg }],
      }),
      { buffers: [f32(185), new Int32Array(5)] },
    )
    const i = s.axis(21)
    const z = s.load(0, 'float32', at(s, [i, 1]))
    agree(
      s,
      group({
        axes: [i],
        buffers: [read, { dtype: 'bool', access: 'write' }],
        stores: [{ buffer: 1, index: at(s, [i, 1]), value: s.lt(z, 0.5) }],
      }),
      { buffers: [f32(21), new Uint8Array(21)] },
    )
  })
  test.each(['float32', 'float64', 'int64'] as const)('positions beside values of %s', (dtype) => {
    const s = new ExprBuilder()
    const i = s.axis(21)
    const x = s.load(0, dtype, at(s, [i, 1]))
    const make = { float32: Float32Array, float64: Float64Array, int64: BigInt64Array }[dtype]
    const data = dtype === 'int64' ? new BigInt64Array(21).fill(3n) : new make(21).fill(3 as never)
    agree(
      s,
      group({
        axes: [i],
        buffers: [
          { dtype, access: 'read' },
          { dtype, access: 'write' },
        ],
        stores: [
          { buffer: 1, index: at(s, [i, 1]), value: s.select(s.lt(s.at(i), 9), x, s.like(x, 0)) },
        ],
      }),
      { buffers: [data as TypedArray, new make(21)] },
      0,
    )
  })
  test.each(['float16', 'bfloat16', 'uint8', 'int8', 'int32', 'bool', 'float64', 'int64'] as const)(
    'storage of %s',
    (dtype) => {
      const s = new ExprBuilder()
      const n = 23
      const i = s.axis(n)
      const make = {
        float16: Uint16Array,
        bfloat16: Uint16Array,
        uint8: Uint8Array,
        int8: Int8Array,
        int32: Int32Array,
        bool: Uint8Array,
        float64: Float64Array,
        int64: BigInt64Array,
      }[dtype]
      const big = dtype === 'int64'
      const values = Array.from({ length: n }, (_, k) =>
        dtype === 'bool' ? k % 2 : dtype.endsWith('16') ? k * 2741 : k * 3 - 5,
      )
      const data = big
        ? BigInt64Array.from(values.map(BigInt))
        : new (make as typeof Uint8Array)(values)
      const x = s.load(0, dtype, at(s, [i, 1]))
      const value = dtype === 'bool' ? s.not(x) : s.add(s.mul(x, x), x)
      agree(
        s,
        group({
          axes: [i],
          buffers: [
            { dtype, access: 'read' },
            { dtype, access: 'write' },
          ],
          stores: [{ buffer: 1, index: at(s, [i, 1]), value }],
        }),
        { buffers: [data as TypedArray, new make(n)] },
        0,
      )
    },
  )
})
