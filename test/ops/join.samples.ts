/** @file Rows of joining, cutting, repeating, triangles and the views composed of others. */
import {
  cat,
  chunk,
  diagonal,
  moveAxis,
  narrow,
  ones,
  repeat,
  repeatInterleave,
  roll,
  ShapeError,
  split,
  stack,
  tile,
  tril,
  triu,
  unbind,
  unflatten,
  ValueError,
  type Tensor,
} from 'tandem'
import { plain, PlainArray } from './plain.ts'
import { all, floats, type Row } from './row.ts'

/** `count` elements along an axis from `start` on. */
const part = (x: PlainArray, axis: number, start: number, count: number): PlainArray =>
  plain(x.shape.with(axis, count), (...i) => x.at(...i.with(axis, i[axis]! + start)))

const parts = (x: PlainArray, axis: number, sizes: readonly number[]): PlainArray[] => {
  let start = 0
  return sizes.map((n) => part(x, axis, (start += n) - n, n))
}

function joined(axis: number, arrays: readonly PlainArray[]): PlainArray {
  const total = arrays.reduce((n, x) => n + x.shape[axis]!, 0)
  return plain(arrays[0]!.shape.with(axis, total), (...i) => {
    let at = i[axis]!
    const x = arrays.find((a) => {
      if (at < a.shape[axis]!) return true
      at -= a.shape[axis]!
      return false
    })
    return x!.at(...i.with(axis, at))
  })
}

const triangle = (keep: (row: number, column: number, diagonal: number) => boolean) => ({
  reference: (x: PlainArray, options: { diagonal?: number } = {}) =>
    plain(x.shape, (...i) => (keep(i.at(-2)!, i.at(-1)!, options.diagonal ?? 0) ? x.at(...i) : 0)),
  dtypes: all,
  samples: [
    { inputs: [[4, 5]] },
    ...[-2, 1, 9].map((d) => ({ inputs: [[2, 4, 3]], args: [{ diagonal: d }] })),
    { inputs: [[3, 40]], args: [{ diagonal: 7 }], grad: false },
  ],
})

