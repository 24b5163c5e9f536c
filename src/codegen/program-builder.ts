/** @file Builds loop programs: places each value in the outermost loop where its inputs are known. */
import type { ScalarType } from '../core/dtype.ts'
import { assert } from '../util/errors.ts'
import type { Axis, Combine, Expr, Size } from '../ir/expr.ts'
import type { Definition, MemoryType, Place, Statement, Value, Variable } from '../ir/loops.ts'
import { convertValue, scalarOp, type ScalarOp, type ScalarValue } from '../ir/scalar-op.ts'

/** Where an axis stands at present: the position of lane 0, and how many lanes run along it. */
interface Binding {
  readonly position: Value
  readonly lanes: number
}

/** What equal values share: a number where one can say it all, as that is found sooner, or a text. */
type Key = number | string

/** One loop (or the function itself) under construction. */
interface Level {
  readonly kind: 'loop' | 'if' | 'scope'
  readonly statements: Statement[]
  readonly bound: Map<Axis, Binding>
  readonly values: Map<Key, Value>
  readonly exprs: Map<Expr, Value>
}

interface OpenLoop {
  readonly index: Value
  readonly begin: Value
  readonly end: Value
  readonly step: number
  readonly parallel: boolean
  readonly runEnd: Value | undefined
}

/** The axis that lanes run along, and how many. */
export interface VectorAxis {
  readonly axis: Axis
  readonly lanes: number
}

/**
 * Note [Levels]: open loops form a stack of levels. A value is emitted into the lowest level at
 * which all its inputs exist; because a loop statement joins its parent only when it closes,
 * appending to a parent while a child is open puts the value before the loop: loop-invariant code
 * motion comes from where things are written, not from a pass. Equal values at one level are one.
 */
export class ProgramBuilder {
  protected readonly levels: Level[] = [newLevel('loop')]
  readonly #loops: OpenLoop[] = []
  #nextId = 0
  #nextVariable = 0
  #tailMask: Value | undefined
  #tailLevel = 0
  /** The rows that were transposed last, and their part of the key. */
  #block: { readonly rows: readonly Value[]; readonly key: string } | undefined
  readonly #levelOf = new Map<Value, number>()
  /** Loads are not moved out of this level: a condition outside it may be what makes them safe. */
  protected loadFloor = 0

  /** In the masked last round of a vector loop: which lanes are inside. */
  get tailMask(): Value | undefined {
    return this.#tailMask
  }
  set tailMask(mask: Value | undefined) {
    this.#tailMask = mask
    this.#tailLevel = this.depth
  }

  get depth(): number {
    return this.levels.length - 1
  }

  /** The finished program. */
  finish(): readonly Statement[] {
    assert(this.levels.length === 1, 'a loop was left open')
    return this.levels[0]!.statements
  }

  // -- structure

  openLoop(begin: Value, end: Value, step: number, parallel = false): Value {
    return this.#open({ begin, end, step, parallel, runEnd: undefined })
  }

