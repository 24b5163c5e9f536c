/** @file Builds loop programs: places each value in the outermost loop where its inputs are known. */
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
  type Size,
} from '../ir/expr.ts'
import type { Definition, MemoryType, Place, Statement, Value, Variable } from '../ir/loops.ts'
import { convertValue, scalarOp, type ScalarOp, type ScalarValue } from '../ir/scalar-op.ts'
import { isInterval } from './affine.ts'
import * as bits from './float16-bits.ts'

/** Where an axis stands at present: the position of lane 0, and how many lanes run along it. */
interface Binding {
  readonly position: Value
  readonly lanes: number
}

/** One loop (or the function itself) under construction. */
interface Level {
  readonly kind: 'loop' | 'if' | 'scope'
  readonly statements: Statement[]
  readonly bound: Map<Axis, Binding>
  readonly values: Map<string, Value>
  readonly exprs: Map<Expr, Value>
}

interface OpenLoop {
  readonly index: Value
  readonly begin: Value
  readonly end: Value
  readonly step: number
  readonly parallel: boolean
}

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

/**
 * Note [Levels]: open loops form a stack of levels. A value is emitted into the lowest level at
 * which all its inputs exist; because a loop statement joins its parent only when it closes,
 * appending to a parent while a child is open puts the value before the loop: loop-invariant code
 * motion comes from where things are written, not from a pass. Equal values at one level are one.
 */
/** The axis that lanes run along, and how many. */
interface VectorAxis {
  readonly axis: Axis
  readonly lanes: number
}

export class Emitter {
  readonly #levels: Level[] = [newLevel('loop')]
  readonly #loops: OpenLoop[] = []
  #nextId = 0
  #nextVariable = 0
  /** In the masked last round of a vector loop: which lanes are inside. */
  tailMask: Value | undefined
  readonly #levelOf = new Map<Value, number>()
  readonly #freeAxes = new Map<Expr, ReadonlySet<Axis>>()
  /** Loads are not moved out of this level: a condition outside it may be what makes them safe. */
  #loadFloor = 0
  readonly #decompose: (e: Expr, lanes: number) => Expr
  readonly #reduce: (e: Expr & { kind: 'reduce' }) => Value
  readonly #scan: (e: Expr & { kind: 'scan' }) => Value

  constructor(hooks: {
    /** Rewrites an expression into rows the target spells. */
    decompose?: (e: Expr, lanes: number) => Expr
    reduce: (e: Expr & { kind: 'reduce' }) => Value
    scan?: (e: Expr & { kind: 'scan' }) => Value
  }) {
    this.#decompose = hooks.decompose ?? ((e) => e)
    this.#reduce = hooks.reduce
    this.#scan = hooks.scan ?? (() => assert(false, 'a scan is not expected here') as never)
  }

  get depth(): number {
    return this.#levels.length - 1
  }

