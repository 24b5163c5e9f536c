/** @file Fusion: a kernel whose result only the next one reads becomes a part of that one. */
import { strideOf } from '../codegen/merge-axes.ts'
import type { Axis, Expr, Index } from '../ir/expr.ts'
import { rootsOf, visitAll, type BufferSpec, type Group } from '../ir/group.ts'
import { debug } from '../util/config.ts'
import { withoutCopies } from './copies.ts'
import { coordinatesOf, type Coordinates } from './fuse-index.ts'
import { remembered } from './fuse-memo.ts'
import { merge, splitAxis, type Image } from './fuse-merge.ts'
import type { Graph } from './graph.ts'
import { placeOf } from './graph.ts'
import { isAgainAfter, isKernel, printSchedule, writes } from './schedule.ts'
import type { Schedule, Scheduled, ScheduledKernel } from './schedule.ts'

/** Hears why the kernel that writes a buffer was not fused with one that reads it; the last word counts. */
export type Refused = (buffer: number, reader: ScheduledKernel, reason: string) => void

/**
 * Note [Fusion]: every kernel is a group: what it stores at each point is an expression over what it
 * loads. So a kernel is fused into its reader by putting its expression in the place of the load, its axes
 * expressed by the position that is loaded. What the reader then computes is the same, element by element;
 * the result in between is neither written nor read. The rules say where that pays:
 *
 * - A map goes into whoever reads each of its elements once, unless that is a contraction, which reads its
 *   operands once per block.
 * - A reduction goes into a map over the same rows: softmax and the like become kernels of whole rows.
 * - A contraction goes into a map of its result, which becomes what its tiles do with their sums.
 * - Where the result in between is wanted by others too, a map of the same points is computed beside it. Of a
 *   map's results those that nobody else reads are not stored any more, so that a chain in which one is read
 *   several times ends as one kernel.
 * - A map that turns axes round, so that what lies side by side in memory comes from afar, goes into no kernel that
 *   stores several results, nor does a reduction go into it: blocks are turned in registers by a kernel that does little else.
 */
export function fuse(graph: Graph, schedule: Schedule, refused: Refused = () => {}): Schedule {
  debug(5, () => `compile: kernels before fusion\n${printSchedule(schedule)}`)
  const leaving = new Set<number>()
  const leave = (buffer: number | undefined) => buffer !== undefined && leaving.add(buffer)
  for (const value of graph.outputs) leave(schedule.bufferOf.get(placeOf(value).base))
  for (const { value } of graph.updates) leave(schedule.bufferOf.get(placeOf(value).base))
  const fuseAlike = remembered(fuseInto)
  const kernels: (Scheduled | undefined)[] = [...schedule.kernels]
  const touchedBy = touches(schedule)
  const move = (from: number, to: number) => {
    for (const users of touchedBy) if (users.delete(from)) users.add(to)
    kernels[from] = undefined
  }
  for (let c = 0; c < kernels.length; c++) {
    const here = kernels[c]!
    if (!isKernel(here)) continue
    let consumer = here
    const tryOne = (buffer: number): boolean => {
      const users = [...touchedBy[buffer]!]
      const writers = users.filter((k) => writes(kernels[k]!, buffer))
      const [p] = writers
      if (p === undefined || writers.length > 1 || p >= c) return false
      const producer = kernels[p]!
      if (!isKernel(producer)) return false
      const refuse = (reason: string) => {
        refused(buffer, consumer, reason)
        return undefined
      }
      // Maps of several results go on as they are; sums in another kernel might be added up in another order.
      const goesOn = producer.step.group.stores.length > 1 && isMap(producer)
      if (users.length === 2 && !leaving.has(buffer) && !goesOn) {
        const fused = fuseAlike(producer, consumer, buffer, 'dissolve', refuse, nothing)
        if (fused === undefined) return false
        touchedBy[buffer]!.clear()
        move(p, c)
        kernels[c] = consumer = fused
        return true
      }
      // What is computed again to save memory would be kept from the place of the first time on.
      if (isAgainAfter(producer, consumer)) {
        refuse(
          'it has results that are wanted elsewhere too, and the reader is computed a second time',
        )
        return false
      }
      // What others read as well is stored all the same, and where it was before.
      const isReady = consumer.operands.every(({ buffer: other }) =>
        [...touchedBy[other]!].every((k) => k === c || k <= p || !writes(kernels[k]!, other)),
      )
      // Of its results, those that the two alone touch need not be stored.
      const isInner = (x: number) =>
        !leaving.has(x) && [...touchedBy[x]!].every((k) => k === c || k === p)
      const inner = new Set(isMap(producer) ? storedBy(producer).filter(isInner) : [])
      const fused = isReady
        ? fuseAlike(producer, consumer, buffer, 'keep', refuse, inner)
        : refuse(
            'it has results that are wanted elsewhere too, and other operands are computed between the two',
          )
      if (fused === undefined) return false
      for (const x of inner) touchedBy[x]!.clear()
      move(c, p)
      kernels[p] = fused
      return true
    }
    while (kernels[c] !== undefined && consumer.operands.some((x) => tryOne(x.buffer)));
  }
  const fused = { ...schedule, kernels: kernels.filter((k) => k !== undefined) }
  return withoutCopies(fused, leaving, refused)
}

