/** @file A traced function, ready to run: its kernels over one arena, its states, and what JavaScript does at each run. */
import type { Backend } from '../backend/backend.ts'
import { replaceGrad, replaceValue, type Cell } from '../tensor/cell.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { everyRun, isReplaying, liveNumbers } from '../tensor/tracing.ts'
import { debug } from '../util/config.ts'
import { ControlProgram } from './control-program.ts'
import { fuse } from './fuse.ts'
import { isValue, placeOf, type CallNode, type Graph, type Value } from './graph.ts'
import { planMemory, type Home } from './homes.ts'
import { ProgramKernels } from './kernels.ts'
import { prepack } from './prepack.ts'
import { joinedKernels } from './regions.ts'
import { Places, type View } from './places.ts'
import { printSchedule, scheduleGraph } from './schedule.ts'
import type { Schedule, Scheduled, ScheduledControl, ScheduledKernel } from './schedule.ts'
import type { GradOutcome, Trace } from './trace.ts'
import { tuneTiles, type TunedTile, type Tuning } from './tune.ts'

/** A value that leaves the program. */
interface Leaving extends View {
  /** In memory that was new in this run, or was a state's own. */
  readonly isFresh: boolean
}

/** Kernels that run one after the other, or a branch or loop between such. */
type Stage = KernelStage | ControlStage

interface KernelStage {
  readonly kernels: ProgramKernels
  /** Of each kernel, the call that complains when its check fails. */
  readonly nodes: readonly CallNode[]
}

interface ControlStage {
  readonly control: ControlProgram
  /** Where its results go. */
  readonly buffers: readonly number[]
}

export interface ProgramOptions {
  /** Whether weights that the program does not change are packed once: see Note [Prepacking]. */
  readonly packsWeights?: boolean
  /** How tiles of products are timed; by default none are: see Note [Tuning]. */
  readonly tuning?: Tuning | undefined
}

export class Program {
  readonly graph: Graph
  readonly backend: Backend
  /** Bytes of the memory that all intermediate results share. */
  readonly arenaBytes: number
  /** Bytes of copies of weights, packed for products. */
  readonly packedBytes: number
  readonly kernelCount: number
  /** Tiles that were chosen by timing, by the number of the kernel in the schedule. */
  readonly tiles: ReadonlyMap<number, TunedTile>
  /** Kernels, by number, that run at the same time as the one before them: see Note [Joined kernels]. */
  readonly joined: ReadonlySet<number>
  readonly #trace: Pick<Trace, 'states' | 'actions'>
  readonly #bufferOf: Schedule['bufferOf']
  readonly #homes: readonly Home[]
  readonly #outputs: readonly Leaving[]
  readonly #updates: readonly (Leaving & { readonly slot: number })[]
  readonly #grads: readonly GradOutcome[]
  readonly #stages: readonly Stage[]
  readonly #places: Places
  readonly #numbers: number[]

