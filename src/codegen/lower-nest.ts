/** @file Lowers a group to a plain loop nest: maps, reductions, row kernels, scans and scatters. */
import type { DType } from '../core/dtype.ts'
import {
  freeAxes,
  identityOf,
  type Axis,
  type Expr,
  type ExprBuilder,
  type Index,
  type ReduceExpr,
} from '../ir/expr.ts'
import { rootsOf, visitAll, type Group, type Store } from '../ir/group.ts'
import type { Kernel, Value, Variable } from '../ir/loops.ts'
import { extentOf } from './contract-blocks.ts'
import { accumulator, combineValues, Emitter, memoryOf } from './emitter.ts'
import { findKeptTerms, type KeptTerms } from './kept-terms.ts'
import type { TargetTraits } from './target-traits.ts'
import { chooseLanes, contiguousAlong, decompose, isWideAlong } from './vectorize.ts'

/** Reductions longer than this are summed in blocks, so that rounding errors grow with the block count only. */
const sumBlock = 8192

/** Threads take a loop along lanes in runs of this many points, or several times as many. */
const runUnit = 4096
/** And of this many sums, each of which is a loop. */
const sumUnit = 256

/** Reductions over fewer points than this, a pooling window say, are too short for loops and for lanes. */
const shortReduction = 10

const isShort = (axes: readonly Axis[]): boolean => extentOf(axes) < shortReduction

/** Lowers any group. Contractions come here too when they are too thin for tiles. */
export function lowerNest(s: ExprBuilder, group: Group, traits: TargetTraits): Kernel {
  return new NestLowering(s, group, traits).run()
}

/** The buffers of a kernel as its target sees them; the last one receives the outcome of the checks. */
export function kernelBuffers(group: Group): Kernel['buffers'] {
  const buffers = group.buffers.map((b) => ({
    memory: memoryOf[b.dtype],
    written: b.access !== 'read',
  }))
  return group.checks.length === 0 ? buffers : [...buffers, { memory: 'i32', written: true }]
}

/** The kernel of a group that needs no packing space. */
export const kernelOf = (group: Group, b: Emitter): Kernel => ({
  name: group.name,
  buffers: kernelBuffers(group),
  sizeCount: group.sizeCount,
  params: group.params,
  scratchBytes: 0,
  body: b.finish(),
})

/** Accumulators of one reduction, by their lanes. */
type Sums = ReadonlyMap<number, Variable>

class NestLowering {
  readonly #s: ExprBuilder
  readonly #group: Group
  readonly #traits: TargetTraits
  readonly #b: Emitter
  readonly #kept: KeptTerms | undefined
  /** Axes whose positions depend on the ones before. */
  readonly #scanned = new Set<Axis>()
  readonly #reduces: ReduceExpr[] = []
  /** Whether the lanes of this kernel hold 64-bit values: lanes of bools are as wide as the others, all through it. */
  #isWide: boolean | undefined
  #ok: ReturnType<Emitter['variable']> | undefined

