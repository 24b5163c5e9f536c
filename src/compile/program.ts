/** @file A traced function, ready to run: its kernels over one arena, its states, and what JavaScript does at each run. */
import type { Backend, Block, Executable } from '../backend/backend.ts'
import { bytesFor } from '../backend/backend.ts'
import { launchKernel } from '../backend/profiling.ts'
import { dtypes } from '../core/dtype.ts'
import { layoutOf } from '../core/layout.ts'
import { sizeOf } from '../core/shape.ts'
import { replaceValue } from '../tensor/cell.ts'
import { engine } from '../tensor/engine.ts'
import { kernelOf } from '../tensor/plan.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { LiveNumber } from '../tensor/tracing.ts'
import { debug } from '../util/config.ts'
import { planArena } from './arena.ts'
import { fuse } from './fuse.ts'
import { placeOf, type Graph, type Value } from './graph.ts'
import { printSchedule, scheduleGraph, type Schedule } from './schedule.ts'
import type { State, Trace } from './trace.ts'

/** What a buffer is during a run. */
type Home =
  | { readonly kind: 'arena'; readonly offset: number }
  | { readonly kind: 'input'; readonly index: number }
  | { readonly kind: 'state'; readonly slot: number }
  | { readonly kind: 'constant'; readonly tensor: Tensor }
  /** New memory at each run, that of a state if nobody else reads it. */
  | { readonly kind: 'fresh'; readonly bytes: number; readonly takesOver: number | undefined }

interface Launch {
  readonly executable: Executable
  readonly buffers: readonly number[]
  /** In elements, within the buffers. */
  readonly offsets: readonly number[]
  readonly elementBytes: readonly number[]
  readonly sizes: readonly number[]
  readonly params: readonly (number | LiveNumber)[]
  readonly complain: () => Error
}

export class Program {
  readonly graph: Graph
  readonly backend: Backend
  /** Bytes of the memory that all intermediate results share. */
  readonly arenaBytes: number
  readonly #trace: Pick<Trace, 'states' | 'actions' | 'numberCount'>
  readonly #homes: readonly Home[]
  readonly #launches: readonly Launch[]
  readonly #outputs: readonly { readonly buffer: number; readonly value: Value }[]
  readonly #updates: readonly {
    readonly slot: number
    readonly buffer: number
    readonly value: Value
  }[]
  #arena: Block | undefined

  constructor(
    backend: Backend,
    graph: Graph,
    trace: Pick<Trace, 'states' | 'actions' | 'numberCount'>,
  ) {
    this.backend = backend
    this.graph = graph
    this.#trace = trace
    const schedule = fuse(graph, scheduleGraph(graph))
    debug(2, () => `compile: kernels\n${printSchedule(schedule)}`)
    const { homes, arenaBytes } = planMemory(graph, schedule)
    this.#homes = homes
    this.arenaBytes = arenaBytes
    this.#launches = schedule.kernels.map(({ step, specialize, operands, params, node }) => {
      const { executable, sizes } = kernelOf(backend, step, specialize)
      return {
        executable,
        sizes,
        params,
        buffers: operands.map((x) => x.buffer),
        offsets: operands.map((x) => x.offset),
        elementBytes: step.group.buffers.map(({ dtype }) => dtypes[dtype].bytes),
        complain: () =>
          node.op.complain?.([], node.attributes) ?? new Error(`${node.op.name}: a check failed`),
      }
    })
    const bufferOf = (value: Value) => schedule.bufferOf.get(placeOf(value).base)!
    this.#outputs = graph.outputs.map((value) => ({ buffer: bufferOf(value), value }))
    this.#updates = graph.updates.map(({ slot, value }) => ({
      slot,
      value,
      buffer: bufferOf(value),
    }))
  }

  get kernelCount(): number {
    return this.#launches.length
  }

  /** Runs on contiguous tensors of the shapes and dtypes that were traced. */
  run(inputs: readonly Tensor[]): Tensor[] {
    const { backend } = this
    const { states } = this.#trace
    const numbers = this.#act()
    const stateTensors = states.map(tensorOf)
    this.#arena ??= backend.allocate(Math.max(1, this.arenaBytes))
    const arena = this.#arena
    const blocks: Block[] = []
    const bases: number[] = []
    for (const home of this.#homes) {
      let base = 0
      switch (home.kind) {
        case 'arena':
          blocks.push(arena)
          base = home.offset
          break
        case 'input':
        case 'state':
        case 'constant': {
          const t =
            home.kind === 'input'
              ? inputs[home.index]!
              : home.kind === 'state'
                ? stateTensors[home.slot]!
                : home.tensor
          blocks.push(t.storage)
          base = t.offset * dtypes[t.dtype].bytes
          break
        }
        case 'fresh': {
          const cell = home.takesOver === undefined ? undefined : stateTensors[home.takesOver]!
          const isFree = cell !== undefined && cell.storage.shares === 1 && cell.storage.saves === 0
          blocks.push(isFree ? cell.storage : backend.allocate(home.bytes))
        }
      }
      bases.push(base)
    }
    for (const { executable, buffers, offsets, elementBytes, sizes, params, complain } of this
      .#launches) {
      const isRight = launchKernel(
        executable,
        buffers.map((b) => blocks[b]!),
        buffers.map((b, i) => bases[b]! / elementBytes[i]! + offsets[i]!),
        sizes,
        params.map((x) => (typeof x === 'number' ? x : numbers[x.slot]!)),
      )
      if (!isRight) throw complain()
    }
    const outputs = this.#outputs.map(({ buffer, value }) => {
      const { layout, offset } = placeOf(value)
      const at = bases[buffer]! / dtypes[value.dtype].bytes + offset
      return new Tensor(blocks[buffer]!, layout, at, value.dtype, backend)
    })
    for (const { slot, buffer, value } of this.#updates) {
      const state = states[slot]!
      if (state.kind === 'cell' && blocks[buffer] !== state.cell.storage)
        replaceValue(
          state.cell,
          new Tensor(blocks[buffer]!, layoutOf(value.shape), 0, value.dtype, backend),
        )
    }
    return outputs
  }

  #act(): readonly number[] {
    const { actions, numberCount } = this.#trace
    const numbers = new Array<number>(numberCount).fill(0)
    for (const action of actions)
      if (action.kind === 'act') action.act()
      else action.compute().forEach((x, i) => (numbers[action.slot + i] = x))
    return numbers
  }
}

