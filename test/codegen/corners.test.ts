/** @file Corners that random kernels found: each a small kernel that some target once got wrong. */
import { describe, test } from 'vitest'
import type { TypedArray } from '../../src/core/dtype.ts'
import { ExprBuilder, type Axis, type Expr, type Index, type Size } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'
import { agreesInLoops, agreesOnWasm, agreesOnX86 } from './agree.ts'

const at = (s: ExprBuilder, ...terms: [Axis, Size][]): Index => ({
  offset: 0,
  terms: terms.map(([a, stride]) => ({ index: s.at(a), stride })),
})

type Parts = Partial<Group> & Pick<Group, 'axes' | 'buffers' | 'stores'>

/** Every target agrees with the interpreter, bit for bit. */
function agree(s: ExprBuilder, parts: Parts, buffers: TypedArray[], params: number[] = []) {
  const group: Group = { name: 'corner', checks: [], params: [], sizeCount: 0, ...parts }
  agreesOnWasm(s, group, { buffers, params }, 0)
  agreesInLoops(s, group, { buffers, params }, 0)
}

describe('parallel loops', () => {
  test('a scan along the only axis stays in order', () => {
    const s = new ExprBuilder()
    const i = s.axis(50)
    const x = s.load(0, 'int32', at(s, [i, 1]))
    agree(
      s,
      {
        axes: [i],
        buffers: [
          { dtype: 'int32', access: 'read' },
          { dtype: 'int32', access: 'write' },
        ],
        stores: [{ buffer: 1, index: at(s, [i, 1]), value: s.scan('add', i, x) }],
      },
      [Int32Array.from({ length: 50 }, (_, k) => k * k), new Int32Array(50)],
    )
  })
})

test('a scan inside a reduction over another axis goes on once per position of its own', () => {
  const s = new ExprBuilder()
  const [i, k] = [s.axis(20), s.axis(30)]
  const running = s.scan('add', i, s.load(0, 'int32', at(s, [i, 1])))
  const value = s.reduce('add', [k], s.mul(s.load(1, 'int32', at(s, [k, 1])), running))
  agree(
    s,
    {
      axes: [i],
      buffers: [
        { dtype: 'int32', access: 'read' },
        { dtype: 'int32', access: 'read' },
        { dtype: 'int32', access: 'write' },
      ],
      stores: [{ buffer: 2, index: at(s, [i, 1]), value }],
    },
    [20, 30, 20].map((n) => Int32Array.from({ length: n }, (_, x) => x + 1)),
  )
})

test('a scan along the axis of a reduction, however short', () => {
  for (const n of [3, 30]) {
    const s = new ExprBuilder()
    const [i, k] = [s.axis(5), s.axis(n)]
    const running = s.scan('add', k, s.load(0, 'int32', at(s, [i, n], [k, 1])))
    agree(
      s,
      {
        axes: [i],
        buffers: [
          { dtype: 'int32', access: 'read' },
          { dtype: 'int32', access: 'write' },
        ],
        stores: [{ buffer: 1, index: at(s, [i, 1]), value: s.reduce('max', [k], running) }],
      },
      [Int32Array.from({ length: 5 * n }, (_, x) => ((x * 37) % 11) - 5), new Int32Array(5)],
    )
  }
})

test.each(['int32', 'int64'] as const)('%s divided by constants, zero among them', (dtype) => {
  const numbers = [0, 1, -1, 5, -5, 100, 2147483647, -2147483648, 7, -8, 9]
  for (const by of [0, 1, -1, 2, -2, 3, 7, -7, 8, 10, 1000, 65536, 2147483647, -2147483648])
    for (const op of ['div', 'rem'] as const) {
      const s = new ExprBuilder()
      const i = s.axis(numbers.length)
      const x = s.load(0, dtype, at(s, [i, 1]))
      const data =
        dtype === 'int32' ? Int32Array.from(numbers) : BigInt64Array.from(numbers, BigInt)
      agree(
        s,
        {
          axes: [i],
          buffers: [
            { dtype, access: 'read' },
            { dtype, access: 'write' },
          ],
          stores: [{ buffer: 1, index: at(s, [i, 1]), value: s[op](x, by) }],
        },
        [data, data.slice() as TypedArray],
      )
    }
})

