/** @file Rows of padding and of writing into larger tensors. */
import * as tandem from 'tandem'
import { ones, ShapeError, ValueError } from 'tandem'
import { PlainArray, positions } from './plain.ts'
import { all, type Row } from './row.ts'

const x = ones([2])

function unsliced(
  a: PlainArray,
  { shape, starts, steps = shape.map(() => 1), value = 0 }: tandem.UnsliceOptions,
): PlainArray {
  const data: number[] = new Array(shape.reduce((n, m) => n * m, 1)).fill(value)
  for (const index of positions(a.shape)) {
    const at = index.map((i, axis) => starts[axis]! + i * steps[axis]!)
    data[at.reduce((sum, i, axis) => sum * shape[axis]! + i, 0)] = a.at(...index)
  }
  return new PlainArray(shape, data)
}

export const rows: Row[] = [
  {
    op: 'unslice',
    call: tandem.unslice,
    reference: unsliced,
    dtypes: all,
    samples: [
      { inputs: [[2, 3]], args: [{ shape: [4, 5], starts: [1, 2] }] },
      { inputs: [[2, 3]], args: [{ shape: [4, 5], starts: [0, 4], steps: [3, -2] }] },
      { inputs: [[3]], args: [{ shape: [5], starts: [1], value: 1 }] },
      { inputs: [[]], args: [{ shape: [], starts: [] }] },
      { inputs: [[0, 3]], args: [{ shape: [2, 3], starts: [0, 0] }], grad: false },
    ],
    errors: [
      {
        what: 'elements that do not fit',
        call: () => x.unslice({ shape: [3], starts: [2] }),
        error: ShapeError,
        message: /unslice: \[2\] from \[2\] by \[1\] does not fit into \[3\]/,
      },
    ],
  },
  {
    op: 'pad',
    call: tandem.pad,
    reference: (
      a: PlainArray,
      widths: readonly (readonly [number, number])[],
      { value = 0 }: tandem.PadOptions = {},
    ) =>
      unsliced(a, {
        shape: a.shape.map((n, i) => n + widths[i]![0] + widths[i]![1]),
        starts: widths.map((w) => w[0]),
        value,
      }),
    samples: [
      {
        inputs: [[2, 3]],
        args: [
          [
            [1, 2],
            [0, 3],
          ],
        ],
      },
      {
        inputs: [[2, 3]],
        args: [
          [
            [0, 0],
            [1, 0],
          ],
          { value: -2 },
        ],
      },
      { inputs: [[]], args: [[]] },
      { inputs: [[0]], args: [[[1, 1]]], grad: false },
    ],
    errors: [
      {
        what: 'a negative width',
        call: () => x.pad([[-1, 0]]),
        error: ValueError,
        message: /pad: widths are whole numbers >= 0, received -1\. Use slice/,
      },
      {
        what: 'too few widths',
        call: () => x.pad([]),
        error: ShapeError,
        message: /pad: 0 pairs for the 1 axes of \[2\]/,
      },
    ],
  },
]
