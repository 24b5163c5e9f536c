import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { FormatError, ValueError } from '../../src/util/errors.ts'
import { MNIST } from '../../src/vision/index.ts'

const imagesOf = (count: number) =>
  Uint8Array.of(0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 2, 0, 0, 0, 2, ...new Uint8Array(4 * count))
const labelsOf = (...labels: number[]) =>
  Uint8Array.of(0, 0, 8, 1, 0, 0, 0, labels.length, ...labels)
const file = (bytes: Uint8Array, name: string) => new File([bytes as BlobPart], name)

test('reads a pair of files, gzipped or not', async () => {
  const digits = await MNIST.fromFiles({
    split: 'test',
    images: file(gzipSync(imagesOf(3)), 'pictures.gz'),
    labels: file(labelsOf(5, 0, 9), 'labels'),
  })
  expect([digits.length, digits.source]).toEqual([3, 'files'])
  expect(digits.images.shape).toEqual([3, 1, 2, 2])
  expect(await digits.labels.toArray()).toEqual([5, 0, 9])
  expect(digits.description).toBe('MNIST test: 3 images of 2 x 2, from files')
})

test('normalizes on request', async () => {
  const files = {
    split: 'train',
    images: new Blob([imagesOf(1) as BlobPart]),
    labels: new Blob([labelsOf(1) as BlobPart]),
  } as const
  const digits = await MNIST.fromFiles(files, { normalize: true })
  expect(await digits.images.mean().item()).toBeCloseTo(-0.4242, 3)
  const wrong = { normalise: true } as object
  await expect(MNIST.fromFiles(files, wrong)).rejects.toThrow(ValueError)
})

test('names the files that do not belong together, or are of the wrong kind', async () => {
  const images = file(imagesOf(2), 'a-images')
  const labels = file(labelsOf(1, 2, 3), 'b-labels')
  await expect(MNIST.fromFiles({ split: 'train', images, labels })).rejects.toThrow(
    'a-images has 2 images, b-labels 3 labels',
  )
  const swapped = MNIST.fromFiles({ split: 'train', images: labels, labels: images })
  await expect(swapped).rejects.toThrow(FormatError)
  await expect(swapped).rejects.toThrow('b-labels holds uint8 with 1 axes. Expected uint8 with 3')
})