describe('shifts', () => {
  const counts = [0, 1, 5, 31, 32, 33, 63, 64, 65, -1, -31, 1000]
  test.each(['int32', 'int64'] as const)(
    'of %s by counts per element, taken modulo the width',
    (dtype) => {
      for (const op of ['shl', 'shr', 'ushr'] as const)
        for (const isSplat of [false, true]) {
          const s = new ExprBuilder()
          const [row, i] = [s.axis(4), s.axis(24)]
          const x = s.load(0, dtype, at(s, [row, 24], [i, 1]))
          const count = s.load(1, dtype, at(s, isSplat ? [row, 1] : [i, 1]))
          const numbers = Array.from({ length: 96 }, (_, k) => (k * 0x9e3779b1) | 0)
          const [data, by, out] =
            dtype === 'int32'
              ? [
                  Int32Array.from(numbers),
                  Int32Array.from([...counts, ...counts]),
                  new Int32Array(96),
                ]
              : [
                  BigInt64Array.from(numbers, (x) => BigInt(x) << 20n),
                  BigInt64Array.from([...counts, ...counts], BigInt),
                  new BigInt64Array(96),
                ]
          agree(
            s,
            {
              axes: [row, i],
              buffers: [
                { dtype, access: 'read' },
                { dtype, access: 'read' },
                { dtype, access: 'write' },
              ],
              stores: [{ buffer: 2, index: at(s, [row, 24], [i, 1]), value: s[op](x, count) }],
            },
            [data, by, out],
          )
        }
    },
  )
})

test('lanes of 32 and of 64 bits, and conditions on both, in one kernel', () => {
  const s = new ExprBuilder()
  const [i, j, k] = [s.axis(6), s.axis(50), s.axis(40)]
  const x = s.load(0, 'int64', at(s, [i, 50], [j, 1]))
  const y = s.load(1, 'float32', at(s, [i, 40], [k, 1]))
  const count = s.reduce('add', [j], s.select(s.lt(x, 3), x, s.like(x, 1)))
  const top = s.reduce('max', [k], s.select(s.lt(y, 0.5), y, s.like(y, -1)))
  agree(
    s,
    {
      axes: [i],
      buffers: [
        { dtype: 'int64', access: 'read' },
        { dtype: 'float32', access: 'read' },
        { dtype: 'int64', access: 'write' },
        { dtype: 'float32', access: 'write' },
      ],
      stores: [
        { buffer: 2, index: at(s, [i, 1]), value: count },
        { buffer: 3, index: at(s, [i, 1]), value: top },
      ],
    },
    [
      BigInt64Array.from({ length: 300 }, (_, n) => BigInt(n % 7)),
      Float32Array.from({ length: 240 }, (_, n) => (n % 11) / 11),
      new BigInt64Array(6),
      new Float32Array(6),
    ],
  )
})

test('a reduction of what does not change, beside conditions on narrower lanes', () => {
  const s = new ExprBuilder()
  const [i, j, k] = [s.axis(3), s.axis(50), s.axis(40)]
  const y = s.load(0, 'float32', at(s, [i, 40], [k, 1]))
  const top = s.reduce('max', [k], s.select(s.lt(y, 0.5), y, s.like(y, -1)))
  agree(
    s,
    {
      axes: [i],
      params: ['i64'],
      buffers: [
        { dtype: 'float32', access: 'read' },
        { dtype: 'float32', access: 'write' },
        { dtype: 'int64', access: 'write' },
      ],
      stores: [
        { buffer: 1, index: at(s, [i, 1]), value: top },
        { buffer: 2, index: at(s, [i, 1]), value: s.reduce('add', [j], s.param('i64', 0)) },
      ],
    },
    [
      Float32Array.from({ length: 120 }, (_, n) => (n % 11) / 11),
      new Float32Array(3),
      new BigInt64Array(3),
    ],
    [7],
  )
})

test('reductions with tails inside a reduction with a tail', () => {
  const s = new ExprBuilder()
  const [i, k, whole, ragged] = [s.axis(4), s.axis(3), s.axis(64), s.axis(13)]
  const x = (b: number, axis: Axis) => s.load(b, 'float32', at(s, [i, 4], [axis, 1]))
  const first = s.reduce('max', [ragged], s.load(0, 'float32', at(s, [ragged, 1])))
  const second = s.reduce('max', [whole], x(1, whole))
  const value = s.add(s.add(x(2, k), first), second)
  const group: Group = {
    name: 'corner',
    axes: [i],
    buffers: [
      ...[0, 1, 2].map(() => ({ dtype: 'float32', access: 'read' }) as const),
      { dtype: 'float32', access: 'write' },
    ],
    stores: [{ buffer: 3, index: at(s, [i, 2]), value: s.reduce('max', [k], value) }],
    checks: [],
    params: [],
    sizeCount: 0,
  }
  const data = () => Float32Array.from({ length: 80 }, (_, n) => ((n * 7) % 13) - 6)
  const buffers = [data(), data(), data(), new Float32Array(8)]
  agreesInLoops(s, group, { buffers }, 0)
})

