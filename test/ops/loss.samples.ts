/** @file Rows of the losses. */
import {
  bceLoss,
  bceWithLogitsLoss,
  crossEntropy,
  DTypeError,
  hingeLoss,
  huberLoss,
  klDivLoss,
  l1Loss,
  mseLoss,
  nllLoss,
  ones,
  ShapeError,
  smoothL1Loss,
  tensor,
  ValueError,
  zeros,
  type CrossEntropyOptions,
  type Tensor,
} from 'tandem'
import { elementwise, plain, PlainArray } from './plain.ts'
import { type ErrorSample, type Input, type Row, type Sample } from './row.ts'

type Reduced = { reduction?: 'mean' | 'sum' | 'none' | 'batchMean' }

const sumOf = (values: readonly number[]) => values.reduce((a, b) => a + b, 0)

function reduced(losses: PlainArray, { reduction = 'mean' }: Reduced): PlainArray {
  if (reduction === 'none') return losses
  const count = { mean: losses.data.length, sum: 1, batchMean: losses.shape[0]! }[reduction]
  return new PlainArray([], [sumOf(losses.data) / count])
}

/** The reference of a loss from what one element costs. */
const lossOf =
  <O extends Reduced>(f: (x: number, target: number, options: O) => number) =>
  (x: PlainArray, target: PlainArray, options: O = {} as O): PlainArray =>
    reduced(
      elementwise(f as (...values: never[]) => number)(...([x, target, options] as never[])),
      options,
    )

/** The usual samples of a loss of two tensors of one shape. */
function samplesOf(
  options: readonly object[] = [{}],
  [x, target]: readonly [object, object] = [{}, {}],
): Sample[] {
  const over = (shape: readonly number[]): Input[] => [
    { shape, ...x },
    { shape, ...target },
  ]
  return [
    { inputs: over([3, 5]) },
    { inputs: over([37]), args: [{ reduction: 'sum' }] },
    ...options.map((o) => ({ inputs: over([2, 3]), args: [{ ...o, reduction: 'none' }] })),
    { inputs: over([]), grad: false },
    { inputs: over([0, 3]), args: [{ reduction: 'sum' }], grad: false },
  ]
}

const halves = { float16: 6e-3, bfloat16: 5e-2 }

const differentShapes = (name: string, call: (x: Tensor, t: Tensor) => unknown): ErrorSample => ({
  what: 'shapes that only broadcast',
  call: () => call(ones([4, 1]), ones([4])),
  error: ShapeError,
  message: new RegExp(`${name}: x has shape \\[4, 1\\] and target \\[4\\]\\. Expected the same`),
})

const huber = (d: number, delta: number) =>
  Math.abs(d) <= delta ? (d * d) / 2 : delta * (Math.abs(d) - delta / 2)

const unit = { low: 0.05, high: 0.95 }

