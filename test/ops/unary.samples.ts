/** @file Rows of the arithmetic, rounding, exponential and trigonometric functions of one tensor. */
import { exp, neg } from 'tandem'
import { floats, ints, unaryRow, type Row } from './row.ts'

export const rows: Row[] = [
  unaryRow('neg', neg, (x) => -x, { dtypes: [...floats, ...ints] }),
  unaryRow('exp', exp, Math.exp, { dtypes: [...floats, 'int32', 'bool'], result: 'floating' }),
]
