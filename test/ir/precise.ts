/** @file Transcendental functions to hundreds of bits, in whole numbers: what float64 results are measured against. */
import type { ScalarOp } from '../../src/ir/scalar-op.ts'

/** Numbers are whole multiples of 2^-P: every float64 is one, with room to spare below the smallest. */
const P = 1300n
const one = 1n << P

const mul = (a: bigint, b: bigint) => (a * b) >> P
const div = (a: bigint, b: bigint) => (a << P) / b
const abs = (a: bigint) => (a < 0n ? -a : a)

const view = new DataView(new ArrayBuffer(8))

/** A finite float64 as it is. */
export function exactly(x: number): bigint {
  view.setFloat64(0, x)
  const bits = view.getBigUint64(0)
  const exponent = (bits >> 52n) & 0x7ffn
  const fraction = bits & 0xfffffffffffffn
  const m = exponent === 0n ? fraction : fraction | (1n << 52n)
  const size = m << (P - 1075n + (exponent === 0n ? 1n : exponent))
  return x < 0 ? -size : size
}

// The sum of terms, each made from the one before, until they vanish.
function series(first: bigint, next: (term: bigint, n: bigint) => bigint): bigint {
  let sum = 0n
  let term = first
  for (let n = 1n; term !== 0n && term !== -1n; n++) {
    sum += term
    term = next(term, n)
  }
  return sum
}

// 2 atanh(1 / n) and the like: sums of odd powers.
const oddPowers = (z: bigint, sign: 1n | -1n): bigint => {
  const square = mul(z, z)
  let sum = 0n
  let power = z
  for (let n = 1n; power !== 0n && power !== -1n; n += 2n) {
    sum += power / n
    power = sign * mul(power, square)
  }
  return sum
}

const ln2 = 2n * oddPowers(one / 3n, 1n)
// Machin's formula.
const pi = 4n * (4n * oddPowers(one / 5n, -1n) - oddPowers(one / 239n, -1n))

function sqrt(x: bigint): bigint {
  if (x <= 0n) return 0n
  const wide = x << P
  let root = 1n << BigInt((wide.toString(2).length + 1) >> 1)
  for (;;) {
    const next = (root + wide / root) >> 1n
    if (next >= root) return root
    root = next
  }
}

function exp(x: bigint): bigint {
  let k = x / ln2
  if (x < 0n) k--
  const steps = 24n
  const small = (x - k * ln2) >> steps
  let result = series(one, (term, n) => mul(term, small) / n)
  for (let i = 0n; i < steps; i++) result = mul(result, result)
  return k >= 0n ? result << k : result >> -k
}

function log(x: bigint): bigint {
  const k = BigInt(x.toString(2).length) - P
  const m = k >= 0n ? x >> k : x << -k
  return k * ln2 + 2n * oddPowers(div(m - one, m + one), 1n)
}

const log1p = (x: bigint): bigint =>
  abs(x) < one >> 2n ? 2n * oddPowers(div(x, 2n * one + x), 1n) : log(one + x)

const expm1 = (x: bigint): bigint => {
  if (abs(x) > one) return exp(x) - one
  return series(x, (term, n) => mul(term, x) / (n + 1n))
}

function sinCos(x: bigint): readonly [sin: bigint, cos: bigint] {
  const quarter = pi / 2n
  let turns = (2n * x + quarter) / pi
  if (2n * x + quarter < 0n) turns--
  const r = x - turns * quarter
  const square = -mul(r, r)
  const s = series(r, (term, n) => mul(term, square) / (2n * n * (2n * n + 1n)))
  const c = series(one, (term, n) => mul(term, square) / (2n * n * (2n * n - 1n)))
  const turned = [
    [s, c],
    [c, -s],
    [-s, -c],
    [-c, s],
  ] as const
  return turned[Number(((turns % 4n) + 4n) % 4n)]!
}

function atan(x: bigint): bigint {
  if (x < 0n) return -atan(-x)
  if (x > one) return pi / 2n - atan(div(one, x))
  let small = x
  let doubled = 0n
  for (; small > one >> 5n; doubled++) small = div(small, one + sqrt(one + mul(small, small)))
  return oddPowers(small, -1n) << doubled
}

const asin = (x: bigint): bigint =>
  abs(x) === one ? (x * pi) / (2n * one) : atan(div(x, sqrt(mul(one - x, one + x))))

// erf by its series: what cancels is far less than there is room for.
function erf(x: bigint): bigint {
  const square = -mul(x, x)
  let sum = 0n
  let power = x
  for (let n = 0n; power !== 0n && power !== -1n; n++) {
    sum += power / (2n * n + 1n)
    power = mul(power, square) / (n + 1n)
  }
  return div(2n * sum, sqrt(pi))
}

type Precise = (x: bigint, y: bigint) => bigint

const functions: Partial<Record<ScalarOp, Precise>> = {
  exp,
  expm1,
  log,
  log1p,
  log2: (x) => div(log(x), ln2),
  sin: (x) => sinCos(x)[0],
  cos: (x) => sinCos(x)[1],
  tan: (x) => {
    const [s, c] = sinCos(x)
    return div(s, c)
  },
  asin,
  acos: (x) => pi / 2n - asin(x),
  atan,
  sinh: (x) => (expm1(x) - expm1(-x)) / 2n,
  cosh: (x) => (exp(x) + exp(-x)) / 2n,
  // Beyond 400 it is 1 to more than 1000 bits.
  tanh: (x) => {
    if (abs(x) > 400n * one) return x > 0n ? one : -one
    const twice = expm1(2n * x)
    return div(twice, twice + 2n * one)
  },
  // Beyond 7 it is 1 to 70 bits.
  erf: (x) => (abs(x) > 7n * one ? (x > 0n ? one : -one) : erf(x)),
  pow: (x, y) => exp(mul(y, log(x))),
}

/**
 * The error of a float64 result in units of the last place of the true one; undefined where there is
 * none to compare with: no finite argument or result, no number at all.
 */
export function preciseError(op: ScalarOp, got: number, ...args: number[]): number | undefined {
  const [x, y = 0] = args
  if (!args.every(Number.isFinite) || !Number.isFinite(got)) return undefined
  if ((op === 'log' || op === 'log2' || op === 'pow') && x! <= 0) return undefined
  if (op === 'log1p' && x! <= -1) return undefined
  const wanted = functions[op]!(exactly(x!), exactly(y))
  const exponent = abs(wanted).toString(2).length - 1 - Number(P)
  const ulp = P + BigInt(Math.max(exponent, -1022) - 52)
  const error = abs(exactly(got) - wanted)
  return Number((error << 20n) >> ulp) / 2 ** 20
}
