/** @file Rows of the activation functions. */
import * as tandem from 'tandem'
import { tensor, ValueError } from 'tandem'
import { erfReference } from '../../src/ir/transcendental.ts'
import { floats, ints, unaryRow, type Row } from './row.ts'

const numbers = [...floats, ...ints]
const floating = { dtypes: [...floats, 'int32'], result: 'floating' } as const
const composed = 'a formula of other ONNX operators'
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))
const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))
const six = (x: number) => Math.min(Math.max(x, 0), 6)
const unknownOption = (op: 'leakyRelu' | 'elu' | 'gelu' | 'softplus') => ({
  what: 'an unknown option',
  call: () => tensor([1])[op]({ slope: 1 } as never),
  error: ValueError,
  message: new RegExp(`${op}: unknown option 'slope'`),
})
/** Kinks: values count there, differences do not. */
const kinks = (...values: number[]) => [
  { inputs: [{ shape: [values.length], values }], grad: false, dtypes: floats },
]

export const rows: Row[] = [
  unaryRow('relu', tandem.relu, (x) => Math.max(x, 0), { dtypes: numbers }),
  unaryRow('relu6', tandem.relu6, six, { dtypes: numbers, domain: [-3, 9] }),
  unaryRow(
    'leakyRelu',
    tandem.leakyRelu,
    (x, { negativeSlope = 0.01 }: tandem.LeakyReluOptions = {}) => (x > 0 ? x : x * negativeSlope),
    {
      args: [{ negativeSlope: 0.2 }],
      samples: [{ inputs: [[5]] }],
      errors: [unknownOption('leakyRelu')],
    },
  ),
  unaryRow(
    'elu',
    tandem.elu,
    (x, { alpha = 1 }: tandem.EluOptions = {}) => (x > 0 ? x : alpha * Math.expm1(x)),
    {
      ...floating,
      samples: [{ inputs: [[5]], args: [{ alpha: 0.5 }] }],
      errors: [unknownOption('elu')],
    },
  ),
  unaryRow(
    'selu',
    tandem.selu,
    (x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x)),
    floating,
  ),
  unaryRow('sigmoid', tandem.sigmoid, sigmoid, { ...floating, samples: kinks(-100, 100, -1000) }),
  unaryRow('logSigmoid', tandem.logSigmoid, (x) => -softplus(-x), {
    ...floating,
    withoutOnnx: composed,
    samples: kinks(-100, 100, -1000, 1000),
  }),
  unaryRow('silu', tandem.silu, (x) => x / (1 + Math.exp(-x)), {
    ...floating,
    withoutOnnx: composed,
  }),
  unaryRow(
    'gelu',
    tandem.gelu,
    (x, { approximate = 'none' }: tandem.GeluOptions = {}) =>
      approximate === 'none'
        ? x * 0.5 * (1 + erfReference(x * Math.SQRT1_2))
        : x * 0.5 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * (x * x * x)))),
    {
      ...floating,
      covers: ['geluTanh'],
      samples: [{ inputs: [[3, 5]], args: [{ approximate: 'tanh' }] }],
      errors: [
        unknownOption('gelu'),
        {
          what: 'an unknown approximation',
          call: () => tensor([1]).gelu({ approximate: 'sigmoid' as never }),
          error: ValueError,
          message: /gelu: unknown approximation "sigmoid"\. Expected 'none' or 'tanh'/,
        },
      ],
    },
  ),
  unaryRow(
    'softplus',
    tandem.softplus,
    (x, { beta = 1 }: tandem.SoftplusOptions = {}) => softplus(x * beta) / beta,
    {
      ...floating,
      samples: [{ inputs: [[5]], args: [{ beta: 2.5 }] }, ...kinks(19.9, 20.1, 39.9, 40.1, 1000)],
      errors: [unknownOption('softplus')],
    },
  ),
  unaryRow('softsign', tandem.softsign, (x) => x / (1 + Math.abs(x)), floating),
  unaryRow('hardSigmoid', tandem.hardSigmoid, (x) => six(x + 3) / 6, {
    ...floating,
    domain: [-5, 5],
    samples: kinks(-3, 3),
  }),
  unaryRow('hardSwish', tandem.hardSwish, (x) => (x * six(x + 3)) / 6, {
    ...floating,
    domain: [-5, 5],
    samples: kinks(-3, 3),
  }),
  unaryRow('mish', tandem.mish, (x) => x * Math.tanh(softplus(x)), floating),
]
