/** @file Instructions on 32- and 64-bit general registers. */
import { CodeBuffer } from './x86-code.ts'
import { checkMemory, checkRegister, misuse, writeModRM, type Memory } from './x86-operand.ts'
import { Listing, operandText, vectorText } from './x86-text.ts'
import { readForms, row, type VectorRow } from './x86-vector-row.ts'
import { writeVector } from './x86-vector.ts'

export type Width = 32 | 64
export type AluOp = 'add' | 'or' | 'adc' | 'sbb' | 'and' | 'sub' | 'xor' | 'cmp'
export type ShiftOp = 'rol' | 'ror' | 'shl' | 'shr' | 'sar'
export type ShiftByOp = 'shlx' | 'shrx' | 'sarx'
export type UnaryOp = 'inc' | 'dec' | 'not' | 'neg' | 'mul' | 'div' | 'idiv'
export type CountOp = 'lzcnt' | 'tzcnt' | 'popcnt' | 'bsr' | 'bsf'
export type LockOp = 'xadd' | 'cmpxchg' | 'inc' | 'dec' | 'not' | 'neg' | Exclude<AluOp, 'cmp'>
export type Condition = keyof typeof CONDITIONS

/** In the order of their codes. */
const ALU_OPS: readonly AluOp[] = ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp']
const SHIFTS = { rol: 0, ror: 1, shl: 4, shr: 5, sar: 7 } satisfies Record<ShiftOp, number>
/** Opcode and its extension. */
const UNARY = {
  inc: [0xff, 0],
  dec: [0xff, 1],
  not: [0xf7, 2],
  neg: [0xf7, 3],
  mul: [0xf7, 4],
  div: [0xf7, 6],
  idiv: [0xf7, 7],
} satisfies Record<UnaryOp, [number, number]>
/** Mandatory prefix (0: none) and opcode. */
const COUNTS = {
  popcnt: [0xf3, 0x0fb8],
  tzcnt: [0xf3, 0x0fbc],
  lzcnt: [0xf3, 0x0fbd],
  bsf: [0, 0x0fbc],
  bsr: [0, 0x0fbd],
} satisfies Record<CountOp, [number, number]>
export const CONDITIONS = {
  o: 0,
  no: 1,
  b: 2,
  ae: 3,
  e: 4,
  ne: 5,
  be: 6,
  a: 7,
  s: 8,
  ns: 9,
  p: 10,
  np: 11,
  l: 12,
  ge: 13,
  le: 14,
  g: 15,
} as const
const BMI = {
  shlx: [row('v rmv:ddd 66.0f38.f7 l0 m4'), row('v rmv:lll 66.0f38.f7 w1 l0 m8')],
  shrx: [row('v rmv:ddd f2.0f38.f7 l0 m4'), row('v rmv:lll f2.0f38.f7 w1 l0 m8')],
  sarx: [row('v rmv:ddd f3.0f38.f7 l0 m4'), row('v rmv:lll f3.0f38.f7 w1 l0 m8')],
  bzhi: [row('v rmv:ddd np.0f38.f5 l0 m4'), row('v rmv:lll np.0f38.f5 w1 l0 m8')],
  andn: [row('v rvm:ddd np.0f38.f2 l0 m4'), row('v rvm:lll np.0f38.f2 w1 l0 m8')],
} as const

const bmiRows = new Map<string, VectorRow>()

function bmiRow(op: keyof typeof BMI, bits: Width): VectorRow {
  let found = bmiRows.get(op + bits)
  if (found === undefined) bmiRows.set(op + bits, (found = readForms(BMI[op][bits === 64 ? 1 : 0])))
  return found
}

/** The general instructions; `X86Assembler` adds control flow, vectors and constants. */
export class GeneralAssembler {
  protected readonly code = new CodeBuffer()
  protected readonly lines: Listing | undefined

  constructor({ listing = false }: { listing?: boolean } = {}) {
    this.lines = listing ? new Listing() : undefined
  }

