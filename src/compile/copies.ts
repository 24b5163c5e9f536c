/** @file Results go at once where they would be copied to. */
import { rewrite, type Axis, type Expr, type Index } from '../ir/expr.ts'
import type { Group, Store } from '../ir/group.ts'
import { rootsOf, visitAll } from '../ir/group.ts'
import { coordinatesOf, type Coordinates } from './fuse-index.ts'
import { joined, joinNames } from './fuse-merge.ts'
import { isAgainAfter, writes } from './schedule.ts'
import type { Operand, Schedule, Scheduled, ScheduledKernel } from './schedule.ts'

/** Says that a kernel reads a buffer that it did not read before, and why it is not joined with who writes it. */
type Redirected = (buffer: number, reader: ScheduledKernel, reason: string) => void

/**
 * Note [Copies]: fusion leaves copies behind such kernels as attention, which stores more than one result or
 * whose sums nothing is joined with: the heads of its result are put side by side, its gradients become parts of
 * one tensor. Where such a copy is all that has to wait for the order of the elements, the kernel stores them in
 * that order itself, and who reads the first order is told where its elements are now. The copy is gone, and one of
 * the two buffers. Rows of the result stay rows, so that they are stored and read in runs as before.
 */
export function withoutCopies(
  schedule: Schedule,
  leaving: ReadonlySet<number>,
  redirected: Redirected,
): Schedule {
  const kernels: (Scheduled | undefined)[] = [...schedule.kernels]
  const touchedBy = schedule.buffers.map(() => new Set<number>())
  const note = (k: number) => {
    for (const { buffer } of kernels[k]!.operands) touchedBy[buffer]!.add(k)
  }
  kernels.forEach((_, k) => note(k))
  for (let c = 0; c < kernels.length; c++) {
    const copy = copyOf(kernels[c]!)
    if (copy === undefined || leaving.has(copy.from) || leaving.has(copy.to)) continue
    const readers = [...touchedBy[copy.from]!].filter((k) => k !== c)
    const p = Math.min(...readers)
    const storer = p < c ? storerOf(kernels[p]!, copy.from) : undefined
    const others = readers.filter((k) => k !== p)
    if (storer === undefined || isAgainAfter(storer.kernel, copy.kernel)) continue
    // What is larger should neither be there earlier nor stay for longer.
    const isLarger = schedule.buffers[copy.to]!.bytes > schedule.buffers[copy.from]!.bytes
    const isWhole = () => isOfOne(kernels, touchedBy[copy.to]!, { p, c })
    if (isLarger && (others.length > 0 || !isWhole())) continue
    const move = moved(storer, copy)
    if (move === undefined || !isFree(kernels, touchedBy[copy.to]!, { p, c, move })) continue
    const redirections = others.map((k) => redirect(kernels[k]!, copy, move))
    if (!redirections.every((x) => x !== undefined)) continue
    kernels[p] = move.kernel
    others.forEach((k, i) => {
      kernels[k] = redirections[i]!
      redirected(copy.to, redirections[i]!, 'it stores its result in the order of a copy')
    })
    touchedBy[copy.from]!.clear()
    touchedBy[copy.to]!.delete(c)
    kernels[c] = undefined
    for (const k of [p, ...others]) note(k)
  }
  return { ...schedule, kernels: kernels.filter((k) => k !== undefined) }
}

/** A kernel that does nothing but copy the elements of one buffer to places in another. */
interface Copy {
  readonly kernel: ScheduledKernel
  readonly load: Expr & { readonly kind: 'load' }
  readonly store: Store
  readonly from: number
  readonly to: number
  /** Where its operands begin, in elements. */
  readonly fromOffset: number
  readonly toOffset: number
}

function copyOf(kernel: Scheduled): Copy | undefined {
  if (!('step' in kernel)) return undefined
  const { group } = kernel.step
  const [store] = group.stores
  const load = store?.value
  if (group.stores.length !== 1 || group.checks.length > 0 || load?.kind !== 'load')
    return undefined
  if (store!.accumulate || load.guard !== undefined || kernel.operands.length !== 2)
    return undefined
  if (group.buffers[store!.buffer]!.dtype !== load.dtype) return undefined
  const [from, to] = [kernel.operands[load.buffer]!, kernel.operands[store!.buffer]!]
  return {
    kernel,
    load,
    store: store!,
    from: from.buffer,
    to: to.buffer,
    fromOffset: from.offset,
    toOffset: to.offset,
  }
}

