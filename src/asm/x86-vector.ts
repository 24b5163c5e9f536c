/** @file Encodes one vector or mask instruction from its row: the VEX and EVEX prefixes and what follows. */
import type { CodeBuffer } from './x86-code.ts'
import {
  checkMemory,
  checkRegister,
  misuse,
  writeModRM,
  type Bits,
  type Memory,
  type Operand,
} from './x86-operand.ts'
import { memoryBytes, type VectorRow } from './x86-vector-row.ts'

export interface VectorOptions {
  /** k1..k7 */
  mask?: number
  /** Lanes that the mask leaves out become zero; without it they keep their value. */
  zeroing?: boolean
  /** The memory operand is one element, repeated over the vector. */
  broadcast?: boolean
  imm?: number
}

const NO_OPTIONS: VectorOptions = {}

/** Writes the instruction and returns the row's form that fitted the operands. */
export function writeVector(
  code: CodeBuffer,
  name: string,
  first: VectorRow,
  bits: Bits,
  operands: readonly Operand[],
  options: VectorOptions = NO_OPTIONS,
): VectorRow {
  const row = chooseForm(name, first, operands)
  const { mask = 0, zeroing = false, broadcast = false, imm } = options
  if (row.length < 0 && (bits < row.minBits || bits > row.maxBits || (bits & (bits - 1)) !== 0))
    misuse(`${name} does not exist with ${bits} bits`)
  if (row.immediate !== (imm !== undefined))
    misuse(`${name} ${row.immediate ? 'needs an' : 'takes no'} immediate`)
  if (imm !== undefined && (imm < -128 || imm > 255 || imm !== (imm | 0)))
    misuse(`immediate ${imm} is not a byte`)
  const rm = row.rm < 0 ? 0 : operands[row.rm]!
  const memory = typeof rm === 'number' ? undefined : rm
  const registers = checkOperands(row, operands)
  if (memory !== undefined) checkMemory(memory, row.vsib > 0)
  if (broadcast && (row.broadcast === 0 || memory === undefined))
    misuse(`${name} cannot broadcast here`)
  const vex =
    row.vex &&
    (registers & 16) === 0 &&
    mask === 0 &&
    !zeroing &&
    !broadcast &&
    (bits < 512 || row.length >= 0) &&
    (memory === undefined || (row.vexMemory && (row.vsib === 0 || memory.index! < 16)))
  if (!vex && !row.evex)
    return writeVector(code, name, nextEvex(name, row), bits, operands, options)
  const reg = row.reg < 0 ? row.extension : (operands[row.reg] as number)
  const vvvv = row.vvvv < 0 ? 0 : (operands[row.vvvv] as number)
  const trailing = row.immediate || row.is4 >= 0 ? 1 : 0
  code.begin()
  if (vex) writeVex(code, row, bits, reg, vvvv, rm, trailing)
  else {
    checkMask(name, row, operands, mask, zeroing)
    const low = mask | (zeroing ? 0x80 : 0) | (broadcast ? 0x10 : 0)
    const unit = broadcast ? row.broadcast : memoryBytes(row, bits)
    writeEvex(code, row, bits, reg, vvvv, rm, low)
    code.u8(row.opcode)
    writeModRM(code, reg, rm, unit, trailing)
  }
  if (row.is4 >= 0) code.u8((operands[row.is4] as number) << 4)
  else if (imm !== undefined) code.u8(imm)
  return row
}

function chooseForm(name: string, first: VectorRow, operands: readonly Operand[]): VectorRow {
  for (let row: VectorRow | undefined = first; row !== undefined; row = row.next) {
    if (row.operands !== operands.length) continue
    if (
      row.rm < 0 ||
      (typeof operands[row.rm] === 'number' ? row.allowsRegister : row.allowsMemory)
    )
      if (onlyRegistersBut(row.rm, operands)) return row
  }
  const kinds = operands.map((operand) => (typeof operand === 'number' ? 'register' : 'memory'))
  return misuse(`${name} has no form with operands (${kinds.join(', ')})`)
}

