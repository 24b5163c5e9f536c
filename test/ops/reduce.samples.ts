/** @file Rows of the reductions. */
import {
  all as allOf,
  any as anyOf,
  argmax,
  argmin,
  cumsum,
  max,
  mean,
  min,
  norm,
  ones,
  prod,
  ShapeError,
  std,
  sum,
  tensor,
  ValueError,
  variance,
  zeros,
  type DType,
} from 'tandem'
import { plain, reduction, type PlainArray } from './plain.ts'
import { all, floats, type ErrorSample, type Row, type Sample } from './row.ts'

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

/** For those whose rounding errors or overflow would hide a mistake in longer rows. */
const shortSamples: readonly Sample[] = [
  { inputs: [{ shape: [3, 5], low: -2, high: 3 }] },
  { inputs: [{ shape: [3, 5], low: -2, high: 3 }], args: [{ axis: 0 }] },
  { inputs: [{ shape: [2, 3, 4], low: -2, high: 3 }], args: [{ axis: [0, -1], keepDims: true }] },
  { inputs: [{ shape: [], low: -2, high: 3 }] },
]
const withNaN: Sample = {
  inputs: [{ shape: [3, 3], values: [1, NaN, 3, NaN, NaN, 2, -Infinity, 5, Infinity] }],
  args: [{ axis: 1 }],
  dtypes: ['float32', 'float64'],
  grad: false,
}
const ties: Sample = { inputs: [{ shape: [2, 4], values: [3, 1, 3, 1, 2, 2, 2, 2] }], grad: false }

const isFloat = (dtype: DType) => floats.includes(dtype)
const floating = (dtype: DType): DType => (isFloat(dtype) ? dtype : 'float32')
const total = (values: readonly number[]) => values.reduce((a, b) => a + b, 0)
const average = (values: readonly number[]) => total(values) / values.length
const spread = (values: number[], correction = 1): number => {
  const centre = average(values)
  const squares = total(values.map((x) => (x - centre) ** 2))
  return squares / Math.max(values.length - correction, 0)
}
const first = (values: readonly number[], isBetter: (a: number, b: number) => boolean): number => {
  const nan = values.findIndex(Number.isNaN)
  return nan >= 0 ? nan : values.reduce((at, x, i) => (isBetter(x, values[at]!) ? i : at), 0)
}
/** The reference of a reduction with options of its own, which `f` is given. */
const reductionWith =
  <O extends object>(f: (values: number[], options: O) => number) =>
  (x: PlainArray, options: O = {} as O): PlainArray =>
    reduction((values) => f(values, options))(x, options)

