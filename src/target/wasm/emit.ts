/** @file Turns a kernel in loop form into the bytes of a WebAssembly module. */
import { ModuleBuilder, type FunctionAssembler } from '../../asm/wasm.ts'
import type { ScalarType } from '../../core/dtype.ts'
import type { Combine } from '../../ir/expr.ts'
import type { Kernel, Place, Statement, Value, Variable } from '../../ir/loops.ts'
import type { ScalarOp } from '../../ir/scalar-op.ts'
import { assert } from '../../util/errors.ts'
import {
  bytesOf,
  loadScalar,
  loadSplat,
  loadVector,
  storeScalar,
  storeVector,
} from './memory-access.ts'
import {
  bitcastSpelling,
  convertSpelling,
  scalarSpelling,
  shiftSpelling,
  vectorSpelling,
  type LaneType,
} from './spelling.ts'
import { integerSequences, shiftEachLane } from './integer-sequences.ts'
import { Uses } from './uses.ts'

/** The argument block: addresses and sizes as i32, then the scalars as f64, 8-byte aligned. */
export interface ArgumentLayout {
  readonly sizesAt: number
  readonly paramsAt: number
  readonly bytes: number
}

/** Where the parts of a kernel's argument block lie; buffers come first, scratch space last among them. */
export function argumentLayout(kernel: Kernel): ArgumentLayout {
  const sizesAt = 4 * kernel.buffers.length
  const paramsAt = Math.ceil((sizesAt + 4 * kernel.sizeCount) / 8) * 8
  return { sizesAt, paramsAt, bytes: paramsAt + 8 * kernel.params.length }
}

/** A module that imports `env.memory` and exports `run(argumentBlockAddress)`. */
export function emitWasm(kernel: Kernel): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder()
  module.importMemory('env', 'memory')
  module.function('run', ['i32'], [], (f) => new KernelEmitter(kernel, f).run())
  return module.finish()
}

const laneCount = { f32x4: 4, i32x4: 4, f64x2: 2, i64x2: 2 } as const

class KernelEmitter {
  readonly #kernel: Kernel
  readonly #f: FunctionAssembler
  /** Locals of a value: one, or one per register. */
  readonly #locals = new Map<Value, readonly number[]>()
  readonly #variables = new Map<number, readonly number[]>()
  readonly #bases: number[]
  /** Addresses computed so far in the open blocks. */
  #addresses: Map<string, number>[] = [new Map()]
  /** Whether vectors of this kernel are of 64-bit elements, which decides the width of a bool lane. */
  readonly #wide: boolean
  readonly #spare: number
  readonly #transposes = new Map<readonly Value[], readonly number[]>()

  readonly #uses: Uses

