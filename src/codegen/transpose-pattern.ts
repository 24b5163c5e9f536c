/** @file Recognises kernels that read along one axis and write along another. */
import { childrenOf, freeAxes, type Axis, type Expr, type ExprBuilder } from '../ir/expr.ts'
import { rootsOf, visitAll, type Group, type Store } from '../ir/group.ts'
import { extentOf } from './contract-blocks.ts'
import { boxOf, storesInside, storesOutside, type Side } from './guard-box.ts'
import { mergeAxes } from './merge-axes.ts'
import type { TargetTraits } from './target-traits.ts'
import { chooseLanes, contiguousAlong } from './vectorize.ts'

/**
 * Note [Transposes]: a copy from NCHW to NHWC reads elements side by side along one axis and writes them
 * side by side along another. Vectors along either would touch one element per cache line at the other
 * end. So it is done in squares of as many vectors as a vector has lanes: read along one axis, transposed
 * in registers, written along the other. What is computed on the way stays what it is; the expressions
 * that read across (`parts`) are made along the axis of reading, and all the others, of operands that lie
 * like the result, along the axis of writing. Where the parts are guarded by the padding of an image,
 * squares cover what is inside, and the border is written by itself.
 */
export interface Transpose {
  /** Axes that are neither read nor written along, outermost first. */
  readonly outer: readonly Axis[]
  /** The axes that parts are read along: several where they lie in memory as if they were one. */
  readonly across: readonly Axis[]
  /** The axis that results are written along. */
  readonly along: Axis
  readonly parts: readonly Part[]
  /** What is stored at each point of these axes. */
  readonly stores: readonly Store[]
  readonly border: Border | undefined
  /** The side of the squares. */
  readonly side: number
}

/** An expression to be computed along the axis of reading and then transposed. */
export interface Part {
  /** As the stores have it. */
  readonly value: Expr
  /** As it is read: the axes of reading are one, `across`. */
  readonly read: Expr
  readonly across: Axis
}

/** What is stored outside a box of positions. */
export interface Border {
  readonly box: readonly Side[]
  readonly stores: readonly Store[]
  /** The axes that the box has inside, in the same order. */
  readonly inside: readonly Axis[]
}

/** At most one of so many positions may be left over where that is slow. */
const mostLeftOver = 4

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
  const loads = loadsOf(group)
  if (loads === undefined) return undefined
  const candidates = axes.filter((axis) => axis !== along && !isShort(axis))
  const [across, crossing] = mostCrossed(loads, candidates, along)
  if (across === undefined) return undefined
  const side = traits.vectorBytes / 4
  // Several results would be written a part of a vector at a time.
  if (stores.length > 1 && extentOf([along]) < side) return undefined
  const values = stores.map((store) => store.value)
  const dtypes = stores.map((store) => group.buffers[store.buffer]!.dtype)
  const hasLanes = (exprs: readonly Expr[], axis: Axis) =>
    chooseLanes(s, exprs, axis === along ? dtypes : [], axis, traits) % side === 0
  if (!hasLanes(crossing, across) || !hasLanes(values, along)) return undefined
  const split = splitGuard(s, stores, crossing, along)
  if (split) {
    const inside = (axis: Axis) => split.axes.get(axis) ?? axis
    const shape = { axes: axes.map(inside), along, across: inside(across), side }
    const made = arrange(s, split.stores, shape, split.border)
    // Positions that depend on sizes not known yet cannot be counted anew.
    if (made.parts.length > 0) return isWorthwhile(made, traits) ? made : undefined
  }
  const made = arrange(s, stores, { axes, along, across, side }, undefined)
  return isWorthwhile(made, traits) ? made : undefined
}

// Without masks, what is less than a square is done element by element.
function isWorthwhile({ across, along, side }: Transpose, traits: TargetTraits): boolean {
  const isMostlyWhole = (extent: number) =>
    !Number.isFinite(extent) || (extent % side) * mostLeftOver <= extent
  return (
    traits.tail === 'mask' || (isMostlyWhole(extentOf(across)) && isMostlyWhole(extentOf([along])))
  )
}

type Load = Expr & { kind: 'load' }

interface Shape {
  readonly axes: readonly Axis[]
  readonly along: Axis
  readonly across: Axis
  readonly side: number
}

function arrange(
  s: ExprBuilder,
  stores: readonly Store[],
  { axes, along, across, side }: Shape,
  border: Border | undefined,
): Transpose {
  const values = stores.map((store) => store.value)
  const crossing = new Set<Expr>()
  visitAll(values, (e) => {
    if (e.kind === 'load' && crosses(e, across, along)) crossing.add(e)
  })
  const parts = partsOf(values, crossing, across)
  const others = axes.filter((axis) => axis !== along && axis !== across)
  const merged = mergeShort(s, parts, [...others, across], side)
  return {
    outer: others.filter((axis) => !merged.axes.includes(axis)),
    across: merged.axes,
    along,
    parts: parts.map((value, i) => ({ value, read: merged.values[i]!, across: merged.across })),
    stores,
    border,
    side,
  }
}

// Rows of an image that are shorter than a square are read several at once, if that comes out even.
function mergeShort(
  s: ExprBuilder,
  parts: readonly Expr[],
  axes: readonly Axis[],
  side: number,
): { axes: readonly Axis[]; across: Axis; values: readonly Expr[] } {
  const across = axes.at(-1)!
  const { extent } = across
  if (typeof extent === 'number' && extent < side && side % extent === 0)
    for (let from = 0; from < axes.length - 1; from++) {
      const some = axes.slice(from)
      const view = mergeAxes(s, { axes: some, values: parts, indices: [] })
      if (view.axes.length === 1) return { axes: some, across: view.axes[0]!, values: view.values }
    }
  return { axes: [across], across, values: parts }
}

interface Split {
  readonly stores: readonly Store[]
  readonly axes: ReadonlyMap<Axis, Axis>
  readonly border: Border
}

/** Takes the guard that all crossing loads share apart; undefined where there is none, or no box of it. */
function splitGuard(
  s: ExprBuilder,
  stores: readonly Store[],
  crossing: readonly Load[],
  along: Axis,
): Split | undefined {
  const { guard } = crossing[0]!
  if (guard === undefined || crossing.some((load) => load.guard !== guard)) return undefined
  const box = boxOf(s, guard)
  if (box === undefined || box.some(({ axis }) => axis === along)) return undefined
  const inside = storesInside(s, stores, guard, box)
  const border: Border = {
    box,
    stores: storesOutside(s, stores, guard),
    inside: box.map(({ axis }) => inside.axes.get(axis)!),
  }
  return { ...inside, border }
}

// All loads of a group that computes each point by itself; else undefined.
function loadsOf(group: Group): readonly Load[] | undefined {
  const loads: Load[] = []
  let isPointwise = true
  visitAll(rootsOf(group), (e) => {
    if (e.kind === 'reduce' || e.kind === 'scan') isPointwise = false
    if (e.kind === 'load') loads.push(e)
  })
  return isPointwise ? loads : undefined
}

// The axis that most loads run along which jump along the other one.
function mostCrossed(
  loads: readonly Load[],
  candidates: readonly Axis[],
  along: Axis,
): readonly [Axis | undefined, readonly Load[]] {
  let best: [Axis | undefined, readonly Load[]] = [undefined, []]
  for (const axis of candidates) {
    const crossing = loads.filter((load) => crosses(load, axis, along))
    if (crossing.length > best[1].length) best = [axis, crossing]
  }
  return best
}

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
