/** @file DataLoader: every item once an epoch, orders by seed, fetching ahead, errors at their place. */
import fc from 'fast-check'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { tensor, type Tensor } from 'tandem'
import { DataLoader, IterableDataset, TensorDataset, type Dataset } from 'tandem/data'

const numbers = (n: number) => Array.from({ length: n }, (_, i) => i)
const asList = (items: number[]) => items
const list = (n: number, options = {}) =>
  new DataLoader(numbers(n), { ...options, collate: asList })

async function collect<T>(loader: AsyncIterable<T>): Promise<T[]> {
  const batches: T[] = []
  for await (const batch of loader) batches.push(batch)
  return batches
}

/** Items after a while, out of order; counts how many are being fetched. */
class Slow implements Dataset<number> {
  started: number[] = []
  underway = 0
  most = 0
  readonly length: number
  readonly fails: number
  constructor(length: number, fails = -1) {
    this.length = length
    this.fails = fails
  }
  async get(index: number): Promise<number> {
    this.started.push(index)
    this.most = Math.max(this.most, ++this.underway)
    await sleep(1 + ((index * 7) % 5))
    this.underway--
    if (index === this.fails) throw new Error(`item ${index} is broken`)
    return index
  }
}

describe('batches', () => {
  test('every item once per epoch, whatever the options', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(60),
        fc.integer({ min: 1, max: 20 }),
        fc.boolean(),
        fc.boolean(),
        fc.integer(),
        async (length, batchSize, shuffle, dropLast, seed) => {
          const loader = list(length, { batchSize, shuffle, dropLast, seed })
          const batches = await collect(loader)
          const seen = batches.flat()
          const expected = dropLast ? length - (length % batchSize) : length
          expect(batches.length).toBe(loader.length)
          expect(seen.length).toBe(expected)
          expect(new Set(seen).size).toBe(expected)
          expect(batches.slice(0, -1).every((batch) => batch.length === batchSize)).toBe(true)
          if (!shuffle) expect(seen).toEqual(numbers(expected))
        },
      ),
      { numRuns: 100 },
    )
  })

  test('the same seed gives the same orders, a new one each epoch', async () => {
    const options = { batchSize: 7, shuffle: true, seed: 3 }
    const [one, two] = [list(50, options), list(50, options)]
    const epochs = [await collect(one), await collect(one)]
    expect([await collect(two), [...two]]).toEqual(epochs)
    expect(epochs[0]).not.toEqual(epochs[1])
    expect(await collect(list(50, { ...options, seed: 4 }))).not.toEqual(epochs[0])
    two.epoch = 0
    expect([...two]).toEqual(epochs[0])
  })

  test('shuffles evenly', () => {
    const counts = numbers(16).map(() => 0)
    for (let seed = 0; seed < 4000; seed++) {
      const [[a, b]] = [...list(4, { batchSize: 2, shuffle: true, seed })] as [number[]]
      counts[a! * 4 + b!]!++
    }
    const fair = 4000 / 12
    counts.forEach((count, i) => {
      if (i % 5 === 0) expect(count).toBe(0)
      else expect(Math.abs(count - fair)).toBeLessThan(5 * Math.sqrt(fair))
    })
  })

  test('gathers the rows of tensors as collating the items would', async () => {
    const x = tensor(numbers(20).map((i) => [i, i + 0.5]))
    const y = tensor(numbers(20), { dtype: 'int32' })
    const options = { batchSize: 6, shuffle: true, seed: 1 }
    const fast = await collect(new DataLoader(new TensorDataset(x, y), options))
    const { length, get } = new TensorDataset(x, y)
    const dataset = { tensors: [x, y], length, get } as unknown as Dataset<[Tensor, Tensor]>
    const slow = await collect(new DataLoader(dataset, options))
    expect(fast.map(([a, b]) => [a.toArraySync(), b.toArraySync(), b.dtype])).toEqual(
      slow.map(([a, b]) => [a.toArraySync(), b.toArraySync(), b.dtype]),
    )
    expect(fast[0]![1].dtype).toBe('int32')
  })

  test('a filled epoch of nothing', async () => {
    expect(await collect(list(0))).toEqual([])
    expect([...list(0, { shuffle: true })]).toEqual([])
  })
})

