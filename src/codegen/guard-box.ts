/** @file Takes a guard that holds in a box of positions out of the expressions: what is computed inside, and what outside. */
import { freeAxes, mapIndex, rewrite, type Axis, type Expr, type ExprBuilder } from '../ir/expr.ts'
import type { Store } from '../ir/group.ts'
import { boundsOf, spread } from './affine.ts'
import { simplify } from './simplify.ts'

/** From `low` up to `high`, that position left out. */
export interface Side {
  readonly axis: Axis
  readonly low: number
  readonly high: number
}

/** The positions at which a guard holds, where they are a box of constant size that is not empty. */
export function boxOf(s: ExprBuilder, guard: Expr): readonly Side[] | undefined {
  const sides = new Map<Axis, Side>()
  for (const condition of conjuncts(guard)) {
    const [axis, ...others] = freeAxes(condition)
    if (axis === undefined || others.length > 0 || typeof axis.extent !== 'number') return undefined
    const bounds = boundsOf(s, condition, axis)
    if (bounds === undefined || bounds.fixed.length > 0) return undefined
    let { low, high } = sides.get(axis) ?? { low: 0, high: axis.extent }
    const memo = new Map<Expr, Expr>()
    for (const [limits, join] of [
      [bounds.lower, (x: number) => (low = Math.max(low, x))],
      [bounds.upper, (x: number) => (high = Math.min(high, x))],
    ] as const)
      for (const limit of limits) {
        const known = simplify(s, limit, memo)
        if (known.kind !== 'const') return undefined
        join(Number(known.value))
      }
    if (low >= high) return undefined
    sides.set(axis, { axis, low, high })
  }
  return [...sides.values()]
}

const conjuncts = (e: Expr): readonly Expr[] =>
  e.kind === 'op' && e.op === 'and' ? e.args.flatMap(conjuncts) : [e]

/**
 * The stores at the positions where a guard holds, counted from the beginning of its box along axes of
 * their own: `axes` says which axis each of the old ones has become.
 */
export function storesInside(
  s: ExprBuilder,
  stores: readonly Store[],
  guard: Expr,
  box: readonly Side[],
): { readonly stores: readonly Store[]; readonly axes: ReadonlyMap<Axis, Axis> } {
  const axes = new Map(box.map(({ axis, low, high }) => [axis, s.axis(high - low)]))
  const moved = new Map<Expr, Expr>(
    box.map(({ axis, low }) => [s.at(axis), s.add(s.at(axes.get(axis)!), low)]),
  )
  const [unguarded, shifted] = [new Map<Expr, Expr>(), new Map<Expr, Expr>()]
  const change = (e: Expr): Expr => {
    const plain = rewrite(s, e, (x) => dropGuard(s, x, guard), unguarded)
    const shift = (x: Expr) =>
      x.kind === 'load'
        ? s.load(x.buffer, x.dtype, spread(x.index), x.guard, x.otherwise)
        : moved.get(x)
    return rewrite(s, plain, shift, shifted)
  }
  return { axes, stores: mapStores(stores, change) }
}

/** The stores at all other positions. */
export function storesOutside(
  s: ExprBuilder,
  stores: readonly Store[],
  guard: Expr,
): readonly Store[] {
  const memo = new Map<Expr, Expr>()
  const fill = (e: Expr) =>
    e.kind === 'load' && e.guard === guard ? s.const(e.type, e.otherwise) : undefined
  return mapStores(stores, (e) => rewrite(s, e, fill, memo))
}

const dropGuard = (s: ExprBuilder, e: Expr, guard: Expr): Expr | undefined =>
  e.kind === 'load' && e.guard === guard ? s.load(e.buffer, e.dtype, e.index) : undefined

const mapStores = (stores: readonly Store[], change: (e: Expr) => Expr): Store[] =>
  stores.map((store) => ({
    ...store,
    index: spread(mapIndex(store.index, change)),
    value: change(store.value),
  }))
