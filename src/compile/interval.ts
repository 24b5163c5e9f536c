/** @file Between which whole numbers an expression lies, as far as its form and known conditions tell. */
import type { Expr } from '../ir/expr.ts'
import type { ScalarOp } from '../ir/scalar-op.ts'

/** From and to, both included; NaN where nothing can be said. */
export type Interval = readonly [low: number, high: number]

/** What conditions say about expressions. */
export type Facts = Map<Expr, Interval>

const anything: Interval = [-Infinity, Infinity]
/** Of what may wrap around: conditions on it are no help, as addresses are computed with more bits. */
const nothing: Interval = [NaN, NaN]

/** The bounds that follow from a condition being true. */
export function facts(condition: Expr): Facts {
  const found: Facts = new Map()
  const note = (e: Expr, [low, high]: Interval) => {
    const [a, b] = found.get(e) ?? anything
    found.set(e, [Math.max(a, low), Math.min(b, high)])
  }
  const visit = (e: Expr): void => {
    if (e.kind !== 'op') return
    if (e.op === 'and') return e.args.forEach(visit)
    if (e.op !== 'le' && e.op !== 'lt') return
    const [a, b] = e.args as [Expr, Expr]
    // Of whole numbers: floats are never positions.
    const gap = e.op === 'lt' ? 1 : 0
    const [low, high] = [valueOf(a), valueOf(b)]
    if (high !== undefined) note(a, [-Infinity, high - gap])
    if (low !== undefined) note(b, [low + gap, Infinity])
  }
  visit(condition)
  return found
}

/** The interval of an integer expression. */
export function intervalOf(e: Expr, known: Facts): Interval {
  const [low, high] = formOf(e, known)
  const [a, b] = known.get(e) ?? anything
  return [Math.max(low, a), Math.min(high, b)]
}

function formOf(e: Expr, known: Facts): Interval {
  const value = valueOf(e)
  if (value !== undefined) return [value, value]
  if (e.kind === 'axis' && typeof e.axis.extent === 'number') return [0, e.axis.extent - 1]
  if (e.kind !== 'op') return anything
  const rule = rules[e.op]
  if (rule === undefined) return anything
  const result = rule(...e.args.map((arg) => intervalOf(arg, known)))
  return e.op === 'convert' || fits(result) ? result : nothing
}

/** Whether int32 holds it. */
export const fits = ([low, high]: Interval): boolean => low >= -(2 ** 31) && high < 2 ** 31

const rules: Partial<Record<ScalarOp, (...args: Interval[]) => Interval>> = {
  convert: (x) => x!,
  add: (a, b) => [a![0] + b![0], a![1] + b![1]],
  sub: (a, b) => [a![0] - b![1], a![1] - b![0]],
  mul: (a, b) => hull(a!, b!, (x, y) => x * y),
  div: (a, b) => (b![0] > 0 ? hull(a!, b!, (x, y) => Math.trunc(x / y)) : anything),
  rem: (a, b) => (a![0] >= 0 && b![0] > 0 ? [0, Math.min(a![1], b![1] - 1)] : anything),
  // Of numbers that are not negative.
  and: (a, b) => (a![0] >= 0 && b![0] >= 0 ? [0, Math.min(a![1], b![1])] : anything),
  shr: (a, b) =>
    a![0] >= 0 && b![0] >= 0 && b![1] < 32 ? [0, Math.floor(a![1] / 2 ** b![0])] : anything,
}

function hull(a: Interval, b: Interval, f: (x: number, y: number) => number): Interval {
  const corners = a.flatMap((x) => b.map((y) => f(x, y)))
  return [Math.min(...corners), Math.max(...corners)]
}

function valueOf(e: Expr): number | undefined {
  if (e.kind === 'const') return Number(e.value)
  if (e.kind === 'size') return typeof e.size === 'number' ? e.size : undefined
  // Sizes are small enough for every type.
  return e.kind === 'op' && e.op === 'convert' ? valueOf(e.args[0]!) : undefined
}
