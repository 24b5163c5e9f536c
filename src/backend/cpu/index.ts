/** @file The cpu backend: kernels as x86-64 machine code on the processor's threads, over memory of JavaScript's own. */
import type { ExprBuilder } from '../../ir/expr.ts'
import type { Group } from '../../ir/group.ts'
import type { TargetTraits } from '../../codegen/target-traits.ts'
import { compileX86 } from '../../target/x86/compile.ts'
import { shareFrom } from '../../target/x86/share.ts'
import { x86Traits } from '../../target/x86/traits.ts'
import { config } from '../../util/config.ts'
import { DeviceError } from '../../util/errors.ts'
import type {
  Backend,
  Block,
  Choices,
  CodeShelf,
  CodeSlot,
  Executable,
  MemoryStats,
  ProgramExecutable,
  ProgramStep,
} from '../backend.ts'
import type { BlockAllocator, CpuBlock } from './block.ts'
import { openChoices, openCodeCache, type CodeCache } from './code-cache.ts'
import { CodeMemory } from './code-memory.ts'
import { CpuExecutable, type Launcher } from './executable.ts'
import { detectFeatures, type CpuFeatures } from './features.ts'
import { GuardMemory } from './guard-memory.ts'
import { CpuMemory } from './memory.ts'
import { packKernel, unpackKernel, type KernelRecord } from './kernel-record.ts'
import { largePage, loadNative, type Native } from './native.ts'
import { CpuProgram } from './program.ts'
import { defaultThreads, threadLimit, ThreadPool } from './threads.ts'

export class CpuBackend implements Backend, Launcher {
  readonly name = 'cpu'
  readonly synchronous = true
  /** What kernels are made for; `config.cpu` may ask for less than the processor has. */
  readonly features: CpuFeatures
  readonly traits: TargetTraits
  readonly code: CodeMemory
  readonly pool: ThreadPool
  readonly cachedBytes: number
  readonly #memory: BlockAllocator
  /** Packing space of all threads, shared by all kernels: one runs at a time. */
  #scratch = { address: 0, bytes: 0 }
  readonly #native: Native
  /** Opened when a program is first made. */
  #cache: CodeCache | 'none' | undefined
  #choices: Choices | undefined

  constructor(native: Native, code: CodeMemory, features: CpuFeatures) {
    this.features = features
    this.traits = x86Traits(features)
    this.code = code
    this.#native = native
    // Others want their part of the last cache, too.
    this.cachedBytes = config.streamAll ? 0 : (features.l3Bytes || Infinity) * (3 / 4)
    this.pool = new ThreadPool(native, clampThreads(config.numThreads, features))
    this.#memory = config.guard ? new GuardMemory(native) : new CpuMemory(native)
  }

  allocate(bytes: number): Block {
    return this.#memory.allocate(bytes)
  }
  free(block: Block): void {
    this.#memory.free(block as CpuBlock)
  }
  pin(): void {
    // Nothing moves here.
  }
  unpin(): void {
    // Nothing moves here.
  }
  write(block: Block, bytes: Uint8Array): void {
    ;(block as CpuBlock).u8.set(bytes)
  }
  read(block: Block, from: number, length: number): Uint8Array<ArrayBuffer> {
    return (block as CpuBlock).u8.slice(from, from + length)
  }
  readAsync(block: Block, from: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    return Promise.resolve(this.read(block, from, length))
  }
  memoryStats(): MemoryStats {
    return this.#memory.stats()
  }

  /** Threads that take part in a parallel loop, the caller's own among them. */
  get numThreads(): number {
    return this.pool.threads
  }
  set numThreads(count: number) {
    this.pool.resize(Math.min(count, threadLimit))
  }

  compile(s: ExprBuilder, group: Group, slot?: CodeSlot): Executable {
    const { features } = this
    const kept = slot?.read('kernel')
    const record = kept === undefined ? compileGroup(s, group, features) : unpackKernel(kept)
    if (kept === undefined) slot?.write('kernel', packKernel(record))
    const streamingCode = () => {
      const known = slot?.read('streaming')
      if (known !== undefined) return known
      const { code } = compileX86(s, group, features, { streams: true })
      slot?.write('streaming', code)
      return code
    }
    const share = record.share && shareFrom(record.share)
    return new CpuExecutable(this, { ...record, share, streamingCode })
  }

  shelf(keys: readonly string[]): CodeShelf | undefined {
    // Who wants to see how code is made is not shown that it was made before.
    if (config.debug >= 4) return undefined
    this.#cache ??= openCodeCache(this.features) ?? 'none'
    return this.#cache === 'none' ? undefined : this.#cache.shelf(keys)
  }

  get choices(): Choices {
    return (this.#choices ??= openChoices(this.features))
  }

  program(steps: readonly ProgramStep[], bytes: readonly number[]): ProgramExecutable {
    return new CpuProgram(this, steps, bytes)
  }

  /** Address of packing space with this many bytes for each thread. */
  scratchAt(bytesPerThread: number): number {
    const bytes = bytesPerThread * this.pool.threads
    if (this.#scratch.bytes < bytes) this.#growScratch(bytes)
    return this.#scratch.address
  }

  // Panels are read in all orders: on large pages their addresses need not be looked up each time.
  #growScratch(bytes: number): void {
    const { address, bytes: before } = this.#scratch
    const size = Math.ceil(bytes / largePage) * largePage
    if (before > 0) this.#native.unmap(address, before)
    this.#scratch = { address: 0, bytes: 0 }
    const from = this.#native.map(size + largePage)
    const at = Math.ceil(from / largePage) * largePage
    // Of the room for alignment nothing stays mapped.
    if (at > from) this.#native.unmap(from, at - from)
    const rest = from + largePage - at
    if (rest > 0) this.#native.unmap(at + size, rest)
    this.#native.wishLargePages(at, size)
    this.#scratch = { address: at, bytes: size }
  }
}

function compileGroup(s: ExprBuilder, group: Group, features: CpuFeatures): KernelRecord {
  const { kernel, code, share } = compileX86(s, group, features)
  return {
    name: kernel.name,
    code,
    share,
    memories: kernel.buffers.map(({ memory }) => memory),
    operands: group.buffers.length,
    isChecked: group.checks.length > 0,
    sizeCount: kernel.sizeCount,
    paramCount: kernel.params.length,
    scratchBytes: kernel.scratchBytes,
  }
}

let opened: CpuBackend | string | undefined

/** Why the backend cannot run here; undefined where it can. The first call of the process loads koffi. */
export function whyNoCpu(): string | undefined {
  opened ??= open()
  return typeof opened === 'string' ? opened : undefined
}

/** The one of this isolate. Throws a DeviceError where it cannot run. */
export function openCpu(): CpuBackend {
  opened ??= open()
  if (typeof opened === 'string')
    throw new DeviceError(`the cpu backend cannot run here: ${opened}`)
  return opened
}

function open(): CpuBackend | string {
  const native = loadNative()
  if (typeof native === 'string') return native
  try {
    const code = new CodeMemory(native)
    const detected = detectFeatures(native, code)
    if (!detected.avx2) return 'the processor has no AVX2 with FMA and BMI2'
    const lower = { ...detected, avx512: false, bf16: false, vnni: false }
    return new CpuBackend(native, code, config.cpu === 'avx2' ? lower : detected)
  } catch (error) {
    return (error as Error).message
  }
}

function clampThreads(wanted: number | undefined, features: CpuFeatures): number {
  if (wanted === undefined) return defaultThreads(features.threadsPerCore)
  return Math.max(1, Math.min(Math.floor(wanted), threadLimit))
}
