/** @file Datasets made of others, random splits, and collating. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Generator, tensor, type Tensor } from 'tandem'
import { collate, ConcatDataset, MapDataset, randomSplit, Subset, TensorDataset } from 'tandem/data'

const numbers = (n: number) => Array.from({ length: n }, (_, i) => i)
const itemsOf = <T>({ length, get }: { length: number; get(i: number): T }, self: unknown) =>
  Array.from({ length }, (_, i) => get.call(self, i) as T)
const all = <T>(dataset: { length: number; get(i: number): T }) => itemsOf(dataset, dataset)

describe('datasets of datasets', () => {
  test('a subset, a concatenation and a map', async () => {
    expect(all(new Subset([5, 6, 7], [2, 0, 2]))).toEqual([7, 5, 7])
    expect(all(new ConcatDataset([[1], [], [2, 3]]))).toEqual([1, 2, 3])
    expect(all(new MapDataset([1, 2], (x, i) => x * 10 + i))).toEqual([10, 21])
    const later = { length: 1, get: () => Promise.resolve(4) }
    expect(await new MapDataset(later, (x) => x + 1).get(0)).toBe(5)
  })

  test('a subset of tensors is gathered as quickly as the whole', () => {
    const whole = new TensorDataset(tensor([10, 11, 12, 13]))
    const part = new Subset(whole, [3, 1])
    const [x] = part.getBatch!(Int32Array.of(0, 1)) as [Tensor]
    expect(x.toArraySync()).toEqual([13, 11])
  })

  test('a position outside is refused', () => {
    expect(() => new Subset([1, 2], [2])).toThrow(/no item 2\. Expected a whole number from 0 to 1/)
    expect(() => new ConcatDataset([[1]]).get(1)).toThrow(/no item 1/)
    expect(() => new TensorDataset(tensor([1])).get(-1)).toThrow(/no item -1/)
  })

  test('tensors of different lengths are refused', () => {
    expect(() => new TensorDataset(tensor([1, 2]), tensor([1]))).toThrow(/differ in length/)
    expect(() => new TensorDataset(tensor(1))).toThrow(/differ in length|axes/)
    expect(() => new TensorDataset()).toThrow(/no tensors/)
  })
})

describe('randomSplit', () => {
  test('shares nothing, loses nothing, and depends on the seed only', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.integer(),
        (length, fraction, seed) => {
          const parts = [fraction, 1 - fraction]
          const [a, b] = randomSplit(numbers(length), parts, {
            generator: new Generator(seed),
          }) as [Subset<number>, Subset<number>]
          expect([...all(a), ...all(b)].toSorted((p, q) => (p as number) - (q as number))).toEqual(
            numbers(length),
          )
          expect(Math.abs(a.length - fraction * length)).toBeLessThan(1.001)
          expect(
            all(randomSplit(numbers(length), parts, { generator: new Generator(seed) })[0]!),
          ).toEqual(all(a))
        },
      ),
    )
  })

  test('takes counts', () => {
    expect(randomSplit(numbers(10), [7, 2, 1]).map((part) => part.length)).toEqual([7, 2, 1])
    expect(randomSplit(numbers(10), [1 / 3, 1 / 3, 1 / 3]).map((part) => part.length)).toEqual([
      4, 3, 3,
    ])
  })

  test.each([[[3, 3]], [[0.5, 0.4]], [[]], [[-1, 2]]])('refuses %j', (parts) => {
    expect(() => randomSplit(numbers(10), parts)).toThrow(/do not make up 10 items/)
  })
})

describe('collate', () => {
  test('tensors, numbers, booleans, text, lists and objects', () => {
    const batch = collate([
      { x: tensor([1, 2]), y: 1, on: true, name: 'a', pair: [1, tensor(3)] as const },
      { x: tensor([3, 4]), y: 2, on: false, name: 'b', pair: [2, tensor(4)] as const },
    ])
    expect(batch.x.toArraySync()).toEqual([
      [1, 2],
      [3, 4],
    ])
    expect(batch.y.dtype).toBe('float32')
    expect(batch.on.dtype).toBe('bool')
    expect(batch.name).toEqual(['a', 'b'])
    expect(batch.pair[1].toArraySync()).toEqual([3, 4])
    expect(collate([Int32Array.of(1), Int32Array.of(2)]).dtype).toBe('int32')
    expect(collate([tensor([1], { dtype: 'uint8' })]).dtype).toBe('uint8')
  })

  test('what does not fit together is named', () => {
    expect(() => collate([])).toThrow(/no items/)
    expect(() => collate([1, 'a'])).toThrow(/item 1 of the batch is .*, item 0 is a number/)
    expect(() => collate([tensor([1]), tensor([1, 2])])).toThrow(
      /item 1 .*shape \[2\], item 0 \[1\]/,
    )
    expect(() => collate([[1], [1, 2]])).toThrow(/item 1 of the batch has 2 parts, item 0 has 1/)
    expect(() => collate([{ a: 1 }, { b: 1 }])).toThrow(/item 1/)
  })
})
