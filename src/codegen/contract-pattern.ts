/** @file Recognises contractions: a sum over products of two operands, with anything done to the sum. */
import type { DType } from '../core/dtype.ts'
import {
  freeAxes,
  rewrite,
  type Axis,
  type Expr,
  type ExprBuilder,
  type Index,
  type ReduceExpr,
} from '../ir/expr.ts'
import { rootsOf, visitAll, type Group, type Store, type Tile } from '../ir/group.ts'
import { spread } from './affine.ts'
import { dotOf } from './contract-dot.ts'
import { mergeAxes, strideOf } from './merge-axes.ts'
import type { TargetTraits } from './target-traits.ts'

/** One factor: a value at each point of its own axes ("rows" of A, columns of B) and of the summed ones. */
export interface Operand {
  readonly value: Expr
  readonly own: readonly Axis[]
  readonly summed: readonly Axis[]
}

/** Something that is made of the sums and stored. */
export interface Result {
  readonly store: Store
  readonly dtype: DType
  readonly value: Expr
  readonly index: Index
}

/** What becomes of the sums. Values read the sum through `sum`, a stand-in that the tile defines. */
export interface Outcome {
  readonly results: readonly Result[]
  readonly sum: Expr
  readonly rows: readonly Axis[]
  /** The last of them is the one that vectors run along. */
  readonly columns: readonly Axis[]
}

/**
 * out[batch, m, n] = value(sum over k of a[batch, m, k] * b[batch, n, k]). Each role may be played by
 * several axes, merged separately for every reader: rows, columns and depth are counted flat, and each
 * reader takes the flat positions apart into its own axes.
 */
export interface Contraction {
  readonly type: 'f32' | 'f64' | 'i32'
  readonly batch: readonly Axis[]
  readonly rows: readonly Axis[]
  readonly columns: readonly Axis[]
  readonly depth: readonly Axis[]
  readonly a: Operand
  readonly b: Operand
  /** The factors in the axes above, the depth of which they share. */
  readonly unmerged: { readonly a: Expr; readonly b: Expr }
  readonly out: Outcome
  /** The tile that the group asks for. */
  readonly tile: Tile | undefined
  /** The same product seen from the other side: out(transposed) = b x a. */
  readonly swapped: () => Contraction
}

const dtypeOfCompute = { f32: 'float32', f64: 'float64', i32: 'int32' } as const

/** The contraction that a group is, or undefined; of integers only what the target has a dot for. */
export function matchContraction(
  s: ExprBuilder,
  group: Group,
  traits: TargetTraits,
): Contraction | undefined {
  const { stores } = group
  const [store] = stores
  if (store === undefined || group.checks.length > 0) return undefined
  if (stores.length > 1 && stores.some((x) => x.accumulate)) return undefined
  const reduce = onlyReduction(group)
  if (reduce === undefined || reduce.combine !== 'add') return undefined
  const { type } = reduce
  if (type !== 'f32' && type !== 'f64' && type !== 'i32') return undefined
  const product = reduce.value
  if (product.kind !== 'op' || product.op !== 'mul') return undefined
  const [x, y] = product.args as [Expr, Expr]
  if (type === 'i32' && dotOf(x, y, traits) === undefined) return undefined
  const free = new Map<Expr, ReadonlySet<Axis>>()
  const [inX, inY] = [freeAxes(x, free), freeAxes(y, free)]
  const parallel = group.axes
  if (parallel.some((axis) => !inX.has(axis) && !inY.has(axis))) return undefined
  const batch = parallel.filter((axis) => inX.has(axis) && inY.has(axis))
  const onlyX = parallel.filter((axis) => !inY.has(axis))
  const onlyY = parallel.filter((axis) => !inX.has(axis))
  if (onlyX.length === 0 || onlyY.length === 0) return undefined
  // Vectors run along the columns, so they are the side that lies contiguous in the output.
  const isUnit = (axis: Axis) => strideOf(store.index, axis) === 1
  const [p, q] = [
    { value: x, own: onlyX },
    { value: y, own: onlyY },
  ]
  const [a, b] = onlyX.some(isUnit) ? [q, p] : [p, q]
  const stored = stores.map((x) => ({ store: x, dtype: group.buffers[x.buffer]!.dtype }))
  const { tile } = group
  return arrange(s, { stored, type, batch, depth: reduce.axes, tile }, a, b)
}