export const rows: Row[] = [
  {
    op: 'mseLoss',
    call: mseLoss,
    reference: lossOf((x, t) => (x - t) ** 2),
    samples: samplesOf(),
    tolerance: halves,
    errors: [
      differentShapes('mseLoss', mseLoss),
      {
        what: 'an unknown reduction',
        call: () => mseLoss(ones([2]), ones([2]), { reduction: 'avg' as never }),
        error: ValueError,
        message: /mseLoss: unknown reduction "avg"\. Expected one of 'mean', 'sum', 'none'/,
      },
    ],
  },
  {
    op: 'l1Loss',
    call: l1Loss,
    reference: lossOf((x, t) => Math.abs(x - t)),
    samples: samplesOf(),
    tolerance: halves,
    errors: [differentShapes('l1Loss', l1Loss)],
  },
  {
    op: 'huberLoss',
    call: huberLoss,
    reference: lossOf((x, t, { delta = 1 }: Reduced & { delta?: number }) => huber(x - t, delta)),
    samples: samplesOf([{}, { delta: 0.5 }]),
    tolerance: halves,
    errors: [
      {
        what: 'a delta that is not positive',
        call: () => huberLoss(ones([2]), ones([2]), { delta: 0 }),
        error: ValueError,
        message: /huberLoss: delta must be > 0, received 0/,
      },
    ],
  },
  {
    op: 'smoothL1Loss',
    call: smoothL1Loss,
    reference: lossOf((x, t, { beta = 1 }: Reduced & { beta?: number }) =>
      beta === 0 ? Math.abs(x - t) : huber(x - t, beta) / beta,
    ),
    samples: samplesOf([{}, { beta: 0.5 }, { beta: 0 }]),
    tolerance: halves,
    errors: [
      {
        what: 'a negative beta',
        call: () => smoothL1Loss(ones([2]), ones([2]), { beta: -1 }),
        error: ValueError,
        message: /smoothL1Loss: beta must be >= 0, received -1/,
      },
    ],
  },
  {
    op: 'bceLoss',
    covers: ['bce'],
    call: bceLoss,
    reference: lossOf(
      (p, t) => -(t * Math.max(Math.log(p), -100) + (1 - t) * Math.max(Math.log1p(-p), -100)),
    ),
    samples: [
      ...samplesOf([{}], [unit, unit]),
      {
        inputs: [
          { shape: [4], values: [0, 1, 0, 1] },
          { shape: [4], values: [1, 0, 0, 1] },
        ],
        grad: false,
      },
    ],
    tolerance: { float16: 3e-2, bfloat16: 2e-1 },
    withoutOnnx: 'exporters write it with Log',
    errors: [differentShapes('bceLoss', bceLoss)],
  },
  {
    op: 'bceLoss',
    note: 'weight',
    call: (p: Tensor, t: Tensor, weight: Tensor) => bceLoss(p, t, { weight }),
    reference: (p: PlainArray, t: PlainArray, w: PlainArray) =>
      reduced(
        plain(p.shape, (...i) => {
          const [x, y] = [p.at(...i), t.at(...i)]
          return -w.at(...i) * (y * Math.log(x) + (1 - y) * Math.log1p(-x))
        }),
        {},
      ),
    samples: [
      {
        inputs: [
          { shape: [3, 4], ...unit },
          { shape: [3, 4], ...unit },
          { shape: [4], ...unit },
        ],
      },
    ],
    dtypes: ['float32', 'float64'],
  },
  {
    op: 'bceWithLogitsLoss',
    covers: ['bceWithLogits'],
    call: bceWithLogitsLoss,
    reference: lossOf((x, t) => Math.max(x, 0) - x * t + Math.log1p(Math.exp(-Math.abs(x)))),
    samples: [
      ...samplesOf([{}], [{ low: -5, high: 5 }, unit]),
      {
        inputs: [
          { shape: [4], values: [-1000, 1000, -1000, 1000] },
          { shape: [4], values: [0, 0, 1, 1] },
        ],
        args: [{ reduction: 'none' }],
      },
      // At 0 the parts of the formula have kinks that cancel.
      {
        inputs: [
          { shape: [2], values: [0, 0] },
          { shape: [2], values: [0.3, 1] },
        ],
      },
    ],
    tolerance: halves,
    withoutOnnx: 'exporters write it with Softplus',
    errors: [differentShapes('bceWithLogitsLoss', bceWithLogitsLoss)],
  },
  {
    op: 'bceWithLogitsLoss',
    note: 'weights',
    call: (x: Tensor, t: Tensor, weight: Tensor, posWeight: Tensor) =>
      bceWithLogitsLoss(x, t, { weight, posWeight, reduction: 'sum' }),
    reference: (x: PlainArray, t: PlainArray, w: PlainArray, p: PlainArray) =>
      reduced(
        plain(x.shape, (...i) => {
          const chance = 1 / (1 + Math.exp(-x.at(...i)))
          const y = t.at(...i)
          return -w.at(...i) * (p.at(...i) * y * Math.log(chance) + (1 - y) * Math.log1p(-chance))
        }),
        { reduction: 'sum' },
      ),
    samples: [
      {
        inputs: [
          [3, 4],
          { shape: [3, 4], ...unit },
          { shape: [3, 1], ...unit },
          { shape: [4], low: 0.5, high: 3, constant: true },
        ],
      },
    ],
    dtypes: ['float32', 'float64'],
    tolerance: { float32: 1e-5 },
  },
  {
    op: 'klDivLoss',
    call: klDivLoss,
    reference: lossOf((x, t, { logTarget = false }: Reduced & { logTarget?: boolean }) =>
      logTarget ? Math.exp(t) * (t - x) : t > 0 ? t * (Math.log(t) - x) : 0,
    ),
    samples: [
      ...samplesOf([{}, { logTarget: true }], [{ low: -3, high: 0 }, unit]),
      { inputs: [[4, 3], { shape: [4, 3], ...unit }], args: [{ reduction: 'batchMean' }] },
      {
        inputs: [[3], { shape: [3], values: [0, 0.5, 0.5], constant: true }],
        args: [{ reduction: 'sum' }],
      },
    ],
    tolerance: halves,
    errors: [
      differentShapes('klDivLoss', klDivLoss),
      {
        what: 'a batch mean without a batch',
        call: () => klDivLoss(tensor(1), tensor(1), { reduction: 'batchMean' }),
        error: ShapeError,
        message: /klDivLoss: 'batchMean' of 0-d tensors/,
      },
    ],
  },
  {
    op: 'hingeLoss',
    call: hingeLoss,
    reference: lossOf((x, t, { margin = 1 }: Reduced & { margin?: number }) =>
      Math.max(0, margin - t * x),
    ),
    samples: samplesOf([{}, { margin: 0.3 }]),
    tolerance: halves,
  },
  ...classRows(),
]

