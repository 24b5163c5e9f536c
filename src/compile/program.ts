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
import { Places, type View } from './places.ts'
import { printSchedule, scheduleGraph, type Schedule, type ScheduledKernel } from './schedule.ts'
import type { GradOutcome, Trace } from './trace.ts'

/** A value that leaves the program. */
interface Leaving extends View {
  /** In memory that was new in this run, or was a state's own. */
  readonly isFresh: boolean
}

export class Program {
  readonly graph: Graph
  readonly backend: Backend
  /** Bytes of the memory that all intermediate results share. */
  readonly arenaBytes: number
  readonly kernelCount: number
  readonly #trace: Pick<Trace, 'states' | 'actions' | 'numberCount'>
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
  ) {
    this.backend = backend
    this.graph = graph
    this.#trace = trace
    this.#numbers = new Array<number>(trace.numberCount).fill(0)
    const schedule = fuse(graph, scheduleGraph(graph))
    debug(2, () => `compile: kernels\n${printSchedule(schedule)}`)
    this.#bufferOf = schedule.bufferOf
    const plan = planMemory(graph, trace, schedule)
    this.#homes = plan.homes
    this.arenaBytes = plan.arenaBytes
    this.#outputs = graph.outputs.map((value) => this.#leaving(value))
    this.#updates = graph.updates.map(({ slot, value }) => ({ slot, ...this.#leaving(value) }))
    // Gradients of arguments are the caller's business.
    this.#grads = trace.grads.filter(({ leaf }) => !leaf.backend.symbolic)
    const bytes = schedule.buffers.map((x) => x.bytes)
    this.#places = new Places(backend, plan, bytes, trace.states)
    this.#stages = stagesOf(backend, schedule)
    this.kernelCount = this.#stages.reduce((sum, stage) => sum + stage.kernelCount, 0)
    for (const stage of this.#stages)
      if ('kernels' in stage) forgotten.register(this, stage.kernels, this)
  }

  // A part finds states and numbers among its inputs, and those of the whole.
  static ofPart(backend: Backend, graph: Graph): Program {
    return new Program(backend, graph, { states: [], grads: [], actions: [], numberCount: 0 })
  }

  /**
   * Runs on contiguous tensors of the shapes and dtypes that were traced, with the numbers that `act` gave,
   * which is called first unless they are given.
   */
  run(inputs: readonly Tensor[], given?: readonly number[]): Tensor[] {
    const places = this.#places
    const numbers = given ?? this.#act(this.#numbers)
    places.fill(inputs)
    for (const stage of this.#stages) {
      if ('control' in stage) {
        const { node } = stage.control
        const operands = node.inputs.map((value) => places.tensor(this.#leaving(value)))
        const results = stage.control.run(operands, numbers)
        stage.buffers.forEach((buffer, i) => places.put(buffer, results[i]!))
        continue
      }
      const failed = stage.kernels.run(places.blocks, places.bases, numbers)
      if (failed === undefined) continue
      const complaint = this.#complaint(stage.nodes[failed]!)
      places.forget()
      throw complaint
    }
    const outputs = this.#outputs.map((x) => places.tensor(x))
    // What is outside changed when this was run for the first time.
    if (!isReplaying()) {
      this.#update()
      this.#setGrads(outputs)
    }
    places.forget()
    return outputs
  }

  /** Does what JavaScript does at the beginning of a run. Returns the program's numbers, `before` among them. */
  act(before: readonly number[] = []): readonly number[] {
    const numbers = new Array<number>(this.#trace.numberCount).fill(0)
    before.forEach((x, i) => (numbers[i] = x))
    return this.#act(numbers)
  }

  /** Gives memory and kernels back; nobody runs it any more. */
  release(): void {
    forgotten.unregister(this)
    for (const stage of this.#stages) stage.release()
    this.#places.release()
  }

  #act(numbers: number[]): readonly number[] {
    for (const action of this.#trace.actions) {
      if (action.kind === 'act') {
        everyRun(action.act)
        continue
      }
      const { slot, count } = action
      const computed = liveNumbers(count, action.compute)
      for (let i = 0; i < count; i++) numbers[slot + i] = computed[i]!
    }
    return numbers
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

/** A part of a run: kernels that are one call, or a branch or loop between such. */
type Stage = { readonly kernelCount: number; release(): void } & (
  | {
      readonly kernels: ProgramKernels
      /** Of each kernel, the call that complains when its check fails. */
      readonly nodes: readonly CallNode[]
    }
  | {
      readonly control: ControlProgram
      /** Of the results. */
      readonly buffers: readonly number[]
    }
)

function stagesOf(backend: Backend, { kernels, buffers }: Schedule): Stage[] {
  const stages: Stage[] = []
  let waiting: ScheduledKernel[] = []
  const flush = () => {
    if (waiting.length === 0) return
    const made = new ProgramKernels(backend, waiting, buffers)
    stages.push({
      kernels: made,
      nodes: waiting.map(({ node }) => node),
      kernelCount: waiting.length,
      release: () => made.release(),
    })
    waiting = []
  }
  for (const scheduled of kernels) {
    if ('step' in scheduled) {
      waiting.push(scheduled)
      continue
    }
    flush()
    const { node, operands } = scheduled
    const control = new ControlProgram(node, (part) => Program.ofPart(backend, part))
    stages.push({
      control,
      buffers: operands.slice(node.inputs.length).map((x) => x.buffer),
      kernelCount: control.kernelCount,
      release: () => control.release(),
    })
  }
  flush()
  return stages
}

/** Programs that the collector takes let go of their kernels. */
const forgotten = new FinalizationRegistry<ProgramKernels>((kernels) => kernels.release())