interface Frame extends Pick<Contraction, 'type' | 'batch' | 'depth' | 'tile'> {
  readonly stored: readonly Pick<Result, 'store' | 'dtype'>[]
}

interface Side {
  readonly value: Expr
  readonly own: readonly Axis[]
}

/** The contraction with its sides in these roles: `a` gives the rows, `b` the columns. */
function arrange(s: ExprBuilder, frame: Frame, a: Side, b: Side): Contraction {
  const { stored, type, batch, depth, tile } = frame
  const isUnit = (axis: Axis) => strideOf(stored[0]!.store.index, axis) === 1
  const columns = b.own.toSorted((p, q) => Number(isUnit(p)) - Number(isUnit(q)))
  const unmerged = { a: spreadLoads(s, a.value), b: spreadLoads(s, b.value) }
  const operand = (value: Expr, own: readonly Axis[]): Operand => {
    const first = mergeAxes(s, { axes: own, values: [value], indices: [] })
    const second = mergeAxes(s, { axes: depth, values: first.values, indices: [] })
    return { value: second.values[0]!, own: first.axes, summed: second.axes }
  }
  return {
    type,
    batch,
    rows: a.own,
    columns,
    depth,
    a: operand(unmerged.a, a.own),
    b: operand(unmerged.b, columns),
    unmerged,
    out: outcome(s, stored, type, a.own, columns),
    tile,
    swapped: () => arrange(s, frame, b, a),
  }
}

// The sum becomes a load from a buffer that does not exist, contiguous along the columns: whatever can
// be said about vectors of the epilogue can then be asked as for any expression.
function outcome(
  s: ExprBuilder,
  stored: Frame['stored'],
  type: Contraction['type'],
  rows: readonly Axis[],
  columns: readonly Axis[],
): Outcome {
  const last = columns[columns.length - 1]!
  const none = -1
  const sumAt = (axis: Axis) =>
    s.load(none, dtypeOfCompute[type], { offset: 0, terms: [{ index: s.at(axis), stride: 1 }] })
  const placeholder = s.load(none, dtypeOfCompute[type], { offset: 0, terms: [] })
  const values = stored.map(({ store }) =>
    rewrite(s, store.value, (e) => (e.kind === 'reduce' ? placeholder : undefined)),
  )
  const view = { values, indices: stored.map(({ store }) => store.index) }
  const byColumn = mergeAxes(s, { ...view, axes: columns })
  const byRow = mergeAxes(s, { ...byColumn, axes: rows })
  const run = byColumn.axes.at(-1) ?? last
  const sum = sumAt(run)
  return {
    results: stored.map((x, i) => ({
      ...x,
      value: rewrite(s, byRow.values[i]!, (e) => (e === placeholder ? sum : undefined)),
      index: byRow.indices[i]!,
    })),
    sum,
    rows: byRow.axes,
    columns: byColumn.axes,
  }
}

function spreadLoads(s: ExprBuilder, value: Expr): Expr {
  return rewrite(s, value, (e) =>
    e.kind === 'load'
      ? s.load(e.buffer, e.dtype, spread(e.index), e.guard, e.otherwise)
      : undefined,
  )
}

function onlyReduction(group: Group): ReduceExpr | undefined {
  const reduces: ReduceExpr[] = []
  let isPlain = true
  visitAll(rootsOf(group), (e) => {
    if (e.kind === 'reduce') reduces.push(e)
    if (e.kind === 'scan') isPlain = false
  })
  return isPlain && reduces.length === 1 ? reduces[0] : undefined
}
