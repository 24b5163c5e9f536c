/** @file Decompositions of the transcendental rows, evaluated as expressions against double precision. */
import { describe, expect, it } from 'vitest'
import type { ScalarType } from '../../src/core/dtype.ts'
import { childrenOf, ExprBuilder, type Expr } from '../../src/ir/expr.ts'
import {
  bitcastValue,
  convertValue,
  scalarOp,
  type ScalarOp,
  type ScalarValue,
} from '../../src/ir/scalar-op.ts'
import { erfReference, gelu } from '../../src/ir/transcendental.ts'
import {
  deviation,
  isTrigonometric,
  powerSamples,
  reference,
  samples,
  trigonometricBound,
  unary,
  worse,
  type Deviation,
  type Float,
} from './accuracy.ts'

const fround = Math.fround
const same = (x: number) => x

/** Worst errors seen, over far more points than here, are 1.9 (tan, atan) and 1.3 (pow) ulp in f32. */
const ulps = { f32: 2, f64: 4, pow: 4 }
const primitives = new Set<ScalarOp>(
  (
    'add sub mul div min max neg abs sqrt floor ceil trunc round eq ne lt le select ' +
    'and or xor not shl shr ushr convert bitcast fma ldexp'
  ).split(' ') as ScalarOp[],
)
const rows = [...unary, 'pow', 'ldexp'] as const
const types = ['f32', 'f64'] as const

describe.each(types)('%s', (type) => {
  const points = samples(type)

  it.each(unary)('%s is accurate everywhere', (op) => {
    const f = decomposition(op, type)
    let worst: Deviation = { ulps: 0, at: '' }
    for (const x of points) {
      if (isTrigonometric(op) && Number.isFinite(x) && Math.abs(x) > trigonometricBound) continue
      worst = worse(worst, deviation(type, f(x), reference(op, type, x)), x)
    }
    expect(worst.ulps, `${op}(${worst.at})`).toBeLessThanOrEqual(ulps[type])
  })

  it('pow is accurate wherever its result is a number', () => {
    const f = decomposition('pow', type)
    let worst: Deviation = { ulps: 0, at: '' }
    for (const [x, y] of powerSamples(type)) {
      worst = worse(worst, deviation(type, f(x, y), reference('pow', type, x, y)), x, y)
    }
    expect(worst.ulps, `pow(${worst.at})`).toBeLessThanOrEqual(ulps.pow)
  })

  it('pow follows the special cases of C', () => {
    const f = decomposition('pow', type)
    const largestOdd = type === 'f32' ? 2 ** 24 - 1 : 2 ** 53 - 1
    const values = [0, 1, 2, 0.5, 3, 1.5, Infinity, 33, 1e20, largestOdd, 2 ** 60, 2 ** -140]
    const signed = [...values, ...values.map((v) => -v), NaN].map(type === 'f32' ? fround : same)
    for (const x of signed) {
      for (const y of signed) {
        const error = deviation(type, f(x, y), reference('pow', type, x, y))
        expect(error, `pow(${x}, ${y})`).toBeLessThanOrEqual(ulps.pow)
      }
    }
  })

  it('ldexp rounds once', () => {
    const f = decomposition('ldexp', type)
    const [least, most] = type === 'f32' ? [-149, 127] : [-1074, 1023]
    let worst: Deviation = { ulps: 0, at: '' }
    for (const x of [1, -1.25, 0.75, fround(1 / 3), -0, NaN])
      for (let n = least - 20; n <= most + 20; n++)
        worst = worse(worst, deviation(type, f(x, n), reference('ldexp', type, x, n)), x, n)
    expect(worst.ulps, `ldexp(${worst.at})`).toBe(0)
  })

  it('sin, cos and tan degrade gracefully beyond their accurate range', () => {
    const [sin, cos, tan] = (['sin', 'cos', 'tan'] as const).map((op) => decomposition(op, type))
    const wild = points.filter((x) => {
      const bounded = Math.abs(sin!(x)) <= 1 && Math.abs(cos!(x)) <= 1
      return Number.isFinite(x) && !(bounded && Number.isFinite(tan!(x)))
    })
    expect(wild).toEqual([])
  })

  it.each(rows)('%s is made of primitive rows in lanes of one width', (op) => {
    const allowed = type === 'f32' ? ['f32', 'i32', 'bool'] : ['f64', 'i64', 'bool']
    for (const e of flatten(build(op, type))) {
      expect(allowed).toContain(e.type)
      if (e.kind !== 'op') continue
      expect(primitives).toContain(e.op)
      // Vectors of i64 have no conversions to and from f64.
      if (type === 'f64') expect(e.op).not.toBe('convert')
    }
  })
})

