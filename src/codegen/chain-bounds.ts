/** @file Where the factors of a chain of contractions may differ from zero: conditions found in them, solved for their axes. */
import { freeAxes, type Axis, type Expr, type ExprBuilder } from '../ir/expr.ts'
import { visitAll } from '../ir/group.ts'
import { boundsOf, isInterval, joinBounds, type Bounds } from './affine.ts'

/** The same conditions, solved for the depth and for the rows. */
export interface ChainBounds {
  readonly depth: Bounds
  readonly rows: Bounds
}

interface Axes {
  readonly rows: Axis
  readonly depth: Axis
  readonly columns: ReadonlySet<Axis>
}

/**
 * Bounds by the conditions that every value made of a point needs not to be zero and, where there is a
 * top, that its own value (`rising`) needs not to be -Infinity: the triangle of causal attention.
 */
export function chainBounds(
  s: ExprBuilder,
  { rows, depth, columns }: Axes,
  made: readonly Expr[],
  rising: Expr | undefined,
): ChainBounds | undefined {
  const needed = made.map(unlessZero).concat(rising ? [unlessLost(rising)] : [])
  const [first, ...rest] = needed
  const shared = first!.filter((condition) => rest.every((list) => list.includes(condition)))
  const solved = shared.flatMap((condition) => {
    if ([...freeAxes(condition)].some((axis) => columns.has(axis))) return []
    if (contains(condition, (e) => e.kind === 'load')) return []
    if (!isInterval(condition, rows) || !isInterval(condition, depth)) return []
    const forDepth = boundsOf(s, condition, depth)
    const forRows = boundsOf(s, condition, rows)
    const isSolved = forDepth?.fixed.length === 0 && forRows?.fixed.length === 0
    return isSolved ? [{ depth: forDepth, rows: forRows }] : []
  })
  if (solved.length === 0) return undefined
  return {
    depth: joinBounds(solved.map((x) => x.depth)),
    rows: joinBounds(solved.map((x) => x.rows)),
  }
}

/** Whether an expression has such a one in it, or is one. */
export function contains(root: Expr, what: (e: Expr) => boolean): boolean {
  let found = false
  visitAll([root], (e) => (found ||= what(e)))
  return found
}

const isConst = (e: Expr, value: number): boolean => e.kind === 'const' && e.value === value

// Conditions without which a value is zero; what would be NaN or infinite there counts as zero times that.
function unlessZero(e: Expr): Expr[] {
  if (e.kind !== 'op') return []
  const [x, y, z] = e.args as [Expr, Expr, Expr]
  if (e.op === 'exp') return unlessLost(x)
  if (e.op === 'mul') return [...unlessZero(x), ...unlessZero(y)]
  if (e.op === 'select' && isConst(z, 0)) return [x, ...unlessZero(y)]
  return []
}

// Conditions without which a value is -Infinity.
function unlessLost(e: Expr): Expr[] {
  if (e.kind !== 'op') return []
  const [x, y, z] = e.args as [Expr, Expr, Expr]
  if (e.op === 'add') return [...unlessLost(x), ...unlessLost(y)]
  if (e.op === 'sub') return unlessLost(x)
  if (e.op === 'select' && isConst(z, -Infinity)) return [x, ...unlessLost(y)]
  return []
}
