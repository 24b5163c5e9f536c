/** @file Rows of the arithmetic of two tensors. */
import * as tandem from 'tandem'
import { DTypeError, ShapeError, tensor, ValueError, type DType, type Tensor } from 'tandem'
import { elementwise } from './plain.ts'
import { binaryRow, bool, floats, ints, type ErrorSample, type Row } from './row.ts'

const numbers = [...floats, ...ints]
const flags = tensor([true, false])
const composed = 'a formula of other ONNX operators'

const ofBools = [{ inputs: [[7], [7]], dtypes: bool, grad: false }]

const refusesBools = (call: (a: Tensor, b: Tensor) => Tensor): ErrorSample => ({
  what: 'bools',
  call: () => call(flags, flags),
  error: DTypeError,
  message: /^\w+: received bool \[2\] and bool \[2\]\. /,
})

const floored = (a: number, b: number): number => {
  const rest = a % b
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest
}
const floorQuotient = (a: number, b: number): number => {
  if (b === 0) return a / b
  const exact = (a - (a % b)) / b
  const quotient = Math.round(a % b !== 0 && a % b < 0 !== b < 0 ? exact - 1 : exact)
  return quotient === 0 ? (Object.is(Math.sign(a / b), -0) || a / b < 0 ? -0 : 0) : quotient
}
const cPow = (a: number, b: number): number =>
  a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : a ** b

/** A function of a number and a tensor, as a row of its own. */
const numberFirst = (
  op: string,
  call: (a: number, b: Tensor) => Tensor,
  f: (a: number, b: number) => number,
  a: number,
  options: Partial<Row> = {},
): Row => ({
  op,
  note: `${a} first`,
  call: (b: Tensor) => call(a, b),
  reference: elementwise((b: number) => f(a, b)),
  samples: [{ inputs: [{ shape: [3, 5], low: 0.5, high: 3 }] }],
  ...options,
})

// Pairs that a short test can hold: both at the corners of the promotion table of PyTorch.
const promotions: readonly (readonly [DType, DType, DType])[] = [
  ['bool', 'int8', 'int8'],
  ['bool', 'float16', 'float16'],
  ['uint8', 'int8', 'int32'],
  ['uint8', 'int32', 'int32'],
  ['int32', 'int64', 'int64'],
  ['int64', 'float16', 'float16'],
  ['float16', 'bfloat16', 'float32'],
  ['bfloat16', 'float32', 'float32'],
  ['float32', 'float64', 'float64'],
]

const promotionRow = ([a, b, result]: readonly [DType, DType, DType]): Row => ({
  op: 'mul',
  note: `${a} and ${b}`,
  call: tandem.mul,
  reference: elementwise((x: number, y: number) => x * y),
  samples: [
    {
      inputs: [
        { shape: [5], dtype: a },
        { shape: [5], dtype: b },
      ],
    },
    {
      inputs: [
        { shape: [5], dtype: b },
        { shape: [5], dtype: a },
      ],
    },
  ],
  dtypes: [result],
  result: () => result,
  grad: false,
})

