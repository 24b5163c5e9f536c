/** @file Merges neighbouring axes that every index walks as if they were one. */
import {
  childrenOf,
  mapIndex,
  rewrite,
  type Axis,
  type Expr,
  type ExprBuilder,
  type Index,
  type Size,
} from '../ir/expr.ts'
import { visitAll } from '../ir/group.ts'

/** Expressions and indices that see an iteration space through the same axes, outermost first. */
export interface View {
  readonly axes: readonly Axis[]
  readonly values: readonly Expr[]
  readonly indices: readonly Index[]
}

/**
 * The same view with fewer axes, where constant extents and strides allow it: h and w become one axis
 * when every index has stride(h) = stride(w) * extent(w). Axes of one element disappear.
 */
export function mergeAxes(s: ExprBuilder, view: View): View {
  for (let i = view.axes.length - 1; i > 0; i--) {
    const merged = mergePair(s, view, i - 1)
    if (merged) return mergeAxes(s, merged)
  }
  return view
}

/** The stride of an axis in an index that has it as a plain term; 0 when it does not occur, undefined when it occurs otherwise. */
export function strideOf(index: Index, axis: Axis): Size | undefined {
  let stride: Size = 0
  for (const term of index.terms) {
    if (term.index.kind === 'axis') {
      if (term.index.axis !== axis) continue
      if (stride !== 0) return undefined
      stride = term.stride
      continue
    }
    let occurs = false
    visitAll([term.index], (e) => (occurs ||= e.kind === 'axis' && e.axis === axis))
    if (occurs) return undefined
  }
  return stride
}

function mergePair(s: ExprBuilder, view: View, at: number): View | undefined {
  const [outer, inner] = view.axes.slice(at) as [Axis, Axis]
  if (typeof outer.extent !== 'number' || typeof inner.extent !== 'number') return undefined
  const indices = [...view.indices]
  let isPlain = true
  visitAll([...view.values, ...view.indices.flatMap(computed)], (e) => {
    if (e.kind === 'load') indices.push(e.index)
    const inside =
      e.kind === 'load' ? [...computed(e.index), ...(e.guard ? [e.guard] : [])] : childrenOf(e)
    if (inside.some((x) => isAxis(x, outer) || isAxis(x, inner))) isPlain = false
  })
  const roots = [...view.values, ...view.indices.flatMap(computed)]
  if (!isPlain || roots.some((x) => isAxis(x, outer) || isAxis(x, inner))) return undefined
  for (const index of indices) {
    const [far, near] = [strideOf(index, outer), strideOf(index, inner)]
    if (typeof far !== 'number' || typeof near !== 'number') return undefined
    // An axis of one element has no say in the stride.
    const single = inner.extent === 1 || outer.extent === 1
    if (!single && far !== near * inner.extent) return undefined
  }
  const merged = s.axis(outer.extent * inner.extent)
  const replace = (index: Index): Index => {
    const stride = strideOf(index, inner.extent === 1 ? outer : inner) as number
    const terms = index.terms.filter((t) => !isAxis(t.index, outer) && !isAxis(t.index, inner))
    return stride === 0
      ? { ...index, terms }
      : { ...index, terms: [...terms, { index: s.at(merged), stride }] }
  }
  const memo = new Map<Expr, Expr>()
  const change = (e: Expr): Expr =>
    rewrite(
      s,
      e,
      (x) =>
        x.kind === 'load'
          ? s.load(x.buffer, x.dtype, replace(x.index), x.guard, x.otherwise)
          : undefined,
      memo,
    )
  return {
    axes: view.axes.toSpliced(at, 2, merged),
    values: view.values.map(change),
    indices: view.indices.map((index) => replace(mapIndex(index, change))),
  }
}

const isAxis = (e: Expr, axis: Axis): boolean => e.kind === 'axis' && e.axis === axis

const computed = (index: Index): Expr[] =>
  index.terms.map((t) => t.index).filter((e) => e.kind !== 'axis')
