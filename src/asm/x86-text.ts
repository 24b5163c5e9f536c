/** @file Instructions in Intel syntax, as GNU `as` reads it, and the listing they make up. */
import type { CodeBuffer, Label } from './x86-code.ts'
import type { Bits, Memory, Operand } from './x86-operand.ts'
import { memoryBytes, type VectorRow } from './x86-vector-row.ts'
import type { VectorOptions } from './x86-vector.ts'

const LOW_NAMES = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di']
const POINTERS: Record<number, string> = {
  1: 'BYTE',
  2: 'WORD',
  4: 'DWORD',
  8: 'QWORD',
  16: 'XMMWORD',
  32: 'YMMWORD',
  64: 'ZMMWORD',
}

/** Name of a general register at a width of 8, 16, 32 or 64 bits. */
export function registerName(register: number, bits: number): string {
  const low = LOW_NAMES[register]
  if (low === undefined) return `r${register}${{ 8: 'b', 16: 'w', 32: 'd', 64: '' }[bits] ?? ''}`
  if (bits === 8) return register < 4 ? `${low[0]}l` : `${low}l`
  return { 16: '', 32: 'e', 64: 'r' }[bits] + low
}

/** A general register, or memory of `bits`. */
export function operandText(operand: Operand, bits: number): string {
  return typeof operand === 'number' ? registerName(operand, bits) : memoryText(operand, bits >>> 3)
}

/** Memory of so many bytes (0: their number is not said); `vectorIndex` is the prefix of a vector index. */
export function memoryText(memory: Memory, bytes: number, vectorIndex = ''): string {
  const { base, index, scale = 1, disp = 0, label } = memory
  const parts: string[] = []
  if (label !== undefined) parts.push('rip', label.name)
  if (base !== undefined) parts.push(registerName(base, 64))
  if (index !== undefined)
    parts.push(
      `${vectorIndex === '' ? registerName(index, 64) : `${vectorIndex}mm${index}`}*${scale}`,
    )
  let address = parts.join('+')
  if (parts.length === 0) address = String(disp)
  else if (disp !== 0) address += disp < 0 ? String(disp) : `+${disp}`
  // Without a register, `as` asks for a segment where a broadcast follows.
  const place = parts.length === 0 ? `ds:[${address}]` : `[${address}]`
  return bytes === 0 ? place : `${POINTERS[bytes]} PTR ${place}`
}

export function vectorText(
  name: string,
  row: VectorRow,
  bits: Bits,
  operands: readonly Operand[],
  options: VectorOptions = {},
): string {
  const { mask = 0, zeroing = false, broadcast = false, imm } = options
  const texts = operands.map((operand, i) => {
    const vector = row.classes[i]!
    if (typeof operand === 'number') return vectorRegisterName(operand, vector, bits)
    const bytes = memoryBytes(row, bits)
    if (broadcast) return `${memoryText(operand, row.broadcast)}{1to${bytes / row.broadcast}}`
    const index = row.vsib === 0 ? '' : vectorLetter(bits / row.vsib)
    return memoryText(operand, bytes, index)
  })
  if (mask !== 0) texts[0] += `{k${mask}}`
  if (zeroing) texts[0] += '{z}'
  if (imm !== undefined) texts.push(String(imm & 0xff))
  return `${name.split('.')[0]} ${texts.join(', ')}`.trimEnd()
}

function vectorRegisterName(register: number, vector: string, bits: Bits): string {
  switch (vector) {
    case 'k':
      return `k${register}`
    case 'd':
      return registerName(register, 32)
    case 'l':
      return registerName(register, 64)
    case 'x':
      return `xmm${register}`
    case 'y':
      return `ymm${register}`
    default: {
      const part = { h: 2, q: 4, e: 8 }[vector] ?? 1
      return `${vectorLetter(bits / part)}mm${register}`
    }
  }
}

function vectorLetter(bits: number): string {
  return bits === 512 ? 'z' : bits === 256 ? 'y' : 'x'
}

/** What was written where; the bytes stay in the code buffer until the text is asked for. */
export class Listing {
  readonly #starts: number[] = []
  readonly #texts: string[] = []
  readonly #labels: Label[] = []

  add(start: number, text: string): void {
    this.#starts.push(start)
    this.#texts.push(text)
  }

  bind(label: Label): void {
    this.#labels.push(label)
  }

  /** One line per label, instruction and constant. */
  print(code: CodeBuffer, codeEnd: number): string {
    const lines: string[] = []
    let label = 0
    const labelsUpTo = (offset: number) => {
      for (; (this.#labels[label]?.offset ?? Infinity) <= offset; label++)
        lines.push(`${this.#labels[label]!.name}:`)
    }
    for (const [i, start] of this.#starts.entries()) {
      labelsUpTo(start)
      const bytes = code.slice(start, this.#starts[i + 1] ?? codeEnd)
      lines.push(`${hex(start, 4)}  ${hexBytes(bytes).padEnd(23)} ${this.#texts[i]}`)
    }
    labelsUpTo(codeEnd)
    for (const { label: constant, bytes } of code.constants())
      if (constant.offset >= 0)
        lines.push(`${constant.name}:`, `${hex(constant.offset, 4)}  ${hexBytes(bytes)}`)
    return lines.join('\n')
  }
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}

function hexBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => hex(byte, 2)).join('')
}