export const rows: Row[] = [
  {
    op: 'cat',
    call: (a: Tensor, b: Tensor, c: Tensor, axis: number) => cat([a, b, c], { axis }),
    reference: (a: PlainArray, b: PlainArray, c: PlainArray, axis: number) =>
      joined(axis, [a, b, c]),
    dtypes: all,
    samples: [
      {
        inputs: [
          [2, 3],
          [1, 3],
          [4, 3],
        ],
        args: [0],
      },
      {
        inputs: [
          [2, 3, 5],
          [2, 0, 5],
          [2, 4, 5],
        ],
        args: [1],
      },
    ],
    errors: [
      {
        what: 'a tensor that does not fit',
        call: () => cat([ones([2, 3]), ones([4, 3]), ones([2, 4])]),
        error: ShapeError,
        message: /cat: tensor 2 has shape \[2, 4\], tensor 0 \[2, 3\]\. .* except along axis 0/,
      },
      {
        what: 'no tensors',
        call: () => cat([]),
        error: ValueError,
        message: /cat: no tensors/,
      },
      {
        what: 'tensors that are not in an array',
        call: () => cat(ones([2]) as never),
        error: ValueError,
        message: /cat: expected an array of tensors/,
      },
      {
        what: 'an array of numbers',
        call: () => cat([ones([2]), [1, 2]] as never),
        error: ValueError,
        message: /cat: tensors\[1\] must be a tensor, received an array/,
      },
    ],
  },
  {
    op: 'cat',
    note: 'dtypes promote',
    call: (a: Tensor, b: Tensor) => cat([a, b]),
    reference: (a: PlainArray, b: PlainArray) => joined(0, [a, b]),
    samples: [{ inputs: [{ shape: [3], dtype: 'int32' }, [2]] }],
    result: (_, dtype) => dtype!,
  },
  {
    op: 'stack',
    call: (a: Tensor, b: Tensor, axis: number) => stack([a, b], { axis }),
    reference: (a: PlainArray, b: PlainArray, axis: number) => {
      const at = axis < 0 ? axis + a.shape.length + 1 : axis
      return plain(a.shape.toSpliced(at, 0, 2), (...i) => [a, b][i[at]!]!.at(...i.toSpliced(at, 1)))
    },
    samples: [0, 1, -1].map((axis) => ({
      inputs: [
        [2, 3],
        [2, 3],
      ],
      args: [axis],
    })),
    errors: [
      {
        what: 'a tensor that does not fit',
        call: () => stack([ones([2]), ones([3])]),
        error: ShapeError,
        message: /stack: tensor 1 has shape \[3\], tensor 0 \[2\]. Expected equal shapes; cat/,
      },
    ],
  },
  {
    op: 'split',
    call: split,
    view: true,
    reference: (x: PlainArray, sizes: number | number[], { axis = 0 }: { axis?: number } = {}) => {
      const whole = x.shape[axis]!
      if (typeof sizes !== 'number') return parts(x, axis, sizes)
      const count = Math.ceil(whole / sizes)
      return parts(
        x,
        axis,
        Array.from({ length: count }, (_, i) => Math.min(sizes, whole - i * sizes)),
      )
    },
    samples: [
      { inputs: [[5, 2]], args: [2] },
      { inputs: [[2, 6]], args: [[1, 3, 2], { axis: 1 }] },
    ],
    errors: [
      {
        what: 'sizes that do not add up',
        call: () => split(ones([2, 5]), [2, 2], { axis: 1 }),
        error: ShapeError,
        message: /split: sizes \[2, 2\] for axis 1 of \[2, 5\]\. .* add up to 5/,
      },
      {
        what: 'a size of 0',
        call: () => split(ones([5]), 0),
        error: ValueError,
        message: /split: size is 0/,
      },
    ],
  },
  {
    op: 'chunk',
    call: chunk,
    view: true,
    reference: (x: PlainArray) => parts(x, 0, [3, 3, 1]),
    samples: [{ inputs: [[7, 2]], args: [3] }],
    errors: [
      {
        what: 'half a part',
        call: () => chunk(ones([5]), 0.5),
        error: ValueError,
        message: /chunk: count is 0\.5/,
      },
    ],
  },
  {
    op: 'unbind',
    call: unbind,
    view: true,
    reference: (x: PlainArray) => parts(x, 1, [1, 1, 1]).map((p) => new PlainArray([2, 4], p.data)),
    samples: [{ inputs: [[2, 3, 4]], args: [{ axis: 1 }] }],
  },
  {
    op: 'narrow',
    call: narrow,
    view: true,
    reference: part,
    samples: [{ inputs: [[2, 6]], args: [1, 2, 3] }],
    errors: [
      {
        what: 'a range that reaches over the end',
        call: () => narrow(ones([4]), 0, 2, 3),
        error: ShapeError,
        message: /narrow: 3 elements from 2 on do not lie inside axis 0 of \[4\]/,
      },
    ],
  },
  {
    op: 'repeat',
    covers: ['tile'],
    call: repeat,
    view: true,
    reference: (x: PlainArray, counts: number[]) => {
      const shape = [...counts.slice(x.shape.length).map(() => 1), ...x.shape]
      return plain(
        shape.map((n, i) => n * counts[i]!),
        (...i) => x.at(...i.map((p, a) => p % shape[a]!)),
      )
    },
    dtypes: all,
    samples: [
      { inputs: [[2, 3]], args: [[2, 2]] },
      { inputs: [[3]], args: [[2, 1, 3]] },
      { inputs: [[2, 3]], args: [[0, 1]], grad: false },
    ],
    errors: [
      {
        what: 'too few counts',
        call: () => repeat(ones([2, 3]), [2]),
        error: ShapeError,
        message: /repeat: 1 counts for the 2 axes of \[2, 3\].*tile/,
      },
      {
        what: 'a count below 0',
        call: () => tile(ones([2]), [-1]),
        error: ValueError,
        message: /tile: counts are whole numbers >= 0, received \[-1\]/,
      },
    ],
  },
  {
    op: 'tile',
    call: tile,
    reference: (x: PlainArray, [n]: [number]) =>
      plain([x.shape[0]!, x.shape[1]! * n], (i, j) => x.at(i, j % x.shape[1]!)),
    samples: [{ inputs: [[2, 3]], args: [[2]] }],
  },
  {
    op: 'repeatInterleave',
    call: repeatInterleave,
    reference: (x: PlainArray, { repeats, axis }: { repeats: number; axis?: number }) =>
      axis === undefined
        ? plain([x.data.length * repeats], (i) => x.data[Math.floor(i / repeats)]!)
        : plain(x.shape.with(axis, x.shape[axis]! * repeats), (...i) =>
            x.at(...i.with(axis, Math.floor(i[axis]! / repeats))),
          ),
    samples: [
      { inputs: [[2, 3]], args: [{ repeats: 2, axis: 1 }] },
      { inputs: [[2, 3]], args: [{ repeats: 3 }] },
    ],
  },
  {
    op: 'roll',
    call: roll,
    reference: (x: PlainArray, { shifts, axis }: { shifts: number[]; axis?: number[] }) => {
      const n = x.data.length
      if (axis === undefined)
        return new PlainArray(
          x.shape,
          x.data.map((_, i) => x.data[(((i - shifts[0]!) % n) + n) % n]!),
        )
      return plain(x.shape, (...i) => {
        const from = [...i]
        axis.forEach((a, k) => {
          const size = x.shape[a]!
          from[a] = (((i[a]! - shifts[k]!) % size) + size) % size
        })
        return x.at(...from)
      })
    },
    samples: [
      { inputs: [[3, 4]], args: [{ shifts: [1, -2], axis: [0, 1] }] },
      { inputs: [[3, 4]], args: [{ shifts: [5] }] },
      { inputs: [[3, 4]], args: [{ shifts: [4], axis: [1] }] },
    ],
    errors: [
      {
        what: 'two shifts for one axis',
        call: () => roll(ones([3]), { shifts: [1, 2], axis: 0 }),
        error: ValueError,
        message: /roll: shifts 1,2 for axes 0\. Expected one whole number per axis/,
      },
    ],
  },
  { op: 'tril', call: tril, ...triangle((row, column, d) => column <= row + d) },
  {
    op: 'triu',
    call: triu,
    ...triangle((row, column, d) => column >= row + d),
    errors: [
      {
        what: 'a vector',
        call: () => triu(ones([3])),
        error: ShapeError,
        message: /triu: x has shape \[3\]. Expected at least 2 axes/,
      },
      {
        what: 'half a diagonal',
        call: () => triu(ones([3, 3]), { diagonal: 0.5 }),
        error: ValueError,
        message: /triu: diagonal is 0\.5/,
      },
    ],
  },
  {
    op: 'moveAxis',
    call: moveAxis,
    view: true,
    reference: (x: PlainArray) => {
      const [a, b, c] = x.shape as [number, number, number]
      return plain([b, c, a], (i, j, k) => x.at(k, i, j))
    },
    samples: [{ inputs: [[2, 3, 4]], args: [0, -1] }],
  },
  {
    op: 'unflatten',
    call: unflatten,
    view: true,
    reference: (x: PlainArray) => new PlainArray([2, 3, 4], x.data),
    samples: [{ inputs: [[2, 12]], args: [1, [3, -1]] }],
    errors: [
      {
        what: 'sizes that do not fit',
        call: () => unflatten(ones([2, 12]), 1, [5, -1]),
        error: ShapeError,
        message: /unflatten: axis 1 of \[2, 12\] has 12 elements, which do not fit \[5, -1\]/,
      },
    ],
  },
  {
    op: 'diagonal',
    call: diagonal,
    view: true,
    dtypes: floats,
    reference: (
      x: PlainArray,
      { offset = 0, axis1 = -2 }: { offset?: number; axis1?: number } = {},
    ) => {
      // With axis1 0 the matrices are [axis 0, axis 2].
      const m = axis1 === -2 ? x : swapped(x)
      const [n, rows, columns] = m.shape as [number, number, number]
      const count = Math.max(0, Math.min(rows + Math.min(offset, 0), columns - Math.max(offset, 0)))
      return plain([n, count], (b, i) => m.at(b, i + Math.max(-offset, 0), i + Math.max(offset, 0)))
    },
    samples: [
      { inputs: [[2, 3, 4]] },
      { inputs: [[2, 3, 4]], args: [{ offset: 1 }] },
      { inputs: [[2, 3, 4]], args: [{ offset: -2 }] },
      { inputs: [[2, 3, 4]], args: [{ offset: 5 }], grad: false },
      { inputs: [[2, 3, 4]], args: [{ axis1: 0 }] },
    ],
    errors: [
      {
        what: 'one axis twice',
        call: () => diagonal(ones([3, 3]), { axis1: 1 }),
        error: ShapeError,
        message: /diagonal: axes 1 and 1/,
      },
    ],
  },
]

/** The first two axes exchanged. */
function swapped(x: PlainArray): PlainArray {
  const [a, b, c] = x.shape as [number, number, number]
  return plain([b, a, c], (i, j, k) => x.at(j, i, k))
}
