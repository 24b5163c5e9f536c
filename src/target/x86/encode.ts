/** @file Writes allocated machine instructions as bytes: what lives on the stack or beside the code is read from there. */
import {
  gpr,
  type Bits,
  type Memory,
  type VectorOptions,
  type X86Assembler,
} from '../../asm/x86.ts'
import { vectorRow, type VectorOp } from '../../asm/x86-vector-ops.ts'
import { memoryBytes } from '../../asm/x86-vector-row.ts'
import type { Label } from '../../asm/x86.ts'
import { assert } from '../../util/errors.ts'
import { scratch, type Allocation } from './allocate.ts'
import {
  isAddress,
  Register,
  takesMemory,
  type Address,
  type Instruction,
  type MachineOperand,
  type MachineProgram,
} from './machine.ts'
import type { X86Features } from './traits.ts'

/** What a callee has to leave as it was. */
const calleeSaved: readonly number[] = [gpr.rbx, gpr.rbp, gpr.r12, gpr.r13, gpr.r14, gpr.r15]

/** The whole function: saves registers, makes room on the stack, runs, and puts everything back. */
export function encode(
  program: MachineProgram,
  allocation: Allocation,
  features: X86Features,
  asm: X86Assembler,
): void {
  new Encoder(program, allocation, features, asm).run()
}

class Encoder {
  readonly #program: MachineProgram
  readonly #asm: X86Assembler
  readonly #avx512: boolean
  readonly #vectorBits: Bits
  readonly #slotsAt: number
  readonly #frame: number
  readonly #saved: readonly number[]
  readonly #scratchVectors: readonly number[]
  /** Scratch registers taken by the present instruction. */
  #takenGeneral = 0
  #takenVectors = 0
  #takenMasks = 0

  constructor(
    program: MachineProgram,
    { slotBytes, spills }: Allocation,
    features: X86Features,
    asm: X86Assembler,
  ) {
    this.#program = program
    this.#asm = asm
    this.#avx512 = features.avx512
    this.#vectorBits = features.avx512 ? 512 : 256
    this.#scratchVectors = scratch.vectors(features.avx512 ? 32 : 16)
    this.#slotsAt = program.stackBytes
    const used = new Set(program.registers.filter((r) => r.class === 'g').map((r) => r.assigned))
    if (spills) for (const r of scratch.general) used.add(r)
    this.#saved = calleeSaved.filter((r) => used.has(r))
    this.#frame = Math.ceil((program.stackBytes + slotBytes) / 64) * 64
  }

