/** @file Rows of the random ops: every number is computed a second time here, from the words of the stream. */
import {
  bernoulli,
  DTypeError,
  dropout,
  Generator,
  normal,
  ones,
  rand,
  randint,
  randn,
  randperm,
  tensor,
  uniform,
  ValueError,
  type DType,
  type Tensor,
} from 'tandem'
import { threefryOf } from '../../src/tensor/threefry.ts'
import { plain, PlainArray } from './plain.ts'
import { floats, type ErrorSample, type Row } from './row.ts'

const seed = 2 ** 40 + 5
const begin = 2 ** 32 + 17
/** A stream that is not at its beginning, with a seed and a position of two words each. */
const stream = (): Generator => {
  const generator = new Generator()
  generator.setState({ seed, counter: begin })
  return generator
}

/** The two unsigned words of element i of the first draw from `stream`. */
function wordsAt(i: number): [number, number] {
  const [high, low] = threefryOf([5, 256], [17 + i, 1])
  return [high >>> 0, low >>> 0]
}

const uniformAt = (i: number, bits = 24): number =>
  Math.floor(wordsAt(i)[0] / 2 ** (32 - bits)) * 2 ** -bits

function normalAt(i: number): number {
  const [high, low] = wordsAt(i).map((w) => Math.floor(w / 2)) as [number, number]
  const radius = Math.sqrt(-2 * Math.log((high + 1) * 2 ** -31))
  return radius * Math.cos(2 * Math.PI * low * 2 ** -31)
}

function integerAt(i: number, low: number, high: number): number {
  const [upper, lower] = wordsAt(i).map(BigInt) as [bigint, bigint]
  return low + Number((((upper << 32n) | lower) * BigInt(high - low)) >> 64n)
}

/** An array of a shape from the value of each element, counted in row-major order. */
function counted(shape: readonly number[], valueAt: (i: number) => number): PlainArray {
  let i = 0
  return plain(shape, () => valueAt(i++))
}

type Shape = readonly number[]
const random = { grad: false, layouts: false, dtypes: ['float32'] as DType[] } as const

const noIntegers = (name: string, call: () => unknown): ErrorSample => ({
  what: 'a dtype of integers',
  call,
  error: DTypeError,
  message: new RegExp(`${name}: dtype int32 cannot hold fractions\\. Use a float, or randint`),
})

