/** @file Corners that random kernels found: each a small kernel that some target once got wrong. */
import { describe, test } from 'vitest'
import type { TypedArray } from '../../src/core/dtype.ts'
import { ExprBuilder, type Axis, type Index, type Size } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'
import { agreesInLoops, agreesOnWasm } from './agree.ts'

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
