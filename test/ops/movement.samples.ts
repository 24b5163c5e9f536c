/** @file Rows of the views. */
import { ones, reshape, ShapeError } from 'tandem'
import { PlainArray } from './plain.ts'
import { all, type Row } from './row.ts'

export const rows: Row[] = [
  {
    op: 'reshape',
    call: reshape,
    view: true,
    dtypes: all,
    reference: (x: PlainArray, shape: readonly number[]) => {
      const known = shape.reduce((a, n) => (n === -1 ? a : a * n), 1)
      return new PlainArray(
        shape.map((n) => (n === -1 ? x.data.length / known : n)),
        x.data,
      )
    },
    samples: [
      { inputs: [[2, 6]], args: [[3, 4]] },
      { inputs: [[2, 6]], args: [[2, -1, 2]] },
      { inputs: [[]], args: [[1, 1]] },
      { inputs: [[0, 3]], args: [[3, 0, 2]], grad: false },
    ],
    errors: [
      {
        what: 'another number of elements',
        call: () => ones([2, 3]).reshape([4, 2]),
        error: ShapeError,
        message: /reshape: \[2, 3\] has 6 elements, which do not fit \[4, 2\]/,
      },
      {
        what: 'two unknown sizes',
        call: () => ones([2, 3]).reshape([-1, -1]),
        error: ShapeError,
        message: /reshape: .*one may be -1/,
      },
    ],
  },
]
