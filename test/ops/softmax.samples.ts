/** @file Rows of softmax and its relatives. */
import { logSoftmax, logSumExp, ShapeError, softmax, zeros } from 'tandem'
import { plain, reduction, type PlainArray } from './plain.ts'
import { type Row, type Sample } from './row.ts'

type Options = { axis?: number }

/** The row of an element along an axis. */
const rowOf = (x: PlainArray, axis: number, i: readonly number[]): number[] =>
  Array.from({ length: x.shape.at(axis)! }, (_, n) => x.at(...i.with(axis, n)))

const sumExp = (values: readonly number[]): [sum: number, top: number] => {
  const top = Math.max(...values)
  return [values.reduce((a, b) => a + Math.exp(b - top), 0), top]
}

const samples: readonly Sample[] = [
  { inputs: [[3, 5]] },
  { inputs: [[5]] },
  { inputs: [[2, 37]], args: [{ axis: 1 }] },
  { inputs: [[4, 3, 2]], args: [{ axis: 0 }] },
  { inputs: [[4, 3, 2]], args: [{ axis: -2 }] },
  { inputs: [{ shape: [2, 6], low: -300, high: 300 }], dtypes: ['float32', 'float64'] },
  { inputs: [[0, 3]], grad: false },
  { inputs: [[3, 0]], grad: false },
]

export const rows: Row[] = [
  {
    op: 'softmax',
    covers: ['softmaxBackward'],
    call: softmax,
    reference: (x: PlainArray, { axis = -1 }: Options = {}) =>
      plain(x.shape, (...i) => {
        const [sum, top] = sumExp(rowOf(x, axis, i))
        return Math.exp(x.at(...i) - top) / sum
      }),
    samples: [
      ...samples,
      {
        inputs: [{ shape: [4], values: [-Infinity, 1, 1, -Infinity] }],
        dtypes: ['float32', 'float64'],
        grad: false,
      },
    ],
    withoutOnnx: 'gradients are not exported',
    errors: [
      {
        what: 'an axis that does not exist',
        call: () => softmax(zeros([2, 3]), { axis: 2 }),
        error: ShapeError,
        message: /softmax: axis 2 is out of range/,
      },
    ],
  },
  {
    op: 'logSoftmax',
    covers: ['logSoftmaxBackward'],
    call: logSoftmax,
    reference: (x: PlainArray, { axis = -1 }: Options = {}) =>
      plain(x.shape, (...i) => {
        const [sum, top] = sumExp(rowOf(x, axis, i))
        return x.at(...i) - top - Math.log(sum)
      }),
    samples,
    withoutOnnx: 'gradients are not exported',
  },
  {
    op: 'logSumExp',
    call: logSumExp,
    reference: reduction((values) => {
      const top = Math.max(...values)
      if (Math.abs(top) === Infinity) return top
      return Math.log(values.reduce((a, b) => a + Math.exp(b - top), 0)) + top
    }),
    samples: [
      { inputs: [[3, 5]] },
      { inputs: [[3, 37]], args: [{ axis: 1, keepDims: true }] },
      { inputs: [[2, 3, 4]], args: [{ axis: [0, 2] }] },
      { inputs: [[3, 0]], args: [{ axis: 1 }], grad: false },
      {
        inputs: [
          {
            shape: [4, 2],
            values: [-Infinity, -Infinity, Infinity, 0, 800, 800, -Infinity, 2],
          },
        ],
        args: [{ axis: 1 }],
        dtypes: ['float32', 'float64'],
        grad: false,
      },
    ],
  },
]
