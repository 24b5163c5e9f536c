/** @file The bytes of an x86-64 program: a growing buffer, labels, and the constants behind the code. */
import { assert, InternalError } from '../util/errors.ts'

/** A place in the code or in its data; made by `X86Assembler.label` or `data`. */
export class Label {
  /** Bytes from the start of the code, or -1 until the label is bound. */
  offset = -1
  /** How listings name it. */
  readonly name: string

  constructor(name: string) {
    this.name = name
  }
}

interface PoolEntry {
  readonly label: Label
  readonly bytes: Uint8Array
  readonly alignment: number
}

/** No instruction is longer. */
const LONGEST_INSTRUCTION = 15

/** Bytes that grow by doubling, references to labels that are filled in later, and a constant pool. */
export class CodeBuffer {
  length = 0
  #bytes = new Uint8Array(1024)
  #labels = 0
  /** Position of a 32-bit field and the position it counts from, two numbers per reference. */
  readonly #references: number[] = []
  readonly #targets: Label[] = []
  readonly #pool = new Map<string, PoolEntry>()
  #finished = false

  label(prefix = 'L'): Label {
    return new Label(`${prefix}${this.#labels++}`)
  }

  bind(label: Label): void {
    if (label.offset >= 0) assert(false, `x86: label ${label.name} is bound twice`)
    label.offset = this.length
  }

  /** Makes room for one more instruction; `u8` and `u32` count on it. Returns where it starts. */
  begin(): number {
    if (this.length + LONGEST_INSTRUCTION > this.#bytes.length) this.#grow()
    return this.length
  }

  u8(value: number): void {
    this.#bytes[this.length++] = value
  }

  u16(value: number): void {
    this.u8(value)
    this.u8(value >>> 8)
  }

  u32(value: number): void {
    const bytes = this.#bytes
    const at = this.length
    bytes[at] = value
    bytes[at + 1] = value >>> 8
    bytes[at + 2] = value >>> 16
    bytes[at + 3] = value >>> 24
    this.length = at + 4
  }

  /** A 32-bit distance to `label` plus `addend`, counted from `trailing` bytes behind the field. */
  relative(label: Label, addend: number, trailing: number): void {
    const from = this.length + 4 + trailing
    if (label.offset < 0) {
      this.#references.push(this.length, from)
      this.#targets.push(label)
      this.u32(addend)
    } else this.u32(label.offset + addend - from)
  }

  /** Places `bytes` behind the code; equal bytes at equal alignment get one place. */
  data(bytes: Uint8Array, alignment: number): Label {
    if (!isPowerOfTwo(alignment)) assert(false, `x86: alignment ${alignment} is not a power of two`)
    let key = `${alignment}:`
    for (const byte of bytes) key += String.fromCharCode(byte)
    let entry = this.#pool.get(key)
    if (entry === undefined) {
      entry = { label: this.label('D'), bytes: bytes.slice(), alignment }
      this.#pool.set(key, entry)
    }
    return entry.label
  }

  /** Appends the constants, resolves every reference and returns the bytes. */
  finish(): Uint8Array<ArrayBuffer> {
    assert(!this.#finished, 'x86: finish is called twice')
    this.#finished = true
    this.#placePool()
    for (const [i, target] of this.#targets.entries()) {
      if (target.offset < 0)
        throw new InternalError(`internal: x86: label ${target.name} is never bound`)
      const field = this.#references[2 * i]!
      const view = new DataView(this.#bytes.buffer, field, 4)
      const addend = view.getInt32(0, true)
      view.setInt32(0, target.offset + addend - this.#references[2 * i + 1]!, true)
    }
    return this.#bytes.slice(0, this.length)
  }

  /** The bytes from `start` to `end` as they stand now. */
  slice(start: number, end: number): Uint8Array {
    return this.#bytes.subarray(start, end)
  }

  /** The constants, in the order they were asked for. */
  constants(): Iterable<PoolEntry> {
    return this.#pool.values()
  }

  /** The widest alignment first: little is lost to padding. */
  #placePool(): void {
    const entries = [...this.#pool.values()].sort((a, b) => b.alignment - a.alignment)
    for (const { label, bytes, alignment } of entries) {
      this.length = (this.length + alignment - 1) & -alignment
      this.bind(label)
      while (this.length + bytes.length > this.#bytes.length) this.#grow()
      this.#bytes.set(bytes, this.length)
      this.length += bytes.length
    }
  }

  #grow(): void {
    const grown = new Uint8Array(2 * this.#bytes.length)
    grown.set(this.#bytes)
    this.#bytes = grown
  }
}

export function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0
}
