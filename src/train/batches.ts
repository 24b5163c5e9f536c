/** @file What fit, evaluate and predict accept as data, made into batches. */
import { DataLoader } from '../data/data-loader.ts'
import {
  IterableDataset,
  Subset,
  asDataset,
  type Dataset,
  type DatasetLike,
} from '../data/dataset.ts'
import { TensorDataset } from '../data/tensor-dataset.ts'
import { Tensor } from '../tensor/tensor.ts'
import { UnsupportedError, ValueError } from '../util/errors.ts'

/** Input of a module: a tensor, or one for each parameter of `forward`. */
export type Input = Tensor | readonly Tensor[]

/** What models learn from: inputs and targets, in batches. */
export type Batch = readonly [x: Input, y: Tensor]

/** A dataset of [x, y], or anything that gives batches of them. */
export type Data<Item = unknown> =
  DatasetLike<Item> | IterableDataset<Item> | DataLoader<Item, unknown> | AsyncIterable<unknown>

/** Batches, again and again; `length` where it is known. */
export interface Batches {
  readonly length: number | undefined
  readonly batches: AsyncIterable<unknown>
}

export interface BatchOptions {
  readonly batchSize?: number | undefined
  readonly shuffle?: boolean
  readonly seed?: number | undefined
  /** Number of the first epoch, which decides the orders. */
  readonly epoch?: number
}

/** A dataset out of what was given, or undefined for what comes in batches already. */
export function datasetOf(
  where: string,
  x: Input | Data,
  y: Tensor | undefined,
): Dataset<unknown> | IterableDataset<unknown> | undefined {
  if (y !== undefined) {
    if (!isInput(x) || !(y instanceof Tensor))
      throw new ValueError(
        `${where}: x and y must be tensors. Expected ${where}(x, y, options) or ${where}(dataset, options)`,
      )
    return (
      x instanceof Tensor ? new TensorDataset(x, y) : new TensorDataset(...x, y)
    ) as Dataset<unknown>
  }
  if (x instanceof Tensor)
    throw new ValueError(
      `${where}: a target is missing. Expected ${where}(x, y, options) or ${where}(dataset, options)`,
    )
  if (x instanceof IterableDataset) return x
  if (typeof x === 'object' && x !== null && Symbol.asyncIterator in x) return undefined
  return asDataset(where, x as DatasetLike<unknown>)
}

/** Batches of what was given. Throws a ValueError for options that what comes in batches cannot follow. */
export function batchesOf(
  where: string,
  x: Input | Data,
  y: Tensor | undefined,
  options: BatchOptions,
): Batches {
  const dataset = datasetOf(where, x, y)
  return dataset === undefined
    ? givenBatches(where, x as AsyncIterable<unknown>, options)
    : loaderOver(dataset, options)
}

/** Batches of a dataset. */
export function loaderOver(
  dataset: Dataset<unknown> | IterableDataset<unknown>,
  { batchSize = 32, shuffle = false, seed, epoch = 0 }: BatchOptions,
): Batches {
  const isStream = dataset instanceof IterableDataset
  const loader = new DataLoader(dataset, {
    batchSize,
    shuffle: shuffle && !isStream,
    ...(seed !== undefined && { seed }),
  })
  loader.epoch = epoch
  return { length: isStream ? undefined : loader.length, batches: loader }
}

function givenBatches(
  where: string,
  batches: AsyncIterable<unknown>,
  { batchSize, seed }: BatchOptions,
): Batches {
  if (batchSize !== undefined || seed !== undefined)
    throw new ValueError(
      `${where}: ${batchSize !== undefined ? 'batchSize' : 'seed'} was given, but the data comes in batches already. Give it to the DataLoader`,
    )
  const isStream = !(batches instanceof DataLoader) || batches.dataset instanceof IterableDataset
  return { length: isStream ? undefined : batches.length, batches }
}

/**
 * Splits the last part off a dataset, before any shuffling, as Keras does. Throws an UnsupportedError
 * for what has no items by number.
 */
export function splitOff(
  dataset: Dataset<unknown> | IterableDataset<unknown> | undefined,
  fraction: number,
): [training: Dataset<unknown>, validation: Dataset<unknown>] {
  if (!(fraction > 0 && fraction < 1))
    throw new ValueError(
      `fit: validationSplit is ${String(fraction)}. Expected a fraction between 0 and 1`,
    )
  if (dataset === undefined || dataset instanceof IterableDataset)
    throw new UnsupportedError(
      'fit: validationSplit needs tensors or a dataset with items by number. Pass validationData instead',
    )
  const at = Math.floor(dataset.length * (1 - fraction))
  if (at === 0 || at === dataset.length)
    throw new ValueError(
      `fit: validationSplit ${fraction} of ${dataset.length} items leaves one part empty. Choose another fraction`,
    )
  const range = (from: number, to: number) =>
    new Subset(
      dataset,
      Int32Array.from({ length: to - from }, (_, i) => from + i),
    )
  return [range(0, at), range(at, dataset.length)]
}

/** Inputs and target of a batch. Throws a ValueError when it has not these two. */
export function inputAndTarget(where: string, batch: unknown): Batch {
  if (Array.isArray(batch)) {
    const parts: readonly unknown[] = batch
    const y = parts.at(-1)
    if (parts.length > 2 && parts.every((part) => part instanceof Tensor))
      return [parts.slice(0, -1), y as Tensor]
    if (parts.length === 2 && isInput(parts[0]) && y instanceof Tensor) return [parts[0], y]
  }
  throw new ValueError(
    `${where}: a batch must be [x, y], two tensors; received ${describe(batch)}. Map the dataset, or give the DataLoader a collate function`,
  )
}

export function isInput(x: unknown): x is Input {
  return (
    x instanceof Tensor ||
    (Array.isArray(x) && x.length > 0 && x.every((part) => part instanceof Tensor))
  )
}

function describe(batch: unknown): string {
  if (Array.isArray(batch)) return `a list of ${batch.length}`
  return batch instanceof Tensor ? 'one tensor' : `a value of type ${typeof batch}`
}
