/** @file Threads of the cpu backend: they run machine code alone and never touch JavaScript. */
import { assert } from '../../util/errors.ts'
import { CodeMemory } from './code-memory.ts'
import { builtinModule, type Native, type Procedure } from './native.ts'
import { control, programCode, runCode, shared, tasksCode, workerCode } from './thread-code.ts'

/** Slots of float64 for the arguments of one launch. */
const argumentSlots = 8192
/** No more threads than this: chunks are claimed one by one, and small kernels gain nothing. */
const mostThreads = 256

/**
 * A pool of system threads and the way kernels are launched, with or without them. The words that
 * workers read lie in memory of the process, not of JavaScript: a worker may outlive its isolate.
 */
export class ThreadPool {
  /** Launches the kernel that stands in `control`. */
  readonly run: Procedure
  /** Launches the kernels of a program: one control block after the other, from `control.next` on. */
  readonly runProgram: Procedure
  /** Kernel address, count and grain, and from slot `control.args` on the kernel's arguments. */
  readonly control: Float64Array<ArrayBuffer>
  /** A word for the outcome of a kernel's checks, and its address. */
  readonly status: Int32Array<ArrayBuffer>
  readonly statusAt: number
  /** Address of the kernel whose iterations are tasks made of pieces of other kernels: see `tasksCode`. */
  readonly tasks: number
  readonly #native: Native
  readonly #context: number
  readonly #words: Int32Array<ArrayBuffer>
  readonly #worker: number
  #threads: number
  #started = 1
  #stopsAtExit = false

  /** `patience`: seconds a worker sleeps before it looks whether its owner is still there. */
  constructor(native: Native, threads: number, patience = 5) {
    this.#native = native
    this.#threads = threads
    const context = native.map(shared.bytes)
    this.#context = context
    this.#words = new Int32Array(native.view(context, shared.bytes))
    const { slots, address } = this.slots(control.args + argumentSlots)
    this.control = slots
    const statusOffset = control.status * 8
    this.status = new Int32Array(slots.buffer, slots.byteOffset + statusOffset, 1)
    this.statusAt = address + statusOffset
    // Of its own: these pages must stay executable while others are written.
    const code = new CodeMemory(native)
    this.#worker = code.install(workerCode(context))
    this.tasks = code.install(tasksCode())
    this.run = native.procedure(code.install(runCode(context, address)), 0)
    this.runProgram = native.procedure(code.install(programCode(context, address)), 0)
    this.#set('patience', patience)
    this.#set('process', native.processId)
  }

  /** Zeroed memory for control blocks, from the beginning of a cache line on; it stays where it is. */
  slots(count: number): { readonly slots: Float64Array<ArrayBuffer>; readonly address: number } {
    const buffer = new ArrayBuffer(count * 8 + 64)
    const from = this.#native.addressOf(buffer)
    const address = Math.ceil(from / 64) * 64
    return { slots: new Float64Array(buffer, address - from, count), address }
  }

  /** Threads that take part in a parallel loop, the caller among them. */
  get threads(): number {
    return this.#threads
  }

  /** Threads that run now; the others start with the first parallel loop. */
  get started(): number {
    return this.#started
  }

  /** Changes how many threads take part. */
  resize(threads: number): void {
    assert(threads >= 1 && threads <= mostThreads, `${threads} threads`)
    this.#threads = threads
    if (threads < this.#started) this.#end(threads)
  }

  /** Starts what is missing; called before a parallel loop when `started` differs from `threads`. */
  start(): void {
    if (!this.#stopsAtExit) {
      this.#stopsAtExit = true
      atExit(() => this.#end(1))
      this.#set('owner', this.#native.threadId)
    }
    this.#set('limit', this.#threads)
    while (this.#started < this.#threads) {
      Atomics.add(this.#words, shared.alive >> 2, 1)
      if (!this.#native.startThread(this.#worker, this.#started)) {
        // The system gives no more: work with those there are.
        Atomics.sub(this.#words, shared.alive >> 2, 1)
        this.#threads = this.#started
        break
      }
      this.#started++
    }
    this.#set('workers', this.#started - 1)
  }

  // Threads beyond the first `keep` end; returns when they have, so that nobody has their index.
  #end(keep: number): void {
    this.#started = keep
    this.#set('workers', keep - 1)
    this.#set('limit', keep)
    Atomics.add(this.#words, shared.sequence >> 2, 1)
    this.#native.wakeAll(this.#context + shared.sequence)
    while (Atomics.load(this.#words, shared.alive >> 2) > keep - 1) this.#native.yield()
  }

  #set(field: keyof typeof shared, value: number): void {
    Atomics.store(this.#words, shared[field] >> 2, value)
  }
}

/** One thread per core that this process may use, at most 16. */
export function defaultThreads(threadsPerCore: number): number {
  const processors = builtinModule<{ availableParallelism(): number }>('os')?.availableParallelism()
  const cores = Math.max(1, Math.round((processors ?? 1) / threadsPerCore))
  return Math.max(1, Math.min(cores, Math.ceil(quota()), 16))
}

/** The most threads there may be. */
export const threadLimit = mostThreads

// A container may be granted less time than there are processors: spinning threads would use it up.
function quota(): number {
  const files = builtinModule<{ readFileSync(path: string, encoding: 'utf8'): string }>('fs')
  try {
    const [time, period] = files!.readFileSync('/sys/fs/cgroup/cpu.max', 'utf8').split(' ')
    return Number(time) / Number(period) || Infinity
  } catch {
    return Infinity
  }
}

function atExit(action: () => void): void {
  const { process } = globalThis as {
    process?: { once?(event: 'exit', action: () => void): unknown }
  }
  process?.once?.('exit', action)
}
