/** @file A compiled kernel on the cpu backend: writes the argument block and calls the code. */
import type { MemoryType } from '../../ir/loops.ts'
import { bytesOf } from '../../target/x86/memory-access.ts'
import type { Share } from '../../target/x86/share.ts'
import { config } from '../../util/config.ts'
import { assert, InternalError } from '../../util/errors.ts'
import type { Block, Executable } from '../backend.ts'
import { freedError } from '../freed.ts'
import type { CpuBlock } from './block.ts'
import type { CodeMemory } from './code-memory.ts'
import { control } from './thread-code.ts'
import type { ThreadPool } from './threads.ts'

/** What an executable needs of its backend. */
export interface Launcher {
  readonly code: CodeMemory
  readonly pool: ThreadPool
  /** Operands of more bytes than this have no room in the caches together. */
  readonly cachedBytes: number
  scratchAt(bytesPerThread: number): number
}

/** A kernel's code and the form of its argument block: addresses, sizes, params, all as float64. */
export interface Compiled {
  readonly name: string
  readonly code: Uint8Array
  /** The same code with results that go past the caches; see Note [Streaming]. */
  streamingCode(): Uint8Array
  readonly share: Share | undefined
  /** One per buffer: the operands, the status word of a checked kernel, scratch space. */
  readonly memories: readonly MemoryType[]
  readonly operands: number
  readonly isChecked: boolean
  readonly sizeCount: number
  readonly paramCount: number
  readonly scratchBytes: number
}

/** Where the parts of a kernel's arguments stand in a control block, and where the next thing may begin. */
export interface ArgumentForm {
  /** The address of the status word, of a checked kernel. */
  readonly status: number | undefined
  /** The address of packing space, of a kernel that needs any. */
  readonly scratch: number | undefined
  readonly sizes: number
  readonly params: number
  readonly end: number
}

export class CpuExecutable implements Executable {
  readonly name: string
  readonly form: ArgumentForm
  /** Bytes of packing space for each thread. */
  readonly scratchBytes: number
  readonly #launcher: Launcher
  readonly #pool: ThreadPool
  readonly #slots: Float64Array<ArrayBuffer>
  readonly #run: () => void
  /** Address of the code; 0 once released. */
  #entry: number
  /** Address of the code for operands that the caches do not hold; 0 until there are such. */
  #streamingEntry = 0
  readonly #streamingCode: () => Uint8Array
  readonly #share: Share | undefined
  readonly #elementBytes: readonly number[]
  /** The split of the last launch; plans hand over the same array of sizes every time. */
  #split: Split = unshared
  #splitSizes: readonly number[] | undefined
  #splitThreads = 0
  #splits = new WeakMap<readonly number[], Split>()

  constructor(launcher: Launcher, compiled: Compiled) {
    const { name, code, share, memories, operands, isChecked, sizeCount, paramCount } = compiled
    this.name = name
    this.#launcher = launcher
    this.#pool = launcher.pool
    this.#slots = launcher.pool.control
    this.#run = launcher.pool.run
    this.#share = share
    this.#elementBytes = memories.slice(0, operands).map((memory) => bytesOf[memory])
    this.scratchBytes = compiled.scratchBytes
    const sizes = control.args + memories.length
    this.form = {
      status: isChecked ? control.args + operands : undefined,
      scratch: this.scratchBytes > 0 ? sizes - 1 : undefined,
      sizes,
      params: sizes + sizeCount,
      end: sizes + sizeCount + paramCount,
    }
    assert(
      this.form.end <= this.#slots.length,
      `${name}: ${this.form.end - control.args} arguments are more than fit`,
    )
    this.#entry = launcher.code.install(code)
    this.#streamingCode = compiled.streamingCode
  }