  constructor(s: ExprBuilder, group: Group, traits: TargetTraits) {
    this.#s = s
    this.#traits = traits
    const kept = findKeptTerms(s, group)
    const isKept = kept !== undefined && this.#lanesOf([kept.reduce]) > 1
    this.#kept = isKept ? kept : undefined
    const [store] = group.stores
    this.#group = isKept ? { ...group, stores: [{ ...store!, value: kept.value }] } : group
    this.#b = new Emitter({
      decompose: (e, lanes) => (e.kind === 'op' ? decompose(s, e, lanes, traits) : e),
      reduce: (e) => this.#reduce(e),
      scan: (e) => this.#scan(e),
      pairLanes: traits.vectorBytes / 4,
      hasMasks: traits.tail === 'mask',
    })
  }

  run(): Kernel {
    const group = this.#group
    const b = this.#b
    if (group.checks.length > 0) this.#ok = b.variable(b.int(1))
    const { order, vector } = this.#plan()
    this.#loops(order, vector)
    if (this.#ok) b.store(b.place(group.buffers.length, 'i32', b.int(0)), b.read(this.#ok))
    return kernelOf(group, b)
  }

  // Axes that a reduction depends on go outside, so that it runs once per row; scanned axes go inside.
  #plan(): { order: Axis[]; vector: { axis: Axis; lanes: number } | undefined } {
    const { axes, stores, checks } = this.#group
    const reduces = this.#reduces
    const scanned = this.#scanned
    visitAll(rootsOf(this.#group), (e) => {
      if (e.kind === 'reduce') reduces.push(e)
      if (e.kind === 'scan') scanned.add(e.axis)
    })
    const rows = new Set(reduces.flatMap((r) => [...freeAxes(r)]))
    const rank = (a: Axis) => (scanned.has(a) ? 2 : rows.has(a) ? 0 : 1)
    const order = [...axes].sort((x, y) => rank(x) - rank(y))
    const vector = this.#vectorAxis(rows, scanned, reduces, stores, checks)
    // The lanes run inside every other axis of the same rank.
    if (vector)
      order.sort(
        (x, y) => rank(x) - rank(y) || Number(x === vector.axis) - Number(y === vector.axis),
      )
    return { order, vector }
  }

  #vectorAxis(
    rows: ReadonlySet<Axis>,
    scanned: ReadonlySet<Axis>,
    reduces: readonly ReduceExpr[],
    stores: readonly Store[],
    checks: readonly Expr[],
  ): { axis: Axis; lanes: number } | undefined {
    const isUnit = (store: Store, axis: Axis) =>
      store.index.terms.every((t) =>
        freeAxes(t.index).has(axis) ? t.index.kind === 'axis' && t.stride === 1 : true,
      ) && store.index.terms.some((t) => t.index.kind === 'axis' && t.index.axis === axis)
    const within = (a: Axis) => stores.filter((store) => !this.#isOutside(store, a))
    const axis = this.#group.axes.findLast(
      (a) => within(a).length > 0 && within(a).every((store) => isUnit(store, a)),
    )
    if (
      axis === undefined ||
      scanned.has(axis) ||
      (typeof axis.extent === 'number' && axis.extent < 4)
    )
      return undefined
    if (checks.some((c) => freeAxes(c).has(axis))) return undefined
    if (rows.has(axis) && !contiguousAlong(reduces, axis)) {
      const inner = reduces.every((r) => {
        const last = r.axes[r.axes.length - 1]!
        return !isShort([last]) && contiguousAlong([r.value], last)
      })
      if (inner) return undefined
    }
    const dtypes = within(axis).map((store) => this.#group.buffers[store.buffer]!.dtype)
    const values = within(axis).map((store) => store.value)
    const lanes = this.#chooseLanes(values, dtypes, axis)
    return lanes > 1 ? { axis, lanes } : undefined
  }

  #chooseLanes(exprs: readonly Expr[], stored: readonly DType[], axis: Axis): number {
    const lanes = chooseLanes(this.#s, exprs, stored, axis, this.#traits)
    if (lanes === 1) return 1
    const isWide = isWideAlong(exprs, axis)
    this.#isWide ??= isWide
    return this.#isWide === isWide ? lanes : 1
  }

  // Whether a store is the same at all points along an axis, so that it is made once, after the loop.
  #isOutside({ index, value, accumulate }: Store, axis: Axis): boolean {
    if (accumulate || this.#group.checks.length > 0 || this.#scanned.size > 0) return false
    return [value, ...index.terms.map((t) => t.index)].every((e) => !freeAxes(e).has(axis))
  }

  #loops(
    order: readonly Axis[],
    vector: { axis: Axis; lanes: number } | undefined,
    stores = this.#group.stores,
  ): void {
    const [axis, ...rest] = order
    if (axis === undefined) return this.#point(stores)
    const within = stores.filter((store) => order.some((a) => !this.#isOutside(store, a)))
    this.#loop(axis, rest, vector, within)
    if (within.length === stores.length) return
    // No points, no stores.
    const b = this.#b
    const isEmpty = order
      .map((a) => b.op('eq', [b.size(a.extent), b.int(0)]))
      .reduce((x, y) => b.op('or', [x, y]))
    b.when(b.op('not', [isEmpty]), () => this.#stores(stores.filter((x) => !within.includes(x))))
  }

  #loop(
    axis: Axis,
    rest: readonly Axis[],
    vector: { axis: Axis; lanes: number } | undefined,
    stores: readonly Store[],
  ): void {
    const b = this.#b
    const extent = b.size(axis.extent)
    if (axis !== vector?.axis)
      return b.loop(
        b.int(0),
        extent,
        1,
        (i) => {
          b.bind(axis, i)
          this.#loops(rest, vector, stores)
        },
        b.depth === 0 && this.#isParallel(axis),
      )
    const body = (i: Value, lanes: number) => {
      b.bind(axis, i, lanes)
      this.#loops(rest, vector, stores)
    }
    const unit = this.#reduces.every((e) => isShort(e.axes)) ? runUnit : sumUnit
    const isBrief = typeof axis.extent === 'number' && axis.extent < 2 * unit
    if (b.depth > 0 || isBrief || !this.#isParallel(axis))
      return this.#vectorLoop(b.int(0), extent, vector.lanes, body)
    // The only loop: threads share it in runs of whole vectors.
    const count = b.op('div', [b.add(extent, unit - 1), b.int(unit)])
    b.runs(count, (from, to) =>
      this.#vectorLoop(b.mul(from, unit), b.min(b.mul(to, unit), extent), vector.lanes, body),
    )
  }

  // Checks share one outcome, and points that add to one position must not do so at once.
  #isParallel(axis: Axis): boolean {
    const { checks, stores } = this.#group
    const isApart = (store: Store) =>
      store.index.terms.some((t) => t.index.kind === 'axis' && t.index.axis === axis)
    if (checks.length > 0 || this.#scanned.has(axis)) return false
    return stores.every((store) => !store.accumulate || isApart(store))
  }

  // Whole vectors first, then narrower ones, then single lanes or one masked vector.
  #vectorLoop(
    begin: Value,
    end: Value,
    lanes: number,
    body: (i: Value, lanes: number) => void,
  ): void {
    const b = this.#b
    const isEmpty = (from: Value, to: Value) =>
      from.def.kind === 'const' && to.def.kind === 'const' && from.def.value === to.def.value
    let at = begin
    for (const width of this.#widths(lanes)) {
      const stop = width === 1 ? end : b.roundDown(end, width)
      if (!isEmpty(at, stop)) b.loop(at, stop, width, (i) => body(i, width))
      at = stop
    }
    if (this.#traits.tail === 'scalar' || isEmpty(at, end)) return
    const width = this.#widths(lanes).at(-1)!
    const rest = (i: Value) => {
      b.tailMask = b.lanesBelow(b.sub(end, i), width)
      body(i, width)
      b.tailMask = undefined
    }
    // Where it is certain that something is left, no loop asks.
    if (at.def.kind === 'const' && end.def.kind === 'const') b.once(() => rest(at))
    else b.loop(at, end, width, rest)
  }

  // 16 lanes on a register of 4 run as 16, then 4, then 1 (or a mask over 4).
  #widths(lanes: number): number[] {
    const native = this.#traits.vectorBytes / 8
    const narrow = lanes % (2 * native) === 0 ? 2 * native : native
    const widths = lanes > narrow ? [lanes, narrow] : [lanes]
    return this.#traits.tail === 'scalar' && lanes > 1 ? [...widths, 1] : widths
  }

  #point(stores: readonly Store[]): void {
    const b = this.#b
    const checks = this.#group.checks.map((c) => b.expr(c))
    if (checks.length === 0) return this.#stores(stores)
    const holds = checks.reduce((x, y) => b.op('and', [x, y]))
    b.set(this.#ok!, b.op('and', [b.read(this.#ok!), b.op('convert', [holds], 'i32')]))
    b.when(holds, () => this.#stores(stores))
  }

  #stores(stores: readonly Store[]): void {
    const b = this.#b
    const values = stores.map((store) => b.expr(store.value))
    stores.forEach((store, n) => {
      const dtype = this.#group.buffers[store.buffer]!.dtype
      const vector = b.vectorAxis()
      const index = b.indexValue(store.index, vector?.axis)
      const place = b.place(store.buffer, memoryOf[dtype], index)
      const lanes = vector?.lanes ?? 1
      let value = b.splat(values[n]!, lanes)
      // Lanes run along a unit stride of the store, so no two of them meet.
      if (store.accumulate) value = b.op('add', [b.loadAs(dtype, place, lanes, b.tailMask), value])
      b.storeAs(dtype, place, value, b.tailMask)
    })
  }

  #reduce(e: ReduceExpr): Value {
    const b = this.#b
    return b.atLevel(b.levelOfAxes(freeAxes(e)), () => this.#reduceHere(e))
  }

  #reduceHere(e: ReduceExpr): Value {
    const b = this.#b
    const all = this.#together(e)
    const last = e.axes[e.axes.length - 1]!
    const running = b.vectorAxis()
    const lanes = running === undefined ? this.#lanesOf(all) : 1
    if (lanes === 1 && this.#isWrittenOut(e.axes)) {
      const along = running !== undefined && freeAxes(e).has(running.axis)
      return this.#reduceShort(e, along ? running.lanes : 1)
    }
    const sums = all.map((x) => {
      const along = running !== undefined && freeAxes(x).has(running.axis)
      const widths = lanes > 1 ? this.#widths(lanes) : [along ? running.lanes : 1]
      return new Map(widths.map((width) => [width, accumulator(b, x.combine, x.type, width)]))
    })
    if (lanes > 1) this.#nest(e.axes.slice(0, -1), () => this.#reduceAlong(all, last, lanes, sums))
    else
      this.#nest(e.axes, () =>
        all.forEach((x, i) => {
          const [sum] = sums[i]!.values()
          this.#addTo(sum!, x, b.expr(x.value))
        }),
      )
    const totals = all.map(({ combine }, i) =>
      [...sums[i]!.values()]
        .map((sum) => (lanes > 1 ? b.across(combine, b.read(sum)) : b.read(sum)))
        .reduce((x, y) => combineValues(b, combine, x, y)),
    )
    all.forEach((x, i) => b.define(x, totals[i]!))
    return totals[0]!
  }

  // A reduction and others over the same axes in the same rows, none of which is made of another.
  #together(e: ReduceExpr): ReduceExpr[] {
    if (e === this.#kept?.reduce) return [e]
    const rows = freeAxes(e)
    const isAlike = (x: ReduceExpr) =>
      x !== this.#kept?.reduce &&
      (x.combine === 'add') === (e.combine === 'add') &&
      x.type === e.type &&
      x.axes.length === e.axes.length &&
      x.axes.every((a, i) => a === e.axes[i]) &&
      freeAxes(x).size === rows.size &&
      [...freeAxes(x)].every((a) => rows.has(a))
    const all = [e]
    for (const x of this.#reduces)
      if (x !== e && isAlike(x) && all.every((y) => !contains(x, y) && !contains(y, x))) all.push(x)
    return all
  }

  // Without loops there is no need for a variable, nor, but for the sign of a sum of zeros, for the identity.
  #reduceShort(e: ReduceExpr, lanes: number): Value {
    const b = this.#b
    const identity = b.const(e.type, identityOf(e.combine, e.type))
    let total = e.combine === 'add' ? identity : undefined
    this.#nest(e.axes, () => {
      const value = b.expr(e.value)
      total = total === undefined ? value : combineValues(b, e.combine, total, value)
    })
    return b.splat(total ?? identity, lanes)
  }

  // How many lanes can run along the last axis of reductions.
  #lanesOf(all: readonly ReduceExpr[]): number {
    const { axes } = all[0]!
    const last = axes[axes.length - 1]!
    const values = all.map((e) => e.value)
    if (!contiguousAlong(values, last)) return 1
    const lanes = this.#chooseLanes([...values, ...all], [], last)
    return all.every((e) => this.#traits.spells(e.combine, e.type, lanes)) ? lanes : 1
  }

  // One row of reductions, lanes running along it. Long sums go through a partial sum per block.
  #reduceAlong(all: readonly ReduceExpr[], axis: Axis, lanes: number, sums: readonly Sums[]): void {
    const b = this.#b
    const step = (into: readonly Sums[]) => (i: Value, width: number) => {
      b.bind(axis, i, width)
      all.forEach((e, n) => {
        let value = b.splat(b.expr(e.value), width)
        if (e === this.#kept?.reduce) this.#keep(value, this.#kept.index, axis)
        if (b.tailMask) {
          const none = b.const(e.type, identityOf(e.combine, e.type))
          value = b.op('select', [b.tailMask, value, none])
        }
        this.#addTo(into[n]!.get(width)!, e, value)
      })
    }
    const short = typeof axis.extent === 'number' && axis.extent <= sumBlock
    const { combine, type } = all[0]!
    const isFloatSum = combine === 'add' && (type === 'f32' || type === 'f64')
    const end = b.size(axis.extent)
    if (short || !isFloatSum) return this.#vectorLoop(b.int(0), end, lanes, step(sums))
    const whole = b.roundDown(end, sumBlock)
    b.loop(b.int(0), whole, sumBlock, (block) => {
      const parts = all.map((e) => new Map([[lanes, accumulator(b, e.combine, e.type, lanes)]]))
      b.loop(block, b.add(block, sumBlock), lanes, (i) => step(parts)(i, lanes))
      all.forEach((e, n) => this.#addTo(sums[n]!.get(lanes)!, e, b.read(parts[n]!.get(lanes)!)))
    })
    this.#vectorLoop(whole, end, lanes, step(sums))
  }

  #addTo(sum: Variable, { combine }: ReduceExpr, value: Value): void {
    const b = this.#b
    b.set(sum, combineValues(b, combine, b.read(sum), value))
  }

  #keep(value: Value, index: Index, axis: Axis): void {
    const b = this.#b
    const { buffer } = this.#group.stores[0]!
    const { dtype } = this.#group.buffers[buffer]!
    b.storeAs(dtype, b.place(buffer, memoryOf[dtype], b.indexValue(index, axis)), value, b.tailMask)
  }

  #isWrittenOut(axes: readonly Axis[]): boolean {
    return isShort(axes) && !axes.some((a) => this.#scanned.has(a))
  }

  #nest(axes: readonly Axis[], body: () => void): void {
    const [axis, ...rest] = axes
    if (axis === undefined) return body()
    const b = this.#b
    if (this.#isWrittenOut(axes)) {
      // Windows are walked without loops, so that positions of neighbouring taps share their sums.
      for (let i = 0; i < (axis.extent as number); i++)
        b.scope(() => {
          b.bind(axis, b.int(i))
          this.#nest(rest, body)
        })
      return
    }
    b.loop(b.int(0), b.size(axis.extent), 1, (i) => {
      b.bind(axis, i)
      this.#nest(rest, body)
    })
  }

  #scan(e: Expr & { kind: 'scan' }): Value {
    const b = this.#b
    return b.atLevel(b.levelOfAxes(freeAxes(e)), () => this.#scanHere(e))
  }

  #scanHere(e: Expr & { kind: 'scan' }): Value {
    const b = this.#b
    const vector = b.vectorAxis()
    const lanes = vector !== undefined && freeAxes(e).has(vector.axis) ? vector.lanes : 1
    const before = b.levelOfAxes([e.axis]) - 1
    const total = b.variableAt(before, e.type, lanes, identityOf(e.combine, e.type))
    b.set(total, combineValues(b, e.combine, b.read(total), b.expr(e.value)))
    return b.read(total)
  }
}

function contains(e: Expr, part: Expr): boolean {
  let found = false
  visitAll([e], (x) => {
    if (x === part) found = true
  })
  return found
}
