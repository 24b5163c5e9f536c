/**
 * @file Thousands of instructions, each assembled on its own: every row of the tables in every length,
 * with low and high registers, all shapes of addresses, masks, broadcasts and immediates.
 */
import { memoryBytes, type VectorRow } from '../../src/asm/x86-vector-row.ts'
import { vectorOps, vectorRow } from '../../src/asm/x86-vector-ops.ts'
import {
  X86Assembler,
  type Bits,
  type Memory,
  type VectorOp,
  type VectorOptions,
} from '../../src/asm/x86.ts'
import { addresses, generalForms, type Emit, type Operand } from './x86-forms-general.ts'

export interface Form {
  /** In Intel syntax; `L0` is the address behind the instruction. */
  readonly text: string
  readonly bytes: Uint8Array
}

/** Assembles each instruction of the enumeration, in the same order every time. */
export function allForms(): Form[] {
  turn = 0
  const forms: Form[] = []
  const seen = new Set<string>()
  const add = (emit: Emit) => {
    const form = assembleOne(emit)
    const key = `${form.text} ${form.bytes.join()}`
    if (seen.has(key)) return
    seen.add(key)
    forms.push(form)
  }
  generalForms(add)
  for (const name of Object.keys(vectorOps) as VectorOp[])
    for (let row: VectorRow | undefined = vectorRow(name); row !== undefined; row = row.next)
      for (const bits of lengths(row)) vectorForms(name, row, bits, add)
  return forms
}

function assembleOne(emit: Emit): Form {
  const assembler = new X86Assembler({ listing: true })
  const label = assembler.label()
  emit(assembler, { label })
  assembler.bind(label)
  const bytes = assembler.finish()
  const [line = ''] = assembler.listing().split('\n')
  return { text: line.replace(/^[0-9a-f]+ +[0-9a-f]+ +/, ''), bytes }
}

/** Displacements around the limits of a short one that counts in `unit` bytes. */
function displacements(unit: number): Memory[] {
  const disps = [unit, 127 * unit, -128 * unit, 128 * unit, unit + 1]
  return disps.map((disp) => ({ base: 9, disp }))
}

/** A few of the addresses, others with every call. */
function someAddresses(): ((behind: Memory) => Memory)[] {
  const count = addresses({}).length
  return Array.from({ length: 4 }, () => {
    turn = (turn + 5) % count
    const chosen = turn
    return (behind) => addresses(behind)[chosen]!
  })
}

let turn = 0

function lengths(row: VectorRow): Bits[] {
  if (row.length >= 0) return [128]
  const longest = row.evex ? row.maxBits : Math.min(row.maxBits, 256)
  return ([128, 256, 512] as const).filter((bits) => bits >= row.minBits && bits <= longest)
}

function vectorForms(name: VectorOp, row: VectorRow, bits: Bits, add: (emit: Emit) => void): void {
  const imm = row.immediate ? { imm: 1 } : {}
  // VEX gathers and .k gathers: index (and mask) must differ from the destination.
  const plain = Array.from({ length: row.operands }, (_, i): Operand => i + 1)
  const mask = row.vsib > 0 && row.evex ? { mask: 5 } : {}
  const emit = (operands: readonly Operand[], options: VectorOptions = {}) => {
    add((assembler) => assembler.vector(name, bits, operands, { ...mask, ...imm, ...options }))
  }
  const withMemory = (base: readonly Operand[], memory: Memory) => base.with(row.rm, memory)
  const simple: Operand[] = row.allowsMemory
    ? withMemory(plain, row.vsib > 0 ? { base: 0, index: 6 } : { base: 0 })
    : plain

  const starts = row.allowsRegister ? [plain, simple] : [simple]
  for (const start of starts)
    for (const [i, operand] of start.entries()) {
      if (typeof operand !== 'number') continue
      // Beside an address the register decides the same bits as beside a register.
      const numbers = start === plain ? registers(row, i) : registers(row, i).slice(-2)
      for (const register of numbers) emit(start.with(i, register))
    }
  if (row.immediate) for (const value of [127, 255]) emit(starts[0]!, { imm: value })
  if (row.allowsRegister)
    for (const number of registers(row, 0)) {
      const same = plain.map((_, i) => number % row.limits[i]!)
      emit(same)
    }
  if (row.allowsMemory) {
    const bases = [plain]
    if (row.evex && row.vex)
      bases.push(plain.map((_, i) => (row.limits[i] === 32 ? 17 + i : i + 1)))
    const unit = memoryBytes(row, bits)
    for (const base of bases)
      if (row.vsib > 0)
        for (const memory of gatherAddresses(row, unit)) emit(withMemory(base, memory))
      else {
        for (const memory of displacements(unit)) emit(withMemory(base, memory))
        for (const address of someAddresses())
          add((a, behind) => a.vector(name, bits, withMemory(base, address(behind)), imm))
      }
  }
  if (row.evex && row.maskable) maskForms(row, bits, plain, simple, emit)
  if (row.broadcast > 0) broadcastForms(row, plain, emit)
}

function registers(row: VectorRow, operand: number): number[] {
  if (row.limits[operand] === 8) return [0, 3, 7]
  if (row.limits[operand] === 16) return [0, 4, 7, 8, 15]
  return row.evex ? [0, 7, 8, 15, 16, 31] : [0, 7, 8, 15]
}

function gatherAddresses(row: VectorRow, unit: number): Memory[] {
  const indexes = row.evex ? [4, 7, 12, 16, 31] : [4, 7, 12, 15]
  return [
    ...indexes.map((index) => ({ base: 0, index })),
    { base: 13, index: 6, scale: 4 },
    { base: 12, index: 8, scale: 8, disp: unit },
    { base: 5, index: 9, scale: 2, disp: 127 * unit },
    { base: 4, index: 10, disp: 128 * unit },
    { index: 11, scale: 4, disp: 1 },
  ] as Memory[]
}

type EmitVector = (operands: readonly Operand[], options?: VectorOptions) => void

function maskForms(
  row: VectorRow,
  bits: Bits,
  plain: readonly Operand[],
  simple: readonly Operand[],
  emit: EmitVector,
): void {
  const toMask = row.classes.startsWith('k')
  for (const mask of [1, 7]) {
    if (row.allowsRegister) emit(plain, { mask })
    emit(simple, { mask })
  }
  if (toMask || row.vsib > 0) return
  if (row.allowsRegister) emit(plain, { mask: 2, zeroing: true })
  if (typeof simple[0] === 'number') emit(simple, { mask: 2, zeroing: true })
  const scaled: Memory = { base: 9, disp: 2 * memoryBytes(row, bits) }
  if (row.allowsMemory) emit(simple.with(row.rm, scaled), { mask: 3 })
}

function broadcastForms(row: VectorRow, plain: readonly Operand[], emit: EmitVector): void {
  const broadcast = true
  const at = (operands: readonly Operand[], memory: Memory) => operands.with(row.rm, memory)
  for (const memory of displacements(row.broadcast)) emit(at(plain, memory), { broadcast })
  for (const address of someAddresses()) emit(at(plain, address({ base: 8 })), { broadcast })
  const high = plain.map((_, i) => (row.limits[i] === 32 ? 31 - i : i + 1))
  emit(at(high, { base: 0, disp: 5 * row.broadcast }), { broadcast })
  emit(at(plain, { base: 0 }), { broadcast, mask: 4 })
  if (!row.classes.startsWith('k'))
    emit(at(plain, { base: 0 }), { broadcast, mask: 4, zeroing: true })
}
