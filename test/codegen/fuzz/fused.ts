/** @file Multiply-add with one rounding, as processors have it, for interpreters that compare bits. */
import { scalarOps, type ScalarValue } from '../../../src/ir/scalar-op.ts'

const view = new DataView(new ArrayBuffer(8))

/** a * b + c, rounded once. */
export function fusedF64(a: number, b: number, c: number): number {
  const plain = a * b + c
  if (!Number.isFinite(a) || !Number.isFinite(b)) return plain
  if (!Number.isFinite(c)) return c
  if (a === 0 || b === 0) return plain
  if (isModerate(a) && isModerate(b) && isModerate(c)) return fusedModerate(a, b, c)
  const [x, y, z] = [parts(a), parts(b), parts(c)]
  const product = { m: x.m * y.m, e: x.e + y.e }
  const e = c === 0 ? product.e : Math.min(product.e, z.e)
  const align = (p: { m: bigint; e: number }) => p.m << BigInt(p.e - e)
  const sum = align(product) + (c === 0 ? 0n : align(z))
  // Exactly zero: the signs decide, and so they do in double precision.
  return sum === 0n ? exactZero(a, b, c) : toNumber(sum, e)
}

const isModerate = (x: number) => x === 0 || (Math.abs(x) > 1e-100 && Math.abs(x) < 1e100)

// Emulated with sums and products that keep their errors (Boldo and Melquiond 2008).
function fusedModerate(a: number, b: number, c: number): number {
  const product = a * b
  const [aHigh, bHigh] = [upperHalf(a), upperHalf(b)]
  const [aLow, bLow] = [a - aHigh, b - bHigh]
  const productError = aLow * bLow - (product - aHigh * bHigh - aLow * bHigh - aHigh * bLow)
  const [u, uError] = twoSum(c, productError)
  const [t, tError] = twoSum(product, u)
  return t + sumToOdd(tError, uError)
}

function upperHalf(x: number): number {
  const wide = x * 134217729
  return wide - (wide - x)
}

function twoSum(x: number, y: number): readonly [sum: number, error: number] {
  const sum = x + y
  const back = sum - x
  return [sum, x - (sum - back) + (y - back)]
}

// x + y, where the last bit is set if it is not exact.
function sumToOdd(x: number, y: number): number {
  const [sum, error] = twoSum(x, y)
  if (error === 0) return sum
  view.setFloat64(0, sum)
  const bits = view.getBigInt64(0)
  if ((bits & 1n) === 1n) return sum
  view.setBigInt64(0, bits + (error > 0 === sum > 0 ? 1n : -1n))
  return view.getFloat64(0)
}

const exactZero = (a: number, b: number, c: number) => {
  const isNegative = (x: number) => x < 0 || Object.is(x, -0)
  return isNegative(c) && isNegative(a) !== isNegative(b) ? -0 : 0
}

/** a * b + c in single precision, rounded once. */
export function fusedF32(a: number, b: number, c: number): number {
  // The product is exact in double precision. The sum is rounded to odd, so that rounding it again is harmless.
  const product = a * b
  const sum = product + c
  return Math.fround(Number.isFinite(sum) ? sumToOdd(product, c) : sum)
}

// x = m * 2^e with a whole m.
function parts(x: number): { m: bigint; e: number } {
  view.setFloat64(0, x)
  const bits = view.getBigUint64(0)
  const exponent = Number((bits >> 52n) & 0x7ffn)
  const fraction = bits & 0xfffffffffffffn
  const m = exponent === 0 ? fraction : fraction | 0x10000000000000n
  return { m: x < 0 ? -m : m, e: Math.max(exponent, 1) - 1075 }
}

// m * 2^e to nearest even.
function toNumber(m: bigint, e: number): number {
  const negative = m < 0n
  let size = negative ? -m : m
  const length = size.toString(2).length
  const drop = Math.max(length - 53, -1074 - e)
  if (drop > 0) {
    const by = BigInt(drop)
    const rest = size & ((1n << by) - 1n)
    const half = 1n << (by - 1n)
    size >>= by
    if (rest > half || (rest === half && (size & 1n) === 1n)) size++
    e += drop
  }
  // In two steps, as 2^e alone may be out of range; both are exact, or overflow as they should.
  const near = Math.max(-1000, Math.min(900, e))
  const value = Number(size) * 2 ** near * 2 ** (e - near)
  return negative ? -value : value
}

/** Runs `body` with a table whose multiply-add rounds once. */
export function withFused<T>(body: () => T): T {
  const row = scalarOps.fma as { evaluate: (...args: never[]) => ScalarValue }
  const before = row.evaluate
  row.evaluate = ((type: string, a: number, b: number, c: number) =>
    type === 'f32' ? fusedF32(a, b, c) : fusedF64(a, b, c)) as typeof row.evaluate
  try {
    return body()
  } finally {
    row.evaluate = before
  }
}