function nextEvex(name: string, row: VectorRow): VectorRow {
  let next = row.next
  while (next !== undefined && !next.evex) next = next.next
  return next ?? misuse(`${name} has no EVEX encoding, which these operands need`)
}

function onlyRegistersBut(rm: number, operands: readonly Operand[]): boolean {
  for (let i = 0; i < operands.length; i++)
    if (i !== rm && typeof operands[i] !== 'number') return false
  return true
}

/** Checks the register operands and returns the union of their numbers' bits. */
function checkOperands(row: VectorRow, operands: readonly Operand[]): number {
  let union = 0
  for (let i = 0; i < operands.length; i++) {
    const operand = operands[i]!
    if (typeof operand !== 'number') continue
    checkRegister(operand, row.limits[i]!)
    union |= operand
  }
  return union
}

function checkMask(
  name: string,
  row: VectorRow,
  operands: readonly Operand[],
  mask: number,
  zeroing: boolean,
): void {
  if (mask !== 0) checkRegister(mask, 8)
  if (mask !== 0 && !row.maskable) misuse(`${name} takes no mask`)
  if (mask === 0 && row.vsib > 0) misuse(`${name} needs a mask`)
  if (!zeroing) return
  if (mask === 0) misuse(`${name}: zeroing needs a mask`)
  if (row.vsib > 0 || row.classes[0] === 'k' || typeof operands[0] !== 'number')
    misuse(`${name} cannot zero its destination`)
}

function writeVex(
  code: CodeBuffer,
  row: VectorRow,
  bits: Bits,
  reg: number,
  vvvv: number,
  rm: Operand,
  trailing: number,
): void {
  let { prefix, opcode } = row
  const long = row.length >= 0 ? row.length : bits >>> 8
  const short = row.map === 1 && row.wVex === 0
  if (short && row.swapOpcode >= 0 && typeof rm === 'number' && rm >= 8 && reg < 8) {
    prefix = row.swapPrefix
    opcode = row.swapOpcode
    const swapped = rm
    rm = reg
    reg = swapped
  }
  const b = typeof rm === 'number' ? rm : (rm.base ?? 0)
  const x = typeof rm === 'number' ? 0 : (rm.index ?? 0)
  const low = ((~vvvv & 15) << 3) | (long << 2) | prefix
  if (short && ((b | x) & 8) === 0) {
    code.u8(0xc5)
    code.u8(((~reg & 8) << 4) | low)
  } else {
    code.u8(0xc4)
    code.u8(((~reg & 8) << 4) | ((~x & 8) << 3) | ((~b & 8) << 2) | row.map)
    code.u8((row.wVex << 7) | low)
  }
  code.u8(opcode)
  if (row.rm >= 0) writeModRM(code, reg, rm, 1, trailing)
}

/** The four bytes of the prefix; `low` brings the mask and the z and b bits of the last one. */
function writeEvex(
  code: CodeBuffer,
  row: VectorRow,
  bits: Bits,
  reg: number,
  vvvv: number,
  rm: Operand,
  low: number,
): void {
  const register = typeof rm === 'number'
  const b = register ? rm : (rm.base ?? 0)
  // Bit 4 of a register in ModRM.rm goes to X, that of a vector index to V'.
  const x = register ? rm >> 1 : (rm.index ?? 0)
  const v = register || row.vsib === 0 ? vvvv : ((rm as Memory).index ?? 0)
  code.u8(0x62)
  code.u8(((~reg & 8) << 4) | ((~x & 8) << 3) | ((~b & 8) << 2) | (~reg & 16) | row.map)
  code.u8((row.wEvex << 7) | ((~vvvv & 15) << 3) | 0x04 | row.prefix)
  const length = row.length >= 0 ? row.length : bits >>> 8
  code.u8(low | (length << 5) | ((~v & 16) >> 1))
}
