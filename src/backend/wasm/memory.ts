/** @file The linear memory of the wasm backend: an allocator, and a way out for tensors nobody frees. */
import { Block, type MemoryStats } from '../backend.ts'
import { FreeList } from '../free-list.ts'
import { freedError } from '../freed.ts'

/**
 * Note [Eviction]: WebAssembly kernels need their operands in one linear memory, which the engine's
 * garbage collector does not manage. Memory whose end is known (gradients on the way, temporaries,
 * what the tape saved) is freed at once; for the rest, tensors that user code simply forgets, linear
 * memory is a cache over collected memory. When it is full, the blocks not used for longest are copied
 * into an ordinary ArrayBuffer, all of them in one copy each round, and their room is free. A block
 * that is used again is copied back. A forgotten one is collected with its ArrayBuffer, like any
 * JavaScript object, even inside a synchronous loop. No finalizer, no `dispose`, no `tidy` is needed.
 */
export class WasmBlock extends Block {
  /** Address in linear memory; 0 while evicted. */
  address = 0
  /** Where the content is while evicted. */
  host: ArrayBuffer | undefined
  hostOffset = 0
  pinned = false
  /** Launch number of the last use. */
  used = 0
  freed = false
}

const page = 65536
/** Where blocks begin: below it lie the argument block, and address 0 stays unused. */
const heapStart = page
/** The budget never grows beyond this: linear memory ends at 4 GiB. */
const largestBudget = 3 * 2 ** 30

export class WasmMemory {
  readonly memory: WebAssembly.Memory
  u8!: Uint8Array<ArrayBuffer>
  i32!: Int32Array<ArrayBuffer>
  f64!: Float64Array<ArrayBuffer>
  /** Counts launches; blocks used in the present one are never evicted. */
  clock = 1
  readonly #free = new FreeList(heapStart)
  /** Blocks that may be evicted, oldest first. */
  #movable: WasmBlock[] = []
  #budget: number
  #current = 0
  #peak = 0

  /** `budget`: bytes that unpinned blocks may fill before the oldest are moved out. */
  constructor(budget = 64 << 20) {
    this.#budget = budget
    this.memory = new WebAssembly.Memory({ initial: 256 })
    this.#refresh()
  }

  allocate(bytes: number): WasmBlock {
    const block = new WasmBlock(bytes)
    block.used = this.clock
    this.#place(block)
    return block
  }

  free(block: WasmBlock): void {
    if (block.freed) return
    block.freed = true
    block.host = undefined
    if (block.address !== 0) this.#vacate(block)
  }

  pin(block: WasmBlock): void {
    block.pinned = true
  }

  unpin(block: WasmBlock): void {
    if (!block.pinned) return
    block.pinned = false
    // It may have been swept from the list, or still stand in it: `#moveOut` passes over a second entry.
    if (block.address !== 0) this.#movable.push(block)
  }

  /** The address of a block for this launch, bringing it back first if it was evicted. */
  touch(block: WasmBlock): number {
    block.used = this.clock
    if (block.address === 0) this.#bringBack(block)
    return block.address
  }

  stats(): MemoryStats {
    return { current: this.#current, peak: this.#peak, reserved: this.u8.length }
  }

  #place(block: WasmBlock): void {
    const room = roomFor(block.bytes)
    if (this.#current + room > this.#budget && !block.pinned) this.#evict(room)
    let address = this.#free.take(room)
    if (address === 0) {
      this.#grow(room)
      address = this.#free.take(room)
    }
    block.address = address
    this.#current += room
    if (this.#current > this.#peak) this.#peak = this.#current
    this.#movable.push(block)
  }

  #vacate(block: WasmBlock): void {
    const room = roomFor(block.bytes)
    this.#free.give(block.address, room)
    this.#current -= room
    block.address = 0
    // Dead entries are swept out of the list when they are most of it.
    if (++this.#dead > 1024 && this.#dead > this.#movable.length / 2) this.#sweep()
  }
  #dead = 0

  #sweep(): void {
    this.#movable = this.#movable.filter((b) => b.address !== 0 && !b.pinned)
    this.#dead = 0
  }

  // Moves the oldest half of the budget out. Blocks of the running launch stay.
  #evict(room: number): void {
    const goal = Math.max(this.#budget / 2, room)
    const leaving: WasmBlock[] = []
    const staying: WasmBlock[] = []
    let bytes = 0
    for (const block of this.#movable) {
      if (block.address === 0 || block.pinned) continue
      const isRecent = block.used >= this.clock - 64
      if (bytes >= goal || isRecent) staying.push(block)
      else {
        leaving.push(block)
        bytes += roomFor(block.bytes)
      }
    }
    this.#movable = staying
    this.#dead = 0
    if (bytes < room) this.#budget = Math.max(this.#budget, (this.#current - bytes + room) * 1.25)
    this.#moveOut(leaving)
  }

  // Small blocks share one buffer, so that a thousand scalars cost one copy each and one allocation.
  #moveOut(leaving: readonly WasmBlock[]): void {
    const shelf = 1 << 20
    let group: WasmBlock[] = []
    let bytes = 0
    const flush = () => {
      const host = newHost(bytes)
      const target = new Uint8Array(host)
      let at = 0
      for (const block of group) {
        // A block that was unpinned may stand in the list twice.
        if (block.address === 0) continue
        target.set(this.u8.subarray(block.address, block.address + block.bytes), at)
        block.host = host
        block.hostOffset = at
        at += roomFor(block.bytes)
        this.#vacate(block)
      }
      group = []
      bytes = 0
    }
    for (const block of leaving) {
      group.push(block)
      bytes += roomFor(block.bytes)
      if (bytes >= shelf) flush()
    }
    if (bytes > 0) flush()
    this.#dead = 0
  }

  #bringBack(block: WasmBlock): void {
    const { host, hostOffset } = block
    if (block.freed) throw freedError()
    // What was moved out is still wanted: the working set is larger than the budget.
    this.#budget = Math.min(this.#budget + 2 * roomFor(block.bytes), largestBudget)
    this.#place(block)
    if (host !== undefined)
      this.u8.set(new Uint8Array(host, hostOffset, block.bytes), block.address)
    block.host = undefined
  }

  #grow(room: number): void {
    const wanted = Math.max(room, this.u8.length >> 2)
    const pages = Math.ceil(wanted / page)
    const from = this.u8.length
    try {
      this.memory.grow(pages)
    } catch (cause) {
      throw new RangeError(
        `wasm memory: cannot grow by ${pages * page} bytes beyond ${from}. Use smaller batches, or free tensors earlier with tidy()`,
        { cause },
      )
    }
    this.#refresh()
    this.#free.extend(this.u8.length)
  }

  #refresh(): void {
    const buffer = this.memory.buffer as ArrayBuffer
    this.u8 = new Uint8Array(buffer)
    this.i32 = new Int32Array(buffer)
    this.f64 = new Float64Array(buffer)
    this.#free.extend(this.u8.length)
  }
}

// Every byte is written at once, so Node may leave out the zeroing: half of the cost.
const { Buffer: NodeBuffer } = globalThis as {
  Buffer?: { allocUnsafeSlow(bytes: number): { readonly buffer: ArrayBuffer } }
}

function newHost(bytes: number): ArrayBuffer {
  return NodeBuffer?.allocUnsafeSlow(bytes).buffer ?? new ArrayBuffer(bytes)
}

/** Blocks are whole cache lines, and a vector load at the end of one stays inside memory. */
function roomFor(bytes: number): number {
  return (bytes + 63) & ~63
}
