/** @file Evaluates expressions while building a program: each at the loop its axes belong to, in lanes where they run along one. */
import { dtypes, type DType, type ScalarType } from '../core/dtype.ts'
import { assert } from '../util/errors.ts'
import {
  freeAxes,
  identityOf,
  type Axis,
  type Combine,
  type Expr,
  type Index,
  type LoadExpr,
} from '../ir/expr.ts'
import type { MemoryType, Place, Value, Variable } from '../ir/loops.ts'
import { isInterval } from './affine.ts'
import * as bits from './float16-bits.ts'
import { pairOf, readsEveryOther, tapBeside } from './pairs.ts'
import { computeOf, ProgramBuilder, type VectorAxis } from './program-builder.ts'

/** How memory holds a dtype. */
export const memoryOf: Record<DType, MemoryType> = {
  float32: 'f32',
  float64: 'f64',
  float16: 'u16',
  bfloat16: 'u16',
  int8: 'i8',
  uint8: 'u8',
  int32: 'i32',
  int64: 'i64',
  bool: 'u8',
}

/** A program builder that understands expressions; what a reduction or a scan becomes is the lowering's business. */
export class Emitter extends ProgramBuilder {
  readonly #freeAxes = new Map<Expr, ReadonlySet<Axis>>()
  readonly #axes = new Map<Expr, readonly Axis[]>()
  readonly #decompose: (e: Expr, lanes: number) => Expr
  readonly #reduce: (e: Expr & { kind: 'reduce' }) => Value
  readonly #scan: (e: Expr & { kind: 'scan' }) => Value
  readonly #pairLanes: number
  readonly #hasMasks: boolean
  readonly #masksGuards: boolean
  /** Pairs of vectors, by the first: both taps take theirs from one list. */
  readonly #pairs = new Map<Value, readonly Value[]>()

  constructor(hooks: {
    /** Rewrites an expression into rows the target spells. */
    decompose?: (e: Expr, lanes: number) => Expr
    reduce: (e: Expr & { kind: 'reduce' }) => Value
    scan?: (e: Expr & { kind: 'scan' }) => Value
    /** How many lanes of 32 bits a register has, where pairs are to be loaded; see Note [Pairs]. */
    pairLanes?: number
    /** Whether a part of a vector can be read. */
    hasMasks?: boolean
    /** Whether guards of lanes that lie side by side become masks; if not, they are branches. */
    masksGuards?: boolean
  }) {
    super()
    this.#decompose = hooks.decompose ?? ((e) => e)
    this.#reduce = hooks.reduce
    this.#pairLanes = hooks.pairLanes ?? 0
    this.#hasMasks = hooks.hasMasks ?? false
    this.#masksGuards = hooks.masksGuards ?? false
    this.#scan = hooks.scan ?? (() => assert(false, 'a scan is not expected here') as never)
  }

  /** The value of an expression at the present positions of its axes. */
  expr(e: Expr): Value {
    // Not outside the binding of an axis, though the value may exist there: axes are bound anew.
    let outermost = 0
    const axes = this.#axesOf(e)
    for (let i = 0; i < axes.length; i++)
      outermost = Math.max(outermost, this.levelBinding(axes[i]!))
    for (let level = this.depth; level >= outermost; level--) {
      const known = this.levels[level]!.exprs.get(e)
      if (known) return known
    }
    const value = this.#buildExpr(e)
    this.levels[Math.max(this.levelOf(value), outermost)]!.exprs.set(e, value)
    return value
  }

  #axesOf(e: Expr): readonly Axis[] {
    let known = this.#axes.get(e)
    if (known === undefined) {
      const free = freeAxes(e, this.#freeAxes)
      this.#axes.set(e, (known = free.size === 0 ? noAxes : [...free]))
    }
    return known
  }

  /** Gives an expression a value made elsewhere (an accumulator, a tile of a product). */
  define(e: Expr, value: Value): void {
    this.levels[this.depth]!.exprs.set(e, value)
  }

  /** Reads element(s) of a dtype; 16-bit floats are widened by bit operations every target has. */
  loadAs(dtype: DType, place: Place, lanes: number, mask?: Value): Value {
    const raw = this.load(place, lanes, mask)
    return this.#widen(dtype, raw)
  }

  /** Writes element(s) of a dtype. */
  storeAs(dtype: DType, place: Place, value: Value, mask?: Value): void {
    if (dtype === 'float16' || dtype === 'bfloat16') value = bits.narrow[dtype](this, value)
    if (dtype === 'bool') value = this.op('convert', [value], 'i32')
    this.store(place, value, mask)
  }

  /** The scalar position that an index map gives, without the term that runs along a vector axis. */
  indexValue(index: Index, skip?: Axis): Value {
    const parts = index.terms
      .filter((t) => !(t.index.kind === 'axis' && t.index.axis === skip))
      .map((t) => this.mul(this.expr(t.index), this.size(t.stride)))
    // Outer terms first, so that their sums are made outside the inner loops.
    parts.sort((a, b) => this.levelOf(a) - this.levelOf(b))
    let sum = this.size(index.offset)
    for (const part of parts) sum = this.add(sum, part)
    if (skip !== undefined) {
      const along = index.terms.find((t) => t.index.kind === 'axis' && t.index.axis === skip)
      assert(along?.stride === 1, 'only a unit stride can run along the lanes')
      sum = this.add(sum, this.binding(skip)[0].position)
    }
    return sum
  }

