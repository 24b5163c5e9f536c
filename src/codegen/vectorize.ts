/** @file Decides whether, and how wide, an expression can run along an axis. */
import type { DType } from '../core/dtype.ts'
import { childrenOf, freeAxes, type Axis, type Expr, type ExprBuilder } from '../ir/expr.ts'
import { scalarOp } from '../ir/scalar-op.ts'
import { memoryOf } from './emitter.ts'
import { readsEveryOther, tapBeside } from './pairs.ts'
import type { TargetTraits } from './target-traits.ts'

/** A row in terms of rows that the target spells at this width; the same node when it spells the row itself. */
export function decompose(
  s: ExprBuilder,
  e: Expr & { kind: 'op' },
  lanes: number,
  traits: TargetTraits,
): Expr {
  const { decompose: simpler } = scalarOp(e.op)
  if (simpler === undefined || traits.spells(e.op, e.type, lanes)) return e
  return simpler(s, ...e.args)
}

/**
 * How many lanes a loop along `axis` should have for these expressions and stored dtypes: a multiple
 * of the register's width (more for cheap bodies, which is unrolling), or 1 when some part cannot be
 * vectorised.
 */
export function chooseLanes(
  s: ExprBuilder,
  exprs: readonly Expr[],
  stored: readonly DType[],
  axis: Axis,
  traits: TargetTraits,
): number {
  const free = new Map()
  const along = partsAlong(exprs, axis, free)
  const isPosition = (e: Expr) => e.kind === 'axis' && e.axis === axis
  // A position inside an affine index needs no vector of integers; one that is an operand does.
  const isNarrow = (e: Expr) =>
    e.type === 'f32' ||
    (e.type === 'i32' && !isPosition(e)) ||
    (e.kind !== 'load' && childrenOf(e).some(isPosition))
  const anyWide = exprs.some(isWide) || along.some(isWide)
  if (anyWide && along.some(isNarrow)) return 1
  const width = traits.vectorBytes / (anyWide ? 8 : 4)
  let cost = 0
  for (const e of along) {
    if (e.kind === 'scan') return 1
    if (e.kind === 'reduce' && !traits.spells(e.combine, e.type, width)) return 1
    if (e.kind === 'load') {
      if (!traits.vectorMemory(memoryOf[e.dtype], width)) return 1
      if (e.guard !== undefined && freeAxes(e.guard, free).has(axis) && anyWide) return 1
      const gathers = e.index.terms.some(
        (t) => freeAxes(t.index, free).has(axis) && !(t.index.kind === 'axis' && t.stride === 1),
      )
      if (gathers && anyWide) return 1
      // Pairs are taken apart register by register.
      const isPair =
        traits.tail === 'mask' ? readsEveryOther(e, axis) : tapBeside(e, axis) !== undefined
      cost += isPair ? 13 : gathers ? 8 : 1
    }
    if (e.kind === 'op') {
      const price = priceOf(s, e, width, traits)
      if (price === undefined) return 1
      cost += price
    }
  }
  if (!stored.every((dtype) => traits.vectorMemory(memoryOf[dtype], width))) return 1
  return width * (cost <= 5 ? 4 : cost <= 12 ? 2 : 1)
}

// The expressions that depend on an axis, among these and below them.
function partsAlong(
  exprs: readonly Expr[],
  axis: Axis,
  free: Map<Expr, ReadonlySet<Axis>>,
): Expr[] {
  const seen = new Set<Expr>()
  const along: Expr[] = []
  const visit = (e: Expr) => {
    if (seen.has(e)) return
    seen.add(e)
    if (!freeAxes(e, free).has(axis)) return
    along.push(e)
    childrenOf(e).forEach(visit)
  }
  exprs.forEach(visit)
  return along
}

const isWide = (e: Expr) => e.type === 'f64' || e.type === 'i64'

/** Whether lanes that run along an axis hold 64-bit values. */
export function isWideAlong(exprs: readonly Expr[], axis: Axis): boolean {
  return exprs.some(isWide) || partsAlong(exprs, axis, new Map()).some(isWide)
}

// Number of native rows an operation becomes, or undefined when it cannot be a vector.
function priceOf(
  s: ExprBuilder,
  e: Expr & { kind: 'op' },
  lanes: number,
  traits: TargetTraits,
): number | undefined {
  const from = e.args[e.args.length - 1]!.type
  const type = scalarOp(e.op).result === 'bool' ? from : e.type
  if (traits.spells(e.op, type, lanes)) return 1
  const simpler = decompose(s, e, lanes, traits)
  if (simpler === e) return undefined
  let price = 0
  const stop = new Set<Expr>(e.args)
  const seen = new Set<Expr>()
  const visit = (x: Expr): boolean => {
    if (seen.has(x) || stop.has(x)) return true
    seen.add(x)
    if (!childrenOf(x).every(visit)) return false
    if (x.kind !== 'op') return true
    const part = priceOf(s, x, lanes, traits)
    price += part ?? 0
    return part !== undefined
  }
  return visit(simpler) ? price : undefined
}

/** Whether every load below these expressions is contiguous along the axis or does not depend on it. */
export function contiguousAlong(exprs: readonly Expr[], axis: Axis): boolean {
  const free = new Map()
  const seen = new Set<Expr>()
  const check = (e: Expr): boolean => {
    if (seen.has(e)) return true
    seen.add(e)
    if (e.kind === 'load') {
      if (e.guard !== undefined && freeAxes(e.guard, free).has(axis)) return false
      for (const t of e.index.terms) {
        if (!freeAxes(t.index, free).has(axis)) continue
        if (t.index.kind !== 'axis' || t.stride !== 1) return false
      }
    }
    return childrenOf(e).every(check)
  }
  return exprs.every(check)
}
