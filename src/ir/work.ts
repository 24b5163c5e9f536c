/** @file How much a kernel has to do: floating-point operations, and bytes that go through memory at least. */
import { dtypes, type ScalarType } from '../core/dtype.ts'
import { childrenOf, freeAxes, type Axis, type Expr, type Index, type Size } from './expr.ts'
import { rootsOf, visitAll, type Group } from './group.ts'
import type { ScalarOp } from './scalar-op.ts'

export interface Work {
  /** Of floats: an addition is one, and so is an exponential; comparisons and choices are none. */
  readonly operations: number
  /** Each element of each operand once, written ones that are read too twice. */
  readonly bytes: number
}

/** Rows that are more than one operation, or none. */
const operationsOf: Partial<Record<ScalarOp, number>> = {
  fma: 2,
  dotBf16: 4,
  select: 0,
  convert: 0,
  bitcast: 0,
}

/** The work of one launch. What does not depend on an axis counts once for all its points. */
export function workOf(group: Group, sizes: readonly number[] = []): Work {
  const counter = new WorkCounter(group, sizes)
  return { operations: counter.operations(), bytes: counter.bytes() }
}

class WorkCounter {
  readonly #group: Group
  readonly #sizes: readonly number[]
  readonly #free = new Map<Expr, ReadonlySet<Axis>>()

  constructor(group: Group, sizes: readonly number[]) {
    this.#group = group
    this.#sizes = sizes
  }

  operations(): number {
    const { stores, checks, axes } = this.#group
    let total = 0
    const seen = new Set<Expr>()
    const walk = (e: Expr) => {
      // Positions and guards are no part of the mathematics.
      if (seen.has(e) || e.kind === 'load') return
      seen.add(e)
      childrenOf(e).forEach(walk)
      total += this.#operationsOf(e)
    }
    for (const { value, accumulate } of stores) {
      walk(value)
      if (accumulate && isFloat(value.type)) total += this.#points(axes)
    }
    checks.forEach(walk)
    return total
  }

  #operationsOf(e: Expr): number {
    if (!isFloat(e.type)) return 0
    if (e.kind === 'op') return (operationsOf[e.op] ?? 1) * this.#points(this.#freeAxes(e))
    if (e.kind === 'reduce') return this.#points([...this.#freeAxes(e.value), ...e.axes])
    return e.kind === 'scan' ? this.#points(this.#freeAxes(e)) : 0
  }

  bytes(): number {
    const { buffers, stores } = this.#group
    const touched = buffers.map(() => ({ count: 0, from: Infinity, to: -Infinity }))
    const touch = (buffer: number, index: Index) => {
      const { count, from, to } = this.#extentOf(index)
      const all = touched[buffer]!
      all.count += count
      all.from = Math.min(all.from, from)
      all.to = Math.max(all.to, to)
    }
    visitAll(rootsOf(this.#group), (e) => e.kind === 'load' && touch(e.buffer, e.index))
    for (const { buffer, index } of stores) touch(buffer, index)
    const rereads = new Set(stores.flatMap((x) => (x.accumulate ? [x.buffer] : [])))
    return buffers.reduce((sum, { dtype, access }, i) => {
      const { count, from, to } = touched[i]!
      if (count === 0) return sum
      // An updated buffer has been counted for its load and its store.
      const span = (to - from + 1) * (access === 'update' ? 2 : 1)
      return sum + Math.min(count, span) * dtypes[dtype].bytes * (rereads.has(i) ? 2 : 1)
    }, 0)
  }

  /** How many positions an index goes to at most, and between which they lie. */
  #extentOf({ offset, terms }: Index): { count: number; from: number; to: number } {
    let [from, to] = [this.#size(offset), this.#size(offset)]
    const axes = new Set<Axis>()
    for (const { index, stride } of terms) {
      const step = this.#size(stride)
      if (step === 0) continue
      for (const axis of this.#freeAxes(index)) axes.add(axis)
      const reach = index.kind === 'axis' ? step * (this.#size(index.axis.extent) - 1) : Infinity
      if (reach < 0) from += reach
      else to += reach
    }
    return { count: this.#points(axes), from, to }
  }

  #points(axes: Iterable<Axis>): number {
    let points = 1
    for (const { extent } of new Set(axes)) points *= this.#size(extent)
    return points
  }

  #freeAxes(e: Expr): ReadonlySet<Axis> {
    return freeAxes(e, this.#free)
  }

  #size(size: Size): number {
    return typeof size === 'number' ? size : this.#sizes[size.slot]!
  }
}

const isFloat = (type: ScalarType): boolean => type === 'f32' || type === 'f64'
