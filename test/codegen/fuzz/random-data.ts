/** @file Data for random kernels: small whole numbers, fractions, wide ranges, and the values where things go wrong. */
import { dtypes, type DType, type TypedArray } from '../../../src/core/dtype.ts'
import { numberToBfloat, numberToHalf } from '../../../src/core/float16.ts'
import { generator, type Choices } from './choices.ts'

/** What kind of values a buffer holds. Sums of `small` ones are exact in any order. */
export type DataKind = 'small' | 'unit' | 'wide' | 'special'

export const dataKinds: readonly DataKind[] = ['small', 'unit', 'wide', 'special']

// prettier-ignore
const specialFloats = [
  0, -0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, NaN, Infinity, -Infinity, 1e-40, -1e-45, 2 ** -126,
  3.4028234663852886e38, -3.4e38, 65504, 65520, 2 ** 31, -(2 ** 31), 2147483520, 2 ** 63, -(2 ** 63),
  2 ** 24 + 1, 1e-300, 1e300, 0.1, 1 / 3, 88.7, -103.9, 709.9, -745.2, 1e5, 6.5e-8,
]
const specialInts = [
  0, 1, -1, 2, -2, 2147483647, -2147483648, 31, 32, 63, 64, 255, 128, -128, 65536,
]

/** One number of a kind, for floats. */
function floatOf(kind: DataKind, random: () => number): number {
  switch (kind) {
    case 'small':
      return Math.floor(random() * 9) - 4
    case 'unit':
      return random() * 2 - 1
    case 'wide':
      return (random() - 0.5) * 2 ** (random() * 60 - 30)
    case 'special':
      return specialFloats[Math.floor(random() * specialFloats.length)]!
  }
}

function intOf(kind: DataKind, random: () => number): number {
  switch (kind) {
    case 'small':
      return Math.floor(random() * 9) - 4
    case 'unit':
      return Math.floor(random() * 200) - 100
    case 'wide':
      return (random() * 2 ** 32) | 0
    case 'special':
      return specialInts[Math.floor(random() * specialInts.length)]!
  }
}

/** An array of a dtype's storage. */
export function randomData(dtype: DType, length: number, kind: DataKind, seed: number): TypedArray {
  const random = generator(seed + 1)
  const data = new dtypes[dtype].array(new ArrayBuffer(length * dtypes[dtype].bytes))
  for (let i = 0; i < length; i++) {
    if (dtype === 'bool') data[i] = random() < 0.5 ? 0 : 1
    else if (dtype === 'float16') data[i] = numberToHalf(floatOf(kind, random))
    else if (dtype === 'bfloat16') data[i] = numberToBfloat(floatOf(kind, random))
    else if (dtype === 'float32' || dtype === 'float64') data[i] = floatOf(kind, random)
    else if (data instanceof BigInt64Array) {
      const high = kind === 'small' || kind === 'unit' ? 0n : BigInt(intOf(kind, random)) << 32n
      data[i] = high + BigInt(intOf(kind, random))
    } else data[i] = intOf(kind, random)
  }
  return data
}

/** Whole numbers from 0 to below, for indices. */
export function randomIndices(
  dtype: 'int32' | 'int64' | 'uint8',
  length: number,
  below: number,
  seed: number,
): TypedArray {
  const random = generator(seed + 1)
  const data = new dtypes[dtype].array(new ArrayBuffer(length * dtypes[dtype].bytes))
  for (let i = 0; i < length; i++) {
    const value = Math.floor(random() * below)
    if (data instanceof BigInt64Array) data[i] = BigInt(value)
    else data[i] = value
  }
  return data
}

/** A number for a scalar handed over at launch. */
export function randomParam(type: string, choices: Choices): number {
  if (type === 'bool') return choices.below(2)
  if (type === 'i32' || type === 'i64')
    return choices.pick([1, 0, -1, 3, 7, 100, 2147483647, -2147483648])
  return choices.pick([1, 0, -1, 0.75, -0, 3.5, 1e-3, 1e30, NaN, Infinity, -Infinity])
}