  launch(
    blocks: readonly Block[],
    offsets: readonly number[],
    sizes: readonly number[],
    params: readonly number[],
  ): boolean {
    const slots = this.#slots
    const form = this.form
    const elementBytes = this.#elementBytes
    let operandBytes = 0
    for (let i = 0; i < elementBytes.length; i++) {
      const { address, bytes } = blocks[i] as CpuBlock
      if (address === 0) throw freedError()
      operandBytes += bytes
      slots[control.args + i] = address + offsets[i]! * elementBytes[i]!
    }
    for (let i = 0; i < sizes.length; i++) slots[form.sizes + i] = sizes[i]!
    for (let i = 0; i < params.length; i++) slots[form.params + i] = params[i]!
    const pool = this.#pool
    if (
      this.#share?.isShared === true &&
      (sizes !== this.#splitSizes || pool.threads !== this.#splitThreads)
    ) {
      this.#split = this.splitFor(sizes)
      this.#splitSizes = sizes
    }
    const split = this.#split
    slots[control.count] = split.count
    slots[control.grain] = split.grain
    slots[control.wakes] = split.cost >= wakeCost ? 1 : 0
    if (form.scratch !== undefined)
      slots[form.scratch] = this.#launcher.scratchAt(this.scratchBytes)
    if (form.status !== undefined) slots[form.status] = pool.statusAt
    slots[control.kernel] = this.entryFor(operandBytes)
    this.#run()
    return form.status === undefined || pool.status[0] !== 0
  }

  /** The address of the code for operands of so many bytes together. */
  entryFor(operandBytes: number): number {
    if (this.#entry === 0) throw new InternalError(`internal: ${this.name} was released`)
    if (operandBytes <= this.#launcher.cachedBytes) return this.#entry
    if (this.#streamingEntry === 0)
      this.#streamingEntry = this.#launcher.code.install(this.#streamingCode())
    return this.#streamingEntry
  }

  /** How the work is shared among the threads that there are. Starts them if there is some to share. */
  splitFor(sizes: readonly number[]): Split {
    if (this.#share === undefined) return unshared
    const pool = this.#pool
    if (this.#splitThreads !== pool.threads) {
      this.#splitThreads = pool.threads
      this.#splitSizes = undefined
      this.#splits = new WeakMap()
    }
    let split = this.#splits.get(sizes)
    if (split === undefined) {
      split = splitAmong(this.#share, sizes, pool.threads)
      this.#splits.set(sizes, split)
      if (split.count > split.grain && pool.started < pool.threads) pool.start()
    }
    return split
  }

  /** Gives the room of the code back. The kernel must not be launched any more. */
  release(): void {
    for (const entry of [this.#entry, this.#streamingEntry])
      if (entry !== 0) this.#launcher.code.release(entry)
    this.#entry = 0
  }
}

/** How many iterations there are, and how many are handed out at a time. */
export interface Split {
  readonly count: number
  readonly grain: number
  /** Instructions of all iterations together, roughly; see `wakeCost`. */
  readonly cost: number
}

/** One call does it all. */
const unshared: Split = { count: 0, grain: 1, cost: 0 }

function splitAmong(share: Share, sizes: readonly number[], threads: number): Split {
  const count = share.count(sizes)
  if (threads === 1) return { count, grain: Math.max(count, 1), cost: 0 }
  if (!share.isShared) return { count, grain: 1, cost: share.cost(sizes) }
  if (config.shareAll) return { count, grain: 1, cost: wakeCost }
  const each = Math.max(1, share.cost(sizes))
  const cost = count * each
  const most = Math.min(count, threads * (share.isInRuns ? 1 : chunksPerThread))
  const worth = Math.max(1, Math.min(most, Math.floor(cost / chunkCost)))
  // The same number for each thread, so that none has one more to do.
  const chunks = worth < threads ? worth : worth - (worth % threads)
  return { count, grain: Math.max(1, Math.ceil(count / chunks)), cost }
}

/** Instructions a chunk should have at least: sharing a loop takes a quarter of a microsecond. */
export const chunkCost = 10_000
/** From this many instructions on it pays to wake threads that sleep: up to twenty microseconds. */
export const wakeCost = 100_000
/** Threads are interrupted now and then: with several chunks each, the others make up for it. */
const chunksPerThread = 4
