/** @file Rows of the reductions. */
import { ones, ShapeError, sum, ValueError } from 'tandem'
import { reduction } from './plain.ts'
import { all, type Row, type Sample } from './row.ts'
import type { DType } from 'tandem'

/** Shapes and axes worth trying for any reduction. */
export const reductionSamples: readonly Sample[] = [
  { inputs: [[3, 5]] },
  { inputs: [[3, 5]], args: [{ axis: 0 }] },
  { inputs: [[3, 37]], args: [{ axis: -1, keepDims: true }] },
  { inputs: [[2, 3, 4]], args: [{ axis: [0, 2] }] },
  { inputs: [[]] },
]
/** The same for those that have a value for no elements. */
export const emptySamples: readonly Sample[] = [
  { inputs: [[0, 3]], args: [{ axis: 0 }], grad: false },
  { inputs: [[0, 3]], args: [{ axis: 1 }], grad: false },
]

const sumDType = (dtype: DType): DType =>
  dtype === 'int64' || dtype.startsWith('float') || dtype.startsWith('bfloat') ? dtype : 'int32'

export const rows: Row[] = [
  {
    op: 'sum',
    call: sum,
    reference: reduction((values) => values.reduce((a, b) => a + b, 0)),
    samples: [...reductionSamples, ...emptySamples],
    dtypes: all,
    result: sumDType,
    errors: [
      {
        what: 'an axis that does not exist',
        call: () => ones([2, 3]).sum({ axis: 2 }),
        error: ShapeError,
        message: /sum: axis 2 is out of range for 2 axes/,
      },
      {
        what: 'a repeated axis',
        call: () => ones([2, 3]).sum({ axis: [0, -2] }),
        error: ShapeError,
        message: /sum: an axis is repeated/,
      },
      {
        what: 'an unknown option',
        call: () => ones([2, 3]).sum({ axes: 0 } as never),
        error: ValueError,
        message: /sum: unknown option 'axes'/,
      },
    ],
  },
]
