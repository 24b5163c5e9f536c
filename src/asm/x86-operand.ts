/** @file Operands of x86-64 instructions and their bytes: ModRM, SIB and displacement. */
import { InternalError } from '../util/errors.ts'
import type { CodeBuffer, Label } from './x86-code.ts'

/** Vector length. */
export type Bits = 128 | 256 | 512

/** [base + index * scale + disp], or a label (RIP-relative). For gathers `index` is a vector register. */
export interface Memory {
  base?: number
  index?: number
  scale?: 1 | 2 | 4 | 8
  disp?: number
  label?: Label
}

export type Operand = number | Memory

/** The numbers of the general registers. */
export const gpr = {
  rax: 0,
  rcx: 1,
  rdx: 2,
  rbx: 3,
  rsp: 4,
  rbp: 5,
  rsi: 6,
  rdi: 7,
  r8: 8,
  r9: 9,
  r10: 10,
  r11: 11,
  r12: 12,
  r13: 13,
  r14: 14,
  r15: 15,
} as const

/** Throws for a misuse; kept out of the checks so that they build no message when all is well. */
export function misuse(message: string): never {
  throw new InternalError(`internal: x86: ${message}`)
}

export function checkRegister(register: number, count: number): void {
  if (register >>> 0 !== register || register >= count)
    misuse(`register ${register} is not one of 0..${count - 1}`)
}

/** Checks an address; `vectorIndex` says that its index is a vector register. */
export function checkMemory(memory: Memory, vectorIndex: boolean): void {
  const { base, index, scale, disp = 0, label } = memory
  if (disp !== (disp | 0)) misuse(`displacement ${disp} does not fit 32 bits`)
  if (label !== undefined && (base !== undefined || index !== undefined))
    misuse('an address with a label has neither base nor index')
  if (base !== undefined) checkRegister(base, 16)
  if (vectorIndex) {
    if (index === undefined) misuse('a gather needs a vector register as index')
    checkRegister(index, 32)
  } else if (index !== undefined) {
    checkRegister(index, 16)
    if (index === gpr.rsp) misuse('rsp cannot be an index')
  }
  if (scale !== undefined && scale !== 1 && scale !== 2 && scale !== 4 && scale !== 8)
    misuse(`scale ${String(scale)} is not 1, 2, 4 or 8`)
}

/**
 * Writes ModRM and what follows it. `field` is the register (or opcode extension) beside `rm`; a short
 * displacement counts in units of `unit` bytes (1 but for EVEX); `trailing` immediate bytes follow.
 */
export function writeModRM(
  code: CodeBuffer,
  field: number,
  rm: Operand,
  unit: number,
  trailing: number,
): void {
  const middle = (field & 7) << 3
  if (typeof rm === 'number') code.u8(0xc0 | middle | (rm & 7))
  else if (rm.label !== undefined) {
    code.u8(0x05 | middle)
    code.relative(rm.label, rm.disp ?? 0, trailing)
  } else writeAddress(code, middle, rm, unit)
}

function writeAddress(code: CodeBuffer, middle: number, memory: Memory, unit: number): void {
  const { base, index } = memory
  const disp = memory.disp ?? 0
  if (base === undefined) {
    // No base: a SIB byte with base 5 and mod 0, which always carries 32 bits of displacement.
    code.u8(0x04 | middle)
    code.u8(sib(memory, 5))
    code.u32(disp)
    return
  }
  const short = disp / unit
  // rbp and r13 as base with mod 0 mean "no base".
  const mode = disp === 0 && (base & 7) !== 5 ? 0x00 : short === (short << 24) >> 24 ? 0x40 : 0x80
  if (index === undefined && (base & 7) !== 4) code.u8(mode | middle | (base & 7))
  else {
    code.u8(mode | middle | 0x04)
    code.u8(sib(memory, base))
  }
  if (mode === 0x40) code.u8(short)
  else if (mode === 0x80) code.u32(disp)
}

function sib({ index, scale = 1 }: Memory, base: number): number {
  if (index === undefined) return 0x20 | (base & 7)
  return ((31 - Math.clz32(scale)) << 6) | ((index & 7) << 3) | (base & 7)
}
