/** @file The tape: one entry per recorded operation, enough to run its gradient rule later. */
import type { DType } from '../core/dtype.ts'
import type { Shape } from '../core/shape.ts'
import { GradError } from '../util/errors.ts'
import { engine } from './engine.ts'
import type { Arrivals } from './node-queue.ts'
import type { Op } from './op.ts'
import type { Tensor } from './tensor.ts'
import type { Attributes, GradContext } from './types.ts'

let nextSequence = 1
let recording = true

/** Sequence number of the latest entry: entries made from now on have higher ones. */
export const lastSequence = (): number => nextSequence - 1

/** Whether operations on tensors that require gradients are recorded. */
export const isRecording = (): boolean => recording

/**
 * Runs `body` without recording: results need no gradient and the tape keeps nothing.
 *
 * @example
 * const w = tensor([1]).requireGrad()
 * noGrad(() => w.mul(2)).requiresGrad // -> false
 */
export function noGrad<T>(body: () => T): T {
  return withRecording(false, body)
}

/**
 * Runs `body` with recording on, also inside `noGrad`.
 *
 * @example
 * const w = tensor([1]).requireGrad()
 * noGrad(() => enableGrad(() => w.mul(2))).requiresGrad // -> true
 */
export function enableGrad<T>(body: () => T): T {
  return withRecording(true, body)
}

function withRecording<T>(on: boolean, body: () => T): T {
  const before = recording
  recording = on
  let result: T
  try {
    result = body()
  } finally {
    recording = before
  }
  // An asynchronous body would run its second half after recording was switched back.
  if (!on && result instanceof Promise)
    throw new GradError(
      'noGrad: the function returned a promise, but noGrad ends when the function returns. Keep await outside: compute inside noGrad, read the results after it',
    )
  return result
}

/** What a plan, or the maker of a view, knows about the inputs of an entry. */
export interface InputFacts {
  readonly shapes: readonly Shape[]
  readonly dtypes: readonly DType[]
}

/** Where an entry finds what it needs when it has saved nothing. */
export interface Recall {
  /** The same entry, made again, with what it saves. */
  readonly node: () => GradNode
  /** It will not be asked for any more. */
  readonly release: () => void
}

/** Sees every new entry; one that it gives a recall for saves nothing. */
export interface TapeWatcher {
  enter(node: GradNode): Recall | undefined
}

/** The watcher in force: see `checkpoint`. */
export let watcher: TapeWatcher | undefined

/** Runs `body` under a watcher, or under none. */
export function withWatcher<T>(next: TapeWatcher | undefined, body: () => T): T {
  const before = watcher
  watcher = next
  try {
    return body()
  } finally {
    watcher = before
  }
}

/** One recorded operation. */
export class GradNode {
  /** Order of creation: gradients flow from high to low. */
  readonly sequence: number
  readonly op: Op
  readonly attributes: Attributes
  readonly facts: InputFacts
  /** Where gradients go on to: the leaf or the entry behind each input. */
  readonly sources: readonly (Tensor | GradNode | undefined)[]
  /** Which output of the entry behind it each input is; undefined when all are the first. */
  readonly sourceIndex: readonly number[] | undefined
  readonly outputCount: number
  #inputs: readonly (Tensor | number)[] | undefined
  #outputs: readonly Tensor[] | undefined
  #recall: Recall | undefined = undefined
  #released = false
  /** Outputs with hooks; only those are remembered. */
  watched: Map<number, Tensor> | undefined = undefined
  /** Used by the queue of backward. */
  arrivals: Arrivals | undefined = undefined

