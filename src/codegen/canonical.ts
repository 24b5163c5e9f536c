/** @file Brings a group into the form kernels are cached by: axes merged, sizes moved into the argument block. */
import {
  childrenOf,
  freeAxes,
  mapIndex,
  type Axis,
  type Expr,
  type ExprBuilder,
  type Index,
  type Size,
} from '../ir/expr.ts'
import { rootsOf, visitAll, type Group } from '../ir/group.ts'
import { simplify } from './simplify.ts'

/** A group whose sizes are slots, the values for them, and a key that equal kernels share. */
export interface CanonicalGroup {
  readonly group: Group
  readonly sizes: readonly number[]
  readonly key: string
}

/**
 * Merges axes that are walked as one, drops axes of one point, and (unless `specialize`) replaces
 * extents and strides by slots of the argument block, so that another batch size is the same kernel.
 */
export function canonicalize(
  s: ExprBuilder,
  group: Group,
  specialize: boolean | 'round',
): CanonicalGroup {
  const merged = mergeAxes(s, simplifyGroup(s, group))
  const sizes: number[] = []
  const keeps = keepers[specialize === 'round' ? 'round' : 'small']
  const abstract = specialize === true ? merged : abstractSizes(s, merged, sizes, keeps)
  return { group: abstract, sizes, key: groupKey(abstract) }
}

function simplifyGroup(s: ExprBuilder, group: Group): Group {
  const memo = new Map<Expr, Expr>()
  const simple = (e: Expr) => simplify(s, e, memo)
  return {
    ...group,
    stores: group.stores.map((store) => ({
      ...store,
      index: mapIndex(store.index, simple),
      value: simple(store.value),
    })),
    checks: group.checks.map(simple),
  }
}

/** Extents up to this stay in the code: small loops gain from being known. */
const smallExtent = 8

/**
 * Which extents stay in the code. Of a product, those that the widths of models have: its tiles are
 * chosen to fit them, while lengths that grow step by step still share one kernel.
 */
const keepers = {
  small: {
    extent: (size: number) => size <= smallExtent,
    stride: (size: number): boolean => size === 0 || size === 1,
  },
  round: { extent: isRound, stride: isRound },
}

function isRound(size: number): boolean {
  return (size >= 0 && size <= 64) || size % 16 === 0
}

// -- merging

type AxisList = readonly Axis[]

function mergeAxes(s: ExprBuilder, group: Group): Group {
  const lists: AxisList[] = [group.axes]
  const indices: Index[] = group.stores.map((store) => store.index)
  const pinned = new Set<Axis>() // axes whose own position is a value, or that a scan runs along
  visitAll(rootsOf(group), (e) => {
    if (e.kind === 'reduce') lists.push(e.axes)
    if (e.kind === 'scan') pinned.add(e.axis)
    if (e.kind === 'load') {
      indices.push(e.index)
      if (e.guard?.kind === 'axis') pinned.add(e.guard.axis)
    }
    if (e.kind === 'op' || e.kind === 'reduce' || e.kind === 'scan')
      for (const child of childrenOf(e)) if (child.kind === 'axis') pinned.add(child.axis)
  })
  for (const store of group.stores) if (store.value.kind === 'axis') pinned.add(store.value.axis)

  const strideIn = (index: Index, axis: Axis): number => {
    let stride = 0
    for (const t of index.terms)
      if (t.index.kind === 'axis' && t.index.axis === axis) stride += t.stride as number
    return stride
  }
  const strides = new Map<Axis, number[]>()
  const stridesOf = (axis: Axis): number[] => {
    let known = strides.get(axis)
    if (!known) strides.set(axis, (known = indices.map((index) => strideIn(index, axis))))
    return known
  }

  // replacement: an axis becomes part of another one, or disappears (undefined)
  const replaced = new Map<Axis, Axis | undefined>()
  const current = lists.map((list) => [...list])
  const drop = (axis: Axis) => {
    replaced.set(axis, undefined)
    for (const list of current) {
      const i = list.indexOf(axis)
      if (i >= 0) list.splice(i, 1)
    }
  }
  for (const list of lists)
    for (const axis of list)
      if (axis.extent === 1 && !pinned.has(axis) && !replaced.has(axis)) drop(axis)

  const tryMerge = (outer: Axis, inner: Axis): boolean => {
    if (pinned.has(outer) || pinned.has(inner)) return false
    if (typeof outer.extent !== 'number' || typeof inner.extent !== 'number') return false
    const a = stridesOf(outer)
    const b = stridesOf(inner)
    for (let i = 0; i < a.length; i++) if (a[i] !== b[i]! * inner.extent) return false
    // Both must stand side by side wherever either is bound.
    for (const list of current) {
      const i = list.indexOf(outer)
      if (i < 0 ? list.includes(inner) : list[i + 1] !== inner) return false
    }
    const whole = s.axis(outer.extent * inner.extent)
    strides.set(whole, b)
    replaced.set(outer, undefined)
    replaced.set(inner, whole)
    for (const list of current) {
      const i = list.indexOf(outer)
      if (i >= 0) list.splice(i, 2, whole)
    }
    return true
  }
  for (const list of current)
    for (let i = 0; i + 1 < list.length;) if (!tryMerge(list[i]!, list[i + 1]!)) i++

  if (replaced.size === 0) return group
  const final = (axis: Axis): Axis | undefined => {
    let a: Axis | undefined = axis
    while (a !== undefined && replaced.has(a)) a = replaced.get(a)
    return a
  }
  return mapGroup(s, group, {
    axes: (list) => [...new Set(list.map(final).filter((a) => a !== undefined))],
    index: (index) => ({
      offset: index.offset,
      terms: index.terms.flatMap((t) => {
        if (t.index.kind !== 'axis') return [t]
        const axis = final(t.index.axis)
        return axis === undefined ? [] : [{ index: s.at(axis), stride: t.stride }]
      }),
    }),
  })
}

