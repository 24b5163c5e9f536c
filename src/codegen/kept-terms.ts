/** @file Finds terms of a sum that the result is made of: computed once, they wait in the output for the sum to be known. */
import { dtypes } from '../core/dtype.ts'
import {
  childrenOf,
  freeAxes,
  mapIndex,
  rewrite,
  type Expr,
  type ExprBuilder,
  type Index,
  type ReduceExpr,
} from '../ir/expr.ts'
import { rootsOf, visitAll, type Group } from '../ir/group.ts'
import { scalarOp } from '../ir/scalar-op.ts'
import { memoryOf } from './emitter.ts'

/**
 * Note [Kept terms]: softmax is exp(x - top) over the sum of exp(x - top) along the row. The loop that
 * sums writes each term to where the result will be, and the last loop reads it there: half of the
 * exponentials. `value` is the stored value with that read in place of the term.
 */
export interface KeptTerms {
  readonly reduce: ReduceExpr
  /** Where the term at a position of the reduced axis goes. */
  readonly index: Index
  readonly value: Expr
}

/** The terms that are worth keeping, if there are such. */
export function findKeptTerms(s: ExprBuilder, group: Group): KeptTerms | undefined {
  const [store] = group.stores
  if (store === undefined || group.stores.length > 1 || store.accumulate) return undefined
  const { dtype, access } = group.buffers[store.buffer]!
  if (access !== 'write' || memoryOf[dtype] !== dtypes[dtype].compute) return undefined
  const last = store.index.terms.findLast((t) => t.stride === 1)?.index
  if (last?.kind !== 'axis' || !group.axes.includes(last.axis)) return undefined
  const present = new Set<Expr>()
  visitAll(rootsOf(group), (e) => present.add(e))
  for (const reduce of present) {
    if (reduce.kind !== 'reduce') continue
    if (!freeAxes(reduce.value).has(reduce.axes[0]!)) continue
    if (reduce.axes.length > 1 || !isCostly(reduce.value)) continue
    // One sum per row of the output, neither shared by rows nor made along them.
    const rows = freeAxes(reduce)
    if (group.axes.some((a) => rows.has(a) === (a === last.axis))) continue
    const [axis] = reduce.axes
    if (reduce.type !== store.value.type || axis!.extent !== last.axis.extent) {
      const [x, y] = [axis!.extent, last.axis.extent]
      if (typeof x !== 'object' || typeof y !== 'object' || x.slot !== y.slot) continue
    }
    const inOutput = (e: Expr) => (e.kind === 'axis' && e.axis === axis ? last : undefined)
    const inSum = (e: Expr) => (e === last ? s.at(axis!) : undefined)
    const term = rewrite(s, reduce.value, inOutput)
    if (!present.has(term)) continue
    const kept = s.load(store.buffer, dtype, store.index)
    return {
      reduce,
      index: mapIndex(store.index, (e) => rewrite(s, e, inSum)),
      value: rewrite(s, store.value, (e) => (e === term ? kept : undefined)),
    }
  }
  return undefined
}

// Whether some row below has to be made of simpler ones. Fused terms share much: each is looked at once.
function isCostly(e: Expr, seen = new Set<Expr>()): boolean {
  if (seen.has(e)) return false
  seen.add(e)
  if (e.kind === 'op' && scalarOp(e.op).decompose !== undefined && e.op !== 'fma') return true
  return e.kind !== 'reduce' && childrenOf(e).some((child) => isCostly(child, seen))
}
