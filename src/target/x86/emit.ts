/** @file Turns a kernel in loop form into machine instructions over virtual registers, statement by statement. */
import type { Bits, VectorOp } from '../../asm/x86.ts'
import type { Label, X86Assembler } from '../../asm/x86.ts'
import type { ScalarType } from '../../core/dtype.ts'
import type { Kernel, Place, Statement, Value, Variable } from '../../ir/loops.ts'
import type { ScalarValue } from '../../ir/scalar-op.ts'
import { assert } from '../../util/errors.ts'
import { Constants } from './constants.ts'
import { argumentsOf, Facts, readsOf } from './facts.ts'
import { MachineProgram, type Address, type MachineOperand, type Register } from './machine.ts'
import {
  bytesOf,
  gatherLanes,
  loadLanes,
  loadSingle,
  storeLanes,
  storeSingle,
} from './memory-access.ts'
import { scalarOp, type OpValue } from './scalar-code.ts'
import { acrossLanes, transposeLanes } from './shuffles.ts'
import { isFloat } from './spelling.ts'
import { streamedBuffers, streamLanes } from './streaming.ts'
import type { X86Features } from './traits.ts'
import { vectorOp } from './vector-code.ts'

/** Where the parts of a kernel's argument block lie, in float64 numbers: buffers come first, scratch space last among them. */
export interface ArgumentLayout {
  readonly sizesAt: number
  readonly paramsAt: number
  readonly length: number
}

export function argumentLayout(kernel: Kernel): ArgumentLayout {
  const sizesAt = kernel.buffers.length
  const paramsAt = sizesAt + kernel.sizeCount
  return { sizesAt, paramsAt, length: paramsAt + kernel.params.length }
}

/** The loop whose iterations are shared among threads: the only statement of the kernel with an effect. */
export function parallelLoop(kernel: Kernel): (Statement & { kind: 'for' }) | undefined {
  const rest = kernel.body.filter((s) => s.kind !== 'let')
  const [loop] = rest
  if (rest.length !== 1 || loop?.kind !== 'for' || !loop.parallel || loop.step !== 1)
    return undefined
  const { def } = loop.begin
  return def.kind === 'const' && def.value === 0 ? loop : undefined
}

/** A load that has not been made yet: an instruction may read memory itself. */
interface Pending {
  readonly place: Place
  readonly lanes: number
  /** One element for all lanes. */
  readonly isSplat: boolean
}

/** What holds a value: its registers, or a load still to be made. */
type Held = readonly Register[] | Pending

const isPending = (x: Held): x is Pending => 'place' in x

/** Selects instructions. Its public members are what the files of code for values are written with. */
export class Selector {
  readonly program = new MachineProgram()
  readonly facts: Facts
  readonly features: X86Features
  readonly vectorBits: Bits
  readonly #kernel: Kernel
  readonly #asm: X86Assembler
  readonly #held: (Held | undefined)[] = []
  /** Values whose load is pending, oldest first. */
  #pending: Value[] = []
  readonly #variables = new Map<number, readonly Register[]>()
  /** Values that are the present content of a variable and share its registers. */
  readonly #aliases = new Map<number, Value[]>()
  /** Reads of each value still to come. */
  readonly #remaining: number[]
  /** Inexact i32 values, sign-extended where they are positions. */
  readonly #extended = new Map<Value, Register>()
  readonly #constants: Constants
  readonly #transposes = new Map<readonly Value[], readonly Register[]>()
  readonly #args: Register
  readonly #bases: Register[]
  readonly #begin: Register
  readonly #end: Register
  readonly #parallel: Statement | undefined
  readonly #streamed: ReadonlySet<number>
  #division: { rax: Register; rdx: Register } | undefined

