/** @file A traced function, ready to run: its kernels over one arena, its states, and what JavaScript does at each run. */
import type { Backend, Block, Executable } from '../backend/backend.ts'
import { bytesFor } from '../backend/backend.ts'
import { dtypes } from '../core/dtype.ts'
import { sizeOf } from '../core/shape.ts'
import { replaceValue } from '../tensor/cell.ts'
import { engine } from '../tensor/engine.ts'
import { kernelOf } from '../tensor/plan.ts'
import { noteBlock } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { everyRun, isReplaying, liveNumbers, type LiveNumber } from '../tensor/tracing.ts'
import { debug } from '../util/config.ts'
import { planArena } from './arena.ts'
import { ControlProgram } from './control-program.ts'
import { fuse } from './fuse.ts'
import { isValue, placeOf, type CallNode, type Graph, type Value } from './graph.ts'
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
  /** Memory that a branch or a loop brings when it is run. */
  | { readonly kind: 'brought' }

interface Launch {
  readonly executable: Executable
  readonly buffers: readonly number[]
  /** In elements, within the buffers. */
  readonly offsets: readonly number[]
  readonly elementBytes: readonly number[]
  readonly sizes: readonly number[]
  readonly params: readonly (number | LiveNumber)[]
  readonly node: CallNode
}

interface ControlLaunch {
  readonly control: ControlProgram
  /** Of the results. */
  readonly buffers: readonly number[]
}

export class Program {
  readonly graph: Graph
  readonly backend: Backend
  /** Bytes of the memory that all intermediate results share. */
  readonly arenaBytes: number
  readonly #trace: Pick<Trace, 'states' | 'actions' | 'numberCount'>
  readonly #homes: readonly Home[]
  readonly #bufferOf: (value: Value) => number
  readonly #launches: readonly (Launch | ControlLaunch)[]
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
    this.#launches = schedule.kernels.map((scheduled): Launch | ControlLaunch => {
      if (!('step' in scheduled)) {
        const { node, operands } = scheduled
        const buffers = operands.slice(node.inputs.length).map((x) => x.buffer)
        return {
          control: new ControlProgram(node, (part) => Program.#ofPart(backend, part)),
          buffers,
        }
      }
      const { step, specialize, operands, params, node } = scheduled
      const { executable, sizes } = kernelOf(backend, step, specialize)
      return {
        executable,
        sizes,
        params,
        buffers: operands.map((x) => x.buffer),
        offsets: operands.map((x) => x.offset),
        elementBytes: step.group.buffers.map(({ dtype }) => dtypes[dtype].bytes),
        node,
      }
    })
    const bufferOf = (value: Value) => schedule.bufferOf.get(placeOf(value).base)!
    this.#bufferOf = bufferOf
    this.#outputs = graph.outputs.map((value) => ({ buffer: bufferOf(value), value }))
    this.#updates = graph.updates.map(({ slot, value }) => ({
      slot,
      value,
      buffer: bufferOf(value),
    }))
  }

  // A part finds states and numbers among its inputs, and those of the whole.
  static #ofPart(backend: Backend, graph: Graph): Program {
    return new Program(backend, graph, { states: [], actions: [], numberCount: 0 })
  }

  /** Kernels that a run launches; of branches and loops, each kernel once. */
  get kernelCount(): number {
    return this.#launches.reduce((sum, x) => sum + ('control' in x ? x.control.kernelCount : 1), 0)
  }

  /**
   * Runs on contiguous tensors of the shapes and dtypes that were traced, with the numbers that `act`
   * gave.
   */
  run(inputs: readonly Tensor[], numbers: readonly number[] = this.act()): Tensor[] {
    const { backend } = this
    const { states } = this.#trace
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
          const isFree =
            cell !== undefined &&
            cell.storage.shares === 1 &&
            cell.storage.saves === 0 &&
            !isReplaying()
          if (isFree) blocks.push(cell.storage)
          else {
            const block = backend.allocate(home.bytes)
            noteBlock(backend, block)
            blocks.push(block)
          }
          break
        }
        case 'brought':
          blocks.push(arena)
      }
      bases.push(base)
    }
    const tensorAt = (value: Value, buffer: number): Tensor => {
      const { layout, offset } = placeOf(value)
      const at = bases[buffer]! / dtypes[value.dtype].bytes + offset
      return new Tensor(blocks[buffer]!, layout, at, value.dtype, backend)
    }
    for (const launch of this.#launches) {
      if ('control' in launch) {
        const { control, buffers } = launch
        const given = control.node.inputs.map((x) => tensorAt(x, this.#bufferOf(x)))
        control.run(given, numbers).forEach((t, i) => {
          blocks[buffers[i]!] = t.storage
          bases[buffers[i]!] = t.offset * dtypes[t.dtype].bytes
        })
        continue
      }
      const { executable, buffers, offsets, elementBytes, sizes, params, node } = launch
      const isRight = executable.launch(
        buffers.map((b) => blocks[b]!),
        buffers.map((b, i) => bases[b]! / elementBytes[i]! + offsets[i]!),
        sizes,
        params.map((x) => (typeof x === 'number' ? x : numbers[x.slot]!)),
      )
      if (isRight) continue
      const tensors = node.inputs.filter(isValue).map((x) => tensorAt(x, this.#bufferOf(x)))
      throw (
        node.op.complain?.(tensors, node.attributes) ?? new Error(`${node.op.name}: a check failed`)
      )
    }
    const outputs = this.#outputs.map(({ buffer, value }) => tensorAt(value, buffer))
    // All are made before the first replaces anything: cells may swap their values.
    if (isReplaying()) return outputs
    const values = this.#updates.map(({ buffer, value }) => tensorAt(value, buffer))
    this.#updates.forEach(({ slot, buffer }, i) => {
      const state = states[slot]!
      const value = values[i]!
      if (state.kind !== 'cell' || value.storage === state.cell.storage) value.storage.shares--
      else if (this.#homes[buffer]!.kind === 'fresh') replaceValue(state.cell, value)
      else {
        state.cell.become(value)
        value.storage.shares--
      }
    })
    return outputs
  }

  /** Does what JavaScript does at the beginning of a run. Returns the program's numbers, `before` among them. */
  act(before: readonly number[] = []): readonly number[] {
    const { actions, numberCount } = this.#trace
    const numbers = new Array<number>(numberCount).fill(0)
    before.forEach((x, i) => (numbers[i] = x))
    for (const action of actions)
      if (action.kind === 'act') everyRun(action.act)
      else
        liveNumbers(action.count, action.compute).forEach((x, i) => (numbers[action.slot + i] = x))
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
    if (node?.kind === 'control') return { kind: 'brought' }
    if (leaving.has(i)) {
      const slot = leaving.get(i)
      const old = slot === undefined ? undefined : stateBuffers.get(slot)
      // An update reads the old content where it writes the new.
      const isUpdate = node?.kind === 'call' && node.op.kind === 'update'
      const isLast =
        slot !== undefined &&
        (old === undefined || (isUpdate && to[old]! <= from[i]! && !leaving.has(old)))
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