  constructor(kernel: Kernel, f: FunctionAssembler) {
    this.#kernel = kernel
    this.#uses = new Uses(kernel.body)
    this.#f = f
    this.#wide = hasWideVectors(kernel.body)
    this.#spare = f.local('v128')
    this.#bases = kernel.buffers.map((_, i) => {
      const local = f.local('i32')
      f.localGet(0)
        .memory('i32.load', 4 * i)
        .localSet(local)
      return local
    })
  }

  run(): void {
    this.#block(this.#kernel.body)
  }

  #block(statements: readonly Statement[]): void {
    this.#addresses.push(new Map())
    statements.forEach((s, i) => {
      // A load that only feeds the splat after it is one instruction with it.
      const splat = this.#isSplatted(s, statements[i + 1])
      if (!splat) this.#statement(s)
    })
    this.#addresses.pop()
  }

  #isSplatted(s: Statement, next: Statement | undefined): boolean {
    if (s.kind !== 'let' || next?.kind !== 'let') return false
    const { value } = s
    const { def } = next.value
    return (
      def.kind === 'splat' &&
      def.arg === value &&
      value.def.kind === 'load' &&
      loadSplat[value.def.place.memory] !== undefined &&
      this.#uses.usesOf(value) === 1
    )
  }

  #statement(s: Statement): void {
    const f = this.#f
    switch (s.kind) {
      case 'let':
        return this.#let(s.value)
      case 'set': {
        const locals = this.#variableLocals(s.variable)
        locals.forEach((_, r) => this.#push(s.value, r))
        return locals.toReversed().forEach((local) => f.localSet(local))
      }
      case 'store':
        return this.#store(s.place, s.value)
      case 'prefetch':
        // There is no such instruction.
        return
      case 'if':
        this.#push(s.condition)
        f.if()
        this.#block(s.then)
        return void f.end()
      case 'for':
        return this.#for(s)
    }
  }

  #for(s: Statement & { kind: 'for' }): void {
    const f = this.#f
    const index = f.local('i32')
    this.#locals.set(s.index, [index])
    this.#push(s.begin)
    f.localTee(index)
    this.#push(s.end)
    if (s.runEnd) {
      // One run of all.
      const end = f.local('i32')
      this.#locals.set(s.runEnd, [end])
      this.#push(s.end)
      f.localSet(end).op('i32.lt_s').if()
      this.#block(s.body)
      return void f.end()
    }
    f.op('i32.lt_s').if().loop()
    this.#block(s.body)
    f.localGet(index).i32Const(s.step).op('i32.add').localTee(index)
    this.#push(s.end)
    f.op('i32.lt_s').brIf(0).end().end()
  }

  // -- values

  #let(value: Value): void {
    if (value.def.kind === 'const') return
    const locals: number[] = []
    // Every register of a splat is the same.
    const count = value.def.kind === 'splat' ? 1 : this.#registers(value)
    for (let r = 0; r < count; r++) {
      this.#define(value, r)
      const local = this.#f.local(value.lanes > 1 ? 'v128' : scalarLocal[value.type])
      this.#f.localSet(local)
      locals.push(local)
    }
    while (locals.length < this.#registers(value)) locals.push(locals[0]!)
    this.#locals.set(value, locals)
    for (const place of this.#uses.addressesFrom(value)) this.#addressOf(place, value)
  }

  /** Puts a value (register r of it) on the stack. */
  #push(value: Value, r = 0): void {
    if (value.def.kind === 'const') return this.#const(value.type, value.def.value)
    const locals = this.#locals.get(value)
    assert(locals !== undefined, `value ${value.id} is used before it is made`)
    this.#f.localGet(locals[r]!)
  }

  #define(value: Value, r: number): void {
    const f = this.#f
    const { def } = value
    const lane = value.lanes > 1 ? this.#laneType(value.type) : undefined
    switch (def.kind) {
      case 'const':
      case 'index':
        return assert(false, `${def.kind} is not computed`)
      case 'size':
        return void f
          .localGet(0)
          .memory('i32.load', argumentLayout(this.#kernel).sizesAt + 4 * def.slot)
      case 'param':
        return this.#param(value.type, def.slot)
      case 'op':
        return lane ? this.#vectorOp(value, lane, r) : this.#scalarOp(value)
      case 'splat': {
        const from = def.arg.def
        if (from.kind === 'load' && !this.#locals.has(def.arg)) {
          this.#address(from.place)
          const splat = loadSplat[from.place.memory]!
          return void f.memory(splat, from.place.offset * bytesOf[from.place.memory])
        }
        this.#push(def.arg)
        if (value.type === 'bool') this.#maskFromBool(lane!)
        else f.op(`${lane!}.splat`)
        return
      }
      case 'iota':
        return void f.v128Const(laneBytes([0, 1, 2, 3].map((i) => i + 4 * r)))
      case 'load':
        assert(def.mask === undefined, 'this target has no masked loads')
        return this.#load(def.place, value.lanes, r)
      case 'gather':
        return this.#gather(value, def.place, r)
      case 'across':
        return this.#across(def.combine, def.arg)
      case 'transposed':
        return void f.localGet(this.#transpose(def.rows)[def.row]!)
      case 'read':
        return void f.localGet(this.#variableLocals(def.variable)[r]!)
      case 'lanesBelow':
        f.v128Const(laneBytes([0, 1, 2, 3].map((i) => i + 4 * r)))
        this.#push(def.count)
        return void f.op('i32x4.splat').op('i32x4.lt_s')
    }
  }

  #const(type: ScalarType, value: number | bigint): void {
    const f = this.#f
    if (type === 'f32') f.f32Const(value as number)
    else if (type === 'f64') f.f64Const(value as number)
    else if (type === 'i64') f.i64Const(BigInt(value))
    else f.i32Const(Number(value))
  }

  #param(type: ScalarType, slot: number): void {
    const f = this.#f
    f.localGet(0).memory('f64.load', argumentLayout(this.#kernel).paramsAt + 8 * slot)
    if (type === 'bool') f.f64Const(0).op('f64.ne')
    else if (type !== 'f64') convertSpelling[`f64>${type}`]!.forEach((op) => f.op(op))
  }

  #scalarOp(value: Value): void {
    const f = this.#f
    const def = value.def as Value['def'] & { kind: 'op' }
    const [a, b, c] = def.args as [Value, Value, Value]
    const type = def.args[def.args.length - 1]!.type
    const spelled = scalarSpelling[def.op]?.[type]
    if (spelled !== undefined) {
      def.args.forEach((x) => this.#push(x))
      return void f.op(spelled)
    }
    if (def.op === 'convert') return this.#convertScalar(a, value.type)
    if (def.op === 'bitcast') {
      this.#push(a)
      return void f.op(bitcastSpelling[`${a.type}>${value.type}`]!)
    }
    if (isPlainDivision(def)) {
      this.#push(a)
      this.#push(b)
      return void f.op(`${type as 'i32' | 'i64'}.${def.op === 'div' ? 'div_s' : 'rem_s'}`)
    }
    const whole = integerSequences[def.op]
    assert(whole !== undefined, `no scalar spelling of ${def.op} for ${type}`)
    whole(f, type === 'i64' ? 'i64' : 'i32', type, (i) => this.#push([a, b, c][i]!))
  }

  #convertScalar(a: Value, to: ScalarType): void {
    this.#push(a)
    if (to !== 'bool') return convertSpelling[`${a.type}>${to}`]!.forEach((op) => this.#f.op(op))
    if (a.type === 'bool') return
    this.#const(a.type, 0)
    this.#f.op(scalarSpelling.ne![a.type]!)
  }

  #vectorOp(value: Value, lane: LaneType, r: number): void {
    const f = this.#f
    const def = value.def as Value['def'] & { kind: 'op' }
    const [a, b, c] = def.args as [Value, Value, Value]
    const argLane = this.#laneType(def.args[def.args.length - 1]!.type)
    const spelled = vectorSpelling[def.op]?.[argLane]
    if (spelled !== undefined) {
      def.args.forEach((x) => this.#push(x, r))
      return void f.op(spelled)
    }
    const shift = shiftSpelling[def.op]?.[lane]
    if (shift !== undefined) {
      if (b.def.kind !== 'splat')
        return shiftEachLane(f, lane, def.op, (i) => this.#push([a, b][i]!, r))
      this.#push(a, r)
      const count = b.def.arg
      if (count.def.kind === 'const' || this.#locals.has(count)) this.#push(count)
      else {
        this.#push(b, r)
        f.lane(`${lane}.extract_lane`, 0)
      }
      if (count.type === 'i64') f.op('i32.wrap_i64')
      return void f.op(shift)
    }
    switch (def.op) {
      case 'select':
        this.#push(b, r)
        this.#push(c, r)
        this.#push(a, r)
        return void f.op('v128.bitselect')
      case 'bitcast':
        return this.#push(a, r)
      case 'convert':
        this.#push(a, r)
        return this.#convertVector(a.type, value.type)
      case 'fma':
        def.args.forEach((x) => this.#push(x, r))
        return void f.op(lane === 'f64x2' ? 'f64x2.relaxed_madd' : 'f32x4.relaxed_madd')
      default:
        assert(false, `no vector spelling of ${def.op} for ${lane}`)
    }
  }

  #convertVector(from: ScalarType, to: ScalarType): void {
    const f = this.#f
    if (from === to) return
    if (from === 'f32' && to === 'i32') return void f.op('i32x4.trunc_sat_f32x4_s')
    if (from === 'i32' && to === 'f32') return void f.op('f32x4.convert_i32x4_s')
    if (to === 'bool') {
      const lane = this.#laneType(from)
      this.#const(from, from === 'i64' ? 0n : 0)
      return void f.op(`${lane}.splat`).op(vectorSpelling.ne![lane]!)
    }
    assert(from === 'bool' && to !== 'i64', `no vector conversion from ${from} to ${to}`)
    this.#const(to, 1)
    f.op(`${this.#laneType(to)}.splat`).op('v128.and')
  }

  // A scalar bool (0 or 1) becomes lanes of all ones or all zeros.
  #maskFromBool(lane: LaneType): void {
    const f = this.#f
    if (lane === 'i64x2') f.op('i64.extend_i32_u').op('i64x2.splat').op('i64x2.neg')
    else f.op('i32x4.splat').op('i32x4.neg')
  }

  // -- memory

  /** Pushes the address of a place, its constant offset left out. */
  #address(place: Place): void {
    const f = this.#f
    const base = this.#bases[place.buffer]!
    const { def } = place.index
    if (def.kind === 'const' && def.value === 0) return void f.localGet(base)
    const known = this.#knownAddress(place, place.index)
    if (known !== undefined) return void f.localGet(known)
    f.localGet(this.#addressOf(place, place.index))
  }

  #knownAddress(place: Place, index: Value): number | undefined {
    const key = addressKey(place, index)
    for (const block of this.#addresses) {
      const local = block.get(key)
      if (local !== undefined) return local
    }
    return undefined
  }

  // base + bytes * index, in a local. Of a sum, the part known outside the loop has its address already.
  #addressOf(place: Place, index: Value): number {
    const f = this.#f
    const [outer, inner] = this.#uses.sumOf(index)
    const start = outer && this.#knownAddress(place, outer)
    if (inner !== undefined && start !== undefined) f.localGet(start)
    else f.localGet(this.#bases[place.buffer]!)
    this.#pushBytes(start !== undefined && inner ? inner : index, bytesOf[place.memory])
    const local = f.local('i32')
    f.op('i32.add').localSet(local)
    this.#addresses[this.#addresses.length - 1]!.set(addressKey(place, index), local)
    return local
  }

  #pushBytes(index: Value, bytes: number): void {
    const f = this.#f
    if (bytes === 1) return this.#push(index)
    const key = `${index.id}*${bytes}`
    for (const block of this.#addresses) {
      const local = block.get(key)
      if (local !== undefined) return void f.localGet(local)
    }
    const local = f.local('i32')
    this.#push(index)
    f.i32Const(Math.log2(bytes)).op('i32.shl').localTee(local)
    this.#addresses[this.#addresses.length - 1]!.set(key, local)
  }

  #load(place: Place, lanes: number, r: number): void {
    const bytes = bytesOf[place.memory]
    this.#address(place)
    const offset = place.offset * bytes
    if (lanes === 1) loadScalar[place.memory](this.#f, offset)
    else loadVector[place.memory](this.#f, offset + r * bytes * (bytes === 8 ? 2 : 4))
  }

  #store(place: Place, value: Value): void {
    const bytes = bytesOf[place.memory]
    const offset = place.offset * bytes
    if (value.lanes === 1) {
      this.#address(place)
      this.#push(value)
      return storeScalar[place.memory](this.#f, offset)
    }
    for (let r = 0; r < this.#registers(value); r++) {
      this.#address(place)
      this.#push(value, r)
      storeVector[place.memory](this.#f, offset + r * bytes * (bytes === 8 ? 2 : 4), this.#spare)
    }
  }

  #gather(value: Value, place: Place, r: number): void {
    const f = this.#f
    const lane = this.#laneType(value.type)
    const bytes = bytesOf[place.memory]
    f.v128Const(new Uint8Array(16))
    for (let i = 0; i < laneCount[lane]; i++) {
      this.#push(place.index, r)
      f.lane('i32x4.extract_lane', i)
      if (bytes > 1) f.i32Const(Math.log2(bytes)).op('i32.shl')
      f.localGet(this.#bases[place.buffer]!).op('i32.add')
      loadScalar[place.memory](f, place.offset * bytes)
      f.lane(`${lane}.replace_lane`, i)
    }
  }

  #across(combine: Combine, arg: Value): void {
    const f = this.#f
    const lane = this.#laneType(arg.type)
    const op = (arg.type === 'bool' ? boolCombine[combine] : combine) as ScalarOp
    this.#push(arg, 0)
    for (let r = 1; r < this.#registers(arg); r++) {
      this.#push(arg, r)
      f.op(vectorSpelling[op]![lane]!)
    }
    f.localSet(this.#spare)
    if (arg.type === 'bool') {
      f.localGet(this.#spare)
      return void f.op(op === 'or' ? 'v128.any_true' : `${lane as 'i32x4' | 'i64x2'}.all_true`)
    }
    const extract = (i: number) => {
      f.localGet(this.#spare).lane(`${lane}.extract_lane`, i)
    }
    const join = (): void => {
      const spelled = scalarSpelling[op]?.[arg.type]
      if (spelled !== undefined) return void f.op(spelled)
      const x = f.local(scalarLocal[arg.type])
      const y = f.local(scalarLocal[arg.type])
      f.localSet(y).localSet(x)
      integerSequences[op]!(f, arg.type === 'i64' ? 'i64' : 'i32', arg.type, (i) =>
        f.localGet(i === 0 ? x : y),
      )
    }
    extract(0)
    for (let i = 1; i < laneCount[lane]; i++) {
      extract(i)
      join()
    }
  }

  // The columns of a block: one round of shuffles for two rows, two rounds for four.
  #transpose(rows: readonly Value[]): readonly number[] {
    const known = this.#transposes.get(rows)
    if (known) return known
    const f = this.#f
    const count = laneCount[this.#laneType(rows[0]!.type)]
    const bytes = 16 / count
    const pick = (x: () => void, y: () => void, lanes: readonly number[]): number => {
      x()
      y()
      f.shuffle(lanes.flatMap((l) => Array.from({ length: bytes }, (_, i) => bytes * l + i)))
      const local = f.local('v128')
      f.localSet(local)
      return local
    }
    const row = (i: number) => () => this.#push(rows[i]!)
    const get = (local: number) => () => void f.localGet(local)
    if (rows.length === 2) {
      const even = Array.from({ length: count }, (_, i) => 2 * i)
      const odd = even.map((i) => i + 1)
      const pair = [pick(row(0), row(1), even), pick(row(0), row(1), odd)]
      this.#transposes.set(rows, pair)
      return pair
    }
    const low01 = pick(row(0), row(1), [0, 4, 1, 5])
    const high01 = pick(row(0), row(1), [2, 6, 3, 7])
    const low23 = pick(row(2), row(3), [0, 4, 1, 5])
    const high23 = pick(row(2), row(3), [2, 6, 3, 7])
    const columns = [
      pick(get(low01), get(low23), [0, 1, 4, 5]),
      pick(get(low01), get(low23), [2, 3, 6, 7]),
      pick(get(high01), get(high23), [0, 1, 4, 5]),
      pick(get(high01), get(high23), [2, 3, 6, 7]),
    ]
    this.#transposes.set(rows, columns)
    return columns
  }

  // -- helpers

  #variableLocals(variable: Variable): readonly number[] {
    const known = this.#variables.get(variable.id)
    if (known) return known
    const { type, lanes } = variable
    const local = lanes > 1 ? 'v128' : scalarLocal[type]
    const count = lanes > 1 ? lanes / laneCount[this.#laneType(type)] : 1
    const locals = Array.from({ length: count }, () => this.#f.local(local))
    this.#variables.set(variable.id, locals)
    return locals
  }

  #laneType(type: ScalarType): LaneType {
    if (type === 'bool') return this.#wide ? 'i64x2' : 'i32x4'
    return laneTypes[type]
  }

  #registers(value: Value): number {
    return value.lanes === 1 ? 1 : value.lanes / laneCount[this.#laneType(value.type)]
  }
}

// A divisor that is a constant other than 0 and -1 needs no guard.
function isPlainDivision(def: Value['def'] & { kind: 'op' }): boolean {
  if (def.op !== 'div' && def.op !== 'rem') return false
  const divisor = def.args[1]!.def
  return divisor.kind === 'const' && Number(divisor.value) !== 0 && Number(divisor.value) !== -1
}

const addressKey = (place: Place, index: Value) =>
  `${place.buffer}:${index.id}:${bytesOf[place.memory]}`

const scalarLocal = { f32: 'f32', f64: 'f64', i32: 'i32', i64: 'i64', bool: 'i32' } as const
const laneTypes = { f32: 'f32x4', f64: 'f64x2', i32: 'i32x4', i64: 'i64x2' } as const
const boolCombine = { and: 'and', min: 'and', mul: 'and', or: 'or', max: 'or', add: 'or' } as const

function laneBytes(values: readonly number[]): Uint8Array {
  return new Uint8Array(new Int32Array(values).buffer)
}

function hasWideVectors(statements: readonly Statement[]): boolean {
  return statements.some((s) => {
    if (s.kind === 'for') return hasWideVectors(s.body)
    if (s.kind === 'if') return hasWideVectors(s.then)
    return (
      s.kind === 'let' && s.value.lanes > 1 && (s.value.type === 'f64' || s.value.type === 'i64')
    )
  })
}
