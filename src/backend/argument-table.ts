/** @file What of a program's arguments changes from run to run: addresses of buffers, and numbers. */
import { assert } from '../util/errors.ts'

/** An address among the arguments: that of a buffer, `offset` bytes on. */
export interface AddressUse {
  readonly buffer: number
  readonly slot: number
  readonly offset: number
}

/** A number among the arguments, and which of the run's numbers it is. */
export interface NumberUse {
  readonly slot: number
  readonly number: number
}

type Slots = Float64Array | Int32Array

/** Knows where each buffer's address stands, and writes it there when it is another than before. */
export class AddressTable {
  /** The buffers that are used, in order. */
  readonly buffers: Int32Array
  /** By buffer: its uses lie from `#first[i]` to `#first[i + 1]`. */
  readonly #first: Int32Array
  readonly #slots: Int32Array
  readonly #offsets: Float64Array
  /** What was written last; no buffer is at address 0. */
  readonly #written: Float64Array

  constructor(bufferCount: number, uses: readonly AddressUse[]) {
    const sorted = uses.toSorted((a, b) => a.buffer - b.buffer)
    this.#first = new Int32Array(bufferCount + 1)
    for (const { buffer } of sorted) {
      assert(buffer < bufferCount, `buffer ${buffer} of ${bufferCount}`)
      this.#first[buffer + 1]!++
    }
    for (let i = 0; i < bufferCount; i++) this.#first[i + 1]! += this.#first[i]!
    this.#slots = Int32Array.from(sorted, ({ slot }) => slot)
    this.#offsets = Float64Array.from(sorted, ({ offset }) => offset)
    this.#written = new Float64Array(bufferCount)
    this.buffers = Int32Array.from(new Set(sorted.map(({ buffer }) => buffer)))
  }

  /** Buffer `i` begins at `address` from now on. */
  set(slots: Slots, i: number, address: number): void {
    if (this.#written[i] === address) return
    this.#written[i] = address
    const end = this.#first[i + 1]!
    for (let k = this.#first[i]!; k < end; k++) slots[this.#slots[k]!] = address + this.#offsets[k]!
  }
}