export const rows: Row[] = [
  binaryRow('add', tandem.add, (a, b) => a + b, {
    dtypes: numbers,
    errors: [
      {
        what: 'shapes that do not broadcast',
        call: () => tandem.add(tensor([1, 2]), tensor([1, 2, 3])),
        error: ShapeError,
        message: /add: cannot broadcast \[2\] with \[3\]/,
      },
      {
        what: 'an array for a tensor',
        call: () => tandem.add(tensor([1]), [1] as never),
        error: ValueError,
        message: /add: b must be a tensor, received an array/,
      },
      {
        what: 'numbers only',
        call: () => tandem.add(1, 2),
        error: ValueError,
        message: /add: received the numbers 1 and 2\. Expected at least one tensor/,
      },
    ],
  }),
  binaryRow('sub', tandem.sub, (a, b) => a - b, {
    dtypes: numbers,
    errors: [
      {
        what: 'bools',
        call: () => flags.sub(flags),
        error: DTypeError,
        message: /sub: .*use logicalXor/,
      },
    ],
  }),
  numberFirst('sub', tandem.sub, (a, b) => a - b, 1),
  binaryRow('mul', tandem.mul, (a, b) => a * b, { dtypes: numbers }),
  ...promotions.map(promotionRow),
  binaryRow('div', tandem.div, (a, b) => a / b, {
    dtypes: [...floats, 'int32', 'uint8', 'bool'],
    result: 'floating',
    secondDomain: [0.5, 3],
  }),
  numberFirst('div', tandem.div, (a, b) => a / b, 2),
  binaryRow('floorDivide', tandem.floorDivide, floorQuotient, {
    dtypes: ['float32', 'float64'],
    withoutOnnx: composed,
    grad: 'first-order',
    domain: [-9, 9],
    errors: [refusesBools(tandem.floorDivide)],
  }),
  binaryRow('floorDivide', tandem.floorDivide, (a, b) => Math.floor(a / b), {
    note: 'integers',
    dtypes: ints,
    secondDomain: [2, 5],
    grad: false,
    specials: false,
    withoutOnnx: composed,
  }),
  binaryRow('remainder', tandem.remainder, floored, {
    dtypes: ['float32', 'float64'],
    domain: [-9, 9],
    secondDomain: [1, 4],
    errors: [refusesBools(tandem.remainder)],
    specials: false,
    samples: remainderSamples(),
  }),
  binaryRow('fmod', tandem.fmod, (a, b) => a % b, {
    dtypes: ['float32', 'float64'],
    domain: [-9, 9],
    secondDomain: [1, 4],
    errors: [refusesBools(tandem.fmod)],
    specials: false,
    samples: remainderSamples(),
  }),
  binaryRow('remainder', tandem.remainder, floored, {
    note: 'integers',
    dtypes: ints,
    secondDomain: [2, 5],
    grad: false,
    specials: false,
  }),
  binaryRow('fmod', tandem.fmod, (a, b) => a % b, {
    note: 'integers',
    dtypes: ints,
    secondDomain: [2, 5],
    grad: false,
    specials: false,
  }),
  binaryRow('pow', tandem.pow, cPow, {
    domain: [0.2, 2],
    dtypes: floats,
    tolerance: { float32: 4e-6, float16: 4e-3 },
    samples: [2, 0.5, -0.5, -1, 3].map((power) => ({
      inputs: [{ shape: [2, 3], low: 0.3, high: 2 }],
      args: [power],
    })),
    errors: [
      refusesBools(tandem.pow),
      {
        what: 'integers to a negative number',
        call: () => tensor([2], { dtype: 'int32' }).pow(-1),
        error: DTypeError,
        message: /pow: int32 to the power -1 is not whole\. Cast first/,
      },
    ],
  }),
  {
    op: 'pow',
    note: 'integers',
    call: tandem.pow,
    reference: elementwise((a: number, b: number) => Math.trunc(a ** b)),
    samples: [
      { inputs: [[5, 5], { shape: [5], values: [0, 1, 2, 3, 5] }], dtypes: ['int32', 'int64'] },
      { inputs: [[7]], args: [3] },
      {
        inputs: [
          { shape: [5], values: [1, -1, -1, 2, -3] },
          { shape: [5], values: [-3, -3, -2, -1, -2] },
        ],
        dtypes: ['int32', 'int64', 'int8'],
      },
    ],
    dtypes: ['int32', 'int64', 'int8', 'uint8'],
    grad: false,
  },
  numberFirst('pow', tandem.pow, cPow, 2),
  binaryRow('maximum', tandem.maximum, Math.max, { dtypes: numbers, samples: ofBools }),
  binaryRow('minimum', tandem.minimum, Math.min, { dtypes: numbers, samples: ofBools }),
  numberFirst('maximum', tandem.maximum, Math.max, 1),
  binaryRow('atan2', tandem.atan2, Math.atan2, { withoutOnnx: composed }),
  binaryRow(
    'logaddexp',
    tandem.logaddexp,
    (a, b) =>
      a === b && Math.abs(a) === Infinity
        ? a
        : Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b))),
    { withoutOnnx: composed },
  ),
]

/** Signs, infinities, zero divisors, and quotients far from 1. */
function remainderSamples() {
  const values = [5, -5, 0, -0, 2.5, -2.5, 1e6, Infinity, NaN, 4]
  const divisors = [3, -3, 0.3, Infinity, -Infinity, 0, NaN, 2]
  const pairs = values.flatMap((a) => divisors.map((b) => [a, b] as const))
  return [
    {
      inputs: [0, 1].map((i) => ({ shape: [pairs.length], values: pairs.map((p) => p[i]!) })),
      grad: false,
      signedZeros: true,
    },
  ]
}
