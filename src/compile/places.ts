/** @file Where the buffers of a program are in a run. */
import type { Backend, Block } from '../backend/backend.ts'
import { dtypes, type DType } from '../core/dtype.ts'
import type { Layout } from '../core/layout.ts'
import { engine } from '../tensor/engine.ts'
import { noteBlock, unscoped } from '../tensor/scope.ts'
import { noGrad } from '../tensor/tape.ts'
import { Tensor } from '../tensor/tensor.ts'
import { isReplaying } from '../tensor/tracing.ts'
import { config } from '../util/config.ts'
import type { Heir, Home, MemoryPlan } from './homes.ts'
import type { State } from './trace.ts'

type HomeOf<K extends Home['kind']> = Home & { readonly kind: K } & { readonly buffer: number }

/** A tensor's place in a buffer. */
export interface View {
  readonly buffer: number
  readonly layout: Layout
  /** Position of element 0. */
  readonly offset: number
  readonly dtype: DType
}

/** What was copied, as it lies, and the copy. */
interface Pack {
  readonly content: Tensor
  readonly copy: Tensor
}

/** Whether what is there belongs to somebody else after a run. */
const isLent = {
  arena: false,
  input: true,
  state: true,
  constant: false,
  fresh: true,
  brought: true,
  packed: true,
  none: false,
} satisfies Record<Home['kind'], boolean>

/** Fills a table of blocks: the arena's once, the others at each run. */
export class Places {
  /** By buffer: it begins `bases[i]` bytes into `blocks[i]`. */
  readonly blocks: Block[] = []
  readonly bases: number[] = []
  readonly #backend: Backend
  readonly #bytes: readonly number[]
  readonly #states: readonly State[]
  readonly #arenaBytes: number
  readonly #inArena: readonly HomeOf<'arena'>[]
  readonly #inputs: readonly HomeOf<'input'>[]
  readonly #stateBuffers: Int32Array
  readonly #statesRead: readonly State[]
  readonly #constants: readonly HomeOf<'constant'>[]
  readonly #freshBuffers: Int32Array
  readonly #heirs: readonly (Heir | undefined)[]
  readonly #packedHomes: readonly HomeOf<'packed'>[]
  /** The buffers in memory that is not the program's own. Beside each other, as there may be thousands. */
  readonly #lent: Int32Array
  /** By buffer. */
  readonly #packs = new Map<number, Pack>()
  /** The arena, and what else is kept from run to run. */
  readonly #own: Block[] = []

  /** `bytes`: of each buffer. */
  constructor(
    backend: Backend,
    { homes, arenaBytes }: MemoryPlan,
    bytes: readonly number[],
    states: readonly State[],
  ) {
    this.#backend = backend
    this.#bytes = bytes
    this.#states = states
    this.#arenaBytes = arenaBytes
    const at = <K extends Home['kind']>(kind: K) =>
      homes.flatMap((home, buffer) =>
        home.kind === kind ? [{ ...home, buffer } as HomeOf<K>] : [],
      )
    this.#inArena = at('arena')
    this.#inputs = at('input')
    this.#stateBuffers = Int32Array.from(at('state'), (x) => x.buffer)
    this.#statesRead = at('state').map((x) => states[x.slot]!)
    this.#constants = at('constant')
    this.#freshBuffers = Int32Array.from(at('fresh'), (x) => x.buffer)
    this.#heirs = at('fresh').map((x) => x.takesOver)
    this.#packedHomes = at('packed')
    this.#lent = Int32Array.from(homes.flatMap(({ kind }, buffer) => (isLent[kind] ? buffer : [])))
  }