describe('positions computed from numbers that wrapped around', () => {
  const wrapped = {
    'an index times a large number': (s: ExprBuilder, i: Axis) => s.mul(s.at(i), 1103515245),
    'a sum with a large number': (s: ExprBuilder, i: Axis) =>
      s.sub(s.sub(s.at(i), 2147483647), 2147483647),
    'a power of an index': (s: ExprBuilder, i: Axis) => {
      const square = s.mul(s.add(s.at(i), 40000), s.add(s.at(i), 40000))
      return s.mul(square, square)
    },
    'a running sum': (s: ExprBuilder, i: Axis) => s.scan('add', i, s.const('i32', -2147483648)),
  }
  test.each(Object.entries(wrapped))('%s', (_name, number) => {
    const inside = {
      remainder: (s: ExprBuilder, x: Expr) => s.abs(s.rem(x, 7)),
      quotient: (s: ExprBuilder, x: Expr) => s.abs(s.div(x, 2 ** 29)),
      clamped: (s: ExprBuilder, x: Expr) => s.max(s.min(x, 6), 0),
      masked: (s: ExprBuilder, x: Expr) => s.and(x, 3),
      chosen: (s: ExprBuilder, x: Expr) =>
        s.select(s.and(s.le(s.like(x, 0), x), s.lt(x, 7)), x, s.like(x, 1)),
    }
    for (const within of Object.values(inside)) {
      const s = new ExprBuilder()
      const i = s.axis(9)
      const index: Index = { offset: 0, terms: [{ index: within(s, number(s, i)), stride: 1 }] }
      agree(
        s,
        {
          axes: [i],
          buffers: [
            { dtype: 'float64', access: 'read' },
            { dtype: 'float64', access: 'write' },
          ],
          stores: [{ buffer: 1, index: at(s, [i, 1]), value: s.load(0, 'float64', index) }],
        },
        [Float64Array.from([1, 2, 3, 4, 5, 6, 7]), new Float64Array(9)],
      )
    }
  })
})

test('a guarded element that all lanes of an operand share', () => {
  const s = new ExprBuilder()
  const [m, n, k] = [s.axis(5), s.axis(20), s.axis(9)]
  const shifted = s.sub(s.at(k), 3)
  const inside = s.and(s.le(s.like(shifted, 0), shifted), s.lt(shifted, 4))
  const shared = s.load(2, 'int32', { offset: 0, terms: [{ index: shifted, stride: 1 }] }, inside)
  const product = s.mul(
    s.load(0, 'float32', at(s, [m, 9], [k, 1])),
    s.add(s.load(1, 'float32', at(s, [k, 20], [n, 1])), s.convert(shared, 'f32')),
  )
  const float = (length: number) => Float32Array.from({ length }, (_, i) => (i % 5) - 2)
  agree(
    s,
    {
      axes: [m, n],
      buffers: [
        { dtype: 'float32', access: 'read' },
        { dtype: 'float32', access: 'read' },
        { dtype: 'int32', access: 'read' },
        { dtype: 'float32', access: 'write' },
      ],
      stores: [{ buffer: 3, index: at(s, [m, 20], [n, 1]), value: s.reduce('add', [k], product) }],
    },
    [float(45), float(180), Int32Array.of(1, 2, 3, 4), new Float32Array(100)],
  )
})

test('every other element of rows, up to the last of the buffer', () => {
  for (const n of [4, 15, 16, 17, 28, 33])
    for (const begin of [0, 1]) {
      const s = new ExprBuilder()
      const [i, j] = [s.axis(2), s.axis(n)]
      const length = 4 * n - 1 + begin
      const index = { ...at(s, [i, 2 * n], [j, 2]), offset: begin }
      const value = s.mul(s.load(0, 'float32', index), s.const('f32', 2))
      agree(
        s,
        {
          axes: [i, j],
          buffers: [
            { dtype: 'float32', access: 'read' },
            { dtype: 'float32', access: 'write' },
          ],
          stores: [{ buffer: 1, index: at(s, [i, n], [j, 1]), value }],
        },
        [Float32Array.from({ length }, (_, x) => x), new Float32Array(2 * n)],
      )
    }
})

