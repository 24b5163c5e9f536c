import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { ValueError } from '../../src/util/errors.ts'
import { drawDigits } from '../../src/vision/synthetic-digits.ts'
import { digitTemplates } from '../../src/vision/synthetic-strokes.ts'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

test('the same bits everywhere', () => {
  const { images, labels } = drawDigits({ count: 100, seed: 7 })
  expect(images.length).toBe(100 * 28 * 28)
  expect(sha256(labels)).toBe('20bcb567ff08a247e5f28a4e79b94c1652d9d4ab8161090a5e5f4a5dc35a27f5')
  expect(sha256(images)).toBe('0c41267cece12afd0b3bdabbd2311d46f5aa0def2ca3a904aec8611176f361bf')
})

test('a larger count only adds images; another seed gives others', () => {
  const few = drawDigits({ count: 25, seed: 3 })
  const many = drawDigits({ count: 60, seed: 3 })
  expect(many.images.slice(0, few.images.length)).toEqual(few.images)
  expect(many.labels.slice(0, 25)).toEqual(few.labels)
  const hashes = [0, 1, -1, 2 ** 32, 2 ** 40].map((seed) =>
    sha256(drawDigits({ count: 10, seed }).images),
  )
  expect(new Set(hashes).size).toBe(5)
})

test('labels are balanced and shuffled', () => {
  const { labels } = drawDigits({ count: 1000, size: 8 })
  const counts = Array.from({ length: 10 }, (_, digit) => labels.filter((l) => l === digit).length)
  expect(counts).toEqual(counts.map(() => 100))
  const tens = Array.from({ length: 100 }, (_, i) => labels.slice(10 * i, 10 * i + 10).join(''))
  expect(new Set(tens).size).toBeGreaterThan(95)
})

test('every image has ink, mostly inside the frame, and paper', () => {
  const { images } = drawDigits({ count: 500, seed: 5 })
  for (let i = 0; i < 500; i++) {
    const image = images.subarray(i * 784, i * 784 + 784)
    const dark = image.filter((grey) => grey > 127).length
    expect(dark).toBeGreaterThan(15)
    expect(dark).toBeLessThan(392)
    const frame = image.filter(
      (grey, p) => grey > 127 && (p < 28 || p >= 756 || p % 28 === 0 || p % 28 === 27),
    )
    expect(frame.length).toBeLessThan(12)
  }
})

test('other sizes', () => {
  expect(
    drawDigits({ count: 2, size: 64 }).images.filter((grey) => grey > 127).length,
  ).toBeGreaterThan(200)
  expect(drawDigits({ count: 0 }).images.length).toBe(0)
})

test('a nearest-mean classifier finds the digits, but not all of them', () => {
  const train = drawDigits({ count: 2000, seed: 1 })
  const means = Array.from({ length: 10 }, () => new Float64Array(784))
  train.images.forEach(
    (grey, i) => (means[train.labels[Math.floor(i / 784)]!]![i % 784]! += grey / 200),
  )
  const unseen = drawDigits({ count: 500, seed: 2 })
  let right = 0
  unseen.labels.forEach((label, i) => {
    const image = unseen.images.subarray(i * 784, i * 784 + 784)
    const distance = means.map((mean) => mean.reduce((sum, m, p) => sum + (m - image[p]!) ** 2, 0))
    if (distance.indexOf(Math.min(...distance)) === label) right++
  })
  expect(right / 500).toBeGreaterThan(0.6)
  expect(right / 500).toBeLessThan(0.95)
})

test('arguments', () => {
  expect(() => drawDigits({ count: -1 })).toThrow(ValueError)
  expect(() => drawDigits({ count: 1.5 })).toThrow(/count is 1.5. Expected a whole number from 0/)
  expect(() => drawDigits({ count: 1, size: 4 })).toThrow(/size is 4/)
  expect(() => drawDigits({ count: 1, seed: NaN })).toThrow(/seed is NaN/)
  expect(() => drawDigits({ count: 1, sed: 1 } as never)).toThrow(/unknown option 'sed'.*'seed'/)
})

test('templates are well formed', () => {
  expect(digitTemplates.length).toBe(10)
  for (const { points, corners, strokes } of digitTemplates.flat()) {
    expect(points.length).toBe(2 * corners.length)
    expect(strokes.at(-1)).toBe(corners.length)
    for (const coordinate of points) expect(coordinate >= 0 && coordinate <= 100).toBe(true)
  }
})
