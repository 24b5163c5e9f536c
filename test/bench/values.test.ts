/** @file What the contenders of bench/ are given, and how their results are compared. */

import { describe, expect, test } from 'vitest'
import { describeLayer, outSize, RESNET50 } from '../../bench/resnet-layers.ts'
import { agrees, labels, sampleOf, values } from '../../bench/values.ts'

test('values follow the formula in their comment', () => {
  const expected = Array.from(
    { length: 5000 },
    (_, i) => (((7919 * i + 104729 * 3) % 1009) - 504) / 512,
  )
  expect([...values(5000, 3)]).toEqual(expected)
})

test('samples reach from the first element to the last', () => {
  expect(sampleOf([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])).toEqual([0, 2, 4, 6, 8, 10, 12])
  expect(sampleOf([5])).toEqual(new Array(7).fill(5))
})

test('samples agree up to rounding', () => {
  expect(agrees([1000, 0], [1001, 0.9])).toBe(true)
  expect(agrees([1000, 0], [1003, 0])).toBe(false)
  expect(agrees([1], [1, 1])).toBe(false)
  expect(agrees([NaN], [1])).toBe(false)
})

test('labels are classes', () => {
  expect(new Set(labels(100, 10))).toEqual(new Set([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]))
})

describe('the layers of ResNet-50', () => {
  test('are 23', () => {
    expect(RESNET50).toHaveLength(23)
    expect(describeLayer(RESNET50[0]!)).toBe('3 -> 64, 7x7 /2 on 224x224')
  })

  test('fit together', () => {
    expect(outSize(RESNET50[0]!)).toBe(112)
    const shapes = RESNET50.map((layer) => `${layer.outChannels} ${outSize(layer)}`)
    for (const shape of ['256 56', '512 28', '1024 14', '2048 7']) expect(shapes).toContain(shape)
  })
})