  /** With `streams`, what the kernel only writes goes past the caches; see Note [Streaming]. */
  constructor(kernel: Kernel, features: X86Features, asm: X86Assembler, streams = false) {
    this.#kernel = kernel
    this.features = features
    this.#asm = asm
    this.vectorBits = features.avx512 ? 512 : 256
    this.#parallel = parallelLoop(kernel)
    this.#streamed = streams ? streamedBuffers(kernel) : new Set()
    this.facts = new Facts(kernel, this.#parallel)
    this.#remaining = [...this.facts.uses]
    const p = this.program
    p.copyBits = this.vectorBits
    this.#constants = new Constants(p)
    const [rdi, rsi, rdx, rcx] = [7, 6, 2, 1].map((r) => p.fixed(r)) as [
      Register,
      Register,
      Register,
      Register,
    ]
    const keep = (from: Register) => {
      const made = p.register('g')
      p.copy(made, from)
      return made
    }
    this.#args = keep(rdi)
    this.#begin = keep(rsi)
    this.#end = keep(rdx)
    const thread = keep(rcx)
    this.#bases = kernel.buffers.map((_, i) => {
      const base = p.register('g')
      p.vector('vcvttsd2si.64', 128, [base, this.#argument(i)])
      return base
    })
    if (kernel.scratchBytes > 0) {
      const shift = p.register('g')
      p.int('imulImm', 64, 'makes', [shift, thread, kernel.scratchBytes])
      p.int('add', 64, 'changes', [this.#bases[kernel.buffers.length - 1]!, shift])
    }
  }

  run(): MachineProgram {
    this.#block(this.#kernel.body)
    if (this.#streamed.size > 0) this.program.int('fence', 64, 'reads', [])
    return this.program
  }

  // -- statements

  #block(statements: readonly Statement[]): void {
    for (let i = 0; i < statements.length; i++) {
      const s = statements[i]!
      const next = statements[i + 1]
      if (s.kind === 'let' && next?.kind === 'set' && this.#fuses(s.value, next)) {
        this.#setTo(next.variable, s.value)
        i++
      } else this.#statement(s)
    }
    this.#flush()
  }

  // What is computed only to be put into a variable is computed there.
  #fuses(value: Value, next: Statement & { kind: 'set' }): boolean {
    return next.value === value && value.def.kind === 'op' && this.facts.uses[value.id] === 1
  }

  #statement(s: Statement): void {
    switch (s.kind) {
      case 'let':
        if (s.value.def.kind !== 'const' && this.facts.uses[s.value.id] !== undefined)
          this.#let(s.value)
        return this.#read(s)
      case 'set':
        this.#set(s.variable, s.value)
        return this.#read(s)
      case 'store':
        // What was read from there before stays as it was.
        this.#flush(s.place.buffer)
        this.#store(s)
        this.#read(s)
        return this.#flush()
      case 'prefetch':
        this.program.int('prefetch', 64, 'reads', [this.address(s.place)])
        return this.#read(s)
      case 'if':
        return this.#if(s)
      case 'for':
        return this.#for(s)
    }
  }

  #read(s: Statement): void {
    if (s.kind === 'let') this.#readAll(argumentsOf(s.value.def))
    else this.#readAll(readsOf(s))
  }