  /** Copies between registers, or a register and memory. */
  mov(bits: Width, to: number | Memory, from: number | Memory): void {
    const start = this.code.length
    if (typeof from === 'number') this.rm(0, bits, 0x89, from, to, 0)
    else if (typeof to === 'number') this.rm(0, bits, 0x8b, to, from, 0)
    else misuse('mov takes one memory operand at most')
    this.lines?.add(start, `mov ${operandText(to, bits)}, ${operandText(from, bits)}`)
  }

  /**
   * Loads a constant by the shortest form that keeps the flags: 64-bit registers may be written by a
   * 32-bit instruction. Memory takes what 32 bits, sign-extended, can say.
   */
  movImm(bits: Width, to: number | Memory, value: number | bigint): void {
    const start = this.code.begin()
    const exact = BigInt(value)
    if (exact < -(1n << BigInt(bits - 1)) || exact >= 1n << BigInt(bits))
      misuse(`${value} does not fit ${bits} bits`)
    const signed = BigInt.asIntN(bits, exact)
    const short = Number(BigInt.asIntN(32, exact))
    let shown = bits
    if (typeof to !== 'number') {
      if (signed !== BigInt(short)) misuse(`mov of ${value} to memory needs a register`)
      this.rm(0, bits, 0xc7, 0, to, 4)
      this.code.u32(short)
    } else if (BigInt.asUintN(bits, signed) >> 32n === 0n) {
      shown = 32
      this.#inOpcode(false, 0xb8, to)
      this.code.u32(short)
    } else if (signed === BigInt(short)) {
      this.rm(0, 64, 0xc7, 0, to, 4)
      this.code.u32(short)
    } else {
      this.#inOpcode(true, 0xb8, to)
      this.code.u32(short)
      this.code.u32(Number(BigInt.asIntN(32, exact >> 32n)))
    }
    this.lines?.add(start, `mov ${operandText(to, shown)}, ${shown === 32 ? short : signed}`)
  }

  alu(op: AluOp, bits: Width, to: number | Memory, from: number | Memory): void {
    const start = this.code.length
    const opcode = aluCode(op) << 3
    if (typeof from === 'number') this.rm(0, bits, opcode | 1, from, to, 0)
    else if (typeof to === 'number') this.rm(0, bits, opcode | 3, to, from, 0)
    else misuse(`${op} takes one memory operand at most`)
    this.lines?.add(start, `${op} ${operandText(to, bits)}, ${operandText(from, bits)}`)
  }

  /** With a constant of at most 32 bits, sign-extended. */
  aluImm(op: AluOp, bits: Width, to: number | Memory, value: number): void {
    const start = this.code.begin()
    const imm = immediate(value, bits)
    const extension = aluCode(op)
    if (imm === (imm << 24) >> 24) {
      this.rm(0, bits, 0x83, extension, to, 1)
      this.code.u8(imm)
    } else {
      // The accumulator has an opcode of its own.
      if (to === 0) this.#accumulator(bits, (extension << 3) | 5)
      else this.rm(0, bits, 0x81, extension, to, 4)
      this.code.u32(imm)
    }
    this.lines?.add(start, `${op} ${operandText(to, bits)}, ${imm}`)
  }

  test(bits: Width, a: number | Memory, b: number): void {
    const start = this.code.length
    this.rm(0, bits, 0x85, b, a, 0)
    this.lines?.add(start, `test ${operandText(a, bits)}, ${operandText(b, bits)}`)
  }

  imul(bits: Width, to: number, from: number | Memory): void {
    this.#load('imul', 0, bits, 0x0faf, to, from, bits)
  }

  imulImm(bits: Width, to: number, from: number | Memory, value: number): void {
    const start = this.code.begin()
    const imm = immediate(value, bits)
    const short = imm === (imm << 24) >> 24
    this.rm(0, bits, short ? 0x6b : 0x69, to, from, short ? 1 : 4)
    if (short) this.code.u8(imm)
    else this.code.u32(imm)
    this.lines?.add(start, `imul ${operandText(to, bits)}, ${operandText(from, bits)}, ${imm}`)
  }

  lea(to: number, from: Memory): void {
    if (typeof from === 'number') misuse('lea takes an address')
    this.#load('lea', 0, 64, 0x8d, to, from, 0)
  }

