/** @file Rows of the arithmetic, rounding, exponential and trigonometric functions of one tensor. */
import * as tandem from 'tandem'
import { DTypeError, tensor, ValueError, type Tensor } from 'tandem'
import { erfReference } from '../../src/ir/transcendental.ts'
import { all, floats, ints, unaryRow, type ElementwiseOptions, type Row } from './row.ts'

const numbers = [...floats, ...ints]
const flags = tensor([true, false])

/** Functions whose integers become float32. */
const floating = (
  op: string,
  call: (x: Tensor) => Tensor,
  f: (x: number) => number,
  options: ElementwiseOptions = {},
): Row =>
  unaryRow(op, call, f, { dtypes: [...floats, 'int32', 'bool'], result: 'floating', ...options })

/** Functions that keep the dtype of numbers and refuse bools. */
const keeping = (
  op: string,
  call: (x: Tensor) => Tensor,
  f: (x: number) => number,
  options: ElementwiseOptions = {},
): Row =>
  unaryRow(op, call, f, {
    dtypes: numbers,
    errors: [
      {
        what: 'bools',
        call: () => call(flags),
        error: DTypeError,
        message: /^\w+: received bool \[2\]\. Expected numbers; cast first/,
      },
    ],
    ...options,
  })

const halfToEven = (x: number): number => {
  const below = Math.floor(x)
  const rest = x - below
  const whole = rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1
  return Number.isFinite(x) ? (whole === 0 && (x < 0 || Object.is(x, -0)) ? -0 : whole) : x
}
const composed = 'a formula of other ONNX operators'

export const rows: Row[] = [
  keeping('neg', tandem.neg, (x) => -x, {
    errors: [
      {
        what: 'a number for a tensor',
        call: () => tandem.neg(1 as never),
        error: ValueError,
        message: /neg: x must be a tensor, received a value of type number\. Wrap it/,
      },
      {
        what: 'bools',
        call: () => flags.neg(),
        error: DTypeError,
        message: /neg: received bool \[2\]\. Expected numbers; cast first/,
      },
    ],
  }),
  keeping('abs', tandem.abs, Math.abs),
  keeping('sign', tandem.sign, Math.sign, { grad: 'first-order' }),
  keeping('square', tandem.square, (x) => x * x, { withoutOnnx: composed }),
  floating('sqrt', tandem.sqrt, Math.sqrt, { domain: [0.1, 5] }),
  floating('rsqrt', tandem.rsqrt, (x) => 1 / Math.sqrt(x), {
    domain: [0.1, 5],
    dtypes: floats,
    withoutOnnx: composed,
  }),
  floating('reciprocal', tandem.reciprocal, (x) => 1 / x, { domain: [0.2, 3], dtypes: floats }),

  ...(['floor', 'ceil', 'trunc'] as const).map((op) =>
    unaryRow(op, (x: Tensor) => x[op](), Math[op], {
      dtypes: all,
      domain: [-4, 4],
      grad: 'first-order',
      ...(op === 'trunc' && { withoutOnnx: composed }),
    }),
  ),
  unaryRow('round', tandem.round, halfToEven, {
    dtypes: all,
    domain: [-4, 4],
    grad: 'first-order',
    samples: [
      {
        inputs: [{ shape: [8], values: [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 8388609, 0.49999997] }],
        grad: false,
        signedZeros: true,
        dtypes: ['float32', 'float64'],
      },
    ],
  }),

  floating('exp', tandem.exp, Math.exp),
  floating('expm1', tandem.expm1, Math.expm1, { withoutOnnx: composed }),
  floating('log', tandem.log, Math.log, { domain: [0.1, 5] }),
  floating('log1p', tandem.log1p, Math.log1p, { domain: [-0.8, 3], withoutOnnx: composed }),
  floating('log2', tandem.log2, Math.log2, { domain: [0.1, 5], withoutOnnx: composed }),
  floating('log10', tandem.log10, Math.log10, { domain: [0.1, 5], withoutOnnx: composed }),

  // Far out the reduction of the argument loses accuracy: see test/ir/transcendental.test.ts.
  ...(['sin', 'cos', 'tan'] as const).map((op) =>
    floating(op, (x) => x[op](), Math[op], {
      domain: op === 'tan' ? [-1.3, 1.3] : [-6, 6],
      specials: false,
    }),
  ),
  floating('asin', tandem.asin, Math.asin, { domain: [-0.9, 0.9] }),
  floating('acos', tandem.acos, Math.acos, { domain: [-0.9, 0.9] }),
  floating('atan', tandem.atan, Math.atan),
  floating('sinh', tandem.sinh, Math.sinh),
  floating('cosh', tandem.cosh, Math.cosh),
  floating('tanh', tandem.tanh, Math.tanh),
  floating('erf', tandem.erf, erfReference),
]
