/** @file What `fit` can be told. */
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, UnsupportedError, ValueError } from '../util/errors.ts'
import type { Data, Input } from './batches.ts'
import type { Callback } from './callback.ts'

export interface FitOptions {
  /** Number of the epoch after the last. Default 1. */
  readonly epochs?: number
  /** Items per batch; default 32. Not for data that comes in batches. */
  readonly batchSize?: number
  /** The last part of the data, by fraction, is kept for validation; it is cut off before shuffling. */
  readonly validationSplit?: number
  /** Data for validation after each epoch: [x, y], a dataset or a loader. */
  readonly validationData?: readonly [x: Input, y: Tensor] | Data
  /** A new order each epoch. Default true. Data that comes in batches keeps its own. */
  readonly shuffle?: boolean
  readonly callbacks?: readonly Callback[]
  /** 0 prints nothing, 1 a bar, 2 a line per epoch; 'auto' (default) a bar in a terminal, lines elsewhere, nothing in a browser. */
  readonly verbose?: 'auto' | 0 | 1 | 2
  /** Decides the orders. Default: the seed of `manualSeed`. */
  readonly seed?: number
  /** Number of the first epoch, from 0, when training goes on. Default 0. */
  readonly initialEpoch?: number
}

const fitOptions = [
  'epochs',
  'batchSize',
  'validationSplit',
  'validationData',
  'shuffle',
  'callbacks',
  'verbose',
  'seed',
  'initialEpoch',
] as const satisfies readonly (keyof FitOptions)[]

/** Options of Keras that have another way here. */
const elsewhere: Readonly<Record<string, string>> = {
  classWeight: 'give the loss weights: loss: new nn.CrossEntropyLoss({ weight })',
  sampleWeight: 'give the loss a function of your own that weights the examples',
  stepsPerEpoch: 'pass an IterableDataset that ends where the epoch ends',
}

/** Throws a ValueError, or an UnsupportedError that says how else. */
export function checkFitOptions(options: FitOptions): void {
  for (const [name, way] of Object.entries(elsewhere))
    if (name in options) throw new UnsupportedError(`fit: ${name} is not built; ${way}`)
  checkOptions('fit', options, fitOptions)
  const { epochs = 1, initialEpoch = 0, verbose = 'auto' } = options
  for (const [name, value] of Object.entries({ epochs, initialEpoch }))
    if (!Number.isSafeInteger(value) || value < 0)
      throw new ValueError(`fit: ${name} is ${String(value)}. Expected a whole number from 0 on`)
  if (!['auto', 0, 1, 2].includes(verbose))
    throw new ValueError(`fit: verbose is ${JSON.stringify(verbose)}. Expected 'auto', 0, 1 or 2`)
}