// -- cross entropy

type ClassOptions = Omit<CrossEntropyOptions, 'weight'>

/** The reference for class positions; `normalized` for scores that are log probabilities. */
function classLoss(normalized: boolean) {
  return (x: PlainArray, target: PlainArray, ...rest: unknown[]): PlainArray => {
    const weight = rest[0] instanceof PlainArray ? (rest.shift() as PlainArray) : undefined
    const {
      ignoreIndex = -100,
      labelSmoothing = 0,
      reduction = 'mean',
    } = (rest[0] ?? {}) as ClassOptions
    const axis = x.shape.length === 1 ? 0 : 1
    const classes = x.shape[axis]!
    const w = (c: number) => weight?.at(c) ?? 1
    let divisor = 0
    const losses = plain(target.shape, (...i) => {
      const label = target.at(...i)
      if (label === ignoreIndex) return 0
      divisor += w(label)
      const scores = Array.from({ length: classes }, (_, c) => x.at(...i.toSpliced(axis, 0, c)))
      const top = Math.max(...scores)
      const lse = normalized ? 0 : top + Math.log(sumOf(scores.map((s) => Math.exp(s - top))))
      const spread = sumOf(scores.map((s, c) => w(c) * (lse - s))) / classes
      return (1 - labelSmoothing) * w(label) * (lse - scores[label]!) + labelSmoothing * spread
    })
    if (reduction !== 'mean') return reduced(losses, { reduction })
    return new PlainArray([], [sumOf(losses.data) / divisor])
  }
}