function tensorOf(state: State): Tensor {
  if (state.kind === 'cell') return state.cell
  const { gradSlot } = state.leaf
  return gradSlot === undefined ? engine().zerosLike(state.leaf) : engine().contiguous(gradSlot)
}

function planMemory(
  graph: Graph,
  { buffers, bufferOf, kernels }: Schedule,
): { homes: Home[]; arenaBytes: number } {
  const from = buffers.map(() => Infinity)
  const to = buffers.map(() => -1)
  kernels.forEach(({ operands }, k) => {
    for (const { buffer } of operands) {
      from[buffer] = Math.min(from[buffer]!, k)
      to[buffer] = Math.max(to[buffer]!, k)
    }
  })
  const bufferAt = (value: Value) => bufferOf.get(placeOf(value).base)!
  const leaving = new Map<number, number | undefined>()
  for (const value of graph.outputs) leaving.set(bufferAt(value), undefined)
  for (const { slot, value } of graph.updates) leaving.set(bufferAt(value), slot)
  // Where a state is, and whether it is read after its new content is written.
  const stateBuffers = new Map<number, number>()
  for (const node of graph.nodes)
    if (node.kind === 'state') stateBuffers.set(node.slot, bufferOf.get(node.results[0]!)!)
  let inputs = 0
  const arena: number[] = []
  const homes = buffers.map(({ bytes, value }, i): Home => {
    const node = value?.node
    if (node?.kind === 'input') return { kind: 'input', index: inputs++ }
    if (node?.kind === 'state') return { kind: 'state', slot: node.slot }
    if (node?.kind === 'constant') return { kind: 'constant', tensor: node.tensor }
    if (leaving.has(i)) {
      const slot = leaving.get(i)
      const old = slot === undefined ? undefined : stateBuffers.get(slot)
      // An update reads the old content where it writes the new.
      const isUpdate = node?.kind === 'call' && node.op.kind === 'update'
      const isLast = slot !== undefined && (old === undefined || (isUpdate && to[old]! <= from[i]!))
      return { kind: 'fresh', bytes, takesOver: isLast ? slot : undefined }
    }
    arena.push(i)
    return { kind: 'arena', offset: 0 }
  })
  const plan = planArena(
    arena.map((i) => ({ bytes: buffers[i]!.bytes, from: from[i]!, to: to[i]! })),
  )
  arena.forEach((i, k) => (homes[i] = { kind: 'arena', offset: plan.offsets[k]! }))
  return { homes, arenaBytes: plan.bytes }
}

/** Bytes of a value in memory. */
export const bytesOf = ({ shape, dtype }: Pick<Value, 'shape' | 'dtype'>): number =>
  bytesFor(dtypes[dtype].bytes, sizeOf(shape))