describe('fetching ahead', () => {
  test('overlaps and keeps the order', async () => {
    const dataset = new Slow(12)
    const loader = new DataLoader(dataset, { batchSize: 2, prefetch: 2, collate: asList })
    expect((await collect(loader)).flat()).toEqual(numbers(12))
    // The batch that is due, and two more.
    expect(dataset.most).toBe(6)
  })

  test('prefetch 0 fetches one batch at a time', async () => {
    const dataset = new Slow(6)
    await collect(new DataLoader(dataset, { batchSize: 2, prefetch: 0, collate: asList }))
    expect(dataset.most).toBe(2)
  })

  test('an error comes when its batch is due', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(9), fc.nat(4), async (fails, prefetch) => {
        const loader = new DataLoader(new Slow(10, fails), { prefetch, collate: asList })
        const seen: number[] = []
        const run = async () => {
          for await (const [item] of loader) seen.push(item!)
        }
        await expect(run()).rejects.toThrow(`item ${fails} is broken`)
        expect(seen).toEqual(numbers(fails))
      }),
      { numRuns: 20 },
    )
  })

  test('an error thrown at once, between promises, waits for its turn too', async () => {
    const dataset = {
      length: 5,
      get(index: number) {
        if (index === 3) throw new Error('item 3 is broken')
        return index === 1 ? index : sleep(1, index)
      },
    }
    const seen: number[] = []
    const run = async () => {
      for await (const [item] of new DataLoader(dataset, { collate: asList })) seen.push(item!)
    }
    await expect(run()).rejects.toThrow('item 3 is broken')
    expect(seen).toEqual([0, 1, 2])
  })

  test('leaving early stops the fetching, and failures under way harm nobody', async () => {
    const dataset = new Slow(100, 2)
    for await (const [item] of new DataLoader(dataset, { prefetch: 3, collate: asList }))
      if (item === 0) break
    await sleep(20)
    expect(dataset.started).toEqual([0, 1, 2, 3])
    expect(dataset.underway).toBe(0)
  })

  test('plain iteration asks for await', () => {
    expect(() => [...new DataLoader(new Slow(2))]).toThrow(/for await/)
  })
})

describe('streams', () => {
  const three = function* () {
    yield* [1, 2, 3]
  }
  const later = async function* () {
    for (const i of [1, 2, 3]) yield await sleep(1, i)
  }

  test('batches what comes, both ways, again and again', async () => {
    const loader = new DataLoader(new IterableDataset(three), { batchSize: 2, collate: asList })
    expect([...loader]).toEqual([[1, 2], [3]])
    expect(await collect(loader)).toEqual([[1, 2], [3]])
    const slow = new DataLoader(new IterableDataset(later), {
      batchSize: 2,
      dropLast: true,
      collate: asList,
    })
    expect(await collect(slow)).toEqual([[1, 2]])
    expect(() => [...slow]).toThrow(/for await/)
    expect(() => slow.length).toThrow(/not known/)
  })

  test('ends the stream when the loop is left', async () => {
    let ended = 0
    const endless = function* () {
      try {
        while (true) yield 1
      } finally {
        ended++
      }
    }
    const loader = new DataLoader(new IterableDataset(endless), { collate: asList })
    for (const _ of loader) break
    for await (const _ of loader) break
    expect(ended).toBe(2)
  })

  test('cannot be shuffled', () => {
    expect(() => new DataLoader(new IterableDataset(three), { shuffle: true })).toThrow(/own order/)
  })
})

test('lets timers have their turn during a long epoch', async () => {
  let ticks = 0
  const timer = setInterval(() => ticks++, 10)
  const busy = { length: 40, get: (i: number) => spin(10, i) }
  for await (const _ of new DataLoader(busy, { collate: asList })) continue
  clearInterval(timer)
  expect(ticks).toBeGreaterThan(3)
})

function spin<T>(milliseconds: number, value: T): T {
  const end = performance.now() + milliseconds
  while (performance.now() < end) continue
  return value
}

test.each([
  [{ batchSize: 0 }, /batchSize is 0\. Expected a whole number of at least 1/],
  [{ batchSize: 1.5 }, /batchSize is 1\.5/],
  [{ batchSize: '8' as unknown as number }, /batchSize is 8/],
  [{ prefetch: -1 }, /prefetch is -1/],
  [{ shuffle: 1 as unknown as boolean }, /shuffle is 1/],
  [{ seed: 0.5 }, /seed is 0\.5/],
  [{ collate: 3 as unknown as (items: number[]) => number[] }, /collate must be a function/],
  [{ batchsize: 3 } as object, /unknown option 'batchsize'.*did you mean 'batchSize'/],
])('refuses %j', (options, message) => {
  expect(() => new DataLoader(numbers(3), options)).toThrow(message)
})

test('refuses what is no dataset', () => {
  expect(() => new DataLoader(tensor([1, 2]) as never)).toThrow(/new TensorDataset/)
  expect(() => new DataLoader(undefined as never)).toThrow(/expected a dataset/)
})