const storedBy = ({ step: { group }, operands }: ScheduledKernel): number[] =>
  group.stores.map((store) => operands[store.buffer]!.buffer)

function isMap({ step: { group } }: ScheduledKernel): boolean {
  const { reduces, hasScan } = groupTraitsOf(group)
  return reduces === 0 && !hasScan
}

/** The kernels that touch each buffer. */
function touches({ buffers, kernels }: Schedule): Set<number>[] {
  const sets = buffers.map(() => new Set<number>())
  kernels.forEach(({ operands }, k) => {
    for (const { buffer } of operands) sets[buffer]!.add(k)
  })
  return sets
}

/** Kernels with more expressions or buffers than this are left as they are. */
const most = { expressions: 400, buffers: 24, stores: 4 }

type Refuse = (reason: string) => undefined

export type FuseInto = typeof fuseInto

const nothing: ReadonlySet<number> = new Set()

/**
 * The two as one, or undefined where they do not fit or it would not pay. `buffer` is what lies between; it
 * is stored all the same if it is to be kept, and so are other results but `inner`.
 */
function fuseInto(
  producer: ScheduledKernel,
  consumer: ScheduledKernel,
  buffer: number,
  result: 'dissolve' | 'keep',
  refuse: Refuse,
  inner: ReadonlySet<number>,
): ScheduledKernel | undefined {
  const { group } = producer.step
  const { stores } = group
  if (group.checks.length > 0) return refuse('it checks its operands')
  if (stores.some((store) => store.accumulate)) return refuse('it adds to what is in memory')
  if (stores.length > (result === 'dissolve' ? 1 : most.stores - 1))
    return refuse('it stores several results')
  const p = traitsOf(producer)
  const c = traitsOf(consumer)
  if (p.expressions + c.expressions > most.expressions)
    return refuse('the two are too large for one')
  // Of chains of products every store is known by what it is made of.
  if (p.contracts && p.reduces !== 1) return refuse('it is a chain of products')
  // Sums of tiles are stored as they lie, not scattered.
  if (p.contracts && !storesInOrder(consumer.step.group))
    return refuse('tiles of a product are stored as they lie, and this scatters them')
  // Updates wait until the old content is not read any more, and gradients' inputs should not wait with them.
  if (p.reduces > 0 && consumer.node.op.kind === 'update')
    return refuse('updates wait until the old content is not read any more')
  if (group.buffers.length + consumer.step.group.buffers.length > most.buffers)
    return refuse('the two have too many operands')
  const images = new Map<Expr, Image>()
  for (const store of stores) {
    const stored = producer.operands[store.buffer]!.buffer
    const loads = loadsOf(consumer, stored)
    if (loads === undefined || (stored === buffer && loads.length === 0))
      return refuse('it is read with a guard, as at the edges of padding, or overwritten')
    if (loads.length === 0) continue
    if (!isPassedOn(group.buffers[store.buffer]!))
      return refuse('narrow integers wrap around in memory')
    if (producer.operands.filter((x) => x.buffer === stored).length > 1)
      return refuse('it writes over its own operand')
    for (const { load, offset } of loads) {
      const image = coordinatesOf(group, store, load.index, offset)
      if (image === undefined)
        return refuse('where its elements are read does not follow from where they are stored')
      if ('extents' in image && scans(consumer, image.axis))
        return refuse('the reader adds up along an axis that would have to be taken apart')
      if ('extents' in image)
        return fuseInto(producer, splitAxis(consumer, image), buffer, result, refuse, inner)
      images.set(load, { ...image, value: store.value })
    }
  }
  const places = [...images.values()]
  const reason = (result === 'keep' ? notBeside : notWorth)(producer, consumer, p, c, places)
  if (reason !== undefined) return refuse(reason)
  const kept = (stored: number) => result === 'keep' && !inner.has(stored)
  return { ...merge(producer, consumer, images, kept), contracts: p.contracts }
}

