/** @file A traced function, ready to run: its kernels over one arena, its states, and what JavaScript does at each run. */
import type { Backend } from '../backend/backend.ts'
import { replaceGrad, replaceValue, type Cell } from '../tensor/cell.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { debug } from '../util/config.ts'
import { fuse } from './fuse.ts'
import { isValue, placeOf, type CallNode, type Graph, type Value } from './graph.ts'
import { planMemory, type Home } from './homes.ts'
import { ProgramKernels } from './kernels.ts'
import { Places, type View } from './places.ts'
import { printSchedule, scheduleGraph, type Schedule } from './schedule.ts'
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
  readonly #trace: Pick<Trace, 'states' | 'actions'>
  /** Of each kernel, the call that complains when its check fails. */
  readonly #nodes: readonly CallNode[]
  readonly #bufferOf: Schedule['bufferOf']
  readonly #homes: readonly Home[]
  readonly #outputs: readonly Leaving[]
  readonly #updates: readonly (Leaving & { readonly slot: number })[]
  readonly #grads: readonly GradOutcome[]
  readonly #kernels: ProgramKernels
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
    const { bufferOf, kernels } = schedule
    this.#bufferOf = bufferOf
    this.#nodes = kernels.map(({ node }) => node)
    this.kernelCount = kernels.length
    const plan = planMemory(graph, trace, schedule)
    this.#homes = plan.homes
    this.arenaBytes = plan.arenaBytes
    this.#outputs = graph.outputs.map((value) => this.#leaving(value))
    this.#updates = graph.updates.map(({ slot, value }) => ({ slot, ...this.#leaving(value) }))
    // Gradients of arguments are the caller's business.
    this.#grads = trace.grads.filter(({ leaf }) => !leaf.backend.symbolic)
    const bytes = schedule.buffers.map((x) => x.bytes)
    this.#places = new Places(backend, plan, bytes, trace.states)
    this.#kernels = new ProgramKernels(backend, schedule)
    forgotten.register(this, this.#kernels, this)
  }

  /** Runs on contiguous tensors of the shapes and dtypes that were traced. */
  run(inputs: readonly Tensor[]): Tensor[] {
    const places = this.#places
    this.#act()
    places.fill(inputs)
    const failed = this.#kernels.run(places.blocks, places.bases, this.#numbers)
    if (failed !== undefined) {
      const complaint = this.#complaint(failed)
      places.forget()
      throw complaint
    }
    const outputs = this.#outputs.map((x) => places.tensor(x))
    this.#update()
    this.#setGrads(outputs)
    places.forget()
    return outputs
  }

  /** Gives memory and kernels back; nobody runs it any more. */
  release(): void {
    forgotten.unregister(this)
    this.#kernels.release()
    this.#places.release()
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
  #complaint(kernel: number): Error {
    const { op, inputs, attributes } = this.#nodes[kernel]!
    const values = inputs.filter(isValue).map((value) => this.#leaving(value))
    const isThere = values.every(({ buffer }) => this.#homes[buffer]!.kind !== 'none')
    const tensors = () => values.map((x) => this.#places.tensor(x))
    const error = isThere ? op.complain?.(tensors(), attributes) : undefined
    return error ?? new Error(`${op.name}: a check failed`)
  }
}

/** Programs that the collector takes let go of their kernels. */
const forgotten = new FinalizationRegistry<ProgramKernels>((kernels) => kernels.release())
