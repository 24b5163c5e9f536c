/** @file Rows of comparison, logic and bits. */
import * as tandem from 'tandem'
import { DTypeError, tensor, ValueError, type Tensor } from 'tandem'
import { elementwise, PlainArray } from './plain.ts'
import { all, binaryRow, floats, ints, unaryRow, type Row } from './row.ts'

const bits = [...ints, 'bool'] as const
const composed = 'a formula of other ONNX operators'
const comparison = { dtypes: all, result: 'bool', grad: false } as const
const refusesFloats = (call: () => Tensor) => [
  {
    what: 'floats',
    call,
    error: DTypeError,
    message: /^\w+: received .*Expected integers or bools; cast first/,
  },
]
const x = tensor([1, 2])
const big = 2 ** 53 - 1

const close = (
  a: number,
  b: number,
  { rtol = 1e-5, atol = 1e-8, equalNaN = false }: tandem.CloseOptions = {},
) =>
  a === b ||
  (Number.isFinite(b) && Math.abs(a - b) <= atol + rtol * Math.abs(b)) ||
  (equalNaN && Number.isNaN(a) && Number.isNaN(b))
const nearly: readonly tandem.CloseOptions[] = [
  {},
  { rtol: 0.1 },
  { atol: 0.5 },
  { equalNaN: true },
]
const closeInputs = [
  { shape: [9], values: [1, 1, 1, 0, 0, NaN, Infinity, -Infinity, 5] },
  { shape: [9], values: [1, 1.05, 1.000001, 0, 0.3, NaN, Infinity, Infinity, Infinity] },
]
const closeSamples = nearly.map((options) => ({ inputs: closeInputs, args: [options] }))

export const rows: Row[] = [
  binaryRow('eq', tandem.eq, (a, b) => a === b, {
    ...comparison,
    samples: [
      {
        inputs: [
          { shape: [3], values: [big, big - 1, -big] },
          { shape: [3], values: [big, big, -big] },
        ],
        dtypes: ['int64'],
      },
    ],
  }),
  binaryRow('ne', tandem.ne, (a, b) => a !== b, { ...comparison, withoutOnnx: composed }),
  binaryRow('lt', tandem.lt, (a, b) => a < b, {
    ...comparison,
    samples: [
      {
        inputs: [
          { shape: [3], values: [big, big - 1, -big] },
          { shape: [3], values: [big, big, -big + 1] },
        ],
        dtypes: ['int64'],
      },
    ],
  }),
  binaryRow('le', tandem.le, (a, b) => a <= b, comparison),
  binaryRow('gt', tandem.gt, (a, b) => a > b, comparison),
  binaryRow('ge', tandem.ge, (a, b) => a >= b, comparison),

  binaryRow('logicalAnd', tandem.logicalAnd, (a, b) => a !== 0 && b !== 0, comparison),
  binaryRow('logicalOr', tandem.logicalOr, (a, b) => a !== 0 || b !== 0, comparison),
  binaryRow('logicalXor', tandem.logicalXor, (a, b) => (a !== 0) !== (b !== 0), comparison),
  unaryRow('logicalNot', tandem.logicalNot, (a) => a === 0, comparison),

  {
    ...binaryRow('bitwiseAnd', tandem.bitwiseAnd, (a, b) => a & b, { dtypes: bits, grad: false }),
    result: bitsDType,
    errors: refusesFloats(() => x.bitwiseAnd(1)),
  },
  {
    ...binaryRow('bitwiseOr', tandem.bitwiseOr, (a, b) => a | b, { dtypes: bits, grad: false }),
    result: bitsDType,
    errors: refusesFloats(() => x.bitwiseOr(1)),
  },
  {
    ...binaryRow('bitwiseXor', tandem.bitwiseXor, (a, b) => a ^ b, { dtypes: bits, grad: false }),
    result: bitsDType,
    errors: refusesFloats(() => x.bitwiseXor(1)),
  },
  unaryRow('bitwiseNot', tandem.bitwiseNot, (a) => ~a, {
    dtypes: ints,
    grad: false,
    specials: false,
    errors: refusesFloats(() => x.bitwiseNot()),
    samples: [{ inputs: [[3]], dtypes: ints }],
  }),
  unaryRow('bitwiseNot', tandem.bitwiseNot, (a) => 1 - a, {
    note: 'bools',
    dtypes: ['bool'],
    grad: false,
    specials: false,
  }),

  unaryRow('isNaN', tandem.isNaN, Number.isNaN, comparison),
  unaryRow('isInf', tandem.isInf, (a) => Math.abs(a) === Infinity, comparison),
  unaryRow('isFinite', tandem.isFinite, Number.isFinite, { ...comparison, withoutOnnx: composed }),

  {
    op: 'isClose',
    call: tandem.isClose,
    reference: elementwise(close),
    samples: [
      ...closeSamples,
      { inputs: [[3], [3]], args: [{ rtol: 0, atol: 1 }], dtypes: ['int32', 'bool'] },
      { inputs: [closeInputs[1]!], args: [1] },
      { inputs: [closeInputs[1]!], args: [NaN, { equalNaN: true }] },
    ],
    dtypes: ['float32', 'float64'],
    result: 'bool',
    grad: false,
    withoutOnnx: composed,
    errors: [
      {
        what: 'an unknown option',
        call: () => tandem.isClose(x, x, { tolerance: 1 } as never),
        error: ValueError,
        message: /isClose: unknown option 'tolerance'/,
      },
    ],
  },
  {
    op: 'allClose',
    call: tandem.allClose,
    reference: (a: PlainArray, b: PlainArray, options: tandem.CloseOptions) =>
      new PlainArray(
        [],
        [Number(elementwise(close)(...([a, b, options] as never[])).data.every(Boolean))],
      ),
    samples: [
      ...closeSamples,
      { inputs: [[2, 3], [3]], args: [{ atol: 10 }] },
      { inputs: [[0], [0]], args: [{}] },
    ],
    dtypes: floats.slice(0, 2),
    result: 'bool',
    grad: false,
  },
]

/** Bools and a number are integers. */
function bitsDType(...inputs: tandem.DType[]): tandem.DType {
  return inputs.length === 1 && inputs[0] === 'bool' ? 'int32' : inputs[0]!
}
