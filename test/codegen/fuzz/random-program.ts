/** @file Random kernels in loop form: nested loops, conditions and variables over scalars and lanes, with more values alive than registers. */
import type { TargetTraits } from '../../../src/codegen/target-traits.ts'
import type { DType, ScalarType, TypedArray } from '../../../src/core/dtype.ts'
import type { Combine } from '../../../src/ir/expr.ts'
import type {
  Definition,
  Kernel,
  MemoryType,
  Place,
  Statement,
  Value,
  Variable,
} from '../../../src/ir/loops.ts'
import { scalarOp, scalarOps, type ScalarOp, type ScalarValue } from '../../../src/ir/scalar-op.ts'
import type { Choices } from './choices.ts'
import { dataKinds, randomData, randomParam } from './random-data.ts'

export interface ProgramCase {
  readonly kernel: Kernel
  readonly buffers: TypedArray[]
  readonly dtypes: readonly DType[]
  readonly sizes: number[]
  readonly params: number[]
}

/** Elements of a buffer; a parallel iteration writes to so many of its own. */
const room = 256
const iterations = 3
const dtypeOf: Record<MemoryType, DType> = {
  f32: 'float32',
  f64: 'float64',
  i32: 'int32',
  i64: 'int64',
  i8: 'int8',
  u8: 'uint8',
  u16: 'float16',
}
const memories = ['f32', 'i32', 'f64', 'i64', 'i8', 'u8', 'u16'] as const
const plainRows = (Object.keys(scalarOps) as ScalarOp[]).filter(
  (op) =>
    op === 'fma' || (scalarOp(op).decompose === undefined && scalarOp(op).result !== 'stated'),
)
const isFloat = (type: ScalarType) => type === 'f32' || type === 'f64'
const computeOf = (memory: MemoryType): ScalarType =>
  memory === 'f32' || memory === 'f64' || memory === 'i64' ? memory : 'i32'

interface Scope {
  readonly statements: Statement[]
  readonly values: Value[]
  /** Variables that are set by now. */
  readonly variables: Variable[]
  /** Loop indices, with the number that they stay below. */
  readonly indices: { readonly value: Value; readonly below: number }[]
}

export function randomProgram(c: Choices, traits: TargetTraits): ProgramCase {
  return new ProgramBuilder(c, traits).build()
}

class ProgramBuilder {
  readonly #c: Choices
  readonly #traits: TargetTraits
  readonly #memories: MemoryType[]
  readonly #written: number
  readonly #sizes: number[] = [3, 0, 5, 1]
  readonly #params: ScalarType[] = []
  readonly #scopes: Scope[] = []
  /** Whether lanes are 64 bits wide: lanes of bools have one width in a kernel. */
  readonly #isWide: boolean
  readonly #native: number
  #id = 0
  #variable = 0
  /** Statements that may still be made. */
  #left: number
  #isBeforeParallel = false
  /** Where the part of the written buffers begins that belongs to a parallel iteration. */
  #base: Value | undefined

  constructor(c: Choices, traits: TargetTraits) {
    this.#c = c
    this.#traits = traits
    this.#left = c.pick([12, 6, 30, 80, 160])
    this.#isWide = c.chance(0.35)
    this.#native = traits.vectorBytes / (this.#isWide ? 8 : 4)
    const count = c.pick([2, 1, 4, 9, 20])
    this.#memories = Array.from({ length: count }, () => c.pick(memories))
    this.#written = 1 + c.below(count)
  }

  build(): ProgramCase {
    const c = this.#c
    const body = this.#scope(() => this.#whole())
    const dtypes = this.#memories.map((memory) => dtypeOf[memory])
    return {
      kernel: {
        name: 'program',
        buffers: this.#memories.map((memory, i) => ({ memory, written: i < this.#written })),
        sizeCount: this.#sizes.length,
        params: this.#params,
        scratchBytes: 0,
        body,
      },
      buffers: dtypes.map((dtype) =>
        randomData(dtype, room * iterations, c.pick(dataKinds), c.below(1 << 16)),
      ),
      dtypes,
      sizes: this.#sizes,
      params: this.#params.map((type) => randomParam(type, c)),
    }
  }

