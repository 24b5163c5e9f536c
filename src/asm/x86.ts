/**
 * @file An assembler for x86-64: general, AVX2 and AVX-512 instructions, labels and constants.
 *
 * Operands come in Intel's order, destination first. Registers are numbers, memory is an object.
 */
import { Label } from './x86-code.ts'
import { CONDITIONS, GeneralAssembler, type Condition } from './x86-general.ts'
import { misuse, type Bits, type Memory } from './x86-operand.ts'
import { operandText, vectorText } from './x86-text.ts'
import { vectorRow, type VectorOp } from './x86-vector-ops.ts'
import { writeVector, type VectorOptions } from './x86-vector.ts'

export { Label } from './x86-code.ts'
export type {
  AluOp,
  Condition,
  CountOp,
  LockOp,
  ShiftByOp,
  ShiftOp,
  UnaryOp,
  Width,
} from './x86-general.ts'
export { gpr } from './x86-operand.ts'
export type { Bits, Memory } from './x86-operand.ts'
export type { VectorOp } from './x86-vector-ops.ts'
export type { VectorOptions } from './x86-vector.ts'

const PLAIN = {
  ret: [0xc3],
  cdq: [0x99],
  cqo: [0x48, 0x99],
  pause: [0xf3, 0x90],
  syscall: [0x0f, 0x05],
  mfence: [0x0f, 0xae, 0xf0],
  ud2: [0x0f, 0x0b],
  cpuid: [0x0f, 0xa2],
  xgetbv: [0x0f, 0x01, 0xd0],
  rdtsc: [0x0f, 0x31],
} satisfies Record<string, number[]>

/** Opcode and its extension. */
const PREFETCHES = { t0: [0x0f18, 1], t1: [0x0f18, 2], nta: [0x0f18, 0], w: [0x0f0d, 1] } as const

/** The longest form first; each is one instruction. */
const NOPS = [
  [0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
  [0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
  [0x0f, 0x1f, 0x80, 0, 0, 0, 0],
  [0x66, 0x0f, 0x1f, 0x44, 0, 0],
  [0x0f, 0x1f, 0x44, 0, 0],
  [0x0f, 0x1f, 0x40, 0],
  [0x0f, 0x1f, 0],
  [0x66, 0x90],
  [0x90],
]

/** Assembles one piece of code; its first byte is taken to stand at any alignment that is asked for. */
export class X86Assembler extends GeneralAssembler {
  /** Where the constants begin, once the code is finished. */
  #codeEnd = -1

  /** Bytes written so far. */
  get position(): number {
    return this.code.length
  }

  label(): Label {
    return this.code.label()
  }

  /** Lets `label` mean this place. */
  bind(label: Label): void {
    this.code.bind(label)
    this.lines?.bind(label)
  }

  /**
   * One vector or mask instruction. `bits` is the vector length, the longer one if operands differ
   * (128 for scalar forms such as vaddss); mask instructions ignore it.
   */
  vector(
    op: VectorOp,
    bits: Bits,
    operands: readonly (number | Memory)[],
    options?: VectorOptions,
  ): void {
    const start = this.code.length
    const form = writeVector(this.code, op, vectorRow(op), bits, operands, options)
    this.lines?.add(start, vectorText(op, form, bits, operands, options))
  }

  /** Backward jumps take two bytes where that reaches; forward ones always reach anywhere. */
  jmp(label: Label): void {
    const start = this.code.begin()
    if (this.#reachesShort(label)) this.#short(0xeb, label)
    else {
      this.code.u8(0xe9)
      this.code.relative(label, 0, 0)
    }
    this.lines?.add(start, `jmp ${label.name}`)
  }

  jcc(condition: Condition, label: Label): void {
    const start = this.code.begin()
    const code = CONDITIONS[condition]
    if (this.#reachesShort(label)) this.#short(0x70 | code, label)
    else {
      this.code.u8(0x0f)
      this.code.u8(0x80 | code)
      this.code.relative(label, 0, 0)
    }
    this.lines?.add(start, `j${condition} ${label.name}`)
  }

  /** Calls a label, or the address in a register or in memory. */
  call(target: number | Memory | Label): void {
    const start = this.code.begin()
    if (target instanceof Label) {
      this.code.u8(0xe8)
      this.code.relative(target, 0, 0)
      this.lines?.add(start, `call ${target.name}`)
    } else {
      this.rm(0, 32, 0xff, 2, target, 0)
      this.lines?.add(start, `call ${operandText(target, 64)}`)
    }
  }

  jmpIndirect(target: number | Memory): void {
    const start = this.code.length
    this.rm(0, 32, 0xff, 4, target, 0)
    this.lines?.add(start, `jmp ${operandText(target, 64)}`)
  }

  ret(): void {
    this.#plain('ret')
  }

  /** Sign-extends eax into edx. */
  cdq(): void {
    this.#plain('cdq')
  }

  /** Sign-extends rax into rdx. */
  cqo(): void {
    this.#plain('cqo')
  }

  pause(): void {
    this.#plain('pause')
  }

  syscall(): void {
    this.#plain('syscall')
  }

  mfence(): void {
    this.#plain('mfence')
  }

  ud2(): void {
    this.#plain('ud2')
  }

  cpuid(): void {
    this.#plain('cpuid')
  }

  xgetbv(): void {
    this.#plain('xgetbv')
  }

  rdtsc(): void {
    this.#plain('rdtsc')
  }

  prefetch(hint: keyof typeof PREFETCHES, at: Memory): void {
    const start = this.code.length
    const [opcode, extension] = PREFETCHES[hint]
    if (typeof at === 'number') misuse('prefetch takes an address')
    this.rm(0, 32, opcode, extension, at, 0)
    this.lines?.add(start, `prefetch${hint} ${operandText(at, 8)}`)
  }

  /** Fills up to a multiple of `bytes`, a power of two, with as few no-ops as will do. */
  align(bytes: number): void {
    if (!(bytes > 0) || (bytes & (bytes - 1)) !== 0)
      misuse(`alignment ${bytes} is not a power of two`)
    let rest = -this.code.length & (bytes - 1)
    while (rest > 0) {
      const start = this.code.begin()
      const nop = NOPS[Math.max(0, NOPS.length - rest)]!
      for (const byte of nop) this.code.u8(byte)
      rest -= nop.length
      this.lines?.add(start, `nop # ${nop.length}`)
    }
  }

  /** A constant behind the code, there once for all calls with equal bytes and alignment. */
  data(bytes: Uint8Array, alignment: number): Label {
    return this.code.data(bytes, alignment)
  }

  /** Places the constants, resolves the labels and returns the bytes. */
  finish(): Uint8Array<ArrayBuffer> {
    this.#codeEnd = this.code.length
    return this.code.finish()
  }

  /** One line per instruction: offset, bytes and Intel syntax. Jumps are right once finished. */
  listing(): string {
    if (this.lines === undefined) misuse('listing: construct the assembler with { listing: true }')
    return this.lines.print(this.code, this.#codeEnd < 0 ? this.code.length : this.#codeEnd)
  }

  #reachesShort(label: Label): boolean {
    return label.offset >= 0 && label.offset - (this.code.length + 2) >= -128
  }

  #short(opcode: number, label: Label): void {
    this.code.u8(opcode)
    this.code.u8(label.offset - (this.code.length + 1))
  }

  #plain(name: keyof typeof PLAIN): void {
    const start = this.code.begin()
    for (const byte of PLAIN[name]) this.code.u8(byte)
    this.lines?.add(start, name)
  }
}
