/** @file Rows of the functions that make tensors of numbers in sequence, and filled ones like another. */
import {
  arange,
  eye,
  fullLike,
  linspace,
  meshgrid,
  ones,
  onesLike,
  ShapeError,
  ValueError,
  zerosLike,
  type Tensor,
} from 'tandem'
import { plain, PlainArray } from './plain.ts'
import { all, type Row } from './row.ts'

const made: Pick<Row, 'grad' | 'dtypes' | 'result'> = {
  grad: false,
  dtypes: ['float32'],
  result: () => 'float32',
}
const list = (values: number[]) => new PlainArray([values.length], values)

export const rows: Row[] = [
  {
    ...made,
    op: 'arange',
    call: arange as Row['call'],
    reference: (...args: number[]) =>
      list(
        new Map([
          ['4', [0, 1, 2, 3]],
          ['2,5', [2, 3, 4]],
          ['1,2,0.25', [1, 1.25, 1.5, 1.75]],
          ['5,0,-2', [5, 3, 1]],
          ['0', []],
        ]).get(args.join())!,
      ),
    samples: [[4], [2, 5], [1, 2, 0.25], [5, 0, -2], [0]].map((args) => ({ inputs: [], args })),
    errors: [
      {
        what: 'a step of 0',
        call: () => arange(0, 5, 0),
        error: ValueError,
        message: /arange: steps of 0 do not lead from 0 to 5/,
      },
      {
        what: 'a step that leads away',
        call: () => arange(5, 0),
        error: ValueError,
        message: /arange: steps of 1 do not lead from 5 to 0\. Expected a step below 0/,
      },
      {
        what: 'no end',
        call: () => arange('a' as never),
        error: ValueError,
        message: /arange: received a\. Expected finite numbers/,
      },
    ],
  },
  {
    op: 'arange',
    note: 'another dtype',
    call: () => arange(1, 4, { dtype: 'int64' }),
    reference: () => list([1, 2, 3]),
    ...made,
    result: () => 'int64',
    samples: [{ inputs: [] }],
  },
  {
    ...made,
    op: 'linspace',
    call: linspace,
    reference: (start: number, end: number, steps: number) =>
      list(
        Array.from({ length: steps }, (_, i) =>
          steps === 1 ? start : start + ((end - start) * i) / (steps - 1),
        ),
      ),
    samples: [
      { inputs: [], args: [0, 1, 5] },
      { inputs: [], args: [3, -2, 8] },
      { inputs: [], args: [3, 4, 1] },
      { inputs: [], args: [3, 4, 0] },
    ],
    errors: [
      {
        what: 'a negative number of steps',
        call: () => linspace(0, 1, -1),
        error: ValueError,
        message: /linspace: steps is -1/,
      },
    ],
  },
  {
    ...made,
    op: 'eye',
    call: eye,
    reference: (n: number, m = n) => plain([n, m], (i, j) => Number(i === j)),
    samples: [
      { inputs: [], args: [3] },
      { inputs: [], args: [2, 4] },
      { inputs: [], args: [4, 2] },
    ],
    errors: [
      {
        what: 'half a row',
        call: () => eye(0.5),
        error: ValueError,
        message: /eye: rows is 0\.5/,
      },
    ],
  },
  {
    op: 'meshgrid',
    call: (a: Tensor, b: Tensor, options: { indexing?: 'ij' | 'xy' }) => meshgrid([a, b], options),
    view: true,
    reference: (a: PlainArray, b: PlainArray, { indexing = 'ij' }: { indexing?: string }) => {
      const [n, m] = [a.data.length, b.data.length]
      return indexing === 'ij'
        ? [plain([n, m], (i) => a.at(i)), plain([n, m], (_, j) => b.at(j))]
        : [plain([m, n], (_, j) => a.at(j)), plain([m, n], (i) => b.at(i))]
    },
    samples: [
      { inputs: [[2], [3]], args: [{}] },
      { inputs: [[2], [3]], args: [{ indexing: 'xy' }] },
    ],
    errors: [
      {
        what: 'a matrix',
        call: () => meshgrid([ones([2]), ones([2, 2])]),
        error: ShapeError,
        message: /meshgrid: tensor 1 has 2 axes/,
      },
    ],
  },
  {
    op: 'fullLike',
    covers: ['zerosLike', 'onesLike'],
    call: (x: Tensor) => [fullLike(x, 7), zerosLike(x), onesLike(x)],
    reference: (x: PlainArray) => [7, 0, 1].map((v) => plain(x.shape, () => v)),
    dtypes: all.filter((d) => d !== 'bool'),
    grad: false,
    samples: [{ inputs: [[2, 3]] }, { inputs: [[]] }],
  },
]