  #readAll(values: readonly Value[]): void {
    for (let i = 0; i < values.length; i++) this.#remaining[values[i]!.id]!--
  }

  #if(s: Statement & { kind: 'if' }): void {
    const p = this.program
    this.#flush()
    this.#detach(this.facts.setsIn(s))
    const over = this.#asm.label()
    const condition = this.int(s.condition)
    this.#read(s)
    p.int('test', 32, 'reads', [condition, condition])
    p.jump('jcc', over, 'e')
    this.#block(s.then)
    p.label(over)
  }

  #for(s: Statement & { kind: 'for' }): void {
    const p = this.program
    this.#flush()
    this.#detach(this.facts.setsIn(s))
    const isShared = s === this.#parallel
    const index = p.register('g')
    if (isShared) p.copy(index, this.#begin)
    else if (this.facts.isExtended(s.begin)) this.#intTo(index, s.begin)
    else p.int('movsxd', 64, 'makes', [index, this.int(s.begin)])
    const end = isShared ? this.#end : (this.immediate(s.end) ?? this.int(s.end))
    if (!isShared) this.#read(s)
    this.#held[s.index.id] = [index]
    const [head, done] = [this.#asm.label(), this.#asm.label()]
    p.int('cmp', 32, 'reads', [index, end])
    p.jump('jcc', done, 'ge')
    if (s.runEnd) {
      // One run of all that this call is to do.
      this.#held[s.runEnd.id] = [typeof end === 'number' ? this.#immediateRegister(end) : end]
      this.#block(s.body)
      return p.label(done)
    }
    p.openLoop(head)
    this.#block(s.body)
    p.int('add', 64, 'changes', [index, s.step])
    p.int('cmp', 32, 'reads', [index, end])
    p.closeLoop(head, 'l')
    p.label(done)
  }

  #immediateRegister(value: number): Register {
    const made = this.program.register('g')
    this.program.int('movImm', 64, 'makes', [made, value])
    return made
  }

  #let(value: Value): void {
    const { def } = value
    if (def.kind === 'read') {
      const registers = this.#variableRegisters(def.variable)
      this.#held[value.id] = registers
      const aliases = this.#aliases.get(def.variable.id)
      if (aliases) aliases.push(value)
      else this.#aliases.set(def.variable.id, [value])
    } else if (def.kind === 'load' && this.#canWait(value)) {
      this.#held[value.id] = { place: def.place, lanes: value.lanes, isSplat: false }
      this.#pending.push(value)
      return
    } else if (def.kind === 'splat') this.#splat(value, def.arg)
    else {
      const registers = this.#make(value)
      this.#define(value, registers)
      this.#held[value.id] = registers
    }
    if (this.facts.positions.has(value) && value.lanes === 1 && !this.facts.isExact(value)) {
      const wide = this.program.register('g')
      this.program.int('movsxd', 64, 'makes', [wide, this.int(value)])
      this.#extended.set(value, wide)
    }
  }

  // Read once, unmasked, and as wide as its lanes: an instruction can read it from memory.
  #canWait(value: Value): boolean {
    const { def } = value
    if (def.kind !== 'load' || def.mask || this.facts.uses[value.id] !== 1) return false
    return def.place.memory in plainMemory && !this.facts.positions.has(value)
  }

  #make(value: Value): Register[] {
    const count = this.#registerCount(value)
    const made = new Array<Register>(count)
    for (let r = 0; r < count; r++) made[r] = this.#newRegister(value)
    return made
  }

  #newRegister({ type, lanes }: Pick<Value, 'type' | 'lanes'>): Register {
    if (lanes > 1 && type === 'bool') return this.boolRegister()
    return this.program.register(lanes > 1 || isFloat(type) ? 'v' : 'g')
  }

  #registerCount({ lanes, type }: Pick<Value, 'type' | 'lanes'>): number {
    if (lanes === 1) return 1
    const isWide = type === 'bool' ? this.facts.isWide : type === 'f64' || type === 'i64'
    return Math.max(1, (lanes * (isWide ? 64 : 32)) / this.vectorBits)
  }

  // -- variables

  #variableRegisters(variable: Variable): readonly Register[] {
    let known = this.#variables.get(variable.id)
    if (known === undefined) {
      const count = this.#registerCount(variable)
      known = Array.from({ length: count }, () => this.#newRegister(variable))
      this.#variables.set(variable.id, known)
    }
    return known
  }

  // Values that share the registers of these variables, and are still wanted, get registers of their own.
  #detach(variables: Iterable<number>, reading?: Value): void {
    for (const id of variables) {
      const aliases = this.#aliases.get(id)
      if (aliases === undefined) continue
      for (const value of aliases) {
        let wanted = this.#remaining[value.id] ?? 0
        if (reading?.def.kind === 'op') for (const x of reading.def.args) if (x === value) wanted--
        if (wanted <= 0) continue
        const own = this.#make(value)
        this.registers(value).forEach((from, r) => this.#copy(value, own[r]!, from))
        this.#held[value.id] = own
      }
      this.#aliases.delete(id)
    }
  }

  #copy({ type, lanes }: Pick<Value, 'type' | 'lanes'>, to: Register, from: Register): void {
    if (lanes > 1 && type === 'bool') this.copyBool(to, from)
    else this.program.copy(to, from)
  }

  #beforeSet(variable: Variable, reading?: Value): void {
    // The address of a pending load may be what the variable holds so far.
    if (variable.lanes === 1 && variable.type === 'i32') this.#flush()
    this.#detach([variable.id], reading)
  }

  // An operation whose result is wanted in a variable only.
  #setTo(variable: Variable, value: Value): void {
    this.#beforeSet(variable, value)
    this.#define(value, this.#variableRegisters(variable))
    this.#readAll(argumentsOf(value.def))
  }

  #set(variable: Variable, value: Value): void {
    this.#remaining[value.id]!--
    this.#beforeSet(variable)
    this.#remaining[value.id]!++
    const registers = this.#variableRegisters(variable)
    if (value.lanes === 1 && !isFloat(value.type)) return this.#intTo(registers[0]!, value)
    registers.forEach((to, r) => {
      if (isZero(value)) this.program.int('zero', 128, 'makes', [to])
      else this.#copy(variable, to, this.reg(value, r))
    })
  }

  #intTo(to: Register, value: Value): void {
    const { def } = value
    if (def.kind === 'const')
      this.program.int('movImm', 64, 'makes', [to, intOf(value.type, def.value)])
    else this.program.copy(to, this.int(value))
  }

  // -- values

  #define(value: Value, to: readonly Register[]): void {
    const { def } = value
    const p = this.program
    switch (def.kind) {
      case 'const':
      case 'index':
      case 'splat':
      case 'read':
        return assert(false, `${def.kind} is not computed`)
      case 'size':
        return p.vector('vcvttsd2si.64', 128, [
          to[0]!,
          this.#argument(argumentLayout(this.#kernel).sizesAt + def.slot),
        ])
      case 'param':
        return this.#param(value.type, def.slot, to[0]!)
      case 'op':
        if (value.lanes === 1) return scalarOp(this, value as OpValue, to[0]!)
        return to.forEach((x, r) => vectorOp(this, value as OpValue, r, x))
      case 'iota':
        return to.forEach((x, r) => p.copy(x, this.#constants.iota(r, this.vectorBits)))
      case 'lanesBelow':
        return to.forEach((x, r) => this.#lanesBelow(def.count, r, x))
      case 'load':
        if (value.lanes === 1) return loadSingle(this, def.place, to[0]!)
        return to.forEach((x, r) =>
          loadLanes(this, def.place, r, x, def.mask && this.reg(def.mask, r)),
        )
      case 'gather':
        return to.forEach((x, r) =>
          gatherLanes(
            this,
            def.place,
            this.reg(def.place.index, r),
            x,
            def.mask && this.reg(def.mask, r),
          ),
        )
      case 'across':
        return acrossLanes(this, def.combine, def.arg, to[0]!)
      case 'transposed': {
        let columns = this.#transposes.get(def.rows)
        if (columns === undefined) {
          columns = transposeLanes(
            this,
            def.rows.map((row) => this.reg(row)),
            value.type,
          )
          this.#transposes.set(def.rows, columns)
        }
        return p.copy(to[0]!, columns[def.row]!)
      }
    }
  }

  #argument(slot: number): Address {
    return { base: this.#args, index: undefined, scale: 1, disp: 8 * slot, broadcast: false }
  }

  #param(type: ScalarType, slot: number, to: Register): void {
    const p = this.program
    const from = this.#argument(argumentLayout(this.#kernel).paramsAt + slot)
    if (type === 'f64') return p.vector('vmovsd', 128, [to, from])
    if (type === 'i32' || type === 'i64') return p.vector('vcvttsd2si.64', 128, [to, from])
    const number = p.register('v')
    p.vector('vmovsd', 128, [number, from])
    if (type === 'f32') return p.vector('vcvtsd2ss', 128, [to, number, number])
    this.compareSingles('f64', number, this.zeroOf('f64'), 4, to)
  }

  #splat(value: Value, arg: Value): void {
    const count = this.#registerCount(value)
    const all = (register: Register) => {
      this.#held[value.id] = new Array<Register>(count).fill(register)
    }
    const { def } = arg
    if (def.kind === 'const' && value.type !== 'bool')
      return all(this.constant(value.type, def.value))
    const held = this.#held[arg.id]
    if (held && isPending(held)) {
      this.#pending.splice(this.#pending.indexOf(arg), 1)
      this.#held[arg.id] = undefined
      const pending = { ...held, isSplat: true, lanes: value.lanes }
      // Used once by one instruction, the element is spread by that instruction itself.
      if (this.features.avx512 && count === 1 && this.facts.uses[value.id] === 1) {
        this.#held[value.id] = pending
        this.#pending.push(value)
        return
      }
      return all(this.#loadSplat(pending))
    }
    all(this.#spread(value, arg))
  }

  #loadSplat({ place }: Pending): Register {
    const to = this.program.register('v')
    const op = bytesOf[place.memory] === 8 ? 'vbroadcastsd' : 'vbroadcastss'
    this.program.vector(op, this.vectorBits, [to, this.address(place)])
    return to
  }

  #spread({ type }: Value, arg: Value): Register {
    const p = this.program
    const isWide = type === 'bool' ? this.facts.isWide : type === 'f64' || type === 'i64'
    if (isFloat(type)) {
      const to = p.register('v')
      p.vector(isWide ? 'vbroadcastsd' : 'vbroadcastss', this.vectorBits, [to, this.reg(arg)])
      return to
    }
    let from = this.int(arg)
    if (type === 'bool') {
      const ones = p.register('g')
      p.copy(ones, from)
      p.int('neg', 64, 'changes', [ones])
      if (this.features.avx512) {
        const mask = p.register('k')
        p.vector('kmovw.kr', 128, [mask, ones])
        return mask
      }
      from = ones
    }
    const to = p.register('v')
    if (this.features.avx512) {
      p.vector(isWide ? 'vpbroadcastq.r' : 'vpbroadcastd.r', this.vectorBits, [to, from])
      return to
    }
    const single = p.register('v')
    p.vector(isWide ? 'vmovq.xr' : 'vmovd.xr', 128, [single, from])
    p.vector(isWide ? 'vpbroadcastq' : 'vpbroadcastd', this.vectorBits, [to, single])
    return to
  }

  #lanesBelow(count: Value, r: number, to: Register): void {
    assert(this.features.avx512, 'lanes are masked with AVX-512 only')
    const p = this.program
    const bits = this.facts.isWide ? 256 : 512
    const limit = p.register('v')
    p.vector('vpbroadcastd.r', bits, [limit, this.int(count)])
    p.vector('vpcmpd', bits, [to, this.#constants.iota(r, bits), limit], { imm: 1 })
  }

  #store({ place, value, mask }: Statement & { kind: 'store' }): void {
    if (value.lanes === 1) return storeSingle(this, place, value)
    if (!mask && this.#streamed.has(place.buffer) && place.memory in plainMemory)
      return streamLanes(this, place, value)
    // Values come first: a pending load among them may need instructions of its own.
    const count = this.#registerCount(value)
    for (let r = 0; r < count; r++)
      storeLanes(this, place, r, this.reg(value, r), mask && this.reg(mask, r))
  }

  /** Makes the loads that were put off, all of them or those from one buffer. */
  #flush(buffer?: number): void {
    const later: Value[] = []
    for (const value of this.#pending) {
      const held = this.#held[value.id]
      if (!held || !isPending(held) || this.#remaining[value.id]! <= 0) continue
      if (buffer !== undefined && held.place.buffer !== buffer) later.push(value)
      else this.#load(value)
    }
    this.#pending = later
  }

  #load(value: Value): readonly Register[] {
    const pending = this.#held[value.id] as Pending
    const made = this.#make(value)
    if (pending.isSplat) made.fill(this.#loadSplat(pending))
    else if (value.lanes === 1) loadSingle(this, pending.place, made[0]!)
    else made.forEach((to, r) => loadLanes(this, pending.place, r, to, undefined))
    this.#held[value.id] = made
    return made
  }

  // -- for the files of code

  /** The registers that hold a value; loads it now if that was put off. */
  registers(value: Value): readonly Register[] {
    const held = this.#held[value.id]
    if (held === undefined) {
      if (value.def.kind === 'const') return [this.#constRegister(value)]
      assert(false, `value ${value.id} is used before it is made`)
    }
    return isPending(held!) ? this.#load(value) : held!
  }

  #constRegister(value: Value): Register {
    const { def, type } = value
    assert(def.kind === 'const', 'a constant')
    if (isFloat(type)) return this.constant(type, def.value)
    const to = this.program.register('g')
    this.program.int('movImm', 64, 'makes', [to, intOf(type, def.value)])
    return to
  }

  /** Register r of a value. */
  reg(value: Value, r = 0): Register {
    return this.registers(value)[r]!
  }
  any(value: Value): Register {
    return this.registers(value)[0]!
  }
  /** The general register of an integer or bool. */
  int(value: Value): Register {
    return this.registers(value)[0]!
  }

  /** Register r of a value, or the memory it can be read from. For the last operand of an instruction. */
  source(value: Value, r = 0): MachineOperand {
    const held = this.#held[value.id]
    if (held === undefined || !isPending(held)) return this.reg(value, r)
    const { place, isSplat } = held
    const address = this.address(place, isSplat ? 0 : (r * this.vectorBits) / 8)
    return isSplat ? { ...address, broadcast: true } : address
  }

  /** Two operands in the order in which the last one may be memory. */
  sourceLast(a: Value, b: Value): readonly [Value, Value] {
    const held = this.#held[a.id]
    const isFirst = held !== undefined && isPending(held)
    const isConstant = a.def.kind === 'splat' && a.def.arg.def.kind === 'const'
    return isFirst || isConstant ? [b, a] : [a, b]
  }

  /** An integer constant that fits an instruction. */
  immediate(value: Value): number | undefined {
    if (value.def.kind !== 'const' || isFloat(value.type)) return undefined
    const number = Number(value.def.value)
    return number === (number | 0) ? number : undefined
  }

  /** A register that may be written while `others` are still read. */
  apart(to: Register, others: readonly Register[]): Register {
    return others.includes(to) ? this.program.register(to.class) : to
  }
  settle(to: Register, result: Register): void {
    if (to !== result) this.program.copy(to, result)
  }

  label(): Label {
    return this.#asm.label()
  }

  offset(base: Register, disp: number): Address {
    return { base, index: undefined, scale: 1, disp, broadcast: false }
  }

  /** The address of a place, some bytes further on. */
  address(place: Place, more = 0): Address {
    const bytes = bytesOf[place.memory]
    const base = this.#bases[place.buffer]!
    const { index } = place
    const constant = this.immediate(index)
    const disp = (place.offset + (constant ?? 0)) * bytes + more
    if (constant !== undefined) return this.offset(base, disp)
    return { base, index: this.#position(index), scale: bytes, disp, broadcast: false }
  }

  /** The address that gathers start from; `index` is a register of lanes. */
  gatherAddress(place: Place, index: Register): Address {
    const bytes = bytesOf[place.memory]
    const base = this.#bases[place.buffer]!
    return { base, index, scale: bytes, disp: place.offset * bytes, broadcast: false }
  }

  #position(index: Value): Register {
    return this.facts.isExact(index) ? this.int(index) : this.extended(index)
  }

  /** A 32-bit integer with its sign in all upper bits. */
  extended(value: Value): Register {
    if (this.facts.isExtended(value)) return this.int(value)
    const known = this.#extended.get(value)
    if (known) return known
    const wide = this.program.register('g')
    this.program.int('movsxd', 64, 'makes', [wide, this.int(value)])
    return wide
  }

  constant(type: ScalarType, value: ScalarValue): Register {
    return this.#constants.splat(type, value)
  }
  zeroOf(type: ScalarType): Register {
    return this.constant(type, type === 'i64' ? 0n : 0)
  }

  boolRegister(): Register {
    return this.program.register(this.features.avx512 ? 'k' : 'v')
  }
  copyBool(to: Register, from: Register): void {
    this.program.copy(to, from)
  }

  /** -x or |x|: the sign bit turned over or cleared. */
  maskBits(op: 'neg' | 'abs', type: 'f32' | 'f64', bits: Bits, to: Register, x: Register): void {
    const mask =
      type === 'f32'
        ? this.constant('i32', op === 'neg' ? -2147483648 : 2147483647)
        : this.constant('i64', op === 'neg' ? -(2n ** 63n) : 2n ** 63n - 1n)
    const name = `${op === 'neg' ? 'vxor' : 'vand'}${type === 'f32' ? 'ps' : 'pd'}` as VectorOp
    this.program.vector(name, bits, [to, x, mask])
  }

  /** A comparison of single floats as 0 or 1. */
  compareSingles(
    type: 'f32' | 'f64',
    a: Register,
    b: MachineOperand,
    predicate: number,
    to: Register,
  ): void {
    const p = this.program
    const name = type === 'f32' ? 'vcmpss' : 'vcmpsd'
    if (this.features.avx512) {
      const mask = p.register('k')
      p.vector(`${name}.k`, 128, [mask, a, b], { imm: predicate })
      return p.vector('kmovw.rk', 128, [to, mask])
    }
    const mask = p.register('v')
    p.vector(name, 128, [mask, a, b], { imm: predicate })
    p.vector('vmovd.rx', 128, [to, mask])
    p.int('and', 32, 'changes', [to, 1])
  }

  /** A bool as a mask for the first lane. */
  singleMask(condition: Register, type: ScalarType): Register {
    const p = this.program
    const ones = p.register('g')
    p.copy(ones, condition)
    p.int('neg', 64, 'changes', [ones])
    const mask = p.register('v')
    p.vector(type === 'f64' ? 'vmovq.xr' : 'vmovd.xr', 128, [mask, ones])
    return mask
  }

  /** The registers that wide division works in. */
  divisionRegisters(): { rax: Register; rdx: Register } {
    if (this.#division === undefined) {
      const { program: p } = this
      p.reserved.add(0)
      p.reserved.add(2)
      this.#division = { rax: p.fixed(0), rdx: p.fixed(2) }
    }
    return this.#division
  }
}

const plainMemory = { f32: true, f64: true, i32: true, i64: true }

function isZero(value: Value): boolean {
  const def = value.def.kind === 'splat' ? value.def.arg.def : value.def
  return value.type !== 'bool' && def.kind === 'const' && Object.is(Number(def.value), 0)
}

const intOf = (type: ScalarType, value: ScalarValue): number | bigint =>
  type === 'i64' ? BigInt(value) : Number(value)
