/** @file What a dataset is, and the datasets made of other datasets. */
import { ShapeError, UnsupportedError, ValueError, checkOptions } from '../util/errors.ts'
import type { Collated } from './collate.ts'
import { permutation, type Generator } from '../tensor/random.ts'

/**
 * Items by number. `get` may return a promise: a DataLoader then has several items on their way at
 * once. A plain array is a dataset too.
 */
export interface Dataset<Item> {
  readonly length: number
  /** Item `index`, from 0 to length - 1. */
  get(index: number): Item | Promise<Item>
  /** A whole batch at once, as collating the items would give it; loaders prefer it where it exists. */
  getBatch?(indices: Int32Array): Collated<Item> | Promise<Collated<Item>>
}

/** What every function that takes a dataset accepts. */
export type DatasetLike<Item> = Dataset<Item> | readonly Item[]

/**
 * Items that come one after the other, their number unknown: a log, a socket, a generator. Iterating
 * again starts again.
 *
 * @example
 * import { DataLoader, IterableDataset } from 'tandem/data'
 * const squares = new IterableDataset(function* () {
 *   for (let i = 0; i < 3; i++) yield i * i
 * })
 * const loader = new DataLoader(squares, { batchSize: 2 })
 * Array.from(loader) // -> [tensor([0, 1], float32, cpu), tensor([4], float32, cpu)]
 */
export class IterableDataset<Item> {
  readonly #start: () => Iterator<Item> | AsyncIterator<Item> | Iterable<Item> | AsyncIterable<Item>

  /** `start` begins a new pass; a generator function does. */
  constructor(
    start: () => Iterator<Item> | AsyncIterator<Item> | Iterable<Item> | AsyncIterable<Item>,
  ) {
    if (typeof start !== 'function')
      throw new ValueError(
        `IterableDataset: expected a function that starts a pass over the items, received ${typeof start}. Wrap it: new IterableDataset(() => items)`,
      )
    this.#start = start
  }

  /** A new pass over the items. */
  items(): Iterator<Item> | AsyncIterator<Item> {
    const items = this.#start()
    if (Symbol.iterator in items) return items[Symbol.iterator]()
    if (Symbol.asyncIterator in items) return items[Symbol.asyncIterator]()
    return items
  }
}

/**
 * Some items of another dataset, by their numbers in it.
 *
 * @example
 * new Subset([10, 20, 30], [2, 0]).get(0) // -> 30
 */
export class Subset<Item> implements Dataset<Item> {
  readonly dataset: Dataset<Item>
  readonly indices: Int32Array
  declare getBatch?: (indices: Int32Array) => Collated<Item> | Promise<Collated<Item>>

  constructor(dataset: DatasetLike<Item>, indices: ArrayLike<number>) {
    this.dataset = asDataset('Subset', dataset)
    const { length } = this.dataset
    for (let i = 0; i < indices.length; i++) checkIndex('Subset', indices[i]!, length)
    this.indices = Int32Array.from(indices)
    const { dataset: whole } = this
    if (whole.getBatch !== undefined)
      this.getBatch = (chosen) => whole.getBatch!(chosen.map((i) => this.indices[i]!))
  }

  get length(): number {
    return this.indices.length
  }

  get(index: number): Item | Promise<Item> {
    checkIndex('Subset', index, this.length)
    return this.dataset.get(this.indices[index]!)
  }
}

/**
 * Several datasets, one after the other.
 *
 * @example
 * const both = new ConcatDataset([[1, 2], [3]])
 * both.length // -> 3
 * both.get(2) // -> 3
 */
export class ConcatDataset<Item> implements Dataset<Item> {
  readonly datasets: readonly Dataset<Item>[]
  readonly length: number

  constructor(datasets: readonly DatasetLike<Item>[]) {
    this.datasets = datasets.map((one) => asDataset('ConcatDataset', one))
    this.length = this.datasets.reduce((sum, { length }) => sum + length, 0)
  }

  get(index: number): Item | Promise<Item> {
    checkIndex('ConcatDataset', index, this.length)
    let rest = index
    for (const dataset of this.datasets) {
      if (rest < dataset.length) return dataset.get(rest)
      rest -= dataset.length
    }
    throw new ShapeError(
      `ConcatDataset: item ${index} is gone: a dataset has shrunk since. Datasets must keep their length`,
    )
  }
}