interface GroupTraits {
  readonly expressions: number
  readonly reduces: number
  readonly hasScan: boolean
}

interface KernelTraits extends GroupTraits {
  readonly contracts: boolean
}

function traitsOf({ step: { group }, node, contracts }: ScheduledKernel): KernelTraits {
  const traits = groupTraitsOf(group)
  const { reduces } = traits
  return { ...traits, contracts: contracts ?? (node.op.kind === 'contract' && reduces > 0) }
}

const knownTraits = new WeakMap<Group, GroupTraits>()

function groupTraitsOf(group: Group): GroupTraits {
  let traits = knownTraits.get(group)
  if (traits !== undefined) return traits
  let expressions = 0
  let reduces = 0
  let hasScan = false
  visitAll(rootsOf(group), (e) => {
    expressions++
    if (e.kind === 'reduce') reduces++
    if (e.kind === 'scan') hasScan = true
  })
  knownTraits.set(group, (traits = { expressions, reduces, hasScan }))
  return traits
}

function scans({ step: { group } }: ScheduledKernel, axis: Axis): boolean {
  let found = false
  visitAll(rootsOf(group), (e) => (found ||= e.kind === 'scan' && e.axis === axis))
  return found
}

// What is stored and loaded again must be what was computed: narrow integers wrap around in memory.
const isPassedOn = ({ dtype }: BufferSpec): boolean => dtype !== 'int8' && dtype !== 'uint8'

interface Load {
  readonly load: Expr & { kind: 'load' }
  /** Where the operand begins in the buffer. */
  readonly offset: number
}

// The loads of a buffer; undefined where one is guarded, or the buffer is written too.
function loadsOf(
  { step: { group }, operands }: ScheduledKernel,
  buffer: number,
): Load[] | undefined {
  const loads: Load[] = []
  let isPlain = group.stores.every((s) => operands[s.buffer]!.buffer !== buffer)
  visitAll(rootsOf(group), (e) => {
    if (e.kind !== 'load' || operands[e.buffer]!.buffer !== buffer) return
    if (e.guard !== undefined) isPlain = false
    loads.push({ load: e, offset: operands[e.buffer]!.offset })
  })
  return isPlain ? loads : undefined
}

