/** @file Rows of where, clamp and their kin. */
import * as tandem from 'tandem'
import { DTypeError, tensor, ValueError, type Tensor } from 'tandem'
import { elementwise, type PlainArray } from './plain.ts'
import { all, floats, ints, type Input, type Row } from './row.ts'

const composed = 'a formula of other ONNX operators'
const x = tensor([1, 2])
const mask = (shape: readonly number[]): Input => ({ shape, dtype: 'bool' })
const numbers = [...floats, ...ints]
const clamped = (v: number, min: number, max: number) => Math.min(Math.max(v, min), max)

export const rows: Row[] = [
  {
    op: 'where',
    call: tandem.where,
    reference: elementwise((c: number, a: number, b: number) => (c ? a : b)),
    dtypes: all,
    result: (_condition, a) => a,
    samples: [
      { inputs: [mask([3, 5]), [3, 5], [3, 5]] },
      { inputs: [mask([3, 1]), [5], [2, 1, 5]] },
      { inputs: [mask([]), [], []] },
      { inputs: [mask([0, 3]), [3], [1]], grad: false },
      { inputs: [mask([37]), [37]], args: [0], dtypes: numbers },
    ],
    errors: [
      {
        what: 'a condition that is not bool',
        call: () => tandem.where(x, x, x),
        error: DTypeError,
        message: /where: the condition is float32\. Expected bool; compare it first/,
      },
      {
        what: 'an array for a tensor',
        call: () => x.gt(1).where([1, 2] as never, 0),
        error: ValueError,
        message: /where: a must be a tensor/,
      },
    ],
  },
  {
    op: 'clamp',
    covers: ['clampMin', 'clampMax'],
    call: tandem.clamp,
    reference: (v: PlainArray, { min, max }: { min?: number; max?: number }) =>
      elementwise((a: number) => clamped(a, min ?? -Infinity, max ?? Infinity))(v as never),
    dtypes: numbers,
    samples: [
      { inputs: [[3, 5]], args: [{ min: 1, max: 3 }] },
      { inputs: [[37]], args: [{ min: -1 }] },
      { inputs: [[]], args: [{ max: 1 }] },
      { inputs: [[3, 5]], args: [{ min: 1, max: 0 }] },
      {
        inputs: [{ shape: [4], values: [NaN, Infinity, -Infinity, 0.5] }],
        args: [{ min: 0, max: 1 }],
        dtypes: floats,
        grad: false,
      },
    ],
    errors: [
      {
        what: 'no bound',
        call: () => x.clamp({}),
        error: ValueError,
        message: /clamp: no bound given\. Expected \{ min \}, \{ max \} or both/,
      },
      {
        what: 'a number for the options',
        call: () => x.clamp(1 as never),
        error: ValueError,
        message: /clamp: expected an options object with min, max/,
      },
      {
        what: 'bools',
        call: () => tensor([true]).clamp({ min: tensor([false]) }),
        error: DTypeError,
        message: /clampMin: received bool/,
      },
    ],
  },
  {
    op: 'clamp',
    note: 'tensors as bounds',
    call: (v: Tensor, min: Tensor, max: Tensor) => v.clamp({ min, max }),
    reference: elementwise(clamped),
    samples: [{ inputs: [[3, 5], [5], [3, 1]] }],
  },
  {
    op: 'lerp',
    call: tandem.lerp,
    reference: elementwise((a: number, b: number, w: number) => a + w * (b - a)),
    dtypes: [...floats, 'int32'],
    result: 'floating',
    withoutOnnx: composed,
    samples: [
      { inputs: [[3, 5], [5], { shape: [3, 1], low: -1, high: 2 }] },
      { inputs: [[4], [4]], args: [0.3] },
      { inputs: [[4], [4]], args: [1] },
    ],
  },
  {
    op: 'nanToNum',
    call: tandem.nanToNum,
    reference: (v: PlainArray, options: tandem.NanToNumOptions = {}) =>
      elementwise((a: number) =>
        Number.isNaN(a)
          ? (options.nan ?? 0)
          : a === Infinity
            ? (options.posInf ?? NaN)
            : a === -Infinity
              ? (options.negInf ?? NaN)
              : a,
      )(v as never),
    dtypes: numbers,
    withoutOnnx: composed,
    samples: [
      { inputs: [[3, 5]] },
      {
        inputs: [{ shape: [4], values: [NaN, Infinity, -Infinity, 0.5] }],
        args: [{ nan: 1, posInf: 2, negInf: -3 }],
        dtypes: floats,
        grad: false,
      },
    ],
  },
]