  #buildExpr(e: Expr): Value {
    switch (e.kind) {
      case 'const':
        return this.const(e.type, e.value)
      case 'param':
        return this.param(e.type, e.slot)
      case 'size':
        return this.size(e.size)
      case 'axis': {
        const { position, lanes } = this.binding(e.axis)[0]
        return lanes === 1 ? position : this.add(position, this.iota(lanes))
      }
      case 'load':
        return this.#loadExpr(e)
      case 'reduce':
        return this.#reduce(e)
      case 'scan':
        return this.#scan(e)
      case 'op': {
        const args = e.args.map((a) => this.expr(a))
        let lanes = 1
        for (let i = 0; i < args.length; i++) lanes = Math.max(lanes, args[i]!.lanes)
        const simpler = this.#decompose(e, lanes)
        return simpler === e ? this.op(e.op, args, e.type) : this.expr(simpler)
      }
    }
  }

  #loadExpr(e: LoadExpr): Value {
    const memory = memoryOf[e.dtype]
    const vector = this.vectorAxis()
    const strides = e.index.terms.map((t) => this.#runsAlong(t.index, vector?.axis))
    const along = e.index.terms.filter((_, i) => strides[i])
    const guard = e.guard && this.expr(e.guard)
    const isRun =
      vector !== undefined &&
      along.length === 1 &&
      along[0]!.stride === 1 &&
      along[0]!.index.kind === 'axis'
    if (guard === undefined && (along.length === 0 || isRun)) {
      const index = this.indexValue(e.index, isRun ? vector.axis : undefined)
      const lanes = isRun ? vector.lanes : 1
      return this.#widen(e.dtype, this.#loadAt(this.place(e.buffer, memory, index), lanes))
    }
    if (isRun && guard !== undefined && e.type !== 'bool') {
      if (this.#masksGuards) return this.#maskedRun(e, memory, guard, vector)
      if (guard.lanes === 1) return this.#guardedRun(e, memory, guard, vector)
      if (isInterval(e.guard!, vector.axis)) return this.#guardedEnds(e, memory, guard, vector)
    }
    if (vector !== undefined && vector.lanes === this.#pairLanes) {
      const tap = tapBeside(e, vector.axis)
      const value = tap && this.#loadPair(e, memory, vector, tap)
      if (value) return this.#widen(e.dtype, value)
      if (this.#hasMasks && readsEveryOther(e, vector.axis)) {
        const every = this.#loadEveryOther(e, memory, vector)
        if (every) return this.#widen(e.dtype, every)
      }
    }
    return this.#guardedLoad(e, memory, guard, along.length > 0 || (guard?.lanes ?? 1) > 1)
  }

  // Note [Pairs]: undefined where the tap or the mask is not known well enough.
  #loadPair(
    e: LoadExpr,
    memory: MemoryType,
    { axis, lanes }: VectorAxis,
    tap: Axis,
  ): Value | undefined {
    const pair = pairOf(tap, this.positionOf(tap))
    const tail = this.tailMask?.def
    if (pair === undefined || (tail && tail.kind !== 'lanesBelow')) return undefined
    const moving = [axis, tap]
    const terms = e.index.terms.filter(
      ({ index }) => !(index.kind === 'axis' && moving.includes(index.axis)),
    )
    const fixed = this.indexValue({ offset: e.index.offset, terms })
    const start = this.add(this.add(fixed, this.mul(this.positionOf(axis), 2)), pair.first)
    const count = tail && this.mul(tail.count, 2)
    const load = (from: number) => {
      const mask = count && this.lanesBelow(this.sub(count, from), lanes)
      return this.#loadAt(this.place(e.buffer, memory, this.add(start, from)), lanes, mask)
    }
    const first = load(0)
    let rows = this.#pairs.get(first)
    if (rows === undefined) {
      // What few lanes want lies in one vector.
      const isShort = count?.def.kind === 'const' && Number(count.def.value) <= lanes
      this.#pairs.set(first, (rows = [first, isShort ? first : load(lanes)]))
    }
    return this.transposed(rows, pair.row)
  }

  // Two vectors, of which the even elements are kept. Nothing is read behind the last that is wanted.
  #loadEveryOther(e: LoadExpr, memory: MemoryType, { axis, lanes }: VectorAxis): Value | undefined {
    const tail = this.tailMask?.def
    if (tail && tail.kind !== 'lanesBelow') return undefined
    const terms = e.index.terms.filter(({ index }) => index.kind !== 'axis' || index.axis !== axis)
    const fixed = this.indexValue({ offset: e.index.offset, terms })
    const start = this.add(fixed, this.mul(this.positionOf(axis), 2))
    const count = this.sub(tail ? this.mul(tail.count, 2) : this.int(2 * lanes), 1)
    const load = (from: number, mask: Value | undefined) =>
      this.#loadAt(this.place(e.buffer, memory, this.add(start, from)), lanes, mask)
    const first = load(0, tail && this.lanesBelow(count, lanes))
    const second = load(lanes, this.lanesBelow(this.sub(count, lanes), lanes))
    return this.transposed([first, second], 0)
  }

  // Lanes that a guard switches off read nothing, and are 0.
  #maskedRun(e: LoadExpr, memory: MemoryType, guard: Value, { axis, lanes }: VectorAxis): Value {
    const inside = this.splat(guard, lanes)
    const mask = this.tailMask ? this.op('and', [this.tailMask, inside]) : inside
    const place = this.place(e.buffer, memory, this.indexValue(e.index, axis))
    const value = this.#widen(e.dtype, this.#loadAt(place, lanes, mask))
    const { otherwise } = e
    if (Object.is(Number(otherwise), 0)) return value
    return this.op('select', [inside, value, this.const(e.type, otherwise)])
  }

  // One guard for all lanes, which lie side by side: a whole vector is read, or nothing.
  #guardedRun(e: LoadExpr, memory: MemoryType, guard: Value, vector: VectorAxis): Value {
    const result = this.variable(this.splat(this.const(e.type, e.otherwise), vector.lanes))
    this.when(guard, () => this.set(result, this.#loadRun(e, memory, vector)))
    return this.read(result)
  }

  // A guard that holds at both ends holds between them, as inside the padding of an image.
  #guardedEnds(e: LoadExpr, memory: MemoryType, guard: Value, vector: VectorAxis): Value {
    const { axis, lanes } = vector
    const first = this.positionOf(axis)
    const holdsAt = (position: Value) =>
      this.scope(() => {
        this.bind(axis, position)
        return this.expr(e.guard!)
      })
    const inside = this.op('and', [holdsAt(first), holdsAt(this.add(first, lanes - 1))])
    const result = this.variable(this.splat(this.const(e.type, e.otherwise), lanes))
    this.when(inside, () => this.set(result, this.#loadRun(e, memory, vector)))
    this.when(this.op('not', [inside]), () =>
      this.set(result, this.#guardedLoad(e, memory, guard, true)),
    )
    return this.read(result)
  }

  #loadRun(e: LoadExpr, memory: MemoryType, { axis, lanes }: VectorAxis): Value {
    const place = this.place(e.buffer, memory, this.indexValue(e.index, axis))
    return this.#widen(e.dtype, this.#loadAt(place, lanes))
  }

  // A guarded or gathered load: where the guard is false it reads element 0 of the row, whose value is dropped.
  #guardedLoad(e: LoadExpr, memory: MemoryType, guard: Value | undefined, vector: boolean): Value {
    const index = this.indexValue(e.index)
    const safe = guard ? this.op('select', [guard, index, this.int(0)]) : index
    const raw =
      vector && safe.lanes > 1
        ? this.#gatherAt(this.place(e.buffer, memory, safe))
        : this.#loadAt(this.place(e.buffer, memory, safe), 1)
    const value = this.#widen(e.dtype, raw)
    return guard ? this.op('select', [guard, value, this.const(e.type, e.otherwise)]) : value
  }

  #loadAt(place: Place, lanes: number, mask = lanes > 1 ? this.tailMask : undefined): Value {
    const def = { kind: 'load', place, mask } as const
    const key = `load${place.buffer}${place.memory}${lanes}@${place.index.id}?${mask?.id}`
    const floor = this.loadFloor
    return this.value(computeOf(place.memory), lanes, def, inputsOf(place, mask), key, floor)
  }

  #gatherAt(place: Place): Value {
    const mask = this.tailMask
    const def = { kind: 'gather', place, mask } as const
    const key = `gather${place.buffer}${place.memory}@${place.index.id}?${mask?.id}`
    const inputs = inputsOf(place, mask)
    const { lanes } = place.index
    return this.value(computeOf(place.memory), lanes, def, inputs, key, this.loadFloor)
  }

  #widen(dtype: DType, raw: Value): Value {
    if (dtype === 'float16' || dtype === 'bfloat16') return bits.widen[dtype](this, raw)
    if (dtype === 'bool') return this.op('ne', [raw, this.int(0)])
    assert(raw.type === dtypes[dtype].compute, `load of ${dtype} gave ${raw.type}`)
    return raw
  }

  #runsAlong(e: Expr, axis: Axis | undefined): boolean {
    if (axis === undefined) return false
    if (e.kind === 'axis') return e.axis === axis
    return this.expr(e).lanes > 1
  }
}

const noAxes: readonly Axis[] = []

/** Combines two partial results of a reduction. */
export function combineValues(b: Emitter, combine: Combine, x: Value, y: Value): Value {
  return b.op(combine, [x, y])
}

/** A variable that starts at the identity of a reduction. */
export function accumulator(
  b: Emitter,
  combine: Combine,
  type: ScalarType,
  lanes: number,
): Variable {
  return b.variable(b.splat(b.const(type, identityOf(combine, type)), lanes))
}

function inputsOf(place: Place, mask: Value | undefined): Value[] {
  return mask ? [place.index, mask] : [place.index]
}
