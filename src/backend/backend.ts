/** @file What a backend is: memory to put tensors in and a way to run kernels on it. */
import type { TargetTraits } from '../codegen/target-traits.ts'
import type { ExprBuilder } from '../ir/expr.ts'
import type { Group } from '../ir/group.ts'
import { DeviceError } from '../util/errors.ts'

/**
 * A piece of a backend's memory. Backends subclass it to say where it is.
 *
 * Note [Shares]: the counts say who may still read the content. `shares` counts the tensors made over
 * it and `saves` the entries of the tape that keep it. Content is overwritten in place (an optimizer's
 * update) only when one tensor and no tape entry is left. Tensors that user code drops cannot be
 * counted down, so the counts are upper bounds: memory is at worst kept longer, never reused early.
 */
export abstract class Block {
  /** Tensors made over this block. */
  shares = 0
  /** Tape entries that keep this block. */
  saves = 0
  /** Gradients in flight, and `.grad` slots, that hold this block. */
  pending = 0
  /** In nobody's hands but the gradient machinery's: freed when `pending` and `saves` fall to zero. */
  internal = false
  /** Bytes that were asked for. */
  readonly bytes: number
  constructor(bytes: number) {
    this.bytes = bytes
  }
}

/** A compiled kernel, ready to launch. */
export interface Executable {
  readonly name: string
  /**
   * Runs the kernel. `blocks[i]` at `offsets[i]` elements is the group's buffer i; sizes and params
   * fill the slots. Returns false when one of the group's checks did not hold.
   */
  launch(
    blocks: readonly Block[],
    offsets: readonly number[],
    sizes: readonly number[],
    params: readonly number[],
  ): boolean
  /** Gives the code's memory back; nobody launches it any more. */
  release?(): void
}

/** Where the code of one kernel is kept between processes. */
export interface CodeSlot {
  /** What was written, by this process or an earlier one. */
  read(part: CodePart): Uint8Array | undefined
  write(part: CodePart, bytes: Uint8Array): void
}

/** A kernel, and the variant of its code that is made when it is first needed. */
export type CodePart = 'kernel' | 'streaming'

/** The code of a program's kernels, kept between processes. */
export interface CodeShelf {
  slot(key: string): CodeSlot
  /** Keeps what was written, if anything was. What is written later is lost. */
  save(): void
}

/** One kernel of a program. */
export interface ProgramStep {
  readonly executable: Executable
  /** Which of the program's buffers are the group's. */
  readonly buffers: readonly number[]
  /** Where in them, in elements, the kernel's offset 0 is. */
  readonly offsets: readonly number[]
  readonly elementBytes: readonly number[]
  readonly sizes: readonly number[]
  /** Those that differ from run to run say which of a run's numbers they are. */
  readonly params: readonly (number | { readonly slot: number })[]
  /**
   * Whether it may run at the same time as the step before, and as all those that this one joins: none of
   * them touches what another one writes, and none has checks. By default it may not.
   */
  readonly joins?: boolean
}

/** Kernels that are always run one after the other. */
export interface ProgramExecutable {
  /**
   * Runs them. Buffer i of the program begins `bases[i]` bytes into `blocks[i]`. Returns the index of the
   * step with a check that did not hold, behind which nothing was run; undefined when all went well.
   */
  run(
    blocks: readonly Block[],
    bases: readonly number[],
    numbers: readonly number[],
  ): number | undefined
  /** Gives its own memory back; nobody runs it any more. The kernels are not its own. */
  release?(): void
}

/** What was found best on this machine, by name; kept between processes where anything is. */
export interface Choices {
  get(name: string): string | undefined
  set(name: string, choice: string): void
}

export interface MemoryStats {
  /** Bytes of live blocks. */
  readonly current: number
  /** The largest `current` so far. */
  readonly peak: number
  /** Bytes the backend has reserved from the system. */
  readonly reserved: number
}

export interface Backend {
  /** Also the name of the device: 'cpu', 'wasm', 'reference' ... */
  readonly name: string
  /** Whether `read` gives data at once; if not, only `readAsync` works. */
  readonly synchronous: boolean
  /** Its tensors have no elements: they stand for those of a program that is being traced. */
  readonly symbolic?: boolean
  /** New memory with undefined content. */
  allocate(bytes: number): Block
  /** Hands memory back at once. Whoever calls it knows that nobody reads it any more. */
  free(block: Block): void
  /** Marks memory that lives long (parameters), so that it is never moved out of the way. */
  pin(block: Block): void
  /** Takes `pin` back: the memory no longer belongs to a parameter. */
  unpin(block: Block): void
  write(block: Block, bytes: Uint8Array): void
  /** A copy of `length` bytes from byte `from` on. */
  read(block: Block, from: number, length: number): Uint8Array<ArrayBuffer>
  readAsync(block: Block, from: number, length: number): Promise<Uint8Array<ArrayBuffer>>
  /** Makes a kernel, from the code that `slot` has if it has any; new code is written there. */
  compile(s: ExprBuilder, group: Group, slot?: CodeSlot): Executable
  /**
   * The code kept of a program whose kernels have these keys; undefined where nothing is kept. A key
   * says all about a kernel but what it is called.
   */
  shelf?(keys: readonly string[]): CodeShelf | undefined
  /**
   * Makes one call of many, where the backend can; else they are launched one by one. The kernels must not
   * be released before the program. `bytes`: of each of its buffers.
   */
  program?(steps: readonly ProgramStep[], bytes: readonly number[]): ProgramExecutable
  memoryStats(): MemoryStats
  /** What its kernels are made for, where weights may be packed before they run: see Note [Prepacking]. */
  readonly traits?: TargetTraits
  /** Tiles that were timed: see Note [Tuning]. Only of a backend whose kernels run as asked for in `Group.tile`. */
  readonly choices?: Choices
  /** Threads that share a kernel's work, where the backend has more than the caller's; may be set. */
  numThreads?: number
}

interface Maker {
  readonly make: () => Backend
  /** Why the backend cannot run here; undefined where it can. */
  readonly whyNot: () => string | undefined
}

/** Which backends exist, and how each is made. Filled by the registry line of each backend. */
const makers = new Map<string, Maker>()
const made = new Map<string, Backend>()

/** Adds a backend under a name; it is made when first asked for. `whyNot` says why it cannot run here. */
export function registerBackend(
  name: string,
  make: () => Backend,
  whyNot: () => string | undefined = () => undefined,
): void {
  makers.set(name, { make, whyNot })
}

/** The names of the backends that can run here. */
export function backendNames(): string[] {
  return [...makers.keys()].filter((name) => whyNoBackend(name) === undefined)
}

/** Why a backend cannot run here; undefined where it can. */
export function whyNoBackend(name: string): string | undefined {
  return makers.get(name)?.whyNot()
}

/** The backend of this name. Throws a DeviceError when there is none, or when it cannot run here. */
export function getBackend(name: string): Backend {
  const known = made.get(name)
  if (known !== undefined) return known
  const maker = makers.get(name)
  if (maker === undefined)
    throw new DeviceError(`unknown backend '${name}'. Available here: ${backendNames().join(', ')}`)
  const reason = maker.whyNot()
  if (reason !== undefined)
    throw new DeviceError(
      `the ${name} backend cannot run here: ${reason}. Available here: ${backendNames().join(', ')}`,
    )
  const backend = maker.make()
  made.set(name, backend)
  return backend
}

/** The backends that are in use. */
export function madeBackends(): Backend[] {
  return [...made.values()]
}

/** Bytes of `size` elements. */
export const bytesFor = (elementBytes: number, size: number): number =>
  Math.max(size * elementBytes, 1)