  #open(loop: Omit<OpenLoop, 'index'>): Value {
    const index = this.#position()
    this.#loops.push({ ...loop, index })
    this.levels.push(newLevel('loop'))
    this.#levelOf.set(index, this.depth)
    if (loop.runEnd) this.#levelOf.set(loop.runEnd, this.depth)
    return index
  }

  #position(): Value {
    return { id: this.#nextId++, type: 'i32', lanes: 1, def: { kind: 'index' } }
  }

  /** Iterations 0 to `count` of a parallel loop in runs: `body` does all of [begin, end) at once. */
  runs(count: Value, body: (begin: Value, end: Value) => void): void {
    const runEnd = this.#position()
    const begin = this.#open({ begin: this.int(0), end: count, step: 1, parallel: true, runEnd })
    body(begin, runEnd)
    this.closeLoop()
  }

  closeLoop(): void {
    const { statements } = this.levels.pop()!
    const loop = this.#loops.pop()!
    this.#emit({ kind: 'for', ...loop, body: statements })
  }

  /** A loop whose body is emitted by `body`; nothing where it is known to have no rounds. */
  loop(
    begin: Value,
    end: Value,
    step: number,
    body: (index: Value) => void,
    parallel = false,
  ): void {
    if (begin.def.kind === 'const' && end.def.kind === 'const' && begin.def.value >= end.def.value)
      return
    const index = this.openLoop(begin, end, step, parallel)
    body(index)
    this.closeLoop()
  }

  /** Statements that run only where the condition holds. Loads made inside stay inside. */
  when(condition: Value, body: () => void): void {
    const floor = this.loadFloor
    this.levels.push(newLevel('if'))
    this.loadFloor = this.depth
    body()
    this.loadFloor = floor
    const { statements } = this.levels.pop()!
    this.#emit({ kind: 'if', condition, then: statements })
  }

  /** Axes bound inside stand there only: how one body is written several times, for several positions. */
  scope<T>(body: () => T): T {
    this.levels.push(newLevel('scope'))
    const result = body()
    const { statements } = this.levels.pop()!
    for (const statement of statements) {
      if (statement.kind === 'let') this.#levelOf.set(statement.value, this.depth)
      this.#emit(statement)
    }
    return result
  }

  /** A body that runs once, where a loop of one round would stand: what it loads stays in it. */
  once(body: () => void): void {
    const floor = this.loadFloor
    this.scope(() => {
      this.loadFloor = this.depth
      body()
    })
    this.loadFloor = floor
  }

  /** Runs `body` as if the loops above `level` were not open: what it emits comes before them. */
  atLevel<T>(level: number, body: () => T): T {
    const levels = this.levels.splice(level + 1)
    const loops = this.#loops.splice(level)
    const [mask, tailLevel] = [this.#tailMask, this.#tailLevel]
    const floor = this.loadFloor
    // The mask holds inside the loop it was made for.
    if (level < this.#tailLevel) this.#tailMask = undefined
    this.loadFloor = Math.min(floor, level)
    const result = body()
    this.loadFloor = floor
    this.levels.push(...levels)
    this.#loops.push(...loops)
    this.#tailMask = mask
    this.#tailLevel = tailLevel
    return result
  }

  bind(axis: Axis, position: Value, lanes = 1): void {
    this.levels[this.depth]!.bound.set(axis, { position, lanes })
  }

  /** Where an axis stands, lane 0 of it. */
  positionOf(axis: Axis): Value {
    return this.binding(axis)[0].position
  }

  lanesOf(axis: Axis): number {
    return this.binding(axis)[0].lanes
  }

  /** The innermost level at which any of these axes is bound; 0 when none is. */
  levelOfAxes(axes: Iterable<Axis>): number {
    let level = 0
    for (const axis of axes) {
      const [{ position }, bound] = this.binding(axis)
      level = Math.max(level, bound, this.levelOf(position))
    }
    return level
  }

  // -- values

  const(type: ScalarType, value: ScalarValue): Value {
    const isInt = type === 'i32' && value === ((value as number) | 0) && !Object.is(value, -0)
    const key = isInt
      ? firstOfInts - (value as number)
      : `${type}:${Object.is(value, -0) ? '-0' : value}`
    return this.value(type, 1, { kind: 'const', value }, noValues, key)
  }
  int(value: number): Value {
    return this.const('i32', value)
  }
  size(size: Size): Value {
    if (typeof size === 'number') return this.int(size)
    return this.value('i32', 1, { kind: 'size', slot: size.slot }, noValues, `size${size.slot}`)
  }
  param(type: ScalarType, slot: number): Value {
    return this.value(type, 1, { kind: 'param', slot }, [], `param${slot}${type}`)
  }

  /** A row of the scalar table on values; scalars are splatted where a vector stands beside them. */
  op(op: ScalarOp, args: readonly Value[], type?: ScalarType): Value {
    const result = scalarOp(op).result === 'bool' ? 'bool' : (type ?? args[args.length - 1]!.type)
    const folded = foldIndex(op, args) ?? this.#foldConstants(op, args, result)
    if (folded) return folded
    let lanes = 1
    for (let i = 0; i < args.length; i++) lanes = Math.max(lanes, args[i]!.lanes)
    let wide = args
    for (let i = 0; i < args.length; i++)
      if (args[i]!.lanes !== lanes) {
        wide = args.map((a) => this.splat(a, lanes))
        break
      }
    const key = this.#keyOf(op, result, wide)
    return this.value(result, lanes, { kind: 'op', op, args: wide }, wide, key)
  }

  #keyOf(op: ScalarOp, type: ScalarType, args: readonly Value[]): Key {
    if (args.length <= 2 && this.#nextId < idLimit - 1) {
      const first = (numberOf(op) * 8 + typeNumbers[type]) * idLimit + args[0]!.id
      return first * idLimit + (args.length === 2 ? args[1]!.id : idLimit - 1)
    }
    let key = op + type
    for (let i = 0; i < args.length; i++) key += `,${args[i]!.id}`
    return key
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
    if (x.lanes !== 1) assert(false, `cannot widen ${x.lanes} lanes to ${lanes}`)
    const key = firstOfSplats - (lanes * 2 ** 32 + x.id)
    return this.value(x.type, lanes, { kind: 'splat', arg: x }, [x], key)
  }
  iota(lanes: number): Value {
    return this.value('i32', lanes, { kind: 'iota' }, [], `iota${lanes}`)
  }
  lanesBelow(count: Value, lanes: number): Value {
    const def = { kind: 'lanesBelow', count } as const
    return this.value('bool', lanes, def, [count], `below${lanes}:${count.id}`)
  }
  across(combine: Combine, arg: Value): Value {
    if (arg.lanes === 1) return arg
    const def = { kind: 'across', combine, arg } as const
    return this.value(arg.type, 1, def, [arg], `across${combine}${arg.id}`)
  }
  transposed(rows: readonly Value[], row: number): Value {
    const def = { kind: 'transposed', rows, row } as const
    // A block is asked for row by row.
    if (this.#block?.rows !== rows) this.#block = { rows, key: rows.map((r) => r.id).join() }
    const key = `t${row}:${this.#block.key}`
    return this.value(rows[0]!.type, rows[0]!.lanes, def, rows, key)
  }

  /** Reads memory, in the current level: never moved across a store. */
  load(place: Place, lanes = 1, mask?: Value): Value {
    return this.#here(computeOf(place.memory), lanes, { kind: 'load', place, mask })
  }
  store(place: Place, value: Value, mask?: Value): void {
    this.#emit({ kind: 'store', place, value, mask })
  }
  prefetch(place: Place): void {
    this.#emit({ kind: 'prefetch', place })
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
    this.levels[level]!.statements.push({ kind: 'set', variable, value })
    return variable
  }
  set(variable: Variable, value: Value): void {
    this.#emit({ kind: 'set', variable, value: this.splat(value, variable.lanes) })
  }
  read(variable: Variable): Value {
    return this.#here(variable.type, variable.lanes, { kind: 'read', variable })
  }

  levelOf(value: Value): number {
    return this.#levelOf.get(value) ?? 0
  }

  /** The axis bound to several lanes, if there is one. */
  vectorAxis(): VectorAxis | undefined {
    for (const level of this.levels)
      for (const [axis, { lanes }] of level.bound) if (lanes > 1) return { axis, lanes }
    return undefined
  }

  protected binding(axis: Axis): [Binding, number] {
    for (let level = this.depth; level >= 0; level--) {
      const found = this.levels[level]!.bound.get(axis)
      if (found) return [found, level]
    }
    return assert(false, `axis ${axis.id} is not bound`) as never
  }

  /** The level at which an axis is bound. */
  protected levelBinding(axis: Axis): number {
    let level = this.depth
    while (level >= 0 && !this.levels[level]!.bound.has(axis)) level--
    if (level < 0) assert(false, `axis ${axis.id} is not bound`)
    return level
  }

  #intOrValue(x: Value | number): Value {
    return typeof x === 'number' ? this.int(x) : x
  }

  #foldConstants(op: ScalarOp, args: readonly Value[], type: ScalarType): Value | undefined {
    for (let i = 0; i < args.length; i++) if (args[i]!.def.kind !== 'const') return undefined
    const values = args.map((a) => (a.def as Definition & { kind: 'const' }).value)
    const from = args[args.length - 1]!.type
    if (op === 'bitcast') return undefined
    if (op === 'convert') return this.const(type, convertValue(values[0]!, from, type))
    const result = scalarOp(op).evaluate(from, ...values)
    return this.const(type, type === 'f32' ? Math.fround(result as number) : result)
  }

  // A value that may stand as early as its inputs allow.
  protected value(
    type: ScalarType,
    lanes: number,
    def: Definition,
    inputs: readonly Value[],
    key: Key,
    floor = 0,
  ): Value {
    let level = floor
    for (let i = 0; i < inputs.length; i++) level = Math.max(level, this.levelOf(inputs[i]!))
    // A value of the loop around a condition is made under it: others may not need it.
    let place = level
    for (let inner = level; inner <= this.depth; inner++) {
      const { kind, values } = this.levels[inner]!
      if (inner > level && kind === 'loop') break
      const known = values.get(key)
      if (known) return known
      if (kind === 'if') place = inner
    }
    level = place
    const { values, statements } = this.levels[level]!
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
    this.levels[this.depth]!.statements.push(statement)
  }
}

/** Ids below this fit the number that stands for an operation on two values. */
const idLimit = 2 ** 20
/** Operations have numbers from 0 up, constants and splats below 0, apart from each other. */
const firstOfInts = -(2 ** 32)
const firstOfSplats = -(2 ** 34)
const noValues: readonly Value[] = []

const typeNumbers: Record<ScalarType, number> = { f32: 0, f64: 1, i32: 2, i64: 3, bool: 4 }
const opNumbers = new Map<ScalarOp, number>()

function numberOf(op: ScalarOp): number {
  let known = opNumbers.get(op)
  if (known === undefined) opNumbers.set(op, (known = opNumbers.size))
  return known
}

/** The compute type a memory type is widened to when loaded. */
export function computeOf(memory: MemoryType): ScalarType {
  return memory === 'f32' || memory === 'f64' || memory === 'i64' ? memory : 'i32'
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

function newLevel(kind: Level['kind']): Level {
  return { kind, statements: [], bound: new Map(), values: new Map(), exprs: new Map() }
}
