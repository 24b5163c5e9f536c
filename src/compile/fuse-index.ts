/** @file Positions of one kernel in terms of another: where in its space an element was stored that is loaded there. */
import type { Axis, Expr, Index } from '../ir/expr.ts'
import type { Group, Store } from '../ir/group.ts'

/** offset + the sum of index * step. */
export interface Linear {
  readonly offset: number
  readonly terms: readonly { readonly index: Expr; readonly step: number }[]
}

/** An axis that has to be taken apart before positions along it can be told. */
export interface Split {
  readonly axis: Axis
  /** Outermost first. */
  readonly extents: readonly number[]
}

/** The axes of the storing kernel, expressed in the loading one. */
export interface Coordinates {
  readonly of: (axis: Axis) => Linear | undefined
  /** The same for equal coordinates. */
  readonly key: string
  /** Set where each axis is one of the other kernel's. */
  readonly axes: ReadonlyMap<Axis, Axis> | undefined
}

/**
 * The coordinates of the element at `load` (whose operand begins `offset` elements into the buffer), which
 * `store` put there; undefined where they are not linear in the loading kernel's own, or how these have to
 * be split so that they are.
 */
export function coordinatesOf(
  group: Group,
  store: Store,
  load: Index,
  offset: number,
): Coordinates | Split | undefined {
  const axes = stridesOf(group, store.index)
  if (axes === undefined) return undefined
  const found = axes.map(() => ({
    offset: 0,
    terms: [] as { index: Expr; step: number }[],
    most: 0,
  }))
  for (const { index, stride } of load.terms) {
    if (typeof stride !== 'number' || stride <= 0) return undefined
    const i = axes.findIndex((a) => a.stride <= stride && stride % a.stride === 0)
    if (i < 0) return undefined
    const step = stride / axes[i]!.stride
    const last = lastOf(index)
    const split = splitOf(axes, i, step, index)
    if (split !== undefined) return split
    // Of a gathered position nothing is known, but that it lies in the axis that it is for.
    if (last === undefined && step !== 1) return undefined
    found[i]!.terms.push({ index, step })
    found[i]!.most += last === undefined ? axes[i]!.extent - 1 : last * step
  }
  let rest = (load.offset as number) + offset
  if (rest < 0) return undefined
  axes.forEach(({ stride }, i) => {
    found[i]!.offset = Math.floor(rest / stride)
    rest -= found[i]!.offset * stride
  })
  if (rest !== 0) return undefined
  if (found.some(({ most, offset: from }, i) => from + most >= axes[i]!.extent)) return undefined
  const images = new Map(axes.map(({ axis }, i) => [axis, found[i]!]))
  const constant = { offset: 0, terms: [] }
  return {
    of: (axis) => images.get(axis) ?? (group.axes.includes(axis) ? constant : undefined),
    key: found
      .map((x) => `${x.offset}${x.terms.map((t) => `+${t.index.id}*${t.step}`).join('')}`)
      .join(),
    axes: axesOf(axes.map(({ axis, extent }, i) => ({ axis, extent, image: found[i]! }))),
  }
}

interface Strided {
  readonly axis: Axis
  readonly stride: number
  readonly extent: number
}

// Axes of more than one position by descending stride: together they walk a buffer without gaps.
function stridesOf(group: Group, { offset, terms }: Index): Strided[] | undefined {
  if (offset !== 0) return undefined
  const axes: Strided[] = []
  for (const { index, stride } of terms) {
    if (index.kind !== 'axis' || typeof stride !== 'number') return undefined
    const { extent } = index.axis
    if (typeof extent !== 'number') return undefined
    if (extent > 1) axes.push({ axis: index.axis, stride, extent })
  }
  axes.sort((a, b) => b.stride - a.stride)
  let next = 1
  for (const { stride, extent } of axes.toReversed()) {
    if (stride !== next) return undefined
    next *= extent
  }
  const all = group.axes.filter(({ extent }) => extent !== 1)
  return all.length === axes.length ? axes : undefined
}

// An axis that goes through several of the axes which an element was stored along, one step at a time.
function splitOf(
  axes: readonly Strided[],
  i: number,
  step: number,
  index: Expr,
): Split | undefined {
  if (index.kind !== 'axis' || step !== 1) return undefined
  let rest = index.axis.extent as number
  const extents: number[] = []
  for (let k = i; rest > 1; k--) {
    const extent = axes[k]?.extent
    if (extent === undefined) return undefined
    const part = Math.min(extent, rest)
    if (rest % part !== 0) return undefined
    extents.unshift(part)
    rest /= part
  }
  return extents.length > 1 ? { axis: index.axis, extents } : undefined
}

/** The largest value of a position, if it is an axis. */
function lastOf(index: Expr): number | undefined {
  if (index.kind === 'const') return Number(index.value)
  return index.kind === 'axis' ? (index.axis.extent as number) - 1 : undefined
}

function axesOf(
  images: readonly { readonly axis: Axis; readonly extent: number; readonly image: Linear }[],
): ReadonlyMap<Axis, Axis> | undefined {
  const map = new Map<Axis, Axis>()
  for (const { axis, extent, image } of images) {
    const [term] = image.terms
    if (image.offset !== 0 || image.terms.length !== 1 || term!.step !== 1) return undefined
    if (term!.index.kind !== 'axis' || term!.index.axis.extent !== extent) return undefined
    map.set(axis, term!.index.axis)
  }
  return new Set(map.values()).size === map.size ? map : undefined
}
