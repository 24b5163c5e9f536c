/** @file A growing byte buffer with the number encodings of WebAssembly (LEB128, IEEE bits). */
import { assert } from '../util/errors.ts'

const utf8 = new TextEncoder()

/** A byte buffer that grows by doubling, with the number encodings of WebAssembly. */
export class ByteWriter {
  length = 0
  #data: Uint8Array<ArrayBuffer>
  #view: DataView | undefined

  constructor(capacity = 256) {
    this.#data = new Uint8Array(capacity)
  }

  u8(value: number): void {
    if (this.length === this.#data.length) this.#reserve(1)
    this.#data[this.length++] = value
  }

  /** Unsigned LEB128 of an integer below 2^32. */
  u32(value: number): void {
    assert(value >>> 0 === value, `wasm: ${value} is not an unsigned 32-bit integer`)
    while (value > 0x7f) {
      this.u8((value & 0x7f) | 0x80)
      value >>>= 7
    }
    this.u8(value)
  }

  /** Signed LEB128 of a 32-bit integer; 0x80000000 and up mean the same bits as a negative value. */
  s32(value: number): void {
    assert((value | 0) === value || value >>> 0 === value, `wasm: ${value} is not a 32-bit integer`)
    value |= 0
    // Seven bits are enough once the rest only repeats bit 6, the sign.
    while (value < -64 || value > 63) {
      this.u8((value & 0x7f) | 0x80)
      value >>= 7
    }
    this.u8(value & 0x7f)
  }

  /** Signed LEB128 of a 64-bit integer; 2^63 and up mean the same bits as a negative value. */
  s64(value: bigint): void {
    let rest = BigInt.asIntN(64, value)
    assert(
      rest === value || BigInt.asUintN(64, value) === value,
      `wasm: ${value} is not a 64-bit integer`,
    )
    while (rest < -64n || rest > 63n) {
      this.u8(Number(rest & 0x7fn) | 0x80)
      rest >>= 7n
    }
    this.u8(Number(rest & 0x7fn))
  }

  f32(value: number): void {
    this.#reserve(4)
    // JavaScript does not say which NaN it stores; the canonical one keeps modules reproducible.
    if (Number.isNaN(value)) this.#dataView().setUint32(this.length, 0x7fc00000, true)
    else this.#dataView().setFloat32(this.length, value, true)
    this.length += 4
  }

  f64(value: number): void {
    this.#reserve(8)
    if (Number.isNaN(value)) this.#dataView().setBigUint64(this.length, 0x7ff8n << 48n, true)
    else this.#dataView().setFloat64(this.length, value, true)
    this.length += 8
  }

  bytes(source: ArrayLike<number>): void {
    this.#reserve(source.length)
    this.#data.set(source, this.length)
    this.length += source.length
  }

  /** A string as its UTF-8 length and bytes. */
  string(text: string): void {
    const encoded = utf8.encode(text)
    this.u32(encoded.length)
    this.bytes(encoded)
  }

  /** The bytes so far, as a view that the next write may change. */
  written(): Uint8Array<ArrayBuffer> {
    return this.#data.subarray(0, this.length)
  }

  #reserve(count: number): void {
    const needed = this.length + count
    if (needed <= this.#data.length) return
    const grown = new Uint8Array(Math.max(needed, 2 * this.#data.length))
    grown.set(this.written())
    this.#data = grown
    this.#view = undefined
  }

  #dataView(): DataView {
    return (this.#view ??= new DataView(this.#data.buffer))
  }
}