  movzx8(to: number, from: number | Memory): void {
    this.#load('movzx', 0, 32, 0x0fb6, to, from, 8)
  }

  movzx16(to: number, from: number | Memory): void {
    this.#load('movzx', 0, 32, 0x0fb7, to, from, 16)
  }

  movsx8(to: number, from: number | Memory): void {
    this.#load('movsx', 0, 32, 0x0fbe, to, from, 8)
  }

  movsx16(to: number, from: number | Memory): void {
    this.#load('movsx', 0, 32, 0x0fbf, to, from, 16)
  }

  /** Sign-extends 32 bits to 64. */
  movsxd(to: number, from: number | Memory): void {
    this.#load('movsxd', 0, 64, 0x63, to, from, 32)
  }

  store8(to: Memory, from: number): void {
    const start = this.code.length
    this.rm(0, 32, 0x88, from, to, 0, needsRex(from))
    this.lines?.add(start, `mov ${operandText(to, 8)}, ${operandText(from, 8)}`)
  }

  store16(to: Memory, from: number): void {
    const start = this.code.length
    this.rm(0x66, 32, 0x89, from, to, 0)
    this.lines?.add(start, `mov ${operandText(to, 16)}, ${operandText(from, 16)}`)
  }

  shiftImm(op: ShiftOp, bits: Width, to: number | Memory, count: number): void {
    const start = this.code.begin()
    if (count >>> 0 !== count || count >= bits) misuse(`${op} of ${bits} bits by ${count}`)
    const extension = SHIFTS[op]
    if (count === 1) this.rm(0, bits, 0xd1, extension, to, 0)
    else {
      this.rm(0, bits, 0xc1, extension, to, 1)
      this.code.u8(count)
    }
    this.lines?.add(start, `${op} ${operandText(to, bits)}, ${count}`)
  }

  /** Shifts by a register and keeps the flags (BMI2). */
  shiftBy(op: ShiftByOp, bits: Width, to: number, from: number | Memory, count: number): void {
    this.#bmi(op, bits, [to, from, count])
  }

  /** Clears the bits from number `count` up (BMI2). */
  bzhi(bits: Width, to: number, from: number | Memory, count: number): void {
    this.#bmi('bzhi', bits, [to, from, count])
  }

  /** `~a & b` (BMI1). */
  andn(bits: Width, to: number, a: number, b: number | Memory): void {
    this.#bmi('andn', bits, [to, a, b])
  }

  count(op: CountOp, bits: Width, to: number, from: number | Memory): void {
    const [prefix, opcode] = COUNTS[op]
    this.#load(op, prefix, bits, opcode, to, from, bits)
  }

  unary(op: UnaryOp, bits: Width, operand: number | Memory): void {
    const start = this.code.length
    const [opcode, extension] = UNARY[op]
    this.rm(0, bits, opcode, extension, operand, 0)
    this.lines?.add(start, `${op} ${operandText(operand, bits)}`)
  }

  cmov(condition: Condition, bits: Width, to: number, from: number | Memory): void {
    this.#load(`cmov${condition}`, 0, bits, 0x0f40 | CONDITIONS[condition], to, from, bits)
  }

  /** Writes the lowest byte of a register only. */
  setcc(condition: Condition, to: number): void {
    const start = this.code.length
    this.rm(0, 32, 0x0f90 | CONDITIONS[condition], 0, to, 0, needsRex(to))
    this.lines?.add(start, `set${condition} ${operandText(to, 8)}`)
  }

  /** An atomic change of memory; `from` for the operations with two operands. */
  lock(op: LockOp, bits: Width, to: Memory, from?: number): void {
    const start = this.code.length
    const single = op === 'inc' || op === 'dec' || op === 'not' || op === 'neg'
    if (typeof to === 'number') misuse(`lock ${op} takes memory`)
    if (single !== (from === undefined))
      misuse(`lock ${op} ${single ? 'takes no' : 'needs a'} source`)
    if (single) this.rm(0xf0, bits, UNARY[op][0], UNARY[op][1], to, 0)
    else if (op === 'xadd') this.rm(0xf0, bits, 0x0fc1, from!, to, 0)
    else if (op === 'cmpxchg') this.rm(0xf0, bits, 0x0fb1, from!, to, 0)
    else this.rm(0xf0, bits, (aluCode(op) << 3) | 1, from!, to, 0)
    const source = from === undefined ? '' : `, ${operandText(from, bits)}`
    this.lines?.add(start, `lock ${op} ${operandText(to, bits)}${source}`)
  }

