/** @file The data loader: batches of a dataset, in order or shuffled, fetched ahead where fetching takes time. */
import { UnsupportedError, ValueError, checkOptions } from '../util/errors.ts'
import { collate, type Collated } from './collate.ts'
import { IterableDataset, asDataset, type Dataset, type DatasetLike } from './dataset.ts'
import { checkSeed, randomOrder } from './order.ts'
import { isPauseDue, pause } from './pause.ts'

export interface DataLoaderOptions<Item, Batch> {
  /** Items per batch; the last batch may have fewer. Default 1. */
  readonly batchSize?: number
  /** A new random order each epoch. Default false. */
  readonly shuffle?: boolean
  /** Leave out a last batch that is not full. Default false. */
  readonly dropLast?: boolean
  /** Makes a batch of items. Default `collate`: tensors stacked, position by position, key by key. */
  readonly collate?: (items: Item[]) => Batch
  /** Decides the orders; the same seed gives the same ones. Default: the seed of `manualSeed`. */
  readonly seed?: number
  /** Batches fetched ahead while one is worked on, when `get` gives promises. Default 2. */
  readonly prefetch?: number
}

const knownOptions = [
  'batchSize',
  'shuffle',
  'dropLast',
  'collate',
  'seed',
  'prefetch',
] as const satisfies readonly (keyof DataLoaderOptions<unknown, unknown>)[]

/**
 * Gives a dataset batch by batch. Every pass over it is an epoch; with `shuffle` each has an order of
 * its own, which depends on `seed` and the number of the epoch only. `for await` works with every
 * dataset and lets timers and servers have their turn; plain `for` needs one that answers at once.
 *
 * Throws a ValueError for options that make no sense, and whatever the dataset throws, when the batch
 * concerned is due. Leaving the loop early stops the fetching.
 *
 * @example
 * import { DataLoader, TensorDataset } from 'tandem/data'
 * const x = tensor([[1, 2], [3, 4], [5, 6]])
 * const y = tensor([0, 1, 0], { dtype: 'int32' })
 * const loader = new DataLoader(new TensorDataset(x, y), { batchSize: 2 })
 * loader.length // -> 2
 * for await (const [input, label] of loader) console.log(input.shape, label.shape)
 */
export class DataLoader<Item, Batch = Collated<Item>> {
  readonly dataset: Dataset<Item> | IterableDataset<Item>
  readonly batchSize: number
  /** Number of the epoch that the next pass will be, from 0; decides its order. Set it to repeat one. */
  epoch = 0
  readonly #shuffle: boolean
  readonly #dropLast: boolean
  readonly #collate: ((items: Item[]) => Batch) | undefined
  readonly #seed: number | undefined
  readonly #prefetch: number

  constructor(
    dataset: DatasetLike<Item> | IterableDataset<Item>,
    options: DataLoaderOptions<Item, Batch> = {},
  ) {
    checkOptions('DataLoader', options, knownOptions)
    const { batchSize = 1, shuffle = false, dropLast = false, prefetch = 2 } = options
    checkWhole('batchSize', batchSize, 1)
    checkWhole('prefetch', prefetch, 0)
    checkFlag('shuffle', shuffle)
    checkFlag('dropLast', dropLast)
    if (options.collate !== undefined && typeof options.collate !== 'function')
      throw new ValueError('DataLoader: collate must be a function that makes a batch of items')
    if (options.seed !== undefined) checkSeed('DataLoader', options.seed)
    if (dataset instanceof IterableDataset) {
      if (shuffle)
        throw new UnsupportedError(
          'DataLoader: an IterableDataset comes in its own order. Leave out shuffle, or shuffle where the items are made',
        )
      this.dataset = dataset
    } else this.dataset = asDataset('DataLoader', dataset)
    this.batchSize = batchSize
    this.#shuffle = shuffle
    this.#dropLast = dropLast
    this.#collate = options.collate
    this.#seed = options.seed
    this.#prefetch = prefetch
  }

  /** Number of batches. Throws an UnsupportedError for an IterableDataset, which does not know it. */
  get length(): number {
    const { dataset, batchSize } = this
    if (dataset instanceof IterableDataset)
      throw new UnsupportedError(
        'DataLoader: the length of an IterableDataset is not known. Count the batches as they come',
      )
    const batches = dataset.length / batchSize
    return this.#dropLast ? Math.floor(batches) : Math.ceil(batches)
  }

  /** The batches of the next epoch, at once. Throws an UnsupportedError for an asynchronous dataset. */
  *[Symbol.iterator](): Iterator<Batch> {
    const { dataset } = this
    const batches =
      dataset instanceof IterableDataset
        ? this.#stream(syncItems(dataset))
        : this.#fetches(dataset, this.#nextOrder(dataset))
    for (const batch of batches) {
      if (isPromise(batch)) {
        batch.catch(ignore)
        throw needsAwait()
      }
      yield batch
    }
  }

