/** @file Reads what PyTorch recorded, makes Tandem's tensors of it and compares: see test/fixtures/README.md. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromTypedArray, tensor, type DType, type Tensor } from 'tandem'

/** A JSON element: what JSON cannot say is a string ("NaN", "Infinity", a large int64). */
export type Element = number | boolean | string

export interface Recorded {
  readonly shape: readonly number[]
  readonly data: readonly Element[]
  readonly dtype?: DType
  /** The gradient expected of an input. */
  readonly grad?: readonly Element[]
}

/**
 * How near is near: `near` is 1e-5 relative or 1e-6 absolute; `specials` 2e-6 relative, and zeros
 * keep their sign; `magnitudes` the same, but for the sign of zeros and subnormal results; `bits` is equality.
 */
export type Exactness = 'near' | 'specials' | 'magnitudes' | 'bits'

export function readFixture<T>(name: string): T {
  const path = join(import.meta.dirname, '../fixtures/torch', `${name}.json`)
  return JSON.parse(readFileSync(path, 'utf8')) as T
}

export const isRecorded = (x: unknown): x is Recorded =>
  typeof x === 'object' && x !== null && 'shape' in x && 'data' in x

export function toTensor({ shape, data, dtype = 'float32' }: Recorded, device?: string): Tensor {
  const options = device === undefined ? { dtype } : { dtype, device }
  if (dtype === 'int64')
    return fromTypedArray(
      BigInt64Array.from(data, (v) => BigInt(v)),
      shape,
      options,
    )
  if (dtype === 'bool') return tensor([...(data as boolean[])], options).reshape(shape)
  return fromTypedArray(Float64Array.from(data, Number), shape, options)
}

/** The gradient handed to an output: the same formula as in the recorder. */
export function upstream(t: Tensor): Tensor {
  const values = Float64Array.from({ length: t.size }, (_, i) => (((7 * i) % 11) - 5) / 4)
  return fromTypedArray(values, t.shape, { dtype: t.dtype, device: t.device })
}

/** What differs, in words; undefined when nothing does. */
export function difference(
  what: string,
  actual: Tensor,
  expected: Recorded,
  exactness: Exactness = 'near',
): string | undefined {
  const dtype = expected.dtype ?? 'float32'
  if (actual.dtype !== dtype) return `${what}: dtype ${actual.dtype}, PyTorch ${dtype}`
  if (actual.shape.join() !== expected.shape.join())
    return `${what}: shape [${actual.shape.join(', ')}], PyTorch [${expected.shape.join(', ')}]`
  return valueDifference(what, actual, expected.data, exactness)
}

/** As `difference`, for values alone. */
export function valueDifference(
  what: string,
  actual: Tensor,
  expected: readonly Element[],
  exactness: Exactness = 'near',
): string | undefined {
  const values = actual.dataSync()
  const isSingle = values instanceof Float32Array
  const wrong: string[] = []
  for (let i = 0; i < expected.length; i++) {
    const e = typeof values[i] === 'bigint' ? BigInt(expected[i]!) : Number(expected[i])
    // Nine digits name a float32; the nearest one is meant.
    if (!isSame(values[i]!, isSingle ? Math.fround(Number(e)) : e, exactness))
      wrong.push(`[${i}] ${show(values[i]!)}, PyTorch ${show(e)}`)
  }
  if (wrong.length === 0) return undefined
  const shown = wrong.slice(0, 6).join('; ')
  return `${what}: ${wrong.length} of ${expected.length} differ: ${shown}`
}

function isSame(a: number | bigint, e: number | bigint, exactness: Exactness): boolean {
  if (typeof a === 'bigint' || typeof e === 'bigint') return a === e
  if (exactness === 'bits' || !Number.isFinite(e)) return Object.is(a, e)
  if (exactness === 'near') return Math.abs(a - e) <= 1e-6 + 1e-5 * Math.abs(e)
  const near = 2e-6 * Math.abs(e)
  if (exactness === 'magnitudes') return Math.abs(a - e) <= near + smallestNormal
  // The last term is one step of the subnormal numbers.
  return e === 0 ? Object.is(a, e) : Math.abs(a - e) <= near + 1.5e-45
}

/** Of float32. */
const smallestNormal = 2 ** -126

const show = (v: number | bigint): string => (Object.is(v, -0) ? '-0' : String(v))