const nothingLeft = (name: 'max' | 'min'): ErrorSample => ({
  what: 'nothing to reduce',
  call: () => zeros([0, 2])[name]({ axis: 0 }),
  error: ShapeError,
  message: new RegExp(`${name}: nothing to reduce: shape \\[0, 2\\] along axis 0 is empty`),
})

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
  {
    op: 'mean',
    call: mean,
    reference: reduction(average),
    samples: [
      ...reductionSamples,
      { inputs: [[0, 3]], args: [{ axis: 0 }], grad: false },
      { inputs: [[3, 20000]], args: [{ axis: 1 }], grad: false, dtypes: ['float32', 'int32'] },
    ],
    dtypes: all,
    result: floating,
  },
  {
    op: 'prod',
    call: prod,
    reference: reduction((values) => values.reduce((a, b) => a * b, 1)),
    samples: [...shortSamples, ...emptySamples],
    dtypes: all,
    result: sumDType,
    tolerance: { float16: 4e-3, bfloat16: 3e-2 },
  },
  {
    op: 'max',
    call: max,
    reference: reduction((values) => Math.max(...values)),
    samples: [...reductionSamples, withNaN],
    dtypes: all,
    tolerance: { float32: 0, float64: 0, float16: 0, bfloat16: 0 },
    errors: [nothingLeft('max')],
  },
  {
    op: 'min',
    call: min,
    reference: reduction((values) => Math.min(...values)),
    samples: [...reductionSamples, withNaN],
    dtypes: all,
    tolerance: { float32: 0, float64: 0, float16: 0, bfloat16: 0 },
    errors: [nothingLeft('min')],
  },
  {
    op: 'any',
    call: anyOf,
    reference: reduction((values) => Number(values.some((x) => x !== 0))),
    samples: [...reductionSamples, ...emptySamples, withNaN],
    dtypes: all,
    result: 'bool',
    grad: false,
    withoutOnnx: 'exporters write it as a comparison and a ReduceMax',
  },
  {
    op: 'all',
    call: allOf,
    reference: reduction((values) => Number(values.every((x) => x !== 0))),
    samples: [...reductionSamples, ...emptySamples, withNaN],
    dtypes: all,
    result: 'bool',
    grad: false,
    withoutOnnx: 'exporters write it as a comparison and a ReduceMin',
  },
  {
    op: 'variance',
    call: variance,
    reference: reductionWith((values, { correction }: { correction?: number }) =>
      spread(values, correction),
    ),
    samples: [
      { inputs: [[3, 5]] },
      { inputs: [[3, 37]], args: [{ axis: 1 }] },
      { inputs: [[2, 3, 4]], args: [{ axis: [0, 2], correction: 0, keepDims: true }] },
      { inputs: [[3, 1]], args: [{ axis: 1 }], grad: false },
      { inputs: [{ shape: [40], low: 1000, high: 1001 }], dtypes: ['float32'], grad: false },
    ],
    dtypes: all,
    result: floating,
    tolerance: { float32: 1e-5 },
    withoutOnnx: 'exporters write it as means',
    errors: [
      {
        what: 'a correction that is no number',
        call: () => variance(ones([3]), { correction: true as never }),
        error: ValueError,
        message: /variance: correction must be a number, received true/,
      },
    ],
  },
  {
    op: 'std',
    call: std,
    reference: reductionWith((values, { correction }: { correction?: number }) =>
      Math.sqrt(spread(values, correction)),
    ),
    samples: [
      { inputs: [[3, 5]] },
      { inputs: [[3, 37]], args: [{ axis: 1 }] },
      { inputs: [[2, 3, 4]], args: [{ axis: [0, 2], correction: 0, keepDims: true }] },
    ],
    dtypes: all,
    result: floating,
    withoutOnnx: 'exporters write it as means and a Sqrt',
  },
  {
    op: 'norm',
    call: norm,
    reference: reductionWith((values, { p = 2 }: { p?: number }) => {
      const sizes = values.map(Math.abs)
      return p === 2 ? Math.hypot(...values) : p === 1 ? total(sizes) : Math.max(...sizes)
    }),
    samples: [
      ...reductionSamples,
      { inputs: [[3, 5]], args: [{ p: 1, axis: 1 }] },
      { inputs: [[3, 5]], args: [{ p: Infinity, axis: 0 }] },
    ],
    dtypes: floats,
    errors: [
      {
        what: 'a norm that is not there',
        call: () => norm(ones([3]), { p: 3 }),
        error: ValueError,
        message: /norm: p is 1, 2 or Infinity, received 3/,
      },
    ],
  },
  {
    op: 'argmax',
    call: argmax,
    reference: reduction((values) => first(values, (a, b) => a > b)),
    samples: [
      { inputs: [[3, 5]] },
      { inputs: [[3, 5]], args: [{ keepDims: true }] },
      { inputs: [[3, 37]], args: [{ axis: -1 }] },
      { inputs: [[5, 3]], args: [{ axis: 0, keepDims: true }] },
      withNaN,
      ties,
    ],
    dtypes: all,
    result: () => 'int32',
    grad: false,
    errors: [
      {
        what: 'nothing to search',
        call: () => argmax(zeros([2, 0]), { axis: 1 }),
        error: ShapeError,
        message: /argmax: nothing to search: shape \[2, 0\] is empty along axis 1/,
      },
    ],
  },
  {
    op: 'argmin',
    call: argmin,
    reference: reduction((values) => first(values, (a, b) => a < b)),
    samples: [{ inputs: [[3, 5]] }, { inputs: [[3, 37]], args: [{ axis: -1 }] }, withNaN, ties],
    dtypes: all,
    result: () => 'int32',
    grad: false,
  },
  {
    op: 'cumsum',
    call: cumsum,
    reference: (x: PlainArray, { axis }: { axis: number }) =>
      plain(x.shape, (...i) =>
        total(Array.from({ length: i.at(axis)! + 1 }, (_, n) => x.at(...i.with(axis, n)))),
      ),
    samples: [
      { inputs: [[7]], args: [{ axis: 0 }] },
      { inputs: [[3, 5]], args: [{ axis: 0 }] },
      { inputs: [[2, 3, 5]], args: [{ axis: -2 }] },
      { inputs: [[0, 3]], args: [{ axis: 1 }], grad: false },
    ],
    dtypes: all,
    result: sumDType,
    errors: [
      {
        what: 'no axis',
        call: () => cumsum(tensor([1]), undefined as never),
        error: ValueError,
        message: /cumsum: no axis\. Say along which/,
      },
    ],
  },
]