  /** The batches of the next epoch, fetched ahead where fetching takes time. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void, undefined> {
    const { dataset } = this
    const batches =
      dataset instanceof IterableDataset
        ? this.#streamAsync(dataset)
        : this.#fetchAhead(this.#fetches(dataset, this.#nextOrder(dataset)))
    for await (const batch of batches) {
      if (isPauseDue()) await pause()
      yield batch
    }
  }

  #nextOrder(dataset: Dataset<Item>): Int32Array {
    const epoch = this.epoch++
    return this.#shuffle
      ? randomOrder(dataset.length, checkSeed('DataLoader', this.#seed), epoch)
      : Int32Array.from({ length: dataset.length }, (_, i) => i)
  }

  /** Starts to fetch one batch after the other, as they are asked for. */
  *#fetches(dataset: Dataset<Item>, order: Int32Array): Generator<Batch | Promise<Batch>> {
    for (let i = 0; i < this.length; i++)
      yield this.#fetch(dataset, order.subarray(i * this.batchSize, (i + 1) * this.batchSize))
  }

  #fetch(dataset: Dataset<Item>, indices: Int32Array): Batch | Promise<Batch> {
    if (this.#collate === undefined && dataset.getBatch !== undefined)
      return dataset.getBatch(indices) as Batch | Promise<Batch>
    const items = Array.from(indices, (index) => dataset.get(index))
    return items.some(isPromise)
      ? Promise.all(items).then((ready) => this.#batchOf(ready))
      : this.#batchOf(items as Item[])
  }

  /** Keeps up to `prefetch` more batches on their way. Errors wait until their batch is due. */
  async *#fetchAhead(batches: Iterator<Batch | Promise<Batch>>): AsyncGenerator<Batch> {
    const underway: Promise<Batch>[] = []
    let isMore = true
    while (true) {
      while (isMore && underway.length <= this.#prefetch) {
        let batch: Batch | Promise<Batch>
        try {
          const { done, value } = batches.next()
          if (done) {
            isMore = false
            break
          }
          batch = value as Batch | Promise<Batch>
        } catch (error) {
          isMore = false
          batch = Promise.reject(error as Error)
        }
        if (isPromise(batch)) {
          // Without a handler of its own, a failure ahead of its turn would end the program.
          batch.catch(ignore)
          underway.push(batch)
        } else if (underway.length === 0) yield batch
        else underway.push(Promise.resolve(batch))
      }
      const due = underway.shift()
      if (due === undefined) return
      yield await due
    }
  }

  *#stream(items: Iterator<Item>): Generator<Batch> {
    let batch: Item[] = []
    try {
      for (let step = items.next(); !step.done; step = items.next()) {
        batch.push(step.value)
        if (batch.length < this.batchSize) continue
        yield this.#batchOf(batch)
        batch = []
      }
      if (batch.length > 0 && !this.#dropLast) yield this.#batchOf(batch)
    } finally {
      items.return?.()
    }
  }

  async *#streamAsync(dataset: IterableDataset<Item>): AsyncGenerator<Batch> {
    const items = dataset.items()
    let batch: Item[] = []
    try {
      for (let step = await items.next(); !step.done; step = await items.next()) {
        batch.push(step.value)
        if (batch.length < this.batchSize) continue
        yield this.#batchOf(batch)
        batch = []
      }
      if (batch.length > 0 && !this.#dropLast) yield this.#batchOf(batch)
    } finally {
      await items.return?.()
    }
  }

  #batchOf(items: Item[]): Batch {
    return this.#collate === undefined ? (collate(items) as Batch) : this.#collate(items)
  }
}

function* syncItems<Item>(dataset: IterableDataset<Item>): Generator<Item> {
  const items = dataset.items()
  try {
    for (let step = items.next(); ; step = items.next()) {
      if (isPromise(step)) throw needsAwait()
      if (step.done) return
      yield step.value
    }
  } finally {
    void items.return?.()
  }
}

const needsAwait = () =>
  new UnsupportedError(
    'DataLoader: this dataset gives promises. Use `for await (const batch of loader)`',
  )

const ignore = () => undefined

function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return value instanceof Promise
}

function checkWhole(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return
  throw new ValueError(
    `DataLoader: ${name} is ${String(value)}. Expected a whole number of at least ${least}`,
  )
}

function checkFlag(name: string, value: boolean): void {
  if (typeof value !== 'boolean')
    throw new ValueError(`DataLoader: ${name} is ${String(value)}. Expected true or false`)
}
