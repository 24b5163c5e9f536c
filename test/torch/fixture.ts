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
  readonly grad?: Values
  /** The gradient of the gradients of all inputs, weighted as outputs are. */
  readonly second?: readonly Element[]
}

/** A large input, made by a formula on both sides. */
export interface Generated {
  readonly shape: readonly number[]
  readonly seed: number
  readonly grad?: Values
}

/** Every so-many-th element of a large result, and a weighted sum of all. */
export interface Sample {
  readonly step: number
  readonly data: readonly Element[]
  readonly checksum: number
}

export type Values = readonly Element[] | Sample
export type Expected =
  Recorded | (Sample & { readonly shape: readonly number[]; readonly dtype?: DType })

/**
 * How near is near: `near` is 1e-5 relative or 1e-6 absolute; `scaled` the same, but absolute to the largest
 * element, for sums of hundreds of terms and for chains of layers, where small results are left of large
 * ones that cancel (PyTorch's own float32 is off by as much); `double` 1e-7, as far as eight digits reach; `specials` 2e-6 relative, and zeros
 * keep their sign; `magnitudes` the same, but for the sign of zeros and subnormal results; `bits` is equality.
 */
export type Exactness = 'near' | 'scaled' | 'double' | 'specials' | 'magnitudes' | 'bits'

export function readFixture<T>(name: string): T {
  const path = join(import.meta.dirname, '../fixtures/torch', `${name}.json`)
  return JSON.parse(readFileSync(path, 'utf8')) as T
}

export const isRecorded = (x: unknown): x is Recorded =>
  typeof x === 'object' && x !== null && 'shape' in x && 'data' in x

export const isGenerated = (x: unknown): x is Generated =>
  typeof x === 'object' && x !== null && 'shape' in x && 'seed' in x

export function toTensor(recorded: Recorded | Generated, device?: string): Tensor {
  const { shape } = recorded
  const { data, dtype = 'float32' } = 'seed' in recorded ? { data: formula(recorded) } : recorded
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

// Both formulas stand in the recorder too.
const formula = ({ shape, seed }: Generated): number[] =>
  Array.from(
    { length: shape.reduce((a, b) => a * b, 1) },
    (_, i) => (((7919 * i + 104729 * seed) % 1009) - 504) / 512,
  )
const upstreamAt = (i: number): number => (((7 * i) % 11) - 5) / 4

/** The gradient handed to an output. */
export function upstream(t: Tensor): Tensor {
  const values = Float64Array.from({ length: t.size }, (_, i) => upstreamAt(i))
  return fromTypedArray(values, t.shape, { dtype: t.dtype, device: t.device })
}

/** What differs, in words; undefined when nothing does. */
export function difference(
  what: string,
  actual: Tensor,
  expected: Expected,
  exactness: Exactness = 'near',
): string | undefined {
  const dtype = expected.dtype ?? 'float32'
  if (actual.dtype !== dtype) return `${what}: dtype ${actual.dtype}, PyTorch ${dtype}`
  if (actual.shape.join() !== expected.shape.join())
    return `${what}: shape [${actual.shape.join(', ')}], PyTorch [${expected.shape.join(', ')}]`
  return valueDifference(what, actual, 'step' in expected ? expected : expected.data, exactness)
}

/** As `difference`, for values alone. */
export function valueDifference(
  what: string,
  actual: Tensor,
  recorded: Values,
  exactness: Exactness = 'near',
): string | undefined {
  let values = actual.dataSync()
  let expected = recorded as readonly Element[]
  if ('step' in recorded) {
    const wrongSum = checksumDifference(values as Float32Array, recorded.checksum)
    if (wrongSum !== undefined) return `${what}: ${wrongSum}`
    expected = recorded.data
    values = (values as Float32Array).filter((_, i) => i % recorded.step === 0)
    if (exactness === 'near') exactness = 'scaled'
  }
  const scale =
    exactness === 'scaled'
      ? expected.reduce<number>((a, v) => Math.max(a, Math.abs(Number(v))), 1)
      : 1
  const isSingle = values instanceof Float32Array
  const wrong: string[] = []
  for (let i = 0; i < expected.length; i++) {
    const e = typeof values[i] === 'bigint' ? BigInt(expected[i]!) : Number(expected[i])
    // Nine digits name a float32; the nearest one is meant.
    if (!isSame(values[i]!, isSingle ? Math.fround(Number(e)) : e, exactness, scale))
      wrong.push(`[${i}] ${show(values[i]!)}, PyTorch ${show(e)}`)
  }
  if (wrong.length === 0) return undefined
  const shown = wrong.slice(0, 6).join('; ')
  return `${what}: ${wrong.length} of ${expected.length} differ: ${shown}`
}

// Rounding errors of single elements mostly cancel: a weighted sum tells one wrong element of many.
function checksumDifference(values: Float32Array, expected: number): string | undefined {
  let sum = 0
  let size = 0
  values.forEach((v, i) => {
    sum += v * upstreamAt(i)
    size += Math.abs(v * upstreamAt(i))
  })
  if (Math.abs(sum - expected) <= 1e-6 * (1 + size)) return undefined
  return `weighted sum of all elements ${sum}, PyTorch ${expected}`
}

function isSame(
  a: number | bigint,
  e: number | bigint,
  exactness: Exactness,
  scale: number,
): boolean {
  if (typeof a === 'bigint' || typeof e === 'bigint') return a === e
  if (exactness === 'bits' || !Number.isFinite(e)) return Object.is(a, e)
  if (exactness === 'double') return Math.abs(a - e) <= 1e-7 * (1 + Math.abs(e))
  if (exactness === 'near' || exactness === 'scaled')
    return Math.abs(a - e) <= 1e-6 * scale + 1e-5 * Math.abs(e)
  const near = 2e-6 * Math.abs(e)
  if (exactness === 'magnitudes') return Math.abs(a - e) <= near + smallestNormal
  // The last term is one step of the subnormal numbers.
  return e === 0 ? Object.is(a, e) : Math.abs(a - e) <= near + 1.5e-45
}

/** Of float32. */
const smallestNormal = 2 ** -126

const show = (v: number | bigint): string => (Object.is(v, -0) ? '-0' : String(v))
