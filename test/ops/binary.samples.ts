/** @file Rows of the arithmetic of two tensors. */
import { add, mul, ShapeError, tensor, ValueError } from 'tandem'
import { binaryRow, floats, ints, type Row } from './row.ts'

const numbers = [...floats, ...ints]

export const rows: Row[] = [
  binaryRow('add', add, (a, b) => a + b, {
    dtypes: numbers,
    errors: [
      {
        what: 'shapes that do not broadcast',
        call: () => add(tensor([1, 2]), tensor([1, 2, 3])),
        error: ShapeError,
        message: /add: cannot broadcast \[2\] with \[3\]/,
      },
      {
        what: 'an array for a tensor',
        call: () => add(tensor([1]), [1] as never),
        error: ValueError,
        message: /add: b must be a tensor, received an array/,
      },
    ],
  }),
  binaryRow('mul', mul, (a, b) => a * b, { dtypes: numbers }),
]
