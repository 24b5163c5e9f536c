/** @file A traced function, ready to run: its kernels over one arena, its states, and what JavaScript does at each run. */
import type { Backend, Block } from '../backend/backend.ts'
import { dtypes } from '../core/dtype.ts'
import { replaceValue, type Cell } from '../tensor/cell.ts'
import { engine } from '../tensor/engine.ts'
import { Tensor } from '../tensor/tensor.ts'
import { config, debug } from '../util/config.ts'
import { fuse } from './fuse.ts'
import { isValue, placeOf, type CallNode, type Graph, type Value } from './graph.ts'
import { planMemory, type Home } from './homes.ts'
import { ProgramKernels } from './kernels.ts'
import { printSchedule, scheduleGraph, type Schedule } from './schedule.ts'
import type { State, Trace } from './trace.ts'

/** A value that leaves the program, and where its elements begin in the buffer of that index. */
interface Leaving {
  readonly buffer: number
  readonly value: Value
}

type WithBuffer<H> = H & { readonly buffer: number }
type HomeOf<K extends Home['kind']> = WithBuffer<Home & { kind: K }>

export class Program {
  readonly graph: Graph
  readonly backend: Backend
  /** Bytes of the memory that all intermediate results share. */
  readonly arenaBytes: number
  readonly kernelCount: number
  readonly #trace: Pick<Trace, 'states' | 'actions'>
  /** Of each kernel, the call that complains when its check fails. */
  readonly #nodes: readonly CallNode[]
  readonly #schedule: Pick<Schedule, 'buffers' | 'bufferOf'>
  readonly #homes: readonly Home[]
  readonly #arenas: readonly HomeOf<'arena'>[]
  readonly #inputs: readonly HomeOf<'input'>[]
  readonly #states: readonly HomeOf<'state'>[]
  readonly #constants: readonly HomeOf<'constant'>[]
  readonly #fresh: readonly HomeOf<'fresh'>[]
  readonly #outputs: readonly Leaving[]
  readonly #updates: readonly (Leaving & { readonly slot: number; readonly isFresh: boolean })[]
  readonly #kernels: ProgramKernels
  /** Where each buffer is: in the arena for good, or since the last run began. */
  readonly #blocks: Block[] = []
  readonly #bases: number[] = []
  readonly #numbers: number[]
  /** The arena, and what else the program keeps from run to run. */
  readonly #own: Block[] = []