  /** Atomic without a prefix. */
  xchg(bits: Width, memory: Memory, register: number): void {
    const start = this.code.length
    this.rm(0, bits, 0x87, register, memory, 0)
    this.lines?.add(start, `xchg ${operandText(memory, bits)}, ${operandText(register, bits)}`)
  }

  push(register: number): void {
    const start = this.code.begin()
    this.#inOpcode(false, 0x50, register)
    this.lines?.add(start, `push ${operandText(register, 64)}`)
  }

  pop(register: number): void {
    const start = this.code.begin()
    this.#inOpcode(false, 0x58, register)
    this.lines?.add(start, `pop ${operandText(register, 64)}`)
  }

  /** Writes prefix, REX, opcode (0x0f.. for two bytes) and ModRM; `rex` forces the REX byte. */
  protected rm(
    prefix: number,
    bits: Width,
    opcode: number,
    field: number,
    operand: number | Memory,
    trailing: number,
    rex = false,
  ): void {
    const { code } = this
    code.begin()
    checkRegister(field, 16)
    let extension = (bits === 64 ? 8 : 0) | ((field & 8) >> 1)
    if (typeof operand === 'number') {
      checkRegister(operand, 16)
      extension |= (operand & 8) >> 3
    } else {
      checkMemory(operand, false)
      extension |= (((operand.index ?? 0) & 8) >> 2) | (((operand.base ?? 0) & 8) >> 3)
    }
    if (prefix !== 0) code.u8(prefix)
    if (extension !== 0 || rex) code.u8(0x40 | extension)
    if (opcode > 0xff) code.u8(opcode >>> 8)
    code.u8(opcode)
    writeModRM(code, field, operand, 1, trailing)
  }

  /** `name to, from` with the register operand as destination; `fromBits` is the width read. */
  #load(
    name: string,
    prefix: number,
    bits: Width,
    opcode: number,
    to: number,
    from: number | Memory,
    fromBits: number,
  ): void {
    const start = this.code.length
    const rex = fromBits === 8 && typeof from === 'number' && needsRex(from)
    this.rm(prefix, bits, opcode, to, from, 0, rex)
    this.lines?.add(start, `${name} ${operandText(to, bits)}, ${operandText(from, fromBits)}`)
  }

  #bmi(op: keyof typeof BMI, bits: Width, operands: readonly (number | Memory)[]): void {
    const start = this.code.length
    const bmi = writeVector(this.code, op, bmiRow(op, bits), 128, operands)
    this.lines?.add(start, vectorText(op, bmi, 128, operands))
  }

  #inOpcode(wide: boolean, opcode: number, register: number): void {
    checkRegister(register, 16)
    const rex = (wide ? 8 : 0) | (register >> 3)
    if (rex !== 0) this.code.u8(0x40 | rex)
    this.code.u8(opcode | (register & 7))
  }

  #accumulator(bits: Width, opcode: number): void {
    if (bits === 64) this.code.u8(0x48)
    this.code.u8(opcode)
  }
}

function aluCode(op: AluOp): number {
  return ALU_OPS.indexOf(op)
}

/** `value` as a signed 32-bit number; for 32-bit operations 2^31 and up mean the same bits. */
function immediate(value: number, bits: Width): number {
  const fits = value === (value | 0) || (bits === 32 && value === value >>> 0)
  if (!fits) misuse(`immediate ${value} does not fit 32 bits`)
  return value | 0
}

/** Without REX, 4..7 as 8-bit registers mean ah, ch, dh and bh. */
function needsRex(register: number): boolean {
  return register >= 4
}
