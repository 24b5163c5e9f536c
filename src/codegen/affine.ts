/** @file Facts about integer expressions that are linear in axes: index terms taken apart, conditions solved for an axis. */
import { freeAxes, type Axis, type Expr, type ExprBuilder, type Index } from '../ir/expr.ts'

type Term = Index['terms'][number]

/**
 * The same index with sums written as several terms, so that each part can be computed outside the
 * loops it does not depend on: (oh + kh - 1) * 14 becomes oh * 14 + kh * 14 - 14.
 */
export function spread(index: Index): Index {
  if (typeof index.offset !== 'number') return index
  let offset = index.offset
  const terms: Term[] = []
  const add = (e: Expr, stride: number): void => {
    if (e.kind === 'const') return void (offset += Number(e.value) * stride)
    if (e.kind === 'op' && e.type === 'i32') {
      const [x, y] = e.args as [Expr, Expr]
      if (e.op === 'add' || e.op === 'sub') {
        add(x, stride)
        return add(y, e.op === 'add' ? stride : -stride)
      }
      if (e.op === 'mul' && y.kind === 'const') return add(x, stride * Number(y.value))
      if (e.op === 'mul' && x.kind === 'const') return add(y, stride * Number(x.value))
    }
    const known = terms.findIndex((t) => t.index === e)
    if (known < 0) terms.push({ index: e, stride })
    else terms[known] = { index: e, stride: (terms[known]!.stride as number) + stride }
  }
  const symbolic = index.terms.filter((t) => typeof t.stride !== 'number')
  for (const t of index.terms) if (typeof t.stride === 'number') add(t.index, t.stride)
  return { offset, terms: [...symbolic, ...terms.filter((t) => t.stride !== 0)] }
}

/** A condition as bounds of one axis: it holds where all `fixed` hold and lower <= axis < upper for each bound. */
export interface Bounds {
  readonly lower: readonly Expr[]
  readonly upper: readonly Expr[]
  readonly fixed: readonly Expr[]
}

/** Solves a condition for an axis, or undefined where it is no conjunction of linear comparisons with factor 1 or -1. */
export function boundsOf(s: ExprBuilder, condition: Expr, axis: Axis): Bounds | undefined {
  if (!freeAxes(condition).has(axis)) return { lower: [], upper: [], fixed: [condition] }
  if (condition.kind !== 'op') return undefined
  const [x, y] = condition.args as [Expr, Expr]
  if (condition.op === 'and') {
    const [p, q] = [boundsOf(s, x, axis), boundsOf(s, y, axis)]
    return p && q && joinBounds([p, q])
  }
  if (condition.op !== 'lt' && condition.op !== 'le') return undefined
  // x < y or x <= y, as factor * axis + rest < 0 or <= 0.
  const [left, right] = [splitLinear(s, x, axis), splitLinear(s, y, axis)]
  if (left === undefined || right === undefined) return undefined
  const factor = left.factor - right.factor
  const rest = s.sub(left.rest, right.rest)
  const open = condition.op === 'lt'
  if (factor === 1) {
    return { lower: [], upper: [open ? s.neg(rest) : s.sub(s.like(rest, 1), rest)], fixed: [] }
  }
  return factor === -1 ? { lower: [open ? s.add(rest, 1) : rest], upper: [], fixed: [] } : undefined
}

export function joinBounds(all: readonly Bounds[]): Bounds {
  return {
    lower: all.flatMap((x) => x.lower),
    upper: all.flatMap((x) => x.upper),
    fixed: all.flatMap((x) => x.fixed),
  }
}

// e = factor * axis + rest.
function splitLinear(
  s: ExprBuilder,
  e: Expr,
  axis: Axis,
): { readonly factor: number; readonly rest: Expr } | undefined {
  if (e.type !== 'i32') return undefined
  if (e.kind === 'axis' && e.axis === axis) return { factor: 1, rest: s.const('i32', 0) }
  if (!freeAxes(e).has(axis)) return { factor: 0, rest: e }
  if (e.kind !== 'op') return undefined
  const [x, y] = e.args.map((arg) => splitLinear(s, arg, axis))
  if (x === undefined || y === undefined) return undefined
  if (e.op === 'add') return { factor: x.factor + y.factor, rest: s.add(x.rest, y.rest) }
  if (e.op === 'sub') return { factor: x.factor - y.factor, rest: s.sub(x.rest, y.rest) }
  const [p, q] = y.factor === 0 ? [x, y] : [y, x]
  if (e.op !== 'mul' || q.factor !== 0 || q.rest.kind !== 'const') return undefined
  return { factor: p.factor * Number(q.rest.value), rest: s.mul(p.rest, q.rest) }
}

/** Whether a condition that holds at two positions of the axis holds at all positions between them. */
export function isInterval(condition: Expr, axis: Axis): boolean {
  if (!freeAxes(condition).has(axis)) return true
  if (condition.kind !== 'op') return false
  const { op, args } = condition
  if (op === 'and') return args.every((x) => isInterval(x, axis))
  return (op === 'lt' || op === 'le') && args.every((x) => isLinear(x, axis))
}

function isLinear(e: Expr, axis: Axis): boolean {
  if (e.type !== 'i32') return false
  if (!freeAxes(e).has(axis) || e.kind === 'axis') return true
  if (e.kind !== 'op') return false
  const [x, y] = e.args as [Expr, Expr]
  if (e.op === 'add' || e.op === 'sub') return isLinear(x, axis) && isLinear(y, axis)
  const isFixed = (z: Expr) => !freeAxes(z).has(axis)
  return e.op === 'mul' && ((isFixed(x) && isLinear(y, axis)) || (isFixed(y) && isLinear(x, axis)))
}