// Why it would not pay.
function notWorth(
  producer: ScheduledKernel,
  consumer: ScheduledKernel,
  p: KernelTraits,
  c: KernelTraits,
  images: readonly Coordinates[],
): string | undefined {
  if (p.hasScan) return 'it is a running sum'
  if (c.contracts) return 'a product reads its operands many times'
  const { axes } = producer.step.group
  const points = extentOf(axes)
  if (p.reduces === 0) {
    if (consumer.step.group.stores.length > 1 && turns(producer.step.group))
      return 'it turns axes round, and the reader stores several results'
    // Each element is wanted about once: what the consumer walks is no larger than what was stored.
    if (extentOf(walkedBy(consumer.step.group)) <= points) return undefined
    return 'each of its elements is read several times'
  }
  // A reduction is computed where its rows are walked, by a map.
  if (c.reduces > 0 || c.hasScan) return 'both reduce'
  if (turns(consumer.step.group)) return 'it reduces, and the reader turns axes round'
  if (images.some((image) => image.key !== images[0]!.key)) return 'it is read at several places'
  const rows = images[0]!.axes
  if (rows === undefined) return 'it reduces, and its rows are not those of the reader'
  const mapped = new Set(rows.values())
  const rest = consumer.step.group.axes.filter((axis) => !mapped.has(axis) && axis.extent !== 1)
  if (rest.length === 0) return undefined
  // Rows of a contraction would be computed again for each of their elements.
  if (p.contracts || consumer.step.group.stores.length > 1)
    return 'each of its sums is read several times'
  // The rows come first, and what is left of the map is walked for each of them.
  const { axes: walked } = consumer.step.group
  const firstRest = walked.findIndex((axis) => rest.includes(axis))
  const isRowByRow = walked.slice(firstRest).every((axis) => !mapped.has(axis) || axis.extent === 1)
  return isRowByRow ? undefined : 'it reduces, and the reader does not go row by row'
}

// Whether anything is loaded side by side along another axis than it is stored along.
function turns(group: Group): boolean {
  const isUnit = ({ index }: { readonly index: Index }, axis: Axis) => strideOf(index, axis) === 1
  const along = group.axes.filter(
    (axis) => axis.extent !== 1 && group.stores.every((store) => isUnit(store, axis)),
  )
  let found = false
  visitAll(rootsOf(group), (e) => {
    if (e.kind !== 'load' || along.some((axis) => strideOf(e.index, axis) === 0 || isUnit(e, axis)))
      return
    found ||= group.axes.some((axis) => axis.extent !== 1 && isUnit(e, axis))
  })
  return found
}

const storesInOrder = ({ stores }: Group): boolean =>
  stores.every(
    ({ index, accumulate }) => !accumulate && index.terms.every((t) => t.index.kind === 'axis'),
  )

// Why it is no map of the very points that the producer walks.
function notBeside(
  producer: ScheduledKernel,
  { step: { group } }: ScheduledKernel,
  p: KernelTraits,
  c: KernelTraits,
  images: readonly Coordinates[],
): string | undefined {
  if (p.hasScan || c.hasScan || c.reduces > 0)
    return 'it has results that are wanted elsewhere too, and only maps are computed beside it'
  if (group.checks.length > 0 || group.stores.some((store) => store.accumulate))
    return 'it has results that are wanted elsewhere too, and the reader checks, or adds to what is in memory'
  if (turns(group))
    return 'it has results that are wanted elsewhere too, and the reader turns axes round'
  const { axes } = images[0]!
  const points = (all: readonly Axis[]) => all.filter(({ extent }) => extent !== 1).length
  const isSame =
    axes !== undefined &&
    images.every((image) => image.key === images[0]!.key) &&
    points(group.axes) === axes.size &&
    points(producer.step.group.axes) === axes.size
  return isSame
    ? undefined
    : 'it has results that are wanted elsewhere too, and the reader walks other points'
}

/** All axes of a group, those of its reductions among them. */
export function walkedBy(group: Group): readonly Axis[] {
  const axes = new Set<Axis>(group.axes)
  visitAll(rootsOf(group), (e) => {
    if (e.kind === 'reduce') for (const axis of e.axes) axes.add(axis)
  })
  return [...axes]
}

/** How many points axes have together. */
export const extentOf = (axes: readonly Axis[]): number =>
  axes.reduce((n, { extent }) => n * (extent as number), 1)