// -- sizes

function abstractSizes(
  s: ExprBuilder,
  group: Group,
  sizes: number[],
  keeps: (typeof keepers)['small'],
): Group {
  const slot = (value: Size): Size => {
    if (typeof value !== 'number') return value
    sizes.push(value)
    return { slot: sizes.length - 1 }
  }
  // One buffer is walked along one axis by the same stride everywhere.
  const strides = new Map<string, Size>()
  const strideOf = ({ index, stride }: Index['terms'][number], buffer: number): Size => {
    if (typeof stride !== 'number' || keeps.stride(stride)) return stride
    const key = `${buffer}:${index.id}:${stride}`
    let known = strides.get(key)
    if (known === undefined) strides.set(key, (known = slot(stride)))
    return known
  }
  const axes = new Map<Axis, Axis>()
  const along = rowAxes(group)
  const lengths = new Map<number, Size>()
  const axisOf = (axis: Axis): Axis => {
    let known = axes.get(axis)
    if (known === undefined) {
      const { extent } = axis
      const keep = typeof extent !== 'number' || keeps.extent(extent)
      const shared = keep ? undefined : lengths.get(extent)
      const size = keep ? extent : along.has(axis) && shared !== undefined ? shared : slot(extent)
      if (!keep && along.has(axis)) lengths.set(extent, size)
      axes.set(axis, (known = keep ? axis : s.axis(size)))
    }
    return known
  }
  const result = mapGroup(s, group, {
    axes: (list) => list.map(axisOf),
    at: axisOf,
    size: (value) => (typeof value === 'number' && value > smallExtent ? slot(value) : value),
    index: (index, buffer) => ({
      offset: index.offset === 0 ? 0 : slot(index.offset),
      terms: index.terms.map((t) => ({ index: t.index, stride: strideOf(t, buffer) })),
    }),
  })
  return { ...result, sizeCount: sizes.length }
}

// Axes that reductions run over, and those that no reduction depends on: the columns of row kernels.
// Where such axes are of one length, as in softmax, lowering may count on that.
function rowAxes(group: Group): ReadonlySet<Axis> {
  const along = new Set<Axis>()
  const fixed = new Set<Axis>()
  visitAll(rootsOf(group), (e) => {
    if (e.kind !== 'reduce') return
    for (const axis of e.axes) along.add(axis)
    for (const axis of freeAxes(e)) fixed.add(axis)
  })
  if (along.size > 0) for (const axis of group.axes) if (!fixed.has(axis)) along.add(axis)
  return along
}

// -- rebuilding