test('a store does not change what was read before it', () => {
  const s = new ExprBuilder()
  const i = s.axis(50)
  const before = s.load(0, 'float32', at(s, [i, 1]))
  agree(
    s,
    {
      axes: [i],
      buffers: [
        { dtype: 'float32', access: 'update' },
        { dtype: 'float32', access: 'write' },
      ],
      stores: [
        { buffer: 0, index: at(s, [i, 1]), value: s.const('f32', 7) },
        { buffer: 1, index: at(s, [i, 1]), value: before },
      ],
    },
    [Float32Array.from({ length: 50 }, (_, n) => n), new Float32Array(50)],
  )
})

describe('more values than registers', () => {
  test.each(['int8', 'int32', 'int64', 'float32'] as const)('buffers of %s', (dtype) => {
    const s = new ExprBuilder()
    const [rows, columns, count] = [5, 7, 24]
    const [i, j] = [s.axis({ slot: 0 }), s.axis({ slot: 1 })]
    const loads = Array.from({ length: count }, (_, b): Expr =>
      s.load(b, dtype, at(s, [i, { slot: 2 + (b % 5) }], [j, { slot: 7 + (b % 3) }])),
    )
    const sum = loads.reduce((x, y) => s.add(x, y))
    const product = loads.reduce((x, y) => s.max(x, y))
    const make = {
      int8: Int8Array,
      int32: Int32Array,
      int64: BigInt64Array,
      float32: Float32Array,
    }[dtype] as typeof Int32Array
    const element = (x: number) => (dtype === 'int64' ? BigInt(x) : x) as number
    const data = (b: number) => make.from({ length: 400 }, (_, k) => element((k * (b + 3)) % 17))
    const layout = at(s, [i, { slot: 10 }], [j, { slot: 11 }])
    const group: Group = {
      name: 'corner',
      axes: [i, j],
      buffers: [
        ...loads.map(() => ({ dtype, access: 'read' }) as const),
        { dtype, access: 'write' },
        { dtype, access: 'write' },
      ],
      stores: [
        { buffer: count, index: layout, value: sum },
        { buffer: count + 1, index: layout, value: product },
      ],
      checks: [],
      params: [],
      sizeCount: 12,
    }
    const buffers = [...loads.map((_, b) => data(b)), new make(70), new make(70)]
    const sizes = [rows, columns, 7, 9, 11, 13, 15, 3, 2, 5, 2, 10]
    agreesOnX86(s, group, { buffers, sizes }, 0)
  })

  test('a value, and the base and the index of where it is stored', () => {
    const s = new ExprBuilder()
    const [i, j, k] = [s.axis(3), s.axis(3), s.axis({ slot: 0 })]
    const point = at(s, [i, 1], [j, 3])
    const shifted = s.sub(s.at(i), 3)
    const inside = s.and(s.le(s.like(shifted, 0), shifted), s.lt(shifted, 3))
    const guarded = s.load(
      0,
      'int64',
      {
        offset: 0,
        terms: [
          { index: s.at(j), stride: 1 },
          { index: shifted, stride: 3 },
        ],
      },
      inside,
      0,
    )
    const update = s.max(
      s.add(guarded, s.load(1, 'int64', point)),
      s.load(2, 'int64', at(s, [i, 3], [j, 1])),
    )
    const f32 = (b: number, ...more: [Axis, Size][]) =>
      s.load(b, 'float32', at(s, [i, 1], [j, 3], ...more))
    const row = s.reduce(
      'max',
      [k],
      s.add(s.add(f32(3, [k, 1]), f32(4, [k, 9])), s.log1p(f32(5, [k, 9]))),
    )
    const sum = Array.from({ length: 12 }, (_, n): Expr => f32(6 + n)).reduce((x, y) => s.add(x, y))
    const group: Group = {
      name: 'corner',
      axes: [i, j],
      buffers: [
        { dtype: 'int64', access: 'read' },
        { dtype: 'int64', access: 'read' },
        { dtype: 'int64', access: 'update' },
        ...Array.from({ length: 15 }, () => ({ dtype: 'float32', access: 'read' }) as const),
        { dtype: 'float32', access: 'write' },
      ],
      stores: [
        { buffer: 2, index: at(s, [i, 3], [j, 1]), value: update },
        { buffer: 18, index: point, value: s.add(row, sum) },
      ],
      checks: [],
      params: [],
      sizeCount: 1,
    }
    const long = () => BigInt64Array.from({ length: 9 }, (_, x) => BigInt(x * x))
    const short = () => Float32Array.from({ length: 9 }, (_, x) => x / 4)
    const buffers = [...[0, 1, 2].map(long), ...Array.from({ length: 16 }, short)]
    agreesOnX86(s, group, { buffers, sizes: [1] }, 1e-6)
  })
})