  constructor(
    backend: Backend,
    graph: Graph,
    { states, actions, numberCount }: Pick<Trace, 'states' | 'actions' | 'numberCount'>,
  ) {
    this.backend = backend
    this.graph = graph
    this.#trace = { states, actions }
    this.#numbers = new Array<number>(numberCount).fill(0)
    const schedule = fuse(graph, scheduleGraph(graph))
    debug(2, () => `compile: kernels\n${printSchedule(schedule)}`)
    const { buffers, bufferOf, kernels } = schedule
    this.#schedule = { buffers, bufferOf }
    this.#nodes = kernels.map(({ node }) => node)
    this.kernelCount = kernels.length
    const { homes, arenaBytes } = planMemory(graph, schedule)
    this.#homes = homes
    this.arenaBytes = arenaBytes
    const at = <K extends Home['kind']>(kind: K) =>
      homes.flatMap((home, buffer) =>
        home.kind === kind ? [{ ...home, buffer } as HomeOf<K>] : [],
      )
    this.#arenas = at('arena')
    this.#inputs = at('input')
    this.#states = at('state')
    this.#constants = at('constant')
    this.#fresh = at('fresh')
    this.#outputs = graph.outputs.map((value) => ({ buffer: this.#bufferOf(value), value }))
    this.#updates = graph.updates.map(({ slot, value }) => {
      const buffer = this.#bufferOf(value)
      return { slot, value, buffer, isFresh: homes[buffer]!.kind === 'fresh' }
    })
    this.#kernels = new ProgramKernels(backend, schedule)
    forgotten.register(this, this.#kernels, this)
  }

  /** Runs on contiguous tensors of the shapes and dtypes that were traced. */
  run(inputs: readonly Tensor[]): Tensor[] {
    this.#act()
    this.#place(inputs)
    const failed = this.#kernels.executable.run(this.#blocks, this.#bases, this.#numbers)
    if (failed !== undefined) {
      const complaint = this.#complaint(failed)
      this.#forget()
      throw complaint
    }
    const outputs = this.#outputs.map((x) => this.#tensor(x))
    this.#update()
    this.#forget()
    return outputs
  }

  /** Gives memory and kernels back; nobody runs it any more. */
  release(): void {
    forgotten.unregister(this)
    this.#kernels.release()
    for (const block of this.#own) this.backend.free(block)
  }

  #act(): void {
    const numbers = this.#numbers
    for (const action of this.#trace.actions) {
      if (action.kind === 'act') {
        action.act()
        continue
      }
      const { slot } = action
      const computed = action.compute()
      for (let i = 0; i < computed.length; i++) numbers[slot + i] = computed[i]!
    }
  }

  // Says where each buffer is in this run.
  #place(inputs: readonly Tensor[]): void {
    if (this.#own.length === 0) this.#placeArena()
    const { states } = this.#trace
    for (const { buffer, index } of this.#inputs) this.#placeAt(buffer, inputs[index]!)
    for (const { buffer, slot } of this.#states) this.#placeAt(buffer, tensorOf(states[slot]!))
    for (const { buffer, tensor } of this.#constants) this.#placeAt(buffer, tensor)
    for (const { buffer, takesOver } of this.#fresh)
      this.#blocks[buffer] =
        (takesOver === undefined ? undefined : freeBlockOf(states[takesOver]!)) ??
        this.backend.allocate(this.#schedule.buffers[buffer]!.bytes)
  }

  #placeAt(buffer: number, t: Tensor): void {
    this.#blocks[buffer] = t.storage
    this.#bases[buffer] = t.offset * dtypes[t.dtype].bytes
  }

  // Where memory is guarded, each buffer has a block of its own, to find kernels that stray in the arena.
  #placeArena(): void {
    const { buffers } = this.#schedule
    const allocate = (bytes: number) => {
      const block = this.backend.allocate(bytes)
      this.#own.push(block)
      return block
    }
    const arena = allocate(Math.max(1, this.arenaBytes))
    for (let i = 0; i < buffers.length; i++) {
      this.#blocks[i] = arena
      this.#bases[i] = 0
    }
    for (const { buffer, offset } of this.#arenas)
      if (config.guard) this.#blocks[buffer] = allocate(buffers[buffer]!.bytes)
      else this.#bases[buffer] = offset
  }

  #bufferOf(value: Value): number {
    return this.#schedule.bufferOf.get(placeOf(value).base)!
  }

  #tensor({ buffer, value }: Leaving): Tensor {
    const { layout, offset } = placeOf(value)
    const at = this.#bases[buffer]! / dtypes[value.dtype].bytes + offset
    return new Tensor(this.#blocks[buffer]!, layout, at, value.dtype, this.backend)
  }

  // The states whose new content is not in their own memory already.
  #update(): void {
    const { states } = this.#trace
    const changed: { readonly cell: Cell; readonly content: Tensor; readonly isFresh: boolean }[] =
      []
    for (const update of this.#updates) {
      const { slot, buffer, isFresh } = update
      const state = states[slot]!
      // All handles are there before the first cell gives its memory up, which another may become.
      if (state.kind === 'cell' && state.cell.storage !== this.#blocks[buffer])
        changed.push({ cell: state.cell, content: this.#tensor(update), isFresh })
    }
    for (const { cell, content, isFresh } of changed)
      if (isFresh) replaceValue(cell, content)
      else {
        cell.become(content)
        content.storage.shares--
      }
  }

  // The call that a check of the kernel belongs to says what is wrong with its operands.
  #complaint(kernel: number): Error {
    const { op, inputs, attributes } = this.#nodes[kernel]!
    const values = inputs.filter(isValue).map((value) => ({ value, buffer: this.#bufferOf(value) }))
    const error = values.every(({ buffer }) => this.#homes[buffer]!.kind !== 'none')
      ? op.complain?.(
          values.map((x) => this.#tensor(x)),
          attributes,
        )
      : undefined
    return error ?? new Error(`${op.name}: a check failed`)
  }

  // Keeps nothing alive that is not the program's own.
  #forget(): void {
    const blocks = this.#blocks
    const arena = this.#own[0]!
    for (const { buffer } of this.#inputs) blocks[buffer] = arena
    for (const { buffer } of this.#states) blocks[buffer] = arena
    for (const { buffer } of this.#fresh) blocks[buffer] = arena
  }
}

/** Programs that the collector takes let go of their kernels. */
const forgotten = new FinalizationRegistry<ProgramKernels>((kernels) => kernels.release())

function tensorOf(state: State): Tensor {
  if (state.kind === 'cell') return state.cell
  const { gradSlot } = state.leaf
  return gradSlot === undefined ? engine().zerosLike(state.leaf) : engine().contiguous(gradSlot)
}

/** The memory of a cell that nobody else reads. */
function freeBlockOf(state: State): Block | undefined {
  if (state.kind !== 'cell') return undefined
  const { storage } = state.cell
  return storage.shares === 1 && storage.saves === 0 ? storage : undefined
}
