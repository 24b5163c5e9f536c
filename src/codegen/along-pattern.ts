/** @file Which contractions have both factors contiguous along the depth, and the tile that then pays. */
import type { Axis, ExprBuilder, LoadExpr } from '../ir/expr.ts'
import type { Group } from '../ir/group.ts'
import { lanesOf } from './contract-blocks.ts'
import type { Contraction } from './contract-pattern.ts'
import { memoryOf } from './emitter.ts'
import { mergeAxes, strideOf } from './merge-axes.ts'
import type { TargetTraits } from './target-traits.ts'

/** One factor: elements that lie side by side along the last axis of the depth. */
export interface Factor {
  readonly load: LoadExpr
  readonly own: readonly Axis[]
  /** Where the lines of a tile lie, from the first one on, in elements. */
  readonly lines: readonly number[]
}

export interface AlongPlan {
  readonly depth: readonly Axis[]
  /** Elements along the last axis of the depth. */
  readonly run: number
  readonly lanes: number
  readonly a: Factor
  readonly b: Factor
}

/**
 * How to sum a contraction with vectors along its depth, or undefined where the group does not ask for it or it
 * cannot be. See Note [Along the depth].
 */
export function planAlong(
  s: ExprBuilder,
  group: Group,
  c: Contraction,
  traits: TargetTraits,
): AlongPlan | undefined {
  if (group.lanes !== 'depth' || c.type === 'i32') return undefined
  const view = { axes: c.depth, values: [c.unmerged.a, c.unmerged.b], indices: [] }
  const { axes: depth, values } = mergeAxes(s, view)
  const last = depth.at(-1)
  const lanes = lanesOf(c, traits)
  if (last === undefined || typeof last.extent !== 'number') return undefined
  // What is left of a vector is read under a mask.
  if (traits.tail !== 'mask' && last.extent % lanes !== 0) return undefined
  const [a, b] = [c.rows, c.columns].map((own, i) => {
    const merged = mergeAxes(s, { axes: own, values: [values[i]!], indices: [] })
    const [load] = merged.values as [LoadExpr]
    const isPlain = load.kind === 'load' && load.guard === undefined
    if (!isPlain || memoryOf[load.dtype] !== c.type || strideOf(load.index, last) !== 1)
      return undefined
    return { load, own: merged.axes }
  })
  if (a === undefined || b === undefined) return undefined
  const tile = cheapestTile(linesOf(a), linesOf(b), traits)
  const run = last.extent
  return tile && { depth, run, lanes, a: { ...a, lines: tile.a }, b: { ...b, lines: tile.b } }
}

type Lines = readonly number[]

/**
 * The sets of neighbouring lines that a tile may take: those which divide the operand, so that each lies as the
 * others do. The lines of a window's taps are one of them, and so are some channels.
 */
function linesOf({ load, own }: Pick<Factor, 'load' | 'own'>): Lines[] {
  const sets: Lines[] = [[0]]
  let whole: Lines = [0]
  for (const axis of own.toReversed()) {
    const stride = strideOf(load.index, axis)
    const { extent } = axis
    if (typeof stride !== 'number' || typeof extent !== 'number') break
    const spread = (count: number) =>
      Array.from({ length: count }, (_, i) => whole.map((at) => at + i * stride)).flat()
    for (let count = 2; count <= extent && count * whole.length <= mostLines; count++)
      if (extent % count === 0) sets.push(spread(count))
    if (extent * whole.length > mostLines) break
    whole = spread(extent)
  }
  return sets
}

const mostLines = 16

/** The tile with the least to do for a sum: a product each, and what it takes to read the lines. */
function cheapestTile(
  setsA: readonly Lines[],
  setsB: readonly Lines[],
  traits: TargetTraits,
): { readonly a: Lines; readonly b: Lines } | undefined {
  // As many registers as tiles of columns take: the sums, a vector of each row of B, and a factor of A.
  const registers = Math.max(...traits.tiles.map(({ rows, vectors }) => (rows + 1) * vectors + 1))
  let best: { readonly a: Lines; readonly b: Lines; readonly price: number } | undefined
  for (const a of setsA)
    for (const b of setsB) {
      const sums = a.length * b.length
      if (sums + Math.min(a.length, b.length) + 1 > registers) continue
      const price = Math.max(sums, loadCost * (a.length + b.length)) / sums
      const isBetter = best === undefined || price < best.price
      const isLarger = best?.price === price && sums > best.a.length * best.b.length
      if (isBetter || isLarger) best = { a, b, price }
    }
  return best
}

/** Lines begin anywhere, so that most of their vectors lie in two lines of the cache. */
const loadCost = 1.5