  constructor(
    backend: Backend,
    graph: Graph,
    trace: Pick<Trace, 'states' | 'grads' | 'actions' | 'numberCount'>,
    options: ProgramOptions = {},
  ) {
    this.backend = backend
    this.graph = graph
    this.#trace = trace
    this.#numbers = new Array<number>(trace.numberCount).fill(0)
    const fused = fuse(graph, scheduleGraph(graph))
    const { traits } = backend
    const packed =
      (options.packsWeights ?? true) && traits !== undefined
        ? prepack(graph, trace, fused, traits)
        : fused
    const { tuning } = options
    const { schedule, tiles } =
      tuning === undefined
        ? { schedule: packed, tiles: noTiles }
        : tuneTiles(packed, backend, tuning)
    this.tiles = tiles
    const { bufferOf, kernels } = schedule
    this.#bufferOf = bufferOf
    const plan = planMemory(graph, trace, schedule)
    this.#homes = plan.homes
    this.arenaBytes = plan.arenaBytes
    // Where one thread does everything there is nothing to be gained.
    this.joined =
      backend.numThreads === undefined
        ? new Set()
        : joinedKernels(schedule, plan.homes, trace.states)
    debug(2, () => `compile: kernels\n${printSchedule(schedule, this.joined)}`)
    this.#outputs = graph.outputs.map((value) => this.#leaving(value))
    this.#updates = graph.updates.map(({ slot, value }) => ({ slot, ...this.#leaving(value) }))
    // Gradients of arguments are the caller's business.
    this.#grads = trace.grads.filter(({ leaf }) => !leaf.backend.symbolic)
    const bytes = schedule.buffers.map((x) => x.bytes)
    this.packedBytes = (schedule.packed ?? []).reduce((n, { buffer }) => n + bytes[buffer]!, 0)
    this.#places = new Places(backend, plan, bytes, trace.states)
    const joins = new Set(kernels.filter((_, k) => this.joined.has(k)))
    this.#stages = stagesOf(kernels).map((stage): Stage => {
      if (!Array.isArray(stage)) {
        const part = (inner: Graph) =>
          new Program(
            backend,
            inner,
            { states: [], grads: [], actions: [], numberCount: 0 },
            options,
          )
        const { node, operands } = stage
        const buffers = operands.slice(node.inputs.length).map((x) => x.buffer)
        return { control: new ControlProgram(node, part), buffers }
      }
      const made = new ProgramKernels(backend, stage, joins, schedule.buffers)
      forgotten.register(this, made, this)
      return { kernels: made, nodes: stage.map(({ node }) => node) }
    })
    this.kernelCount = this.#stages.reduce(
      (sum, stage) => sum + ('control' in stage ? stage.control.kernelCount : stage.nodes.length),
      0,
    )
  }

  /**
   * Runs on contiguous tensors of the shapes and dtypes that were traced, with the numbers that `act`
   * gave.
   */
  run(inputs: readonly Tensor[], numbers: readonly number[] = this.act()): Tensor[] {
    const places = this.#places
    places.fill(inputs)
    try {
      for (const stage of this.#stages)
        if ('control' in stage) this.#runControl(stage, numbers)
        else {
          const failed = stage.kernels.run(places.blocks, places.bases, numbers)
          if (failed !== undefined) throw this.#complaint(stage.nodes[failed]!)
        }
      const outputs = this.#outputs.map((x) => places.tensor(x))
      // What runs a second time has changed everything the first time.
      if (!isReplaying()) {
        this.#update()
        this.#setGrads(outputs)
      }
      return outputs
    } finally {
      places.forget()
    }
  }

  /** Gives memory and kernels back; nobody runs it any more. */
  release(): void {
    forgotten.unregister(this)
    for (const stage of this.#stages)
      if ('control' in stage) stage.control.release()
      else stage.kernels.release()
    this.#places.release()
  }

  /**
   * Does what JavaScript does at the beginning of a run. Returns the numbers of the program, those of
   * `before` among them, in a list that is used again.
   */
  act(before: readonly number[] = []): readonly number[] {
    const numbers = this.#numbers
    for (let i = 0; i < before.length; i++) numbers[i] = before[i]!
    for (const action of this.#trace.actions) {
      if (action.kind === 'act') {
        everyRun(action.act)
        continue
      }
      const { slot, count, compute, sizes } = action
      const computed = liveNumbers(count, compute, sizes)
      for (let i = 0; i < computed.length; i++) numbers[slot + i] = computed[i]!
    }
    return numbers
  }

  #runControl({ control, buffers }: ControlStage, numbers: readonly number[]): void {
    const places = this.#places
    const inputs = control.node.inputs.map((value) => places.tensor(this.#leaving(value)))
    control.run(inputs, numbers).forEach((t, i) => places.bring(buffers[i]!, t))
  }

  #leaving(value: Value): Leaving {
    const { base, layout, offset } = placeOf(value)
    const buffer = this.#bufferOf.get(base)!
    const isFresh = this.#homes[buffer]!.kind === 'fresh'
    return { buffer, layout, offset, dtype: value.dtype, isFresh }
  }

  // The states whose new content is not in their own memory already.
  #update(): void {
    const { states } = this.#trace
    const { blocks } = this.#places
    const changed: { readonly cell: Cell; readonly content: Tensor; readonly isFresh: boolean }[] =
      []
    for (const update of this.#updates) {
      const { slot, buffer, isFresh } = update
      const state = states[slot]!
      // All handles are there before the first cell gives its memory up, which another may become.
      if (state.kind === 'cell' && state.cell.storage !== blocks[buffer])
        changed.push({ cell: state.cell, content: this.#places.tensor(update), isFresh })
    }
    for (const { cell, content, isFresh } of changed)
      if (isFresh) replaceValue(cell, content)
      else {
        cell.become(content)
        content.storage.shares--
      }
  }

  // A gradient that only its leaf has is freed with it, or overwritten by the next run, unless user code sees it.
  #setGrads(outputs: readonly Tensor[]): void {
    for (const { leaf, output } of this.#grads) {
      const grad = output === undefined ? undefined : outputs[output]!
      if (grad === undefined || !this.#isOnlyGrad(output!)) leaf.grad = grad
      else if (grad.storage !== leaf.gradSlot?.storage) replaceGrad(leaf, grad)
      // It is there already; of the new handle nobody knows.
      else grad.storage.shares--
    }
  }

  #isOnlyGrad(output: number): boolean {
    const home = this.#homes[this.#outputs[output]!.buffer]!
    return home.kind === 'fresh' && home.takesOver?.state.kind === 'grad'
  }

  // The call that a check of the kernel belongs to says what is wrong with its operands.
  #complaint({ op, inputs, attributes }: CallNode): Error {
    const values = inputs.filter(isValue).map((value) => this.#leaving(value))
    const isThere = values.every(({ buffer }) => this.#homes[buffer]!.kind !== 'none')
    const tensors = () => values.map((x) => this.#places.tensor(x))
    const error = isThere ? op.complain?.(tensors(), attributes) : undefined
    return error ?? new Error(`${op.name}: a check failed`)
  }
}

function stagesOf(kernels: readonly Scheduled[]): (ScheduledKernel[] | ScheduledControl)[] {
  const stages: (ScheduledKernel[] | ScheduledControl)[] = []
  for (const scheduled of kernels) {
    const last = stages.at(-1)
    if (!('step' in scheduled)) stages.push(scheduled)
    else if (Array.isArray(last)) last.push(scheduled)
    else stages.push([scheduled])
  }
  return stages
}

const noTiles: ReadonlyMap<number, TunedTile> = new Map()

/** Programs that the collector takes let go of their kernels. */
const forgotten = new FinalizationRegistry<ProgramKernels>((kernels) => kernels.release())