/**
 * The items of another dataset, each put through a function when it is asked for. The function gets
 * the item and its number, and may return a promise.
 *
 * @example
 * new MapDataset([1, 2, 3], (x) => x * 10).get(2) // -> 30
 */
export class MapDataset<From, Item> implements Dataset<Item> {
  readonly dataset: Dataset<From>
  readonly transform: (item: From, index: number) => Item | Promise<Item>

  constructor(
    dataset: DatasetLike<From>,
    transform: (item: From, index: number) => Item | Promise<Item>,
  ) {
    if (typeof transform !== 'function')
      throw new ValueError(
        `MapDataset: expected a function of an item, received ${typeof transform}`,
      )
    this.dataset = asDataset('MapDataset', dataset)
    this.transform = transform
  }

  get length(): number {
    return this.dataset.length
  }

  get(index: number): Item | Promise<Item> {
    const item = this.dataset.get(index)
    return item instanceof Promise
      ? item.then((value: From) => this.transform(value, index))
      : this.transform(item, index)
  }
}

export interface RandomSplitOptions {
  /** Decides who comes where. Default: the generator that `manualSeed` seeds. */
  readonly generator?: Generator
}

/**
 * Splits a dataset at random into parts that share no item. `parts` are either counts that add up to
 * the length, or fractions that add up to 1; what rounding leaves over goes to the first parts.
 *
 * @example
 * const [train, test] = randomSplit([1, 2, 3, 4, 5], [0.6, 0.4], { generator: new Generator(1) })
 * train.length // -> 3
 * test.length // -> 2
 */
export function randomSplit<Item>(
  dataset: DatasetLike<Item>,
  parts: readonly number[],
  options: RandomSplitOptions = {},
): Subset<Item>[] {
  checkOptions('randomSplit', options, ['generator'])
  const whole = asDataset('randomSplit', dataset)
  const counts = partCounts(parts, whole.length)
  const order = permutation(whole.length, options.generator)
  let from = 0
  return counts.map((count) => new Subset(whole, order.subarray(from, (from += count))))
}

/** A dataset over a plain array, or the dataset itself. Throws a ValueError for anything else. */
export function asDataset<Item>(where: string, dataset: DatasetLike<Item>): Dataset<Item> {
  if (isArray(dataset)) {
    return {
      length: dataset.length,
      get(index) {
        checkIndex(where, index, dataset.length)
        return dataset[index]!
      },
    }
  }
  const { length, get } = (dataset ?? {}) as Partial<Dataset<Item>>
  if (typeof length === 'number' && typeof get === 'function') return dataset
  if ((dataset as unknown) instanceof IterableDataset)
    throw new UnsupportedError(
      `${where}: an IterableDataset has no items by number. Collect its items into an array first`,
    )
  throw new ValueError(
    `${where}: expected a dataset (length and get(index)) or an array, received ${typeof dataset}. Tensors go into new TensorDataset(x, y)`,
  )
}

/** Throws a ShapeError unless 0 <= index < length. */
export function checkIndex(where: string, index: number, length: number): void {
  if (Number.isInteger(index) && index >= 0 && index < length) return
  throw new ShapeError(
    `${where}: there is no item ${index}. Expected a whole number from 0 to ${length - 1}`,
  )
}

/** Array.isArray that knows readonly arrays. */
function isArray<Item>(value: DatasetLike<Item>): value is readonly Item[] {
  return Array.isArray(value)
}

function partCounts(parts: readonly number[], length: number): number[] {
  const fail = (): never => {
    throw new ValueError(
      `randomSplit: the parts [${parts.join(', ')}] do not make up ${length} items. Expected counts that add up to ${length}, or fractions that add up to 1`,
    )
  }
  if (parts.length === 0 || parts.some((part) => !(part >= 0))) fail()
  const total = parts.reduce((sum, part) => sum + part, 0)
  if (total === length && parts.every(Number.isInteger)) return [...parts]
  if (Math.abs(total - 1) > 1e-6) fail()
  const counts = parts.map((part) => Math.floor(part * length + 1e-9))
  let rest = length - counts.reduce((sum, count) => sum + count, 0)
  for (let i = 0; rest > 0; i = (i + 1) % counts.length, rest--) counts[i]!++
  return counts
}
