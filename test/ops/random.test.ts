/** @file Random streams: published vectors, the same bits everywhere, and distributions that are what they say. */
import { describe, expect, test } from 'vitest'
import {
  dropout,
  Generator,
  manualSeed,
  noGrad,
  ones,
  rand,
  randint,
  randn,
  randperm,
  tensor,
  uniform,
  ValueError,
  type DType,
} from 'tandem'
import { ExprBuilder } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'
import { permutation } from '../../src/tensor/random.ts'
import { threefryExpr, threefryOf, type Words } from '../../src/tensor/threefry.ts'
import { runInterpreted, runWasm } from '../codegen/run-group.ts'
import { readableBackends } from '../devices.ts'

// Known answers of Random123's threefry2x32 with 20 rounds: counter, key, words.
const known: [Words<number>, Words<number>, Words<number>][] = [
  [
    [0, 0],
    [0, 0],
    [0x6b200159, 0x99ba4efe],
  ],
  [
    [0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    [0x1cb996fc, 0xbb002be7],
  ],
  [
    [0x243f6a88, 0x85a308d3],
    [0x13198a2e, 0x03707344],
    [0xc4923a9c, 0x483df7a0],
  ],
]
const signed = ([a, b]: Words<number>): Words<number> => [a | 0, b | 0]

describe('Threefry gives the published words', () => {
  test.each(known)('of counter %j and key %j', (counter, key, words) => {
    expect(threefryOf(signed(key), signed(counter))).toEqual(signed(words))
  })

  test.each(known)('in kernels, of counter %j and key %j', (counter, key, words) => {
    const s = new ExprBuilder()
    const i = s.axis(5)
    const param = (slot: number) => s.convert(s.param('f64', slot), 'i32')
    // Every lane of a vector computes the same.
    const same = s.mul(s.at(i), 0)
    const values = threefryExpr(s, [param(0), param(1)], [s.add(param(2), same), param(3)])
    const group: Group = {
      name: 'threefry',
      axes: [i],
      buffers: [
        { dtype: 'int32', access: 'write' },
        { dtype: 'int32', access: 'write' },
      ],
      stores: values.map((value, buffer) => ({
        buffer,
        index: { offset: 0, terms: [{ index: s.at(i), stride: 1 }] },
        value,
      })),
      checks: [],
      params: ['f64', 'f64', 'f64', 'f64'],
      sizeCount: 0,
    }
    const run = {
      buffers: [new Int32Array(5), new Int32Array(5)],
      params: [...signed(key), ...signed(counter)],
    }
    for (const { buffers } of [runInterpreted(group, run), runWasm(s, group, run)])
      expect(buffers.map((b) => [...b])).toEqual(signed(words).map((w) => Array(5).fill(w)))
  })
})

describe('streams', () => {
  const dtypes: DType[] = ['float32', 'float64', 'float16', 'bfloat16']

  test.each(dtypes)('of %s are the same bits on every backend', (dtype) => {
    const draw = (device: string) => {
      const generator = new Generator(-3)
      const options = { dtype, device, generator }
      return [rand([7, 11], options), uniform([5], { ...options, low: -1 })].map((t) => [
        ...t.dataSync(),
      ])
    }
    for (const device of readableBackends) expect(draw(device), device).toEqual(draw('reference'))
  })

  test('do not depend on how they are cut into draws', () => {
    const whole = rand([10], { generator: new Generator(1) })
    const generator = new Generator(1)
    const parts = [rand([4], { generator }), rand([2, 3], { generator })]
    expect(parts.flatMap((t) => [...t.dataSync()])).toEqual([...whole.dataSync()])
  })

  test('of different seeds differ, negative and large ones too', () => {
    const seeds = [0, 1, -1, 2 ** 32, -(2 ** 32), Number.MAX_SAFE_INTEGER]
    const draws = seeds.map((seed) => `${rand([4], { generator: new Generator(seed) })}`)
    expect(new Set(draws).size).toBe(seeds.length)
  })

  test('start again with their seed, and go on from a state', () => {
    manualSeed(3)
    const a = `${randn([3])}`
    const next = `${randn([3])}`
    manualSeed(3)
    expect(`${randn([3])}`).toBe(a)
    const generator = new Generator(3)
    randn([3], { generator })
    const state = JSON.parse(JSON.stringify(generator.getState())) as {
      seed: number
      counter: number
    }
    const other = new Generator()
    other.setState(state)
    expect(state).toEqual({ seed: 3, counter: 3 })
    expect(`${randn([3], { generator: other })}`).toBe(next)
  })

  test('go on behind a multiple of 2^32 rather than across it', () => {
    const generator = new Generator()
    generator.setState({ seed: 0, counter: 2 ** 32 - 3 })
    expect(generator.draw(3)).toEqual([0, 0, -3, 0])
    generator.setState({ seed: 0, counter: 2 ** 32 - 3 })
    expect(generator.draw(4)).toEqual([0, 0, 0, 1])
    expect(generator.getState().counter).toBe(2 ** 32 + 4)
  })

  test.each([1.5, NaN, 2 ** 53, '3', undefined])('refuse the seed %s', (seed) => {
    if (seed !== undefined) expect(() => new Generator(seed as number)).toThrow(ValueError)
    expect(() => manualSeed(seed as number)).toThrow(/a seed is a whole number up to 2\^53 - 1/)
  })
})

describe('distributions', () => {
  const n = 50_000
  /** Largest distance between the distribution of a sample and the one it should have (Kolmogorov, Smirnov). */
  function distance(sample: ArrayLike<number>, cumulative: (x: number) => number): number {
    const sorted = Float64Array.from(sample).sort()
    let largest = 0
    sorted.forEach((x, i) => {
      const expected = cumulative(x)
      const off = Math.max(Math.abs(i / n - expected), Math.abs((i + 1) / n - expected))
      largest = Math.max(largest, off)
    })
    return largest
  }
  // Exceeded by one sample in a million.
  const critical = 2.69 / Math.sqrt(n)
  const generator = new Generator(11)

  test('rand is uniform and never 1', () => {
    const x = rand([n], { generator }).dataSync() as Float32Array
    expect(distance(x, (v) => v)).toBeLessThan(critical)
    expect(Math.min(...x)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...x)).toBeLessThan(1)
  })

  test.each(['float16', 'bfloat16'] as const)('rand of %s never rounds to 1', (dtype) => {
    expect(rand([n], { generator, dtype }).max().itemSync()).toBeLessThan(1)
  })

  test('uniform stays inside a range that rounding would leave', () => {
    const [low, high] = [2 ** 24, 2 ** 24 + 2]
    expect(uniform([n], { low, high, generator }).max().itemSync()).toBeLessThan(high)
  })

  test.each(['float32', 'float64'] as const)('randn of %s is normal', (dtype) => {
    const x = randn([n], { generator, dtype })
    const phi = (v: number) =>
      tensor(v / Math.SQRT2, { dtype: 'float64' })
        .erf()
        .itemSync()
    // One erf per element would be slow: 1 in 10 is enough.
    const some = (x.dataSync() as Float64Array).filter((_, i) => i % 10 === 0)
    const sorted = Float64Array.from(some).sort()
    const off = sorted.map((v, i) => Math.abs((i + 0.5) / sorted.length - (1 + phi(v)) / 2))
    expect(Math.max(...off)).toBeLessThan(2.69 / Math.sqrt(sorted.length))
    expect(Math.abs(x.mean().itemSync())).toBeLessThan(5 / Math.sqrt(n))
    expect(Math.abs(x.variance().itemSync() - 1)).toBeLessThan((5 * Math.SQRT2) / Math.sqrt(n))
  })

  test('randint reaches every value evenly', () => {
    const counts = new Array<number>(7).fill(0)
    for (const v of randint(-3, 4, [n], { generator }).dataSync()) counts[Number(v) + 3]!++
    const expected = n / 7
    const chiSquare = counts.reduce((a, c) => a + (c - expected) ** 2 / expected, 0)
    expect(chiSquare).toBeLessThan(35) // 6 degrees of freedom: one in 200,000
  })

  test('neighbouring elements do not correlate', () => {
    const x = rand([n], { generator }).sub(0.5)
    const product =
      x
        .slice([1])
        .mul(x.slice([0, -1]))
        .mean()
        .itemSync() * 12
    expect(Math.abs(product)).toBeLessThan(5 / Math.sqrt(n))
  })

  test('permutations hold every number once, and every order comes up', () => {
    expect([...permutation(1000, generator)].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 1000 }, (_, i) => i),
    )
    const counts = new Map<string, number>()
    for (let i = 0; i < 6000; i++) {
      const order = permutation(3, generator).join()
      counts.set(order, (counts.get(order) ?? 0) + 1)
    }
    expect(counts.size).toBe(6)
    expect(Math.min(...counts.values())).toBeGreaterThan(850)
    expect(`${randperm(3, { generator: new Generator(1), dtype: 'int64' })}`).toContain('int64')
  })
})

describe('dropout', () => {
  test('keeps the mean, and its gradient has the same zeros', () => {
    const x = ones([20_000]).requireGrad()
    const y = dropout(x, { p: 0.3, generator: new Generator(5) })
    y.sum().backward()
    expect([...x.grad!.dataSync()]).toEqual([...y.dataSync()])
    expect(Math.abs(noGrad(() => y.mean().itemSync()) - 1)).toBeLessThan(0.025)
  })

  test('is nothing at all without training or with p = 0', () => {
    const x = ones([3])
    expect(dropout(x, { training: false })).toBe(x)
    expect(dropout(x, { p: 0 })).toBe(x)
  })

  test('draws anew on every call, and the same after the same seed', () => {
    const x = ones([100])
    manualSeed(1)
    const first = `${dropout(x)}`
    expect(`${dropout(x)}`).not.toBe(first)
    manualSeed(1)
    expect(`${dropout(x)}`).toBe(first)
  })
})
