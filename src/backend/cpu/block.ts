/** @file Blocks of the cpu backend: an address, and the JavaScript buffer that keeps the bytes there alive. */
import { Block } from '../backend.ts'
import { freedError } from '../freed.ts'

/** A buffer that one or many blocks lie in. */
export interface Slab {
  readonly buffer: ArrayBuffer
  /** The first byte of the buffer that is used. */
  readonly start: number
  /** Its address, a multiple of 64. */
  readonly base: number
  /** Bytes from there on. */
  readonly bytes: number
}

/** A piece of a slab. The collector frees a slab when the last of its blocks is gone. */
export class CpuBlock extends Block {
  /** Where the bytes are; 0 once the block was freed. */
  address: number
  readonly slab: Slab
  /** Bytes from the slab's base. */
  readonly offset: number

  constructor(bytes: number, slab: Slab, offset: number) {
    super(bytes)
    this.address = slab.base + offset
    this.slab = slab
    this.offset = offset
  }

  /** The bytes, in place. Throws a ValueError once the block was freed. */
  get u8(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.slab.buffer, this.#at(), this.bytes)
  }
  /** The content as float32, for a debugger's console. */
  get f32(): Float32Array<ArrayBuffer> {
    return new Float32Array(this.slab.buffer, this.#at(), this.bytes >> 2)
  }
  /** The content as float64, for a debugger's console. */
  get f64(): Float64Array<ArrayBuffer> {
    return new Float64Array(this.slab.buffer, this.#at(), this.bytes >> 3)
  }
  /** The content as int32, for a debugger's console. */
  get i32(): Int32Array<ArrayBuffer> {
    return new Int32Array(this.slab.buffer, this.#at(), this.bytes >> 2)
  }

  #at(): number {
    if (this.address === 0) throw freedError()
    return this.slab.start + this.offset
  }
}

/** What the allocators of the backend have in common. */
export interface BlockAllocator {
  /** New memory with undefined content, at a multiple of 64 unless it is a guarded one. */
  allocate(bytes: number): CpuBlock
  /** Hands memory back; a second time does nothing. */
  free(block: CpuBlock): void
  /** Bytes of live blocks, and bytes kept for later. */
  stats(): { readonly current: number; readonly peak: number; readonly reserved: number }
}
