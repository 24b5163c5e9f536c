/** @file Memory that faults at the first stray byte: every block between pages that nobody may touch. For tests. */
import type { MemoryStats } from '../backend.ts'
import { CpuBlock, type BlockAllocator } from './block.ts'
import type { Native } from './native.ts'

const page = 4096

/** A block's pages, with the guards. */
interface Pages {
  readonly address: number
  readonly bytes: number
}

/**
 * Puts the end of each block right before a page without access, so that reading or writing one element
 * too many stops the process, and makes freed blocks inaccessible. Blocks that are forgotten are unmapped
 * when the collector says so, between tasks.
 */
export class GuardMemory implements BlockAllocator {
  readonly #native: Native
  readonly #pages = new WeakMap<CpuBlock, Pages>()
  readonly #forgotten: FinalizationRegistry<Pages>
  /** Freed blocks stay inaccessible for a while before their addresses may be used again. */
  readonly #quarantine: Pages[] = []
  #live = 0
  #peak = 0

  constructor(native: Native) {
    this.#native = native
    this.#forgotten = new FinalizationRegistry(({ address, bytes }) => {
      native.unmap(address, bytes)
      this.#live -= bytes
    })
  }

  allocate(bytes: number): CpuBlock {
    const inner = Math.ceil(Math.max(bytes, 1) / page) * page
    const pages = { address: this.#native.map(inner + 2 * page), bytes: inner + 2 * page }
    this.#native.protect(pages.address, page, 'none')
    this.#native.protect(pages.address + page + inner, page, 'none')
    const buffer = this.#native.view(pages.address + page, inner)
    const slab = { buffer, start: 0, base: pages.address + page, bytes: inner }
    const block = new CpuBlock(bytes, slab, inner - bytes)
    // Junk, as memory that is reused would have.
    new Uint8Array(buffer).fill(0xa5)
    this.#pages.set(block, pages)
    this.#forgotten.register(block, pages, block)
    this.#live += pages.bytes
    this.#peak = Math.max(this.#peak, this.#live)
    return block
  }

  free(block: CpuBlock): void {
    if (block.address === 0) return
    block.address = 0
    const pages = this.#pages.get(block)!
    this.#forgotten.unregister(block)
    this.#native.protect(pages.address, pages.bytes, 'none')
    this.#live -= pages.bytes
    this.#quarantine.push(pages)
    if (this.#quarantine.length < 1024) return
    const { address, bytes } = this.#quarantine.shift()!
    this.#native.unmap(address, bytes)
  }

  stats(): MemoryStats {
    return { current: this.#live, peak: this.#peak, reserved: this.#live }
  }
}