export const rows: Row[] = [
  {
    op: 'uniform',
    call: (shape: Shape, low: number, high: number) =>
      uniform(shape, { low, high, generator: stream() }),
    reference: (shape: Shape, low: number, high: number) =>
      counted(shape, (i) => low + (high - low) * uniformAt(i)),
    samples: [
      { inputs: [], args: [[37], -2, 3] },
      { inputs: [], args: [[2, 3, 4], 0, 1] },
      { inputs: [], args: [[], 5, 5] },
      { inputs: [], args: [[0, 3], 0, 1] },
    ],
    ...random,
    errors: [
      noIntegers('uniform', () => uniform([2], { dtype: 'int32' })),
      {
        what: 'a range the wrong way round',
        call: () => uniform([2], { low: 1, high: 0 }),
        error: ValueError,
        message: /uniform: low 1 is more than high 0/,
      },
      {
        what: 'an infinite range',
        call: () => uniform([2], { high: Infinity }),
        error: ValueError,
        message: /uniform: high must be a finite number, received Infinity/,
      },
    ],
  },
  {
    op: 'rand',
    call: (shape: Shape) => rand(shape, { generator: stream() }),
    reference: (shape: Shape) => counted(shape, (i) => uniformAt(i)),
    samples: [{ inputs: [], args: [[37]] }],
    tolerance: { float32: 0 },
    ...random,
    errors: [
      noIntegers('rand', () => rand([2], { dtype: 'int32' })),
      {
        what: 'an unknown option',
        call: () => rand([2], { seed: 3 } as never),
        error: ValueError,
        message: /rand: unknown option 'seed'/,
      },
      {
        what: 'something else as the generator',
        call: () => rand([2], { generator: 3 as never }),
        error: ValueError,
        message: /generator is not a Generator\. Make one: new Generator\(seed\)/,
      },
    ],
  },
  {
    op: 'normal',
    call: (shape: Shape, mean: number, std: number) =>
      normal(shape, { mean, std, generator: stream() }),
    reference: (shape: Shape, mean: number, std: number) =>
      counted(shape, (i) => mean + std * normalAt(i)),
    samples: [
      { inputs: [], args: [[37], 0, 1] },
      { inputs: [], args: [[3, 5], 10, 2.5] },
    ],
    ...random,
    errors: [
      noIntegers('normal', () => normal([2], { dtype: 'int32' })),
      {
        what: 'a negative deviation',
        call: () => normal([2], { std: -1 }),
        error: ValueError,
        message: /normal: std is -1/,
      },
    ],
  },
  {
    op: 'randn',
    call: (shape: Shape) => randn(shape, { generator: stream() }),
    reference: (shape: Shape) => counted(shape, normalAt),
    samples: [{ inputs: [], args: [[37]] }],
    ...random,
    errors: [noIntegers('randn', () => randn([2], { dtype: 'int32' }))],
  },
  {
    op: 'randint',
    call: (low: number, high: number, shape: Shape) =>
      randint(low, high, shape, { generator: stream() }),
    reference: (low: number, high: number, shape: Shape) =>
      counted(shape, (i) => integerAt(i, low, high)),
    samples: [
      { inputs: [], args: [0, 10, [37]] },
      { inputs: [], args: [-1000000, 70000, [3, 5]] },
      { inputs: [], args: [-(2 ** 31), 2 ** 31, [37]] },
      { inputs: [], args: [7, 8, [4]] },
    ],
    ...random,
    result: () => 'int32',
    withoutOnnx: 'ONNX has no random integers: exporters write a RandomUniform and a Floor',
    errors: [
      {
        what: 'an empty range',
        call: () => randint(3, 3, [2]),
        error: ValueError,
        message: /randint: expected whole numbers low < high .* received 3 and 3/,
      },
      {
        what: 'fractions',
        call: () => randint(0, 1.5, [2]),
        error: ValueError,
        message: /received 0 and 1\.5/,
      },
    ],
  },
  {
    op: 'randperm',
    eagerOnly: 'the order is made by JavaScript',
    call: (n: number) => randperm(n, { generator: stream() }).cast('float32').sum(),
    reference: (n: number) => new PlainArray([], [(n * (n - 1)) / 2]),
    samples: [
      { inputs: [], args: [100] },
      { inputs: [], args: [0] },
    ],
    ...random,
  },
  {
    op: 'coins',
    note: 'bernoulli of a number',
    call: (p: number, shape: Shape) => bernoulli(p, shape, { generator: stream() }),
    reference: (p: number, shape: Shape) =>
      counted(shape, (i) => Number(uniformAt(i) < Math.fround(p))),
    samples: [
      { inputs: [], args: [0.3, [37]] },
      { inputs: [], args: [0, [2, 3]] },
      { inputs: [], args: [1, [2, 3]] },
    ],
    ...random,
    withoutOnnx: 'exporters write a Bernoulli of a constant',
    errors: [
      {
        what: 'more than certain',
        call: () => bernoulli(1.5, [2]),
        error: ValueError,
        message: /bernoulli: p is a probability from 0 to 1, received 1\.5/,
      },
    ],
  },
  {
    op: 'bernoulli',
    call: (p: Tensor) => bernoulli(p, [], { generator: stream() }),
    reference: (p: PlainArray) => counted(p.shape, (i) => Number(uniformAt(i) < p.data[i]!)),
    samples: [
      { inputs: [{ shape: [37], low: 0, high: 1 }] },
      { inputs: [{ shape: [3, 5], low: 0, high: 1 }] },
      { inputs: [{ shape: [], low: 0, high: 1 }] },
    ],
    dtypes: floats,
    grad: false,
    errors: [
      {
        what: 'a probability above 1',
        call: () => bernoulli(tensor([0.5, 1.5])),
        error: ValueError,
        message: /bernoulli: a probability is outside 0 to 1/,
      },
      {
        what: 'a probability that is NaN',
        call: () => bernoulli(tensor([NaN])),
        error: ValueError,
        message: /bernoulli: a probability is outside 0 to 1/,
      },
      {
        what: 'a shape beside a tensor',
        call: () => bernoulli(ones([2]), [3]),
        error: ValueError,
        message: /a tensor of probabilities alone/,
      },
    ],
  },
  {
    op: 'dropout',
    call: (x: Tensor, p: number) => dropout(x, { p, generator: stream() }),
    reference: (x: PlainArray, p: number) =>
      counted(x.shape, (i) => (uniformAt(i) >= Math.fround(p) ? x.data[i]! / (1 - p) : 0)),
    samples: [
      { inputs: [[3, 5]], args: [0.5] },
      { inputs: [[37]], args: [0.2] },
      { inputs: [[2, 3]], args: [1] },
      { inputs: [[0, 3]], args: [0.5], grad: false },
    ],
    dtypes: floats,
    errors: [
      {
        what: 'a p that is no probability',
        call: () => dropout(ones([2]), { p: 2 }),
        error: ValueError,
        message: /dropout: p is a probability from 0 to 1, received 2/,
      },
      {
        what: 'integers',
        call: () => dropout(ones([2], { dtype: 'int32' })),
        error: DTypeError,
        message: /dropout: x is int32, which cannot be scaled/,
      },
    ],
  },
]