function classRows(): Row[] {
  const labels = (
    shape: readonly number[],
    classes: number,
    dtype = 'int32' as 'int32' | 'int64',
  ) => ({
    shape,
    low: 0,
    high: classes,
    dtype,
  })
  const at = (values: number[]) => tensor(values, { dtype: 'int32' })
  const samples: Sample[] = [
    { inputs: [[4, 3], labels([4], 3)] },
    { inputs: [[2, 37], labels([2], 37, 'int64')], args: [{ reduction: 'sum' }] },
    { inputs: [[2, 3, 4], labels([2, 4], 3)], args: [{ reduction: 'none' }] },
    { inputs: [[3], labels([], 3)] },
    {
      inputs: [[5, 3], { shape: [5], values: [1, 2, 0, 2, 1], dtype: 'int32' }],
      args: [{ ignoreIndex: 2 }],
    },
    {
      inputs: [[3, 2], { shape: [3], values: [1, -100, 0], dtype: 'int64' }],
      args: [{ reduction: 'none' }],
    },
    {
      inputs: [{ shape: [2, 3], low: -500, high: 500 }, labels([2], 3)],
      dtypes: ['float32', 'float64'],
      grad: false,
    },
    { inputs: [[0, 3], labels([0], 3)], args: [{ reduction: 'sum' }], grad: false },
  ]
  const weight = { shape: [3], low: 0.5, high: 2, constant: true }
  const weighted = (options: ClassOptions): Sample => ({
    inputs: [[4, 3], labels([4], 3), weight],
    args: [options],
  })
  const outside = (name: string, call: (x: Tensor, t: Tensor) => unknown): ErrorSample[] => [
    {
      what: 'a label that is no class',
      call: () => call(zeros([3, 4]), at([0, 4, 1])),
      error: ValueError,
      message: new RegExp(
        `${name}: label 4 at \\[1\\] is outside the 4 classes of scores \\[3, 4\\]\\. Expected whole numbers from 0 to 3, or -100`,
      ),
    },
    {
      what: 'a negative label',
      call: () =>
        call(
          zeros([2, 4, 2]),
          tensor(
            [
              [0, 1],
              [2, -1],
            ],
            { dtype: 'int64' },
          ),
        ),
      error: ValueError,
      message: /label -1 at \[1, 1\] is outside/,
    },
    {
      what: 'a label that would wrap around in 32 bits',
      call: () => call(zeros([1, 4]), tensor([2 ** 32 + 1], { dtype: 'int64' })),
      error: ValueError,
      message: /label 4294967297 at \[0\]/,
    },
    {
      what: 'labels that start at 1',
      call: () => call(zeros([2, 3]), at([1, 3])),
      error: ValueError,
      message: /Do the labels start at 1\? Subtract 1/,
    },
    {
      what: 'labels as floats',
      call: () => call(zeros([2, 3]), tensor([0, 1])),
      error: DTypeError,
      message:
        /target is float32\. Class positions are integers; cast them: target\.cast\('int32'\)/,
    },
    {
      what: 'a target of another shape',
      call: () => call(zeros([2, 3]), at([0, 1, 2])),
      error: ShapeError,
      message: /\[2, 3\] want class positions of shape \[2\], received \[3\]/,
    },
    {
      what: 'scores that are integers',
      call: () => call(zeros([2, 3], { dtype: 'int32' }), at([0, 1])),
      error: DTypeError,
      message: /are int32\. Expected floats/,
    },
  ]
  const withWeight =
    (loss: typeof crossEntropy) => (x: Tensor, t: Tensor, w: Tensor, options?: ClassOptions) =>
      loss(x, t, { ...options, weight: w })
  const tolerance = { float32: 5e-6, ...halves }
  return [
    {
      op: 'crossEntropy',
      covers: ['classLoss', 'classLossBackward'],
      call: crossEntropy,
      reference: classLoss(false),
      samples: [...samples, { inputs: [[4, 3], labels([4], 3)], args: [{ labelSmoothing: 0.1 }] }],
      tolerance,
      withoutOnnx: 'losses are for training, which is not exported',
      errors: [
        ...outside('crossEntropy', crossEntropy),
        {
          what: 'smoothing of more than all',
          call: () => crossEntropy(zeros([2, 3]), at([0, 1]), { labelSmoothing: 2 }),
          error: ValueError,
          message: /labelSmoothing is a share from 0 to 1, received 2/,
        },
        {
          what: 'one weight too few',
          call: () => crossEntropy(zeros([2, 3]), at([0, 1]), { weight: ones([2]) }),
          error: ShapeError,
          message: /weight has shape \[2\] for 3 classes/,
        },
        {
          what: 'one-hot targets as integers',
          call: () =>
            crossEntropy(
              zeros([2, 3]),
              tensor(
                [
                  [1, 0, 0],
                  [0, 1, 0],
                ],
                { dtype: 'int32' },
              ),
            ),
          error: ShapeError,
          message: /For one-hot targets pass floats: target\.cast\('float32'\)/,
        },
      ],
    },
    {
      op: 'crossEntropy',
      note: 'class weights',
      call: withWeight(crossEntropy),
      reference: classLoss(false),
      samples: [
        weighted({}),
        weighted({ labelSmoothing: 0.2, ignoreIndex: 1 }),
        weighted({ labelSmoothing: 0.2, reduction: 'none' }),
      ],
      tolerance,
    },
    {
      op: 'crossEntropy',
      note: 'probabilities',
      call: (x: Tensor, p: Tensor, w: Tensor, options?: ClassOptions) =>
        crossEntropy(x, p, { ...options, weight: w }),
      reference: (x: PlainArray, p: PlainArray, w: PlainArray, options: ClassOptions = {}) => {
        const { labelSmoothing: e = 0 } = options
        const classes = x.shape[1]!
        const rest = x.shape.toSpliced(1, 1)
        const losses = plain(rest, (...i) => {
          const scores = Array.from({ length: classes }, (_, c) => x.at(...i.toSpliced(1, 0, c)))
          const lse = Math.log(sumOf(scores.map(Math.exp)))
          const target = (c: number) => (1 - e) * p.at(...i.toSpliced(1, 0, c)) + e / classes
          return sumOf(scores.map((s, c) => w.at(c) * target(c) * (lse - s)))
        })
        return reduced(losses, options as Reduced)
      },
      samples: [
        { inputs: [[4, 3], { shape: [4, 3], ...unit }, weight] },
        {
          inputs: [[2, 3, 2], { shape: [2, 3, 2], ...unit }, weight],
          args: [{ labelSmoothing: 0.3, reduction: 'none' }],
        },
      ],
      dtypes: ['float32', 'float64'],
      tolerance,
    },
    {
      op: 'nllLoss',
      call: nllLoss,
      reference: classLoss(true),
      samples,
      tolerance,
      errors: outside('nllLoss', nllLoss),
    },
    {
      op: 'nllLoss',
      note: 'class weights',
      call: withWeight(nllLoss as typeof crossEntropy),
      reference: classLoss(true),
      samples: [weighted({}), weighted({ ignoreIndex: 1 }), weighted({ reduction: 'sum' })],
      tolerance,
    },
  ]
}