  /** May keep the lists of inputs and outputs. */
  constructor(
    op: Op,
    attributes: Attributes,
    facts: InputFacts,
    inputs: readonly (Tensor | number)[],
    outputs: readonly Tensor[],
  ) {
    this.sequence = nextSequence++
    this.op = op
    this.attributes = attributes
    this.facts = facts
    const sources: (Tensor | GradNode | undefined)[] = []
    let sourceIndex: number[] | undefined
    for (let i = 0; i < inputs.length; i++) {
      const x = inputs[i]!
      if (typeof x === 'number' || !x.requiresGrad) {
        sources.push(undefined)
        continue
      }
      sources.push(x.node ?? x.leaf ?? x)
      if (x.outputIndex !== 0)
        (sourceIndex ??= new Array<number>(inputs.length).fill(0))[i] = x.outputIndex
    }
    this.sources = sources
    this.sourceIndex = sourceIndex
    this.outputCount = outputs.length
    if (watcher !== undefined) this.#recall = watcher.enter(this)
    const saves = this.#recall === undefined
    this.#inputs = saves && op.savesInputs ? save(inputs) : undefined
    this.#outputs = saves && op.savesOutputs ? save(outputs) : undefined
  }

  /** Makes a tensor the entry's output number `index`. */
  own(output: Tensor, index: number): void {
    output.requiresGrad = true
    output.node = this
    output.outputIndex = index
  }

  /** Remembers an output that has hooks. */
  watch(output: Tensor): void {
    this.watched ??= new Map()
    this.watched.set(output.outputIndex, output)
  }

  /** What the gradient rule of this entry is given. */
  context(gs: readonly (Tensor | undefined)[]): GradContext {
    if (this.#released)
      throw new GradError(
        `backward: the tape of this result was already released (at ${this.op.name}). Call backward({ retainGraph: true }) the first time, or compute the result again`,
      )
    if (this.#recall !== undefined) return this.#recall.node().context(gs)
    const { sources, facts } = this
    const inputs = this.#inputs ?? []
    const outputs = this.#outputs ?? []
    return {
      g: gs[0] ?? zeroGradient(outputs, gs),
      gs,
      inputs,
      output: outputs[0] as Tensor,
      outputs,
      attributes: this.attributes,
      shapes: facts.shapes,
      dtypes: facts.dtypes,
      needs: (i) => sources[i] !== undefined,
    }
  }

  /** Whether the saved tensors were given up. */
  get isReleased(): boolean {
    return this.#released
  }

  /** Gives up the saved tensors. */
  release(): void {
    if (this.#released) return
    this.#released = true
    if (this.#inputs !== undefined) giveUp(this.#inputs)
    if (this.#outputs !== undefined) giveUp(this.#outputs)
    this.#inputs = undefined
    this.#outputs = undefined
    this.#recall?.release()
    this.#recall = undefined
  }
}

// The list itself is kept, unless a cell is in it: a cell is given new values, and kept is the present one.
function save<T extends Tensor | number>(tensors: readonly T[]): readonly T[] {
  let copy: T[] | undefined
  for (let i = 0; i < tensors.length; i++) {
    const t = tensors[i]!
    // Numbers of a traced program have no storage either.
    if (typeof t === 'number' || t.storage === undefined) continue
    t.storage.saves++
    const value = t.snapshot()
    if (value !== t) (copy ??= [...tensors])[i] = value as T
  }
  return copy ?? tensors
}

function giveUp(tensors: readonly (Tensor | number)[]): void {
  for (let i = 0; i < tensors.length; i++) {
    const t = tensors[i]!
    if (typeof t !== 'object' || t.storage === undefined) continue
    t.storage.saves--
    freeUnheld(t)
  }
}

/** Frees a block that user code has never seen, or has passed on, when nothing holds it any more. */
export function freeUnheld({ storage, backend }: Tensor): void {
  if (storage.internal && storage.saves === 0 && storage.pending === 0) backend.free(storage)
}

/** Leaves the memory of a tensor to the tape: nobody else has it, nor a view of it. */
export function leaveToTape(t: Tensor): void {
  t.storage.internal = true
  freeUnheld(t)
}

function zeroGradient(outputs: readonly Tensor[], gs: readonly (Tensor | undefined)[]): Tensor {
  return engine().zerosLike(outputs[0] ?? gs.find((g) => g !== undefined)!)
}
