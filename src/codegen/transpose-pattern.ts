/** @file Recognises kernels that read along one axis and write along another. */
import type { DType } from '../core/dtype.ts'
import { childrenOf, freeAxes, type Axis, type Expr, type ExprBuilder } from '../ir/expr.ts'
import { rootsOf, visitAll, type Group } from '../ir/group.ts'
import type { TargetTraits } from './target-traits.ts'
import { chooseLanes, contiguousAlong } from './vectorize.ts'

/**
 * Note [Transposes]: a copy from NCHW to NHWC reads elements side by side along one axis and writes them
 * side by side along another. Vectors along either would touch one element per cache line at the other
 * end. So it is done in squares of as many vectors as a vector has lanes: read along one axis, transposed
 * in registers, written along the other. What is computed on the way stays what it is; the expressions
 * that read across (`parts`) are made along the axis of reading, and all the others, of operands that lie
 * like the result, along the axis of writing.
 */
export interface Transpose {
  /** The axis that the parts are read along. */
  readonly across: Axis
  /** The axis that results are written along. */
  readonly along: Axis
  /** Expressions to be computed along `across` and then transposed. */
  readonly parts: readonly Expr[]
  /** The side of the squares. */
  readonly side: number
}

/** Squares smaller than this are mostly empty. */
const leastExtent = 4

/** The transpose that a group is, or undefined. */
export function matchTranspose(
  s: ExprBuilder,
  group: Group,
  traits: TargetTraits,
): Transpose | undefined {
  const { axes, stores, checks } = group
  if (checks.length > 0 || stores.some((store) => store.accumulate)) return undefined
  const along = axes.findLast((axis) => stores.every(({ index }) => isRun(index, axis)))
  if (along === undefined || isShort(along)) return undefined
  const loads: Load[] = []
  let isPointwise = true
  visitAll(rootsOf(group), (e) => {
    if (e.kind === 'reduce' || e.kind === 'scan') isPointwise = false
    if (e.kind === 'load') loads.push(e)
  })
  if (!isPointwise) return undefined
  const crossings = (axis: Axis) => loads.filter((load) => crosses(load, axis, along))
  const candidates = axes.filter((axis) => axis !== along && !isShort(axis))
  const counts = candidates.map((axis) => crossings(axis).length)
  const most = Math.max(0, ...counts)
  if (most === 0) return undefined
  const across = candidates[counts.indexOf(most)]!
  const values = stores.map((store) => store.value)
  const parts = partsOf(values, new Set<Expr>(crossings(across)), across)
  const side = traits.vectorBytes / 4
  const stored = stores.map((store) => group.buffers[store.buffer]!.dtype)
  const fits = (exprs: readonly Expr[], dtypes: readonly DType[], axis: Axis) =>
    chooseLanes(s, exprs, dtypes, axis, traits) % side === 0
  if (!fits(parts, [], across) || !fits(values, stored, along)) return undefined
  return { across, along, parts, side }
}

type Load = Expr & { kind: 'load' }

const isShort = ({ extent }: Axis): boolean => typeof extent === 'number' && extent < leastExtent

/** Whether neighbours along an axis are neighbours in memory. */
function isRun({ terms }: Load['index'], axis: Axis): boolean {
  const moving = terms.filter(({ index }) => freeAxes(index).has(axis))
  const [term] = moving
  return moving.length === 1 && term!.stride === 1 && term!.index.kind === 'axis'
}

// Whether a load runs along one axis, and jumps along the other. Bools are no elements of 32 bits.
function crosses({ index, type }: Load, across: Axis, along: Axis): boolean {
  if (type === 'bool' || !isRun(index, across) || isRun(index, along)) return false
  return index.terms.some((t) => freeAxes(t.index).has(along))
}

/**
 * Where the values are cut: at the loads that read across, or, so that two of them are transposed as
 * one, at an expression made of several and of nothing that reads along.
 */
function partsOf(values: readonly Expr[], crossing: ReadonlySet<Expr>, across: Axis): Expr[] {
  const below = new Map<Expr, ReadonlySet<Expr>>()
  const cutsBelow = (e: Expr): ReadonlySet<Expr> => {
    const known = below.get(e)
    if (known) return known
    const found = new Set<Expr>(
      crossing.has(e) ? [e] : childrenOf(e).flatMap((child) => [...cutsBelow(child)]),
    )
    const joins = found.size > 1 && e.type !== 'bool' && contiguousAlong([e], across)
    const cuts = joins ? new Set([e]) : found
    below.set(e, cuts)
    return cuts
  }
  return [...new Set(values.flatMap((value) => [...cutsBelow(value)]))]
}