/** The kernel that writes a buffer, and how. */
interface Storer {
  readonly kernel: ScheduledKernel
  readonly store: Store
}

// The only place where the buffer is written, and nothing that the kernel itself reads again.
function storerOf(kernel: Scheduled, buffer: number): Storer | undefined {
  if (!('step' in kernel)) return undefined
  const { group } = kernel.step
  const own = kernel.operands.flatMap((x, i) => (x.buffer === buffer ? [i] : []))
  const [store, ...more] = group.stores.filter((x) => own.includes(x.buffer))
  if (store === undefined || more.length > 0 || own.length > 1 || store.accumulate) return undefined
  return group.buffers[store.buffer]!.access === 'write' ? { kernel, store } : undefined
}

/** A kernel that stores in the order of the copy, and how it stored before: along these axes of its group. */
interface Move extends Storer {
  readonly before: Store
  readonly along: Group
  /** Where the buffer that it stores to begins for it, in elements. */
  readonly offset: number
}

function moved({ kernel, store }: Storer, copy: Copy): Move | undefined {
  const { group, s } = kernel.step
  // A chain's results may have other axes than the chain: of those that they lack they are sums.
  const has = (axis: Axis) =>
    store.index.terms.some(({ index }) => index.kind === 'axis' && index.axis === axis)
  const along = { ...group, axes: group.axes.filter(has) }
  const place = coordinatesOf(along, store, copy.load.index, copy.fromOffset)
  const axes = place !== undefined && 'of' in place ? place.axes : undefined
  const walked = copy.kernel.step.group.axes.filter(({ extent }) => extent !== 1)
  if (axes === undefined || axes.size !== walked.length) return undefined
  const storedAlong = new Map([...axes].map(([mine, its]) => [its, mine]))
  const terms: { index: Expr; stride: number }[] = []
  for (const { index, stride } of copy.store.index.terms) {
    if (index.kind !== 'axis' || typeof stride !== 'number') return undefined
    if (index.axis.extent === 1) continue
    const axis = storedAlong.get(index.axis)
    if (axis === undefined || stride === 0) return undefined
    terms.push({ index: s.at(axis), stride })
  }
  const { offset } = copy.store.index
  if (typeof offset !== 'number' || terms.length !== axes.size) return undefined
  const made: Store = { ...store, index: { offset, terms } }
  if (unitAxis(store.index) !== unitAxis(made.index)) return undefined
  return {
    store: made,
    before: store,
    along,
    offset: copy.toOffset,
    kernel: {
      ...joined(kernel, copy.kernel),
      ...(kernel.contracts !== undefined && { contracts: kernel.contracts }),
      node: kernel.node,
      operands: kernel.operands.with(store.buffer, { buffer: copy.to, offset: copy.toOffset }),
      step: {
        s,
        group: {
          ...group,
          name: joinNames(group.name, copy.kernel.step.group.name),
          stores: group.stores.map((x) => (x === store ? made : x)),
        },
      },
    },
  }
}

/** The axis along which elements lie side by side. */
function unitAxis({ terms }: Index): Axis | undefined {
  const unit = terms.find(
    ({ index, stride }) => stride === 1 && index.kind === 'axis' && index.axis.extent !== 1,
  )
  return unit?.index.kind === 'axis' ? unit.index.axis : undefined
}

/** Whether all parts of a buffer are results of one kernel, or copied from such. */
function isOfOne(
  kernels: readonly (Scheduled | undefined)[],
  users: ReadonlySet<number>,
  { p, c }: { readonly p: number; readonly c: number },
): boolean {
  const { to } = copyOf(kernels[c]!)!
  const results = new Set(kernels[p]!.operands.map(({ buffer }) => buffer))
  return [...users].every((k) => {
    const other = copyOf(kernels[k]!)
    if (k === p || !writes(kernels[k]!, to)) return true
    return other !== undefined && results.has(other.from)
  })
}

// Whether nothing that is written to the target is in the way of storing to it earlier.
function isFree(
  kernels: readonly (Scheduled | undefined)[],
  users: ReadonlySet<number>,
  { p, c, move }: { readonly p: number; readonly c: number; readonly move: Move },
): boolean {
  const part = partOf(move.store.index, move.offset)
  return [...users].every((k) => {
    if (k === c) return true
    const kernel = kernels[k]!
    if (k < c && k !== p) return false
    if (!('step' in kernel)) return k > c
    // Other parts may be stored whenever they are.
    return kernel.operands.every(({ buffer, offset }: Operand, i) => {
      const { group } = kernel.step
      if (buffer !== move.kernel.operands[move.store.buffer]!.buffer) return true
      if (group.buffers[i]!.access === 'read') return k > c
      return group.stores.every(
        (x) => x.buffer !== i || (!x.accumulate && areApart(part, partOf(x.index, offset))),
      )
    })
  })
}