  #whole(): void {
    // What lanes of bools are as wide as.
    if (this.#isWide) {
      const arg = this.#const('f64', 1)
      this.#let('f64', this.#native, { kind: 'splat', arg })
    }
    if (this.#c.chance(0.3)) this.#parallel()
    else this.#fill()
  }

  // Iterations that threads would share: each writes to a part of its own.
  #parallel(): void {
    // What comes before runs once per call: it must not read what the calls write.
    this.#isBeforeParallel = true
    for (let i = this.#c.below(4); i > 0; i--) this.#pure()
    this.#isBeforeParallel = false
    const index = this.#value('i32', 1, { kind: 'index' })
    const body = this.#scope((scope) => {
      scope.indices.push({ value: index, below: iterations })
      scope.values.push(index)
      this.#base = this.#op('mul', [index, this.#const('i32', room)])
      this.#fill()
      this.#base = undefined
    })
    const [begin, end] = [this.#const('i32', 0), this.#const('i32', iterations)]
    const rest = { step: 1, parallel: true, runEnd: undefined, body }
    this.#here.statements.push({ kind: 'for', index, begin, end, ...rest })
  }

  #scope(fill: (scope: Scope) => void): readonly Statement[] {
    const scope: Scope = { statements: [], values: [], variables: [], indices: [] }
    this.#scopes.push(scope)
    fill(scope)
    this.#scopes.pop()
    return scope.statements
  }

  get #here(): Scope {
    return this.#scopes.at(-1)!
  }

  // Statements, and then stores of what was made: all of it is alive until then.
  #fill(): void {
    const c = this.#c
    const count = Math.min(this.#left, c.pick([6, 3, 15, 50, 100]))
    this.#left -= count
    for (let i = 0; i < count; i++) this.#statement()
    const keep = c.pick([4, 1, 12, 40])
    for (const value of this.#here.values.slice(-keep)) this.#storeValue(value)
    for (const variable of this.#here.variables.slice(-4))
      this.#storeValue(this.#let(variable.type, variable.lanes, { kind: 'read', variable }))
  }

  #statement(): void {
    const c = this.#c
    const depth = this.#scopes.length
    switch (c.below(16)) {
      case 15:
        return depth < 5 ? this.#for() : undefined
      case 14:
        return depth < 6 ? this.#if() : undefined
      case 13:
        return this.#setVariable()
      case 12:
        return this.#storeValue(this.#any())
      default:
        this.#pure()
    }
  }

  #for(): void {
    const c = this.#c
    const index = this.#value('i32', 1, { kind: 'index' })
    const slot = c.below(this.#sizes.length)
    const isConst = c.chance(0.5)
    const most = isConst ? c.below(5) : this.#sizes[slot]!
    const begin = c.below(2)
    const [from, to] = [
      this.#const('i32', begin),
      isConst ? this.#const('i32', most) : this.#let('i32', 1, { kind: 'size', slot }),
    ]
    const body = this.#scope((scope) => {
      scope.indices.push({ value: index, below: Math.max(1, most) })
      scope.values.push(index)
      this.#fill()
    })
    const step = c.pick([1, 1, 2, 3])
    const rest = { parallel: false, runEnd: undefined, body }
    this.#here.statements.push({ kind: 'for', index, begin: from, end: to, step, ...rest })
  }

  #if(): void {
    const condition = this.#valueOf('bool', 1)
    const then = this.#scope(() => this.#fill())
    this.#here.statements.push({ kind: 'if', condition, then })
  }

  #setVariable(): void {
    const c = this.#c
    const known = this.#scopes.flatMap((x) => x.variables)
    if (known.length > 0 && c.chance(0.7)) {
      const variable = c.pick(known)
      const value = this.#valueOf(variable.type, variable.lanes)
      // Often what it holds already is part of it: an accumulator.
      const before = this.#let(variable.type, variable.lanes, { kind: 'read', variable })
      const rows = this.#rowsFor(variable.type, variable.lanes).filter(
        (op) => scalarOp(op).arity === 2 && scalarOp(op).result === 'same',
      )
      const isSum = rows.length > 0 && c.chance(0.6)
      const result = isSum ? this.#op(c.pick(rows), [before, value]) : value
      this.#here.statements.push({ kind: 'set', variable, value: result })
      return
    }
    const value = this.#any()
    const variable = { id: this.#variable++, type: value.type, lanes: value.lanes }
    this.#here.statements.push({ kind: 'set', variable, value })
    this.#here.variables.push(variable)
  }

  // -- values

  #any(): Value {
    const all = this.#scopes.flatMap((x) => x.values)
    return all.length > 0 && this.#c.chance(0.8) ? this.#c.pick(all) : this.#pure()
  }

  /** A value of this type: one there is, or a new one. */
  #valueOf(type: ScalarType, lanes: number): Value {
    const c = this.#c
    const known = this.#scopes
      .flatMap((x) => x.values)
      .filter((x) => x.type === type && x.lanes === lanes)
    if (known.length > 0 && c.chance(0.85)) return c.pick(known)
    const variable = this.#scopes
      .flatMap((x) => x.variables)
      .find((x) => x.type === type && x.lanes === lanes)
    if (variable && c.chance(0.5)) return this.#let(type, lanes, { kind: 'read', variable })
    if (lanes > 1) {
      if (type === 'bool' && this.#traits.tail === 'mask' && c.chance(0.6))
        return this.#let(type, lanes, { kind: 'lanesBelow', count: this.#position(lanes + 1) })
      const from = c.chance(0.5) ? this.#load(type, lanes) : undefined
      return from ?? this.#let(type, lanes, { kind: 'splat', arg: this.#valueOf(type, 1) })
    }
    const loaded = c.chance(0.5) ? this.#load(type, 1) : undefined
    if (loaded) return loaded
    if (c.chance(0.3)) return this.#param(type)
    const value = c.pick([1, 0, 2, -1, 3, 0.5, -0, 31, 65536, 1e9, NaN, 2 ** 40 + 1])
    if (isFloat(type)) return this.#const(type, type === 'f32' ? Math.fround(value) : value)
    if (type === 'bool') return this.#const(type, value > 0 ? 1 : 0)
    const whole = Number.isFinite(value) ? Math.trunc(value) : -2147483648
    return this.#const(type, type === 'i64' ? BigInt(whole) : whole | 0)
  }

  #param(type: ScalarType): Value {
    const known = this.#params.indexOf(type)
    const slot = known >= 0 ? known : this.#params.push(type) - 1
    return this.#let(type, 1, { kind: 'param', slot })
  }

  /** A type and width that values have in this kernel. */
  #shape(): { type: ScalarType; lanes: number } {
    const c = this.#c
    if (c.chance(0.4)) return { type: c.pick(['i32', 'f32', 'bool', 'f64', 'i64']), lanes: 1 }
    const type = c.pick(
      this.#isWide ? (['f64', 'i64', 'bool'] as const) : (['f32', 'i32', 'bool'] as const),
    )
    return { type, lanes: this.#native * c.pick([1, 1, 2, 4]) }
  }

  #rowsFor(type: ScalarType, lanes: number): ScalarOp[] {
    return plainRows.filter(
      (op) => scalarOp(op).types.includes(type) && this.#traits.spells(op, type, lanes),
    )
  }

  /** Any new value without effects. */
  #pure(): Value {
    const c = this.#c
    const { type, lanes } = this.#shape()
    const kind = c.below(20)
    if (kind === 19 && lanes > 1) return this.#across(type, lanes)
    if (kind === 18 && type !== 'bool' && lanes === this.#native) return this.#transposed(type)
    if (kind === 17 && type === 'i32' && lanes > 1) return this.#let(type, lanes, { kind: 'iota' })
    if (kind === 16) return this.#changed(type, lanes)
    if (kind >= 14) return this.#load(type, lanes) ?? this.#valueOf(type, lanes)
    if (kind === 13 && lanes > 1) return this.#gather(type, lanes) ?? this.#valueOf(type, lanes)
    const rows = this.#rowsFor(type, lanes)
    if (rows.length === 0) return this.#valueOf(type, lanes)
    const op = c.pick(rows)
    const { arity } = scalarOp(op)
    const args = Array.from({ length: arity }, (_, i) =>
      this.#valueOf(op === 'select' && i === 0 ? 'bool' : type, lanes),
    )
    return this.#op(op, args)
  }

  #op(op: ScalarOp, args: readonly Value[], type?: ScalarType): Value {
    const last = args.at(-1)!
    const result = scalarOp(op).result === 'bool' ? 'bool' : (type ?? last.type)
    return this.#let(result, last.lanes, { kind: 'op', op, args })
  }

  #changed(type: ScalarType, lanes: number): Value {
    const c = this.#c
    const twin = { f32: 'i32', i32: 'f32', f64: 'i64', i64: 'f64', bool: 'bool' } as const
    const x = this.#valueOf(c.chance(0.5) ? twin[type] : type, lanes)
    const to: ScalarType =
      lanes === 1
        ? c.pick(['i32', 'f32', 'bool', 'f64', 'i64'])
        : c.pick([type, 'bool', twin[type]])
    if (x.type === 'bool' && lanes > 1 && to !== 'bool') {
      const fits = this.#isWide === (to === 'f64' || to === 'i64')
      if (!fits) return x
    }
    if (to === x.type || !this.#traits.spells('convert', to, lanes)) return x
    if (to === twin[x.type] && x.type !== 'bool' && c.chance(0.5)) {
      // The bits of NaN are left open.
      const safe = isFloat(x.type)
        ? this.#op('select', [this.#op('eq', [x, x]), x, this.#like(x, 1)])
        : x
      return this.#op('bitcast', [safe], to)
    }
    // AVX2 converts no lanes of 64 bits.
    if (
      lanes > 1 &&
      isFloat(x.type) !== isFloat(to) &&
      !this.#traits.spells('convert', x.type, lanes)
    )
      return x
    return this.#op('convert', [x], to)
  }

  #like({ type, lanes }: Value, value: number): Value {
    const one = this.#const(type, type === 'i64' ? BigInt(value) : value)
    return lanes === 1 ? one : this.#let(type, lanes, { kind: 'splat', arg: one })
  }

  #across(type: ScalarType, lanes: number): Value {
    const combines: readonly Combine[] =
      type === 'bool'
        ? ['and', 'or']
        : isFloat(type)
          ? ['min', 'max']
          : ['add', 'min', 'max', 'and', 'or', 'mul']
    const fits = combines.filter((x) => this.#traits.spells(x, type, lanes))
    const arg = this.#valueOf(type, lanes)
    if (fits.length === 0) return arg
    return this.#let(type, 1, { kind: 'across', combine: this.#c.pick(fits), arg })
  }

  #transposed(type: ScalarType): Value {
    const rows = Array.from({ length: this.#native }, () => this.#valueOf(type, this.#native))
    const picked = Array.from({ length: 1 + this.#c.below(3) }, () =>
      this.#let(type, this.#native, {
        kind: 'transposed',
        rows,
        row: this.#c.below(this.#native),
      }),
    )
    return picked[0]!
  }

  // -- memory

  #load(type: ScalarType, lanes: number): Value | undefined {
    const place = this.#place(type, lanes, false)
    if (place === undefined) return undefined
    const mask =
      lanes > 1 && this.#traits.tail === 'mask' && this.#c.chance(0.4)
        ? this.#valueOf('bool', lanes)
        : undefined
    return this.#let(type, lanes, { kind: 'load', place, mask })
  }

  #gather(type: ScalarType, lanes: number): Value | undefined {
    if (this.#isWide) return undefined
    const place = this.#place(type, lanes, false)
    if (place === undefined) return undefined
    const mask =
      this.#traits.tail === 'mask' && this.#c.chance(0.4) ? this.#valueOf('bool', lanes) : undefined
    const limit = this.#like(this.#valueOf('i32', lanes), 127)
    const inside = this.#op('and', [this.#valueOf('i32', lanes), limit])
    // What a parallel iteration reads may be written by none other.
    const isShared = this.#base !== undefined && place.buffer < this.#written
    const base = isShared ? this.#let('i32', lanes, { kind: 'splat', arg: this.#base! }) : undefined
    const index = base ? this.#op('add', [inside, base]) : inside
    const at = { ...place, index, offset: place.offset & 127 }
    return this.#let(type, lanes, { kind: 'gather', place: at, mask })
  }

  #storeValue(value: Value): void {
    const { type, lanes } = value
    if (type === 'bool') {
      if (lanes > 1 && this.#isWide) return
      return this.#storeValue(this.#op('convert', [value], 'i32'))
    }
    const place = this.#place(type, lanes, true)
    if (place === undefined) return
    const mask =
      lanes > 1 && this.#traits.tail === 'mask' && this.#c.chance(0.3)
        ? this.#valueOf('bool', lanes)
        : undefined
    this.#here.statements.push({ kind: 'store', place, value, mask })
  }

  /** A place for so many lanes, whatever the indices stand at. */
  #place(type: ScalarType, lanes: number, isWritten: boolean): Place | undefined {
    const fits = this.#memories.flatMap((memory, i) =>
      computeOf(memory) === type &&
      (isWritten ? i < this.#written : i >= this.#written || !this.#isBeforeParallel) &&
      (lanes === 1 || this.#traits.vectorMemory(memory, this.#native))
        ? [i]
        : [],
    )
    if (fits.length === 0) return undefined
    const buffer = this.#c.pick(fits)
    const offset = this.#c.below(room - lanes - 127)
    const inside = this.#position(128)
    const isShared = this.#base !== undefined && buffer < this.#written
    const index = isShared ? this.#op('add', [this.#base!, inside]) : inside
    return { buffer, memory: this.#memories[buffer]!, index, offset }
  }

  /** An i32 from 0 to below `most`. */
  #position(most: number): Value {
    const c = this.#c
    const indices = this.#scopes.flatMap((x) => x.indices)
    const kind = c.below(6)
    if (kind === 0) return this.#const('i32', c.below(Math.min(most, 64)))
    if (kind <= 2 && indices.length > 0) {
      const { value, below } = c.pick(indices)
      const scale = Math.floor((most - 1) / below)
      if (below > most) return this.#const('i32', 0)
      const factor = c.pick([1, 2, 4, 7, 16].filter((x) => x <= scale))
      return factor === undefined || factor === 1
        ? value
        : this.#op('mul', [value, this.#const('i32', factor)])
    }
    const any = this.#valueOf('i32', 1)
    if (kind === 3)
      return this.#op('max', [
        this.#op('min', [any, this.#const('i32', most - 1)]),
        this.#const('i32', 0),
      ])
    if (kind === 4) {
      const rest = this.#op('rem', [any, this.#const('i32', most)])
      return this.#op('abs', [rest])
    }
    return this.#op('and', [any, this.#const('i32', 2 ** Math.floor(Math.log2(most)) - 1)])
  }

  // -- building

  #value(type: ScalarType, lanes: number, def: Definition): Value {
    return { id: this.#id++, type, lanes, def }
  }

  #const(type: ScalarType, value: ScalarValue): Value {
    const made = this.#value(type, 1, { kind: 'const', value })
    this.#here.statements.push({ kind: 'let', value: made })
    return made
  }

  #let(type: ScalarType, lanes: number, def: Definition): Value {
    const value = this.#value(type, lanes, def)
    this.#here.statements.push({ kind: 'let', value })
    this.#here.values.push(value)
    return value
  }
}