  /** Before a run. */
  fill(inputs: readonly Tensor[]): void {
    if (this.#own.length === 0) this.#fillArena()
    for (const { buffer, index } of this.#inputs) this.#put(buffer, inputs[index]!)
    const states = this.#stateBuffers
    for (let i = 0; i < states.length; i++) this.#put(states[i]!, tensorOf(this.#statesRead[i]!))
    for (const { buffer, tensor } of this.#constants) this.#put(buffer, tensor)
    for (const home of this.#packedHomes) this.#put(home.buffer, this.#packed(home))
    const fresh = this.#freshBuffers
    for (let i = 0; i < fresh.length; i++) {
      const buffer = fresh[i]!
      const heir = this.#heirs[i]
      const old = heir && this.#ownerOf(heir, this.#bytes[buffer]!)
      this.blocks[buffer] = old?.storage ?? this.#fresh(this.#bytes[buffer]!)
    }
  }

  /** After a run: keeps nothing alive that is not the program's own. */
  forget(): void {
    const { blocks } = this
    const arena = this.#own[0]!
    for (const buffer of this.#lent) blocks[buffer] = arena
  }

  /** During a run: the memory of a result of a branch or loop. */
  bring(buffer: number, t: Tensor): void {
    this.#put(buffer, t)
  }

  /** Frees the arena, and copies of weights. */
  release(): void {
    for (const { buffer } of this.#packedHomes) this.#unpack(buffer)
    for (const block of this.#own) this.#backend.free(block)
  }

  /** A tensor over a buffer, as it is after the run. */
  tensor({ buffer, layout, offset, dtype }: View): Tensor {
    const at = this.bases[buffer]! / dtypes[dtype].bytes + offset
    return new Tensor(this.blocks[buffer]!, layout, at, dtype, this.#backend)
  }

  #put(buffer: number, t: Tensor): void {
    this.blocks[buffer] = t.storage
    this.bases[buffer] = t.offset * dtypes[t.dtype].bytes
  }

  // The copy of a weight. A handle over the content that was copied says that it is read: nobody writes over
  // it, so another content is another block.
  #packed({ buffer, source, layout, offset }: HomeOf<'packed'>): Tensor {
    const t = source.kind === 'constant' ? source.tensor : tensorOf(this.#states[source.slot]!)
    const known = this.#packs.get(buffer)
    if (known?.content.storage === t.storage) return known.copy
    this.#unpack(buffer)
    const pack = unscoped(() =>
      noGrad((): Pack => {
        const content = new Tensor(t.storage, layout, t.offset + offset, t.dtype, this.#backend)
        return { content, copy: engine().contiguous(content) }
      }),
    )
    this.#packs.set(buffer, pack)
    return pack.copy
  }

  #unpack(buffer: number): void {
    const pack = this.#packs.get(buffer)
    if (pack === undefined) return
    this.#packs.delete(buffer)
    const { content, copy } = pack
    for (const { storage } of new Set([content, copy])) {
      storage.shares--
      const isHeld = storage.shares > 0 || storage.saves > 0 || storage.pending > 0
      if (!isHeld) this.#backend.free(storage)
    }
  }

  #fresh(bytes: number): Block {
    const block = this.#backend.allocate(bytes)
    noteBlock(this.#backend, block)
    return block
  }

  // Where memory is guarded, each buffer has a block of its own, to find kernels that stray in the arena.
  #fillArena(): void {
    const allocate = (bytes: number) => {
      const block = this.#backend.allocate(bytes)
      this.#own.push(block)
      return block
    }
    const arena = allocate(Math.max(1, this.#arenaBytes))
    for (let i = 0; i < this.#bytes.length; i++) {
      this.blocks[i] = arena
      this.bases[i] = 0
    }
    for (const { buffer, offset } of this.#inArena)
      if (config.guard) this.blocks[buffer] = allocate(this.#bytes[buffer]!)
      else this.bases[buffer] = offset
  }

  // The tensor whose memory the new content may be written to: nobody else reads it.
  #ownerOf({ state, layout, offset }: Heir, bytes: number): Tensor | undefined {
    const t = state.kind === 'cell' ? state.cell : state.leaf.gradSlot
    if (t === undefined || t.storage.shares !== 1 || t.storage.saves !== 0) return undefined
    if (isReplaying()) return undefined
    if (state.kind === 'cell') return t
    // A gradient that user code has seen may be kept.
    const { storage } = t
    const fits = t.layout === layout && t.offset === offset && storage.bytes === bytes
    const isOurs = storage.internal && storage.pending === 1
    return fits && isOurs && t.backend === this.#backend ? t : undefined
  }
}

function tensorOf(state: State): Tensor {
  if (state.kind === 'cell') return state.cell
  const { gradSlot } = state.leaf
  return gradSlot === undefined ? engine().zerosLike(state.leaf) : engine().contiguous(gradSlot)
}
