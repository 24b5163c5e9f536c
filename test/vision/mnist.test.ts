/** @file MNIST as tensors: items, batches and what people are told. */
import { describe, expect, test } from 'vitest'
import { DataLoader } from 'tandem/data'
import { MNIST } from 'tandem/vision'
import type { Tensor } from 'tandem'
import { drawDigits } from '../../src/vision/synthetic-digits.ts'

const drawn = {
  split: 'test',
  download: false,
  cache: 'no-such-folder',
  syntheticCount: 30,
} as const
const { images, labels } = drawDigits({ count: 30, seed: 1 })
const pixelsOf = (i: number) =>
  Array.from(images.subarray(784 * i, 784 * (i + 1)), (v) => Math.fround(v / 255))
const close = (t: Tensor, expected: readonly number[]) => {
  const found = Array.from(t.dataSync(), Number)
  expect(found.length).toBe(expected.length)
  expect(Math.max(...found.map((v, i) => Math.abs(v - expected[i]!)))).toBeLessThan(1e-6)
}

describe('MNIST', () => {
  test('items, batches and whole tensors agree', async () => {
    const digits = await MNIST.load(drawn)
    const [image, label] = digits.get(7)
    expect([image.shape, image.dtype, label.shape, label.dtype]).toEqual([
      [1, 28, 28],
      'float32',
      [],
      'int32',
    ])
    close(image, pixelsOf(7))
    expect(label.itemSync()).toBe(labels[7])
    const [xs, ys] = digits.getBatch(Int32Array.of(3, 7, 3))
    expect([xs.shape, ys.shape]).toEqual([[3, 1, 28, 28], [3]])
    close(xs, [...pixelsOf(3), ...pixelsOf(7), ...pixelsOf(3)])
    expect(digits.images.shape).toEqual([30, 1, 28, 28])
    expect(digits.images.slice(7).toArraySync()).toEqual(image.toArraySync())
    expect(digits.labels.toArraySync()).toEqual([...labels])
  })

  test('batches do not share the memory they were gathered in', async () => {
    const loader = new DataLoader(await MNIST.load(drawn), { batchSize: 10 })
    const batches: Tensor[] = []
    for await (const [x] of loader) batches.push(x)
    batches.forEach((x, i) => close(x.slice(0).reshape([784]), pixelsOf(10 * i)))
  })

  test('normalised pixels', async () => {
    const [image] = (await MNIST.load({ ...drawn, normalize: true })).get(0)
    const found = Array.from(image.dataSync(), Number)
    pixelsOf(0).forEach((v, i) => expect(found[i]).toBeCloseTo((v - 0.1307) / 0.3081, 5))
  })

  test('a position outside is refused', async () => {
    const digits = await MNIST.load(drawn)
    expect(() => digits.get(30)).toThrow(
      /there is no item 30\. Expected a whole number from 0 to 29/,
    )
  })

  test('without a network, drawn digits and a line that says so, soon', async () => {
    const lines: string[] = []
    const digits = await MNIST.load({
      ...drawn,
      download: true,
      onMessage: (line) => lines.push(line),
      // Never answers, like a network that swallows packets.
      fetch: (_url, { signal }) =>
        new Promise((_, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason as Error)),
        ),
    })
    expect(digits.source).toBe('synthetic')
    expect(lines[0]).toBe('Downloading MNIST (test) ...')
    expect(lines[1]).toMatch(
      /^Synthetic digits drawn in code, not MNIST: 30 test .*no answer within 1500 ms/,
    )
    expect(lines.length).toBe(2)
  })
})
