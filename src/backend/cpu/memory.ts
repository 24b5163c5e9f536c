/** @file Memory of the cpu backend: JavaScript buffers that the collector frees, cut into slabs or pooled. */
import type { MemoryStats } from '../backend.ts'
import { CpuBlock, type BlockAllocator, type Slab } from './block.ts'
import { builtinModule, type Native } from './native.ts'
import { LargePool } from './large-pool.ts'

/**
 * Note [Slabs]: Memory lies in ArrayBuffers, because the collector frees those at any time, even inside
 * a synchronous loop that forgets its results; a finalizer never runs there. A buffer of its own costs
 * a microsecond, so small blocks share one: a slab. They are cut off one after the other, and a slab
 * is collected when the last of its blocks is. Blocks that are freed explicitly wait on a short list for
 * the next one of their size. The smallest have slabs of their own, and small ones, so that scalars that
 * are kept (a list of losses) keep little else alive.
 */
export class CpuMemory implements BlockAllocator {
  readonly #native: Native
  readonly #tiny: Shelf
  readonly #small: Shelf
  readonly #pool: LargePool
  /** Freed blocks by size in cache lines. */
  readonly #freed: CpuBlock[][] = Array.from({ length: (smallLimit >> 6) + 1 }, () => [])
  #live = 0
  #peak = 0
  /** Bytes to allocate before the collector is asked again what it has left. */
  #untilCount = countEvery

  constructor(native: Native, poolBytes = largestPool()) {
    this.#native = native
    this.#tiny = new Shelf(32 << 10)
    this.#small = new Shelf(256 << 10)
    this.#pool = new LargePool(poolBytes)
    native.keepFreedPages(poolBytes)
  }

  allocate(bytes: number): CpuBlock {
    if (bytes > smallLimit) return this.#allocateLarge(bytes)
    const lines = (bytes + 63) >> 6
    this.#live += lines << 6
    if (this.#live > this.#peak) this.#peak = this.#live
    const freed = this.#freed[lines]!
    if (freed.length > 0) {
      const { slab, offset } = freed.pop()!
      return new CpuBlock(bytes, slab, offset)
    }
    const shelf = lines <= tinyLines ? this.#tiny : this.#small
    let offset = shelf.next
    if (offset + (lines << 6) > shelf.bytes) {
      this.#refill(shelf)
      offset = 0
    }
    shelf.next = offset + (lines << 6)
    return new CpuBlock(bytes, shelf.slab!, offset)
  }

  free(block: CpuBlock): void {
    if (block.address === 0) return
    block.address = 0
    if (block.bytes > smallLimit) {
      this.#live -= block.slab.bytes
      this.#pool.give(block.slab)
      return
    }
    const lines = (block.bytes + 63) >> 6
    this.#live -= lines << 6
    // A waiting block keeps its whole slab: beyond a few, the collector may have them.
    const freed = this.#freed[lines]!
    if (freed.length < waitingLimit) freed.push(block)
  }

  /**
   * `current` counts blocks that were neither freed nor collected; what is forgotten counts until the
   * collector has been there. `reserved` adds what waits for reuse.
   */
  stats(): MemoryStats {
    this.#count()
    const pooled = this.#pool.bytes
    return { current: this.#live, peak: this.#peak, reserved: this.#live + pooled }
  }

  #allocateLarge(bytes: number): CpuBlock {
    const size = sizeClass(bytes)
    const slab = this.#pool.take(size) ?? this.#fresh(size)
    this.#live += size
    if (this.#live > this.#peak) this.#peak = this.#live
    return new CpuBlock(bytes, slab, 0)
  }

  #refill(shelf: Shelf): void {
    shelf.slab = this.#fresh(shelf.bytes)
    shelf.next = 0
  }

  #fresh(bytes: number): Slab {
    this.#untilCount -= bytes
    if (this.#untilCount < 0) this.#count()
    const buffer = this.#newBuffer(bytes + 64)
    const address = this.#native.addressOf(buffer)
    const base = Math.ceil(address / 64) * 64
    if (bytes >= largePages) this.#wishLargePages(base, bytes)
    return { buffer, start: base - address, base, bytes }
  }

  // Also for what comes after it: a page that several buffers lie in is large only if that was wished before
  // the first of them was written.
  #wishLargePages(base: number, bytes: number): void {
    const end = Math.max(base + bytes, this.#native.heapEnd())
    this.#native.wishLargePages(base, end - base)
  }

  #newBuffer(bytes: number): ArrayBuffer {
    try {
      return newBuffer(bytes)
    } catch (cause) {
      this.#pool.clear()
      try {
        return newBuffer(bytes)
      } catch {
        throw new RangeError(
          `cpu memory: no room for ${bytes} bytes. Use smaller batches, or free tensors earlier with tidy()`,
          { cause },
        )
      }
    }
  }

  // Whatever was forgotten and collected is known to the engine alone.
  #count(): void {
    this.#untilCount = countEvery
    const usage = memoryUsage?.()
    // Deno counts them among the rest of what lies outside the heap.
    const alive = usage?.arrayBuffers || usage?.external || Infinity
    this.#live = Math.max(0, Math.min(this.#live, alive - this.#pool.bytes))
  }
}

/** A slab that blocks are cut from, one after the other. */
class Shelf {
  readonly bytes: number
  slab: Slab | undefined
  /** Where the next block begins; at first there is no slab and thus no room. */
  next: number

  constructor(bytes: number) {
    this.bytes = bytes
    this.next = bytes
  }
}

/** Larger blocks have buffers of their own. */
const smallLimit = 16 << 10
/** Blocks of up to this many cache lines go to slabs of their own. */
const tinyLines = 4
/** Freed blocks of one size that wait for reuse. */
const waitingLimit = 256
/** Buffers from this size on are worth large pages: neighbours share a fault instead of having 64 each. */
const largePages = 256 << 10
const countEvery = 32 << 20

/** Eight sizes per power of two, in whole pages: little is wasted, and blocks of similar size meet. */
function sizeClass(bytes: number): number {
  const step = 2 ** Math.max(12, Math.floor(Math.log2(bytes)) - 3)
  return Math.ceil(bytes / step) * step
}

interface NodeProcess {
  memoryUsage?(): { readonly arrayBuffers?: number; readonly external?: number }
  constrainedMemory?(): number
}
const { process: host } = globalThis as { process?: NodeProcess }
const memoryUsage = host?.memoryUsage?.bind(host)

// Every byte is written before it is read, so zeroing is left out where the platform lets us.
const unsafeLimit = 2 ** 32
function newBuffer(bytes: number): ArrayBuffer {
  const { Buffer: NodeBuffer } = globalThis as {
    Buffer?: { allocUnsafeSlow(bytes: number): { readonly buffer: ArrayBuffer } }
  }
  if (NodeBuffer === undefined || bytes >= unsafeLimit) return new ArrayBuffer(bytes)
  return NodeBuffer.allocUnsafeSlow(bytes).buffer
}

/** A quarter of the memory this process may use. */
function largestPool(): number {
  const total = builtinModule<{ totalmem(): number }>('os')?.totalmem() ?? 4 * 2 ** 30
  const allowed = host?.constrainedMemory?.() ?? 0
  return (allowed > 0 ? Math.min(total, allowed) : total) / 4
}
