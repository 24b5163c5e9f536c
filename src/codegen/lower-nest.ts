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
import type { Kernel, Value } from '../ir/loops.ts'
import { extentOf } from './contract-blocks.ts'
import { accumulator, combineValues, Emitter, memoryOf } from './emitter.ts'
import { findKeptTerms, type KeptTerms } from './kept-terms.ts'
import type { TargetTraits } from './target-traits.ts'
import { chooseLanes, contiguousAlong, decompose, isWideAlong } from './vectorize.ts'

/** Reductions longer than this are summed in blocks, so that rounding errors grow with the block count only. */
const sumBlock = 8192

/** Threads take a loop along lanes in runs of this many points, or several times as many. */
const runUnit = 4096

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

class NestLowering {
  readonly #s: ExprBuilder
  readonly #group: Group
  readonly #traits: TargetTraits
  readonly #b: Emitter
  readonly #kept: KeptTerms | undefined
  /** Axes whose positions depend on the ones before. */
  readonly #scanned = new Set<Axis>()
  /** Whether the lanes of this kernel hold 64-bit values: lanes of bools are as wide as the others, all through it. */
  #isWide: boolean | undefined
  #ok: ReturnType<Emitter['variable']> | undefined

  constructor(s: ExprBuilder, group: Group, traits: TargetTraits) {
    this.#s = s
    this.#traits = traits
    const kept = findKeptTerms(s, group)
    const isKept = kept !== undefined && this.#lanesOf(kept.reduce) > 1
    this.#kept = isKept ? kept : undefined
    const [store] = group.stores
    this.#group = isKept ? { ...group, stores: [{ ...store!, value: kept.value }] } : group
    this.#b = new Emitter({
      decompose: (e, lanes) => (e.kind === 'op' ? decompose(s, e, lanes, traits) : e),
      reduce: (e) => this.#reduce(e),
      scan: (e) => this.#scan(e),
      pairLanes: traits.vectorBytes / 4,
    })
  }

  run(): Kernel {
    const group = this.#group
    const b = this.#b
    if (group.checks.length > 0) this.#ok = b.variable(b.int(1))
    const { order, vector } = this.#plan()
    this.#loops(order, vector)
    if (this.#ok) b.store(b.place(group.buffers.length, 'i32', b.int(0)), b.read(this.#ok))
    return {
      name: group.name,
      buffers: kernelBuffers(group),
      sizeCount: group.sizeCount,
      params: group.params,
      scratchBytes: 0,
      body: b.finish(),
    }
  }

  // Axes that a reduction depends on go outside, so that it runs once per row; scanned axes go inside.
  #plan(): { order: Axis[]; vector: { axis: Axis; lanes: number } | undefined } {
    const { axes, stores, checks } = this.#group
    const reduces: (Expr & { kind: 'reduce' })[] = []
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
    reduces: readonly (Expr & { kind: 'reduce' })[],
    stores: readonly Store[],
    checks: readonly Expr[],
  ): { axis: Axis; lanes: number } | undefined {
    const isUnit = (store: Store, axis: Axis) =>
      store.index.terms.every((t) =>
        freeAxes(t.index).has(axis) ? t.index.kind === 'axis' && t.stride === 1 : true,
      ) && store.index.terms.some((t) => t.index.kind === 'axis' && t.index.axis === axis)
    const axis = this.#group.axes.findLast((a) => stores.every((store) => isUnit(store, a)))
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
    const dtypes = stores.map((store) => this.#group.buffers[store.buffer]!.dtype)
    const values = stores.map((store) => store.value)
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

  #loops(order: readonly Axis[], vector: { axis: Axis; lanes: number } | undefined): void {
    const [axis, ...rest] = order
    if (axis === undefined) return this.#point()
    const b = this.#b
    const extent = b.size(axis.extent)
    if (axis !== vector?.axis)
      return b.loop(
        b.int(0),
        extent,
        1,
        (i) => {
          b.bind(axis, i)
          this.#loops(rest, vector)
        },
        b.depth === 0 && this.#isParallel(axis),
      )
    const body = (i: Value, lanes: number) => {
      b.bind(axis, i, lanes)
      this.#loops(rest, vector)
    }
    const isShort = typeof axis.extent === 'number' && axis.extent < 2 * runUnit
    if (b.depth > 0 || isShort || !this.#isParallel(axis))
      return this.#vectorLoop(b.int(0), extent, vector.lanes, body)
    // The only loop: threads share it in runs of whole vectors.
    const count = b.op('div', [b.add(extent, runUnit - 1), b.int(runUnit)])
    b.runs(count, (from, to) =>
      this.#vectorLoop(b.mul(from, runUnit), b.min(b.mul(to, runUnit), extent), vector.lanes, body),
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

  #point(): void {
    const b = this.#b
    const checks = this.#group.checks.map((c) => b.expr(c))
    if (checks.length === 0) return this.#stores()
    const holds = checks.reduce((x, y) => b.op('and', [x, y]))
    b.set(this.#ok!, b.op('and', [b.read(this.#ok!), b.op('convert', [holds], 'i32')]))
    b.when(holds, () => this.#stores())
  }

  #stores(): void {
    const b = this.#b
    const values = this.#group.stores.map((store) => b.expr(store.value))
    this.#group.stores.forEach((store, n) => {
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

  #reduce(e: Expr & { kind: 'reduce' }): Value {
    const b = this.#b
    return b.atLevel(b.levelOfAxes(freeAxes(e)), () => this.#reduceHere(e))
  }

  #reduceHere(e: Expr & { kind: 'reduce' }): Value {
    const b = this.#b
    const outer = e.axes.slice(0, -1)
    const last = e.axes[e.axes.length - 1]!
    const running = b.vectorAxis()
    const lanes = running === undefined ? this.#lanesOf(e) : 1
    if (lanes === 1 || !this.#traits.spells(e.combine, e.type, lanes)) {
      const along = running !== undefined && freeAxes(e).has(running.axis)
      if (this.#isWrittenOut(e.axes)) return this.#reduceShort(e, along ? running.lanes : 1)
      const total = accumulator(b, e.combine, e.type, along ? running.lanes : 1)
      this.#nest(e.axes, () =>
        b.set(total, combineValues(b, e.combine, b.read(total), b.expr(e.value))),
      )
      return b.read(total)
    }
    const totals = new Map(
      this.#widths(lanes).map((width) => [width, accumulator(b, e.combine, e.type, width)]),
    )
    this.#nest(outer, () => this.#reduceAlong(e, last, lanes, (width) => totals.get(width)!))
    return [...totals.values()]
      .map((total) => b.across(e.combine, b.read(total)))
      .reduce((x, y) => combineValues(b, e.combine, x, y))
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

  // How many lanes can run along the last axis of a reduction.
  #lanesOf(e: ReduceExpr): number {
    const last = e.axes[e.axes.length - 1]!
    if (!contiguousAlong([e.value], last)) return 1
    return this.#chooseLanes([e.value, e], [], last)
  }

  // One row of a reduction, lanes running along it. Long sums go through a partial sum per block.
  #reduceAlong(
    e: Expr & { kind: 'reduce' },
    axis: Axis,
    lanes: number,
    totalOf: (width: number) => ReturnType<Emitter['variable']>,
  ): void {
    const b = this.#b
    const step =
      (into: (width: number) => ReturnType<Emitter['variable']>) => (i: Value, width: number) => {
        b.bind(axis, i, width)
        const total = into(width)
        let value = b.splat(b.expr(e.value), width)
        if (e === this.#kept?.reduce) this.#keep(value, this.#kept.index, axis)
        if (b.tailMask)
          value = b.op('select', [
            b.tailMask,
            value,
            b.const(e.type, identityOf(e.combine, e.type)),
          ])
        b.set(total, combineValues(b, e.combine, b.read(total), value))
      }
    const short = typeof axis.extent === 'number' && axis.extent <= sumBlock
    const isFloatSum = e.combine === 'add' && (e.type === 'f32' || e.type === 'f64')
    const end = b.size(axis.extent)
    if (short || !isFloatSum) return this.#vectorLoop(b.int(0), end, lanes, step(totalOf))
    const whole = b.roundDown(end, sumBlock)
    b.loop(b.int(0), whole, sumBlock, (block) => {
      const part = accumulator(b, e.combine, e.type, lanes)
      b.loop(block, b.add(block, sumBlock), lanes, (i) => step(() => part)(i, lanes))
      b.set(totalOf(lanes), combineValues(b, e.combine, b.read(totalOf(lanes)), b.read(part)))
    })
    this.#vectorLoop(whole, end, lanes, step(totalOf))
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