  /** The finished program. */
  finish(): readonly Statement[] {
    assert(this.#levels.length === 1, 'a loop was left open')
    return this.#levels[0]!.statements
  }

  // -- structure

  openLoop(begin: Value, end: Value, step: number, parallel = false): Value {
    const index: Value = { id: this.#nextId++, type: 'i32', lanes: 1, def: { kind: 'index' } }
    this.#loops.push({ index, begin, end, step, parallel })
    this.#levels.push(newLevel('loop'))
    this.#levelOf.set(index, this.depth)
    return index
  }

  closeLoop(): void {
    const { statements } = this.#levels.pop()!
    const loop = this.#loops.pop()!
    this.#emit({ kind: 'for', ...loop, body: statements })
  }

  /** A loop whose body is emitted by `body`. */
  loop(
    begin: Value,
    end: Value,
    step: number,
    body: (index: Value) => void,
    parallel = false,
  ): void {
    const index = this.openLoop(begin, end, step, parallel)
    body(index)
    this.closeLoop()
  }

  /** Statements that run only where the condition holds. Loads made inside stay inside. */
  when(condition: Value, body: () => void): void {
    const floor = this.#loadFloor
    this.#levels.push(newLevel('if'))
    this.#loadFloor = this.depth
    body()
    this.#loadFloor = floor
    const { statements } = this.#levels.pop()!
    this.#emit({ kind: 'if', condition, then: statements })
  }

  /** Axes bound inside stand there only: how one body is written several times, for several positions. */
  scope<T>(body: () => T): T {
    this.#levels.push(newLevel('scope'))
    const result = body()
    const { statements } = this.#levels.pop()!
    for (const statement of statements) {
      if (statement.kind === 'let') this.#levelOf.set(statement.value, this.depth)
      this.#emit(statement)
    }
    return result
  }

  /** Runs `body` as if the loops above `level` were not open: what it emits comes before them. */
  atLevel<T>(level: number, body: () => T): T {
    const levels = this.#levels.splice(level + 1)
    const loops = this.#loops.splice(level)
    const mask = this.tailMask
    const floor = this.#loadFloor
    if (levels.length > 0) this.tailMask = undefined
    this.#loadFloor = Math.min(floor, level)
    const result = body()
    this.#loadFloor = floor
    this.#levels.push(...levels)
    this.#loops.push(...loops)
    this.tailMask = mask
    return result
  }

  bind(axis: Axis, position: Value, lanes = 1): void {
    this.#levels[this.depth]!.bound.set(axis, { position, lanes })
  }

  /** Where an axis stands, lane 0 of it. */
  positionOf(axis: Axis): Value {
    return this.#binding(axis)[0].position
  }

  lanesOf(axis: Axis): number {
    return this.#binding(axis)[0].lanes
  }

  /** The innermost level at which any of these axes is bound; 0 when none is. */
  levelOfAxes(axes: Iterable<Axis>): number {
    let level = 0
    for (const axis of axes) {
      const [{ position }, bound] = this.#binding(axis)
      level = Math.max(level, bound, this.levelOf(position))
    }
    return level
  }

  // -- values

  const(type: ScalarType, value: ScalarValue): Value {
    const key = `${type}:${Object.is(value, -0) ? '-0' : value}`
    return this.#value(type, 1, { kind: 'const', value }, [], key)
  }
  int(value: number): Value {
    return this.const('i32', value)
  }
  size(size: Size): Value {
    if (typeof size === 'number') return this.int(size)
    return this.#value('i32', 1, { kind: 'size', slot: size.slot }, [], `size${size.slot}`)
  }
  param(type: ScalarType, slot: number): Value {
    return this.#value(type, 1, { kind: 'param', slot }, [], `param${slot}${type}`)
  }

  /** A row of the scalar table on values; scalars are splatted where a vector stands beside them. */
  op(op: ScalarOp, args: readonly Value[], type?: ScalarType): Value {
    const result = scalarOp(op).result === 'bool' ? 'bool' : (type ?? args[args.length - 1]!.type)
    const folded = foldIndex(op, args) ?? this.#foldConstants(op, args, result)
    if (folded) return folded
    const lanes = Math.max(...args.map((a) => a.lanes))
    const wide = args.map((a) => this.splat(a, lanes))
    const key = `${op}${result}${wide.map((a) => a.id)}`
    return this.#value(result, lanes, { kind: 'op', op, args: wide }, wide, key)
  }
  add(a: Value, b: Value | number): Value {
    return this.op('add', [a, this.#intOrValue(b)])
  }
  mul(a: Value, b: Value | number): Value {
    return this.op('mul', [a, this.#intOrValue(b)])
  }
  sub(a: Value, b: Value | number): Value {
    return this.op('sub', [a, this.#intOrValue(b)])
  }
  min(a: Value, b: Value | number): Value {
    return this.op('min', [a, this.#intOrValue(b)])
  }
  /** a rounded down to a multiple of `step`, a power of two or not. */
  roundDown(a: Value, step: number): Value {
    if ((step & (step - 1)) === 0) return this.op('and', [a, this.int(-step)])
    return this.mul(this.op('div', [a, this.int(step)]), step)
  }

  splat(x: Value, lanes: number): Value {
    if (x.lanes === lanes) return x
    assert(x.lanes === 1, `cannot widen ${x.lanes} lanes to ${lanes}`)
    return this.#value(x.type, lanes, { kind: 'splat', arg: x }, [x], `splat${lanes}:${x.id}`)
  }
  iota(lanes: number): Value {
    return this.#value('i32', lanes, { kind: 'iota' }, [], `iota${lanes}`)
  }
  lanesBelow(count: Value, lanes: number): Value {
    const def = { kind: 'lanesBelow', count } as const
    return this.#value('bool', lanes, def, [count], `below${lanes}:${count.id}`)
  }
  across(combine: Combine, arg: Value): Value {
    if (arg.lanes === 1) return arg
    const def = { kind: 'across', combine, arg } as const
    return this.#value(arg.type, 1, def, [arg], `across${combine}${arg.id}`)
  }
  transposed(rows: readonly Value[], row: number): Value {
    const def = { kind: 'transposed', rows, row } as const
    return this.#value(rows[0]!.type, rows.length, def, rows, `t${row}:${rows.map((r) => r.id)}`)
  }

  /** Reads memory, in the current level: never moved across a store. */
  load(place: Place, lanes = 1, mask?: Value): Value {
    return this.#here(computeOf(place.memory), lanes, { kind: 'load', place, mask })
  }
  store(place: Place, value: Value, mask?: Value): void {
    this.#emit({ kind: 'store', place, value, mask })
  }
  place(buffer: number, memory: MemoryType, index: Value, offset = 0): Place {
    return { buffer, memory, index, offset }
  }

  variable(initial: Value): Variable {
    const variable = { id: this.#nextVariable++, type: initial.type, lanes: initial.lanes }
    this.set(variable, initial)
    return variable
  }
  /** A variable initialised in an outer level, before the loops inside it. */
  variableAt(level: number, type: ScalarType, lanes: number, initial: ScalarValue): Variable {
    const variable = { id: this.#nextVariable++, type, lanes }
    const value = this.splat(this.const(type, initial), lanes)
    this.#levels[level]!.statements.push({ kind: 'set', variable, value })
    return variable
  }
  set(variable: Variable, value: Value): void {
    this.#emit({ kind: 'set', variable, value: this.splat(value, variable.lanes) })
  }
  read(variable: Variable): Value {
    return this.#here(variable.type, variable.lanes, { kind: 'read', variable })
  }

  // -- expressions

  /** The value of an expression at the present positions of its axes. */
  expr(e: Expr): Value {
    // Not outside the binding of an axis, though the value may exist there: axes are bound anew.
    let outermost = 0
    for (const axis of freeAxes(e, this.#freeAxes))
      outermost = Math.max(outermost, this.#binding(axis)[1])
    for (let level = this.depth; level >= outermost; level--) {
      const known = this.#levels[level]!.exprs.get(e)
      if (known) return known
    }
    const value = this.#buildExpr(e)
    this.#levels[Math.max(this.levelOf(value), outermost)]!.exprs.set(e, value)
    return value
  }

  /** Gives an expression a value made elsewhere (an accumulator, a tile of a product). */
  define(e: Expr, value: Value): void {
    this.#levels[this.depth]!.exprs.set(e, value)
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
      sum = this.add(sum, this.#binding(skip)[0].position)
    }
    return sum
  }

  levelOf(value: Value): number {
    return this.#levelOf.get(value) ?? 0
  }

  /** The axis bound to several lanes, if there is one. */
  vectorAxis(): VectorAxis | undefined {
    for (const level of this.#levels)
      for (const [axis, { lanes }] of level.bound) if (lanes > 1) return { axis, lanes }
    return undefined
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
        const { position, lanes } = this.#binding(e.axis)[0]
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
        const lanes = Math.max(...args.map((a) => a.lanes))
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
      if (guard.lanes === 1) return this.#guardedRun(e, memory, guard, vector)
      if (isInterval(e.guard!, vector.axis)) return this.#guardedEnds(e, memory, guard, vector)
    }
    return this.#guardedLoad(e, memory, guard, along.length > 0 || (guard?.lanes ?? 1) > 1)
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

  #loadAt(place: Place, lanes: number): Value {
    const mask = lanes > 1 ? this.tailMask : undefined
    const def = { kind: 'load', place, mask } as const
    const key = `load${place.buffer}${place.memory}${lanes}@${place.index.id}?${mask?.id}`
    const floor = this.#loadFloor
    return this.#value(computeOf(place.memory), lanes, def, inputsOf(place, mask), key, floor)
  }

  #gatherAt(place: Place): Value {
    const mask = this.tailMask
    const def = { kind: 'gather', place, mask } as const
    const key = `gather${place.buffer}${place.memory}@${place.index.id}?${mask?.id}`
    const inputs = inputsOf(place, mask)
    const { lanes } = place.index
    return this.#value(computeOf(place.memory), lanes, def, inputs, key, this.#loadFloor)
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

  #binding(axis: Axis): [Binding, number] {
    for (let level = this.depth; level >= 0; level--) {
      const found = this.#levels[level]!.bound.get(axis)
      if (found) return [found, level]
    }
    return assert(false, `axis ${axis.id} is not bound`) as never
  }

  #intOrValue(x: Value | number): Value {
    return typeof x === 'number' ? this.int(x) : x
  }

  #foldConstants(op: ScalarOp, args: readonly Value[], type: ScalarType): Value | undefined {
    const values: ScalarValue[] = []
    for (const a of args) {
      if (a.def.kind !== 'const') return undefined
      values.push(a.def.value)
    }
    const from = args[args.length - 1]!.type
    if (op === 'bitcast') return undefined
    if (op === 'convert') return this.const(type, convertValue(values[0]!, from, type))
    const result = scalarOp(op).evaluate(from, ...values)
    return this.const(type, type === 'f32' ? Math.fround(result as number) : result)
  }

  // A value that may stand as early as its inputs allow.
  #value(
    type: ScalarType,
    lanes: number,
    def: Definition,
    inputs: readonly Value[],
    key: string,
    floor = 0,
  ): Value {
    let level = floor
    for (const x of inputs) level = Math.max(level, this.levelOf(x))
    // A value of the loop around a condition is made under it: others may not need it.
    let place = level
    for (let inner = level; inner <= this.depth; inner++) {
      const { kind, values } = this.#levels[inner]!
      if (inner > level && kind === 'loop') break
      const known = values.get(key)
      if (known) return known
      if (kind === 'if') place = inner
    }
    level = place
    const { values, statements } = this.#levels[level]!
    const value: Value = { id: this.#nextId++, type, lanes, def }
    values.set(key, value)
    this.#levelOf.set(value, level)
    statements.push({ kind: 'let', value })
    return value
  }

  // A value bound to this point of the program.
  #here(type: ScalarType, lanes: number, def: Definition): Value {
    const value: Value = { id: this.#nextId++, type, lanes, def }
    this.#levelOf.set(value, this.depth)
    this.#emit({ kind: 'let', value })
    return value
  }

  #emit(statement: Statement): void {
    this.#levels[this.depth]!.statements.push(statement)
  }
}

/** The compute type a memory type is widened to when loaded. */
export function computeOf(memory: MemoryType): ScalarType {
  return memory === 'f32' || memory === 'f64' || memory === 'i64' ? memory : 'i32'
}

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

// The identities that index arithmetic is full of; floats are left alone (x + 0 is not x for -0).
function foldIndex(op: ScalarOp, args: readonly Value[]): Value | undefined {
  const [a, b] = args as [Value, Value]
  if (a.type !== 'i32' || b === undefined) return undefined
  const is = (v: Value, n: number) => v.def.kind === 'const' && v.def.value === n
  if (op === 'add') return is(a, 0) ? b : is(b, 0) ? a : undefined
  if (op === 'sub') return is(b, 0) ? a : undefined
  if (op === 'mul') return is(a, 1) || is(b, 0) ? b : is(b, 1) || is(a, 0) ? a : undefined
  return undefined
}

function inputsOf(place: Place, mask: Value | undefined): Value[] {
  return mask ? [place.index, mask] : [place.index]
}

function newLevel(kind: Level['kind']): Level {
  return { kind, statements: [], bound: new Map(), values: new Map(), exprs: new Map() }
}