interface Changes {
  axes(list: AxisList): AxisList
  at?(axis: Axis): Axis
  size?(size: Size): Size
  /** Sees the index after the expressions inside it were rebuilt. */
  index(index: Index, buffer: number): Index
}

function mapGroup(s: ExprBuilder, group: Group, changes: Changes): Group {
  const at = changes.at ?? ((axis: Axis) => axis)
  const memo = new Map<Expr, Expr>()
  const visit = (e: Expr): Expr => {
    const known = memo.get(e)
    if (known) return known
    const result = build(e)
    memo.set(e, result)
    return result
  }
  const indexOf = (index: Index, buffer: number): Index =>
    changes.index(
      {
        offset: index.offset,
        terms: index.terms
          .filter((t) => t.stride !== 0)
          .map((t) => ({ index: visit(t.index), stride: t.stride })),
      },
      buffer,
    )
  const build = (e: Expr): Expr => {
    switch (e.kind) {
      case 'axis':
        return s.at(at(e.axis))
      case 'op':
        return s.apply(e.op, e.args.map(visit), e.type)
      case 'load':
        return s.load(
          e.buffer,
          e.dtype,
          indexOf(e.index, e.buffer),
          e.guard && visit(e.guard),
          e.otherwise,
        )
      case 'reduce': {
        const axes = changes.axes(e.axes)
        return axes.length === 0 ? visit(e.value) : s.reduce(e.combine, axes, visit(e.value))
      }
      case 'scan':
        return s.scan(e.combine, at(e.axis), visit(e.value))
      case 'size':
        return s.size(changes.size?.(e.size) ?? e.size)
      default:
        return e
    }
  }
  return {
    ...group,
    axes: changes.axes(group.axes),
    stores: group.stores.map((store) => ({
      ...store,
      index: indexOf(store.index, store.buffer),
      value: visit(store.value),
    })),
    checks: group.checks.map(visit),
  }
}

// -- keys

/** A text that two groups share exactly when they are the same kernel. */
export function groupKey(group: Group): string {
  const names = new Map<Expr | Axis, string>()
  const lines: string[] = []
  const size = (x: Size) => (typeof x === 'number' ? `${x}` : `s${x.slot}`)
  const axis = (a: Axis): string => {
    let name = names.get(a)
    if (name === undefined) {
      names.set(a, (name = `a${names.size}`))
      lines.push(`${name}<${size(a.extent)}`)
    }
    return name
  }
  const index = (x: Index): string =>
    `${size(x.offset)}${x.terms.map((t) => `+${expr(t.index)}*${size(t.stride)}`).join('')}`
  const text = (e: Expr): string => {
    switch (e.kind) {
      case 'const':
        return `${e.type}=${Object.is(e.value, -0) ? '-0' : e.value}`
      case 'param':
        return `${e.type}p${e.slot}`
      case 'size':
        return size(e.size)
      case 'axis':
        return axis(e.axis)
      case 'load':
        return `${e.dtype}${e.buffer}[${index(e.index)}]${e.guard ? `?${expr(e.guard)}:${e.otherwise}` : ''}`
      case 'op':
        return `${e.op}:${e.type}(${e.args.map(expr).join()})`
      case 'reduce':
        return `${e.combine}/${e.axes.map(axis).join('/')}(${expr(e.value)})`
      case 'scan':
        return `${e.combine}~${axis(e.axis)}(${expr(e.value)})`
    }
  }
  const expr = (e: Expr): string => {
    const known = names.get(e)
    if (known !== undefined) return known
    const made = text(e)
    if (made.length < 8) return made
    const name = `e${names.size}`
    names.set(e, name)
    lines.push(`${name}=${made}`)
    return name
  }
  const head = `${group.axes.map(axis).join()}|${group.buffers.map((b) => b.dtype + b.access[0]).join()}|${group.params.join()}`
  const stores = group.stores.map(
    (x) => `${x.buffer}[${index(x.index)}]${x.accumulate ? '+' : ''}=${expr(x.value)}`,
  )
  const checks = group.checks.map((c) => `!${expr(c)}`)
  const tile = group.tile === undefined ? [] : [`tile ${group.tile.rows}x${group.tile.vectors}`]
  const alongDepth = group.lanes === undefined ? [] : [`lanes ${group.lanes}`]
  return [head, ...lines, ...stores, ...checks, ...tile, ...alongDepth].join(';')
}