it('gelu of f32 loses no digits to cancellation', () => {
  const s = new ExprBuilder()
  const f = evaluation(gelu(s, s.param('f32', 0)))
  let worst: Deviation = { ulps: 0, at: '' }
  for (const x of samples('f32')) {
    if (x === 0 || !(Math.abs(x) < 100)) continue
    const wanted = x * 0.5 * (1 + erfReference(x * Math.SQRT1_2))
    if (x > 0) worst = worse(worst, deviation('f32', f(x), wanted), x)
    else {
      // Nearly as good where little is left of x.
      const most = 6e-8 * (x > -3 ? Math.min(1, -50 * wanted) : 1) + 2 ** -149
      if (!(Math.abs(f(x) - wanted) <= most)) worst = worse(worst, Infinity, x)
    }
  }
  expect(worst.ulps, `gelu(${worst.at})`).toBeLessThanOrEqual(2)
  const special = [NaN, Infinity, -Infinity, -1000, -0]
  expect(special.map((x) => f(x))).toEqual([NaN, Infinity, NaN, -0, -0])
})

it('the f32 functions that activations lean on stay short', () => {
  const operations = (op: ScalarOp) =>
    flatten(build(op, 'f32')).filter((e) => e.kind === 'op' && e.op !== 'bitcast').length
  expect(operations('exp')).toBeLessThanOrEqual(28)
  expect(operations('tanh')).toBeLessThanOrEqual(42)
  expect(operations('erf')).toBeLessThanOrEqual(54)
  expect(operations('log')).toBeLessThanOrEqual(35)
})

it.each([
  [1e-300, 1.1283791670955126e-300],
  [1e-8, 1.1283791670955126e-8],
  [0.1, 0.1124629160182849],
  [0.3, 0.3286267594591274],
  [0.5, 0.5204998778130465],
  [0.75, 0.7111556336535151],
  [0.999, 0.8422852702064969],
  [1, 0.8427007929497149],
  [1.001, 0.8431154854780762],
  [1.25, 0.9229001282564583],
  [1.5, 0.9661051464753108],
  [2, 0.9953222650189527],
  [3, 0.9999779095030014],
  [4, 0.9999999845827421],
  [5, 0.9999999999984626],
  [5.9, 0.9999999999999999],
  [7, 1],
  [Infinity, 1],
  [0, 0],
  [NaN, NaN],
])('erfReference(%d) agrees with forty-digit arithmetic', (x, expected) => {
  expect(deviation('f64', erfReference(x), expected)).toBeLessThanOrEqual(2)
  expect(deviation('f64', erfReference(-x), -expected)).toBeLessThanOrEqual(2)
})

// -- expressions

function build(op: ScalarOp, type: Float): Expr {
  const s = new ExprBuilder()
  const row = scalarOp(op)
  return row.decompose!(s, ...Array.from({ length: row.arity }, (_, slot) => s.param(type, slot)))
}

/** Every node once, arguments before their users. */
function flatten(root: Expr): Expr[] {
  const seen = new Set<Expr>()
  const visit = (e: Expr): void => {
    if (seen.has(e)) return
    for (const child of childrenOf(e)) visit(child)
    seen.add(e)
  }
  visit(root)
  return [...seen]
}

/** The decomposition of a row as a function of numbers, each operation rounded to its type. */
const decomposition = (op: ScalarOp, type: Float): ((...args: number[]) => number) =>
  evaluation(build(op, type))

function evaluation(root: Expr): (...args: number[]) => number {
  const nodes = flatten(root)
  const slots = new Map(nodes.map((e, slot) => [e, slot]))
  const values: ScalarValue[] = nodes.map((e) => (e.kind === 'const' ? e.value : 0))
  const parameters: (readonly [slot: number, argument: number])[] = []
  const steps: (() => void)[] = []
  for (const [slot, e] of nodes.entries()) {
    if (e.kind === 'param') parameters.push([slot, e.slot])
    if (e.kind !== 'op') continue
    const [a, b, c] = e.args.map((x) => slots.get(x)!) as [number, number, number]
    const from = e.args.at(-1)!.type
    const to = e.type
    const row = scalarOp(e.op)
    if (e.op === 'convert') steps.push(() => (values[slot] = convertValue(values[a]!, from, to)))
    else if (e.op === 'bitcast') steps.push(() => (values[slot] = bitcast(values[a]!, from, to)))
    else if (to === 'f32') {
      steps.push(() => {
        values[slot] = fround(row.evaluate(from, values[a]!, values[b]!, values[c]!) as number)
      })
    } else steps.push(() => (values[slot] = row.evaluate(from, values[a]!, values[b]!, values[c]!)))
  }
  return (...args) => {
    for (const [slot, argument] of parameters) values[slot] = args[argument]!
    for (const step of steps) step()
    return values.at(-1) as number
  }
}

const scratch = new DataView(new ArrayBuffer(8))

/** bitcastValue without its allocation, for the casts that occur most. */
function bitcast(value: ScalarValue, from: ScalarType, to: ScalarType): ScalarValue {
  if (from === 'f64' && to === 'i64') {
    scratch.setFloat64(0, value as number)
    return scratch.getBigInt64(0)
  }
  if (from === 'i64' && to === 'f64') {
    scratch.setBigInt64(0, value as bigint)
    return scratch.getFloat64(0)
  }
  return bitcastValue(value, from, to)
}