  run(): void {
    const a = this.#asm
    for (const r of this.#saved) a.push(r)
    if (this.#frame > 0) a.aluImm('sub', 64, gpr.rsp, this.#frame)
    for (const r of this.#program.registers)
      if (r.constant && r.assigned >= 0) this.#loadConstant(r, r.assigned)
    for (const instruction of this.#program.instructions) this.#instruction(instruction)
    if (this.#frame > 0) a.aluImm('add', 64, gpr.rsp, this.#frame)
    for (const r of this.#saved.toReversed()) a.pop(r)
    a.vector('vzeroupper', 128, [])
    a.ret()
  }

  #instruction(x: Instruction): void {
    this.#takenGeneral = 0
    this.#takenVectors = 0
    this.#takenMasks = 0
    if (x.isVector) this.#vector(x)
    else this.#int(x)
  }

  // -- vectors

  #vector(x: Instruction): void {
    const { operands, effect, mask } = x
    const op = x.op as VectorOp
    const bits = x.bits as Bits
    if (isMove.has(op) && operands.every((r) => r instanceof Register)) return this.#move(x)
    const resolved: (number | Memory)[] = new Array(operands.length)
    let broadcast = false
    for (let i = operands.length - 1; i > 0; i--) {
      const operand = operands[i]!
      const folded =
        operand instanceof Register && operand.assigned < 0 && takesMemory(x, i)
          ? this.#inMemory(operand, op, bits)
          : undefined
      if (folded) {
        resolved[i] = folded.memory
        broadcast = folded.broadcast
      } else {
        resolved[i] = this.#read(operand)
        if (isAddress(operand)) broadcast = operand.broadcast
      }
    }
    const options: VectorOptions = {}
    if (x.imm !== undefined) options.imm = x.imm
    if (mask) options.mask = this.#read(mask) as number
    if (x.zeroing) options.zeroing = true
    if (broadcast) options.broadcast = true
    const to = operands[0]
    if (to === undefined) return this.#asm.vector(op, bits, [])
    if (effect === 'reads' || !(to instanceof Register)) {
      resolved[0] = this.#read(to)
      return this.#asm.vector(op, bits, resolved, options)
    }
    if (to.assigned >= 0) resolved[0] = to.assigned
    else {
      // What is read comes out of its scratch register before the result goes in, unless it is kept.
      if (effect === 'makes' && x.operands.length > 1) this.#release(to)
      resolved[0] = effect === 'changes' ? this.#read(to) : this.#take(to.class)
    }
    this.#asm.vector(op, bits, resolved, options)
    if (to.assigned < 0) this.#write(to, resolved[0] as number)
  }

  // A result may go into a scratch register that a source was read through.
  #release(to: Register): void {
    if (to.class === 'v' && this.#takenVectors === this.#scratchVectors.length) this.#takenVectors--
    if (to.class === 'g' && this.#takenGeneral === scratch.general.length) this.#takenGeneral--
    if (to.class === 'k' && this.#takenMasks === scratch.masks.length) this.#takenMasks--
  }

  #move(x: Instruction): void {
    const [to, from] = x.operands as [Register, Register]
    if (to.assigned >= 0 && to.assigned === from.assigned) return
    const a = this.#asm
    if (to.assigned < 0) return this.#write(to, this.#read(from) as number)
    if (from.assigned >= 0) {
      if (to.class === 'k') return a.vector('kmovw', 128, [to.assigned, from.assigned])
      return a.vector('vmovaps', x.bits as Bits, [to.assigned, from.assigned])
    }
    this.#fill(from, to.assigned)
  }

  /** Reads what has no register into one. */
  #fill(from: Register, to: number): void {
    const a = this.#asm
    if (from.constant) return this.#loadConstant(from, to)
    const slot = this.#slot(from)
    if (from.class === 'v') a.vector('vmovups', this.#vectorBits, [to, slot])
    else if (from.class === 'k') a.vector('kmovq', 128, [to, slot])
    else a.mov(64, to, slot)
  }

  #write(to: Register, from: number): void {
    const a = this.#asm
    const slot = this.#slot(to)
    if (to.class === 'v') a.vector('vmovups', this.#vectorBits, [slot, from])
    else if (to.class === 'k') a.vector('kmovq', 128, [slot, from])
    else a.mov(64, slot, from)
  }

  #slot(r: Register): Memory {
    assert(r.slot >= 0, 'a register has neither a place in the machine nor on the stack')
    return { base: gpr.rsp, disp: this.#slotsAt + r.slot }
  }

  #loadConstant(r: Register, to: number): void {
    const { bytes, isSplat } = r.constant!
    const a = this.#asm
    if (bytes.every((b) => b === 0)) return this.#zero(to)
    if (!isSplat) {
      const memory = { label: a.data(bytes, bytes.length) }
      return a.vector('vmovups', (8 * bytes.length) as Bits, [to, memory])
    }
    const op = bytes.length === 8 ? 'vbroadcastsd' : 'vbroadcastss'
    a.vector(op, this.#vectorBits, [to, { label: a.data(bytes, bytes.length) }])
  }

  #zero(to: number): void {
    if (to < 16) this.#asm.vector('vxorps', 128, [to, to, to])
    else this.#asm.vector('vpxord', 512, [to, to, to])
  }

  // The memory operand that stands for a register without a place.
  #inMemory(
    r: Register,
    op: VectorOp,
    bits: Bits,
  ): { memory: Memory; broadcast: boolean } | undefined {
    if (!r.constant) return { memory: this.#slot(r), broadcast: false }
    const { bytes, isSplat } = r.constant
    const row = vectorRow(op)
    const size = memoryBytes(row, bits)
    const a = this.#asm
    if (
      isSplat &&
      this.#avx512 &&
      row.evex &&
      row.broadcast === bytes.length &&
      size > bytes.length
    )
      return { memory: { label: a.data(bytes, bytes.length) }, broadcast: true }
    const whole = isSplat ? repeat(bytes, size) : bytes
    if (whole.length < size) return undefined
    return { memory: { label: a.data(whole, whole.length) }, broadcast: false }
  }

  // -- general registers

  #int(x: Instruction): void {
    const a = this.#asm
    const { operands, effect } = x
    const bits = x.bits as 32 | 64
    switch (x.op) {
      case 'label':
        return a.bind(x.label!)
      case 'loop':
        a.align(16)
        return a.bind(x.label!)
      case 'jmp':
        return a.jmp(x.label as Label)
      case 'jcc':
        return a.jcc(x.condition!, x.label as Label)
      case 'mov': {
        const [to, from] = operands as [Register, Register]
        if (to.assigned >= 0 && to.assigned === from.assigned) return
        if (to.assigned < 0) return this.#write(to, this.#read(from) as number)
        if (from.assigned < 0) return this.#fill(from, to.assigned)
        return a.mov(64, to.assigned, from.assigned)
      }
      case 'idiv':
        return a.unary('idiv', 64, this.#read(operands[2]!) as number)
      case 'cqo':
        return a.cqo()
      case 'fence':
        return a.mfence()
      case 'zero':
      case 'ones':
        return this.#fillBits(x.op, operands[0] as Register)
      default:
    }
    const first = operands[0]!
    // An address takes both scratch registers for a moment, so it comes before what is stored there.
    const place = isAddress(first) ? this.#address(first) : undefined
    const rest = operands
      .slice(1)
      .map((operand) => (typeof operand === 'bigint' ? 0 : this.#read(operand)))
    let to: number | Memory
    if (place !== undefined) to = place
    else if (effect === 'reads' || !(first instanceof Register)) to = this.#read(first)
    else if (first.assigned >= 0) to = first.assigned
    else if (effect === 'changes') to = this.#read(first)
    else {
      this.#release(first)
      to = this.#take(first.class)
    }
    this.#intOp(x, bits, to as number, rest)
    if (effect !== 'reads' && first instanceof Register && first.assigned < 0)
      this.#write(first, to as number)
  }

  #intOp(x: Instruction, bits: 32 | 64, to: number, rest: readonly (number | Memory)[]): void {
    const a = this.#asm
    const [y, z] = rest as [number | Memory, number | Memory]
    const isImmediate = typeof x.operands[1] === 'number'
    switch (x.op) {
      case 'movImm':
        return this.#moveImmediate(x, to)
      case 'load':
        return a.mov(bits, to, y)
      case 'store':
        return a.mov(bits, to, y)
      case 'lea':
        return a.lea(to, y as Memory)
      case 'add':
      case 'sub':
      case 'and':
      case 'or':
      case 'xor':
      case 'cmp':
        if (isImmediate) return a.aluImm(x.op, bits, to, y as number)
        return a.alu(x.op, bits, to, y)
      case 'test':
        return a.test(bits, to, y as number)
      case 'imul':
        if (isImmediate) return a.imulImm(bits, to, to, y as number)
        return a.imul(bits, to, y)
      case 'imulImm':
        return a.imulImm(bits, to, y, z as number)
      case 'shl':
      case 'shr':
      case 'sar':
        return a.shiftImm(x.op, bits, to, y as number)
      case 'shlx':
      case 'shrx':
      case 'sarx':
        return a.shiftBy(x.op, bits, to, y as number, z as number)
      case 'neg':
      case 'not':
        return a.unary(x.op, bits, to)
      case 'cmov':
        return a.cmov(x.condition!, bits, to, y)
      case 'setcc':
        a.setcc(x.condition!, to)
        return a.movzx8(to, to)
      case 'movsxd':
        return a.movsxd(to, y)
      case 'movsx8':
        return a.movsx8(to, y)
      case 'movzx8':
        return a.movzx8(to, y)
      case 'movzx16':
        return a.movzx16(to, y)
      case 'store8':
        return a.store8(to as unknown as Memory, y as number)
      case 'store16':
        return a.store16(to as unknown as Memory, y as number)
      case 'prefetch':
        return a.prefetch('t1', to as unknown as Memory)
      case 'stackStore':
        return a.vector('vmovups', x.bits as Bits, [{ base: gpr.rsp, disp: 0 }, to])
      case 'stackLoad':
        return a.vector('vmovups', x.bits as Bits, [to, { base: gpr.rsp, disp: 0 }])
      case 'stackRead':
        return a.movsxd(to, { base: gpr.rsp, disp: x.imm! })
      case 'stackWrite':
        return a.mov(32, { base: gpr.rsp, disp: x.imm! }, to)
      default:
        assert(false, `no encoding of ${x.op}`)
    }
  }

  #moveImmediate(x: Instruction, to: number): void {
    this.#asm.movImm(64, to, x.operands[1] as number | bigint)
  }

  #fillBits(op: 'zero' | 'ones', r: Register): void {
    const a = this.#asm
    const to = r.assigned >= 0 ? r.assigned : this.#take(r.class)
    if (r.class === 'k') a.vector('kxnorw', 128, [to, to, to])
    else if (op === 'zero') this.#zero(to)
    else a.vector('vpcmpeqd', 256, [to, to, to])
    if (r.assigned < 0) this.#write(r, to)
  }

  // -- operands

  #read(x: MachineOperand): number | Memory {
    if (typeof x === 'number') return x
    assert(typeof x !== 'bigint', 'only moves take long constants')
    if (!(x instanceof Register)) return this.#address(x)
    if (x.assigned >= 0) return x.assigned
    const to = this.#take(x.class)
    this.#fill(x, to)
    return to
  }

  #address({ base, index, scale, disp }: Address): Memory {
    const from = this.#read(base) as number
    if (index === undefined) return { base: from, disp }
    const by = this.#read(index) as number
    if (base.assigned >= 0 || index.assigned >= 0 || index.class === 'v')
      return { base: from, index: by, scale, disp }
    // Both are in scratch registers: one of them takes the sum, and the other is free again.
    this.#asm.lea(from, { base: from, index: by, scale, disp })
    this.#takenGeneral--
    return { base: from, disp: 0 }
  }

  #take(kind: Register['class']): number {
    if (kind === 'k') {
      const taken = scratch.masks[this.#takenMasks++]
      assert(taken !== undefined, 'no scratch mask is left')
      return taken
    }
    if (kind === 'g') {
      const taken = scratch.general[this.#takenGeneral++]
      assert(taken !== undefined, 'no scratch register is left')
      return taken
    }
    const taken = this.#scratchVectors[this.#takenVectors++]
    assert(taken !== undefined, 'no scratch vector is left')
    return taken
  }
}

const isMove: ReadonlySet<VectorOp> = new Set(['vmovups', 'kmovq'])

function repeat(bytes: Uint8Array, size: number): Uint8Array {
  if (size <= bytes.length) return bytes.subarray(0, size)
  const whole = new Uint8Array(size)
  for (let at = 0; at < size; at += bytes.length) whole.set(bytes, at)
  return whole
}