/** Positions: from an offset on, so many at each distance, the widest first. */
interface PartOfBuffer {
  readonly offset: number
  readonly terms: readonly { readonly stride: number; readonly extent: number }[]
}

function partOf({ offset, terms }: Index, from: number): PartOfBuffer | undefined {
  if (typeof offset !== 'number') return undefined
  const found: { stride: number; extent: number }[] = []
  for (const { index, stride } of terms) {
    if (index.kind !== 'axis' || typeof stride !== 'number') return undefined
    const { extent } = index.axis
    if (typeof extent !== 'number' || stride <= 0) return undefined
    if (extent > 1) found.push({ stride, extent })
  }
  return { offset: offset + from, terms: found.sort((a, b) => b.stride - a.stride) }
}

/**
 * Whether two parts have no position in common: both are runs of one length at equal distances, and one lies in
 * the gaps of the other, as the parts of a tensor that was put together along one axis.
 */
function areApart(a: PartOfBuffer | undefined, b: PartOfBuffer | undefined): boolean {
  if (a === undefined || b === undefined) return false
  const [x, y] = [runsOf(a), runsOf(b)]
  if (x.outer !== y.outer || x.distance === undefined) return false
  const apart = Math.abs(a.offset - b.offset)
  const before = a.offset < b.offset ? x : y
  const after = a.offset < b.offset ? y : x
  return apart >= before.length && apart + after.length <= x.distance
}

/** The runs that a part consists of: how long they are, how far apart, and how all but they are walked. */
function runsOf({ terms }: PartOfBuffer) {
  let length = 1
  let i = terms.length
  for (; i > 0 && terms[i - 1]!.stride === length; i--) length *= terms[i - 1]!.extent
  const outer = terms.slice(0, i)
  return {
    length,
    distance: outer.at(-1)?.stride,
    outer: outer.map(({ stride, extent }) => `${extent}*${stride}`).join(),
  }
}

/** A kernel that reads the moved elements where they are now; undefined where that cannot be told. */
function redirect(kernel: Scheduled, copy: Copy, move: Move): ScheduledKernel | undefined {
  if (!('step' in kernel)) return undefined
  const { s, group } = kernel.step
  const own = kernel.operands.flatMap((x, i) => (x.buffer === copy.from ? [i] : []))
  const indices = new Map<Expr, Index>()
  let isTold = own.every((i) => group.buffers[i]!.access === 'read')
  visitAll(rootsOf(group), (e) => {
    if (e.kind !== 'load' || !own.includes(e.buffer)) return
    const { offset } = kernel.operands[e.buffer]!
    const place = coordinatesOf(move.along, move.before, e.index, offset)
    if (e.guard !== undefined || place === undefined || !('of' in place)) isTold = false
    else indices.set(e, indexAt(move.store.index, place))
  })
  if (!isTold) return undefined
  const memo = new Map<Expr, Expr>()
  const change = (e: Expr) =>
    rewrite(
      s,
      e,
      (x) => {
        const index = indices.get(x)
        return index && x.kind === 'load' ? s.load(x.buffer, x.dtype, index) : undefined
      },
      memo,
    )
  const changed = (index: Index): Index => ({
    ...index,
    terms: index.terms.map((t) => ({ ...t, index: change(t.index) })),
  })
  return {
    ...kernel,
    operands: kernel.operands.map((x) =>
      x.buffer === copy.from ? { buffer: copy.to, offset: move.offset } : x,
    ),
    step: {
      s,
      group: {
        ...group,
        stores: group.stores.map((store) => ({
          ...store,
          index: changed(store.index),
          value: change(store.value),
        })),
        checks: group.checks.map(change),
      },
    },
  }
}

/** An index in which axes are what they are in another kernel. */
function indexAt({ offset, terms }: Index, place: Coordinates): Index {
  let at = offset as number
  const there: { index: Expr; stride: number }[] = []
  for (const { index, stride } of terms) {
    const image = index.kind === 'axis' ? place.of(index.axis) : undefined
    at += (image?.offset ?? 0) * (stride as number)
    for (const t of image?.terms ?? [])
      there.push({ index: t.index, stride: t.step * (stride as number) })
  }
  return { offset: at, terms: there }
}
