/** @file What is accurate: errors in units of the last place, references in double precision, and points to look at. */
import { bitcastValue, scalarOp, type ScalarOp } from '../../src/ir/scalar-op.ts'

export type Float = 'f32' | 'f64'

export const isTrigonometric = (op: ScalarOp): boolean =>
  op === 'sin' || op === 'cos' || op === 'tan'

/** Sine, cosine and tangent are meant for angles up to this. */
export const trigonometricBound = 1e5

export const unary = [
  ...(['exp', 'expm1', 'log', 'log1p', 'log2', 'sin', 'cos', 'tan'] as const),
  ...(['asin', 'acos', 'atan', 'sinh', 'cosh', 'tanh', 'erf'] as const),
]

const scratch = new DataView(new ArrayBuffer(8))

// -- errors

export interface Deviation {
  readonly ulps: number
  readonly at: string
}

export const worse = (a: Deviation, ulps: number, ...at: number[]): Deviation =>
  ulps > a.ulps ? { ulps, at: at.join(', ') } : a

export function reference(op: ScalarOp, type: Float, ...args: number[]): number {
  return scalarOp(op).evaluate(type, ...args) as number
}

/** The distance in units of the last place of `wanted`; infinite where sign or kind are wrong. */
export function deviation(type: Float, got: number, wanted: number): number {
  const rounded = type === 'f32' ? fround(wanted) : wanted
  if (Object.is(got, rounded)) return 0
  if (Number.isNaN(got) || Number.isNaN(rounded)) return Infinity
  if (rounded === 0 && got === 0) return Infinity
  const { mantissa, smallest, largest } = limits[type]
  // Infinity counts as the first number too large: results may overflow an ulp early or late.
  const clamp = (x: number) => Math.max(-largest, Math.min(largest, x))
  const exponent = Math.floor(Math.log2(Math.abs(clamp(wanted))))
  const ulp = 2 ** (Math.min(Math.max(exponent, smallest), 1 - smallest) - mantissa)
  return Math.abs(clamp(got) - clamp(wanted)) / ulp
}

const limits = {
  f32: { mantissa: 23, smallest: -126, largest: 2 ** 128 },
  f64: { mantissa: 52, smallest: -1022, largest: Number.MAX_VALUE },
}

// -- samples

const fround = Math.fround
const same = (x: number) => x

/** Every magnitude of both signs, random bit patterns, and the neighbourhoods where things change. */
export function samples(type: Float): number[] {
  const random = generator(1)
  const points: number[] = []
  const [lowest, highest] = type === 'f32' ? [-149, 127] : [-1074, 1023]
  const perBinade = type === 'f32' ? 32 : 6
  for (let e = lowest; e <= highest; e++) {
    for (let i = 0; i < perBinade; i++) points.push(2 ** e * (1 + (i + random()) / perBinade))
  }
  for (let i = 0; i < 6000; i++) points.push(random(), random() * 4, random() * 100)
  points.push(...critical.flatMap((x) => neighbours(type, x)))
  for (let n = 1; n < 63000; n += n < 200 ? 1 : 61) {
    points.push(...neighbours(type, (n * Math.PI) / 2).slice(4, 7))
  }
  const rounded = type === 'f32' ? points.map(fround) : points
  const bits = Array.from({ length: 20000 }, () => randomBits(type, random))
  return [...rounded, ...rounded.map((x) => -x), ...bits, NaN]
}

const critical = [
  ...[-1074, -1022, -149, -126, -54, -53, -25, -24, -12, 127, 128, 1023].map((e) => 2 ** e),
  ...[0.5, 1, 2].flatMap((x) => [Math.sqrt(x), x * Math.LN2]),
  ...[-1, 1].map((x) => Math.SQRT2 + x),
].concat([
  Infinity,
  0,
  0.25,
  0.5,
  0.55,
  1,
  2,
  4,
  6,
  9,
  10,
  19,
  20,
  17.32868,
  36.7368005696771,
  87.33654,
  88.72284,
  89.41599,
  103.27893,
  103.97208,
  104,
  708.3964185322641,
  709.782712893384,
  710.4758600739439,
  744.4400719213812,
  745.1332191019411,
])

/** A number and the five next to it on either side. */
function neighbours(type: Float, x: number): number[] {
  const bitsType = type === 'f32' ? 'i32' : 'i64'
  const middle = BigInt(bitcastValue(type === 'f32' ? fround(x) : x, type, bitsType))
  return Array.from({ length: 11 }, (_, i) => {
    const bits = middle + BigInt(i - 5)
    if (bits < 0n) return 0
    return bitcastValue(type === 'f32' ? Number(bits) : bits, bitsType, type) as number
  })
}

export function powerSamples(type: Float): (readonly [number, number])[] {
  const random = generator(2)
  const round = type === 'f32' ? fround : same
  const [spread, epsilon] = type === 'f32' ? [300, 2 ** -24] : [2200, 2 ** -53]
  const pairs: (readonly [number, number])[] = []
  for (let i = 0; i < 8000; i++) {
    const x = Math.abs(randomBits(type, random))
    const result = (random() - 0.5) * spread
    pairs.push([x, round(result / Math.log2(x))])
    pairs.push([round(random() * 10), round((random() - 0.5) * 40)])
    pairs.push([round(random() * 10 - 5), Math.round((random() - 0.5) * 40)])
    const nearOne = round(1 + Math.round((random() - 0.5) * 2000) * epsilon)
    pairs.push([nearOne, round(result / (nearOne - 1))])
    pairs.push([randomBits(type, random), randomBits(type, random)])
  }
  return pairs
}

export function randomBits(type: Float, random: () => number): number {
  scratch.setUint32(0, random() * 2 ** 32)
  scratch.setUint32(4, random() * 2 ** 32)
  return type === 'f32' ? scratch.getFloat32(0) : scratch.getFloat64(0)
}

/** Marsaglia's xorshift: numbers from 0 to 1, the same in every run. */
export function generator(seed: number): () => number {
  let state = seed * 0x9e3779b9
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}
