/** @file The tape: one entry per recorded operation, enough to run its gradient rule later. */
import type { DType } from '../core/dtype.ts'
import type { Shape } from '../core/shape.ts'
import { assert, GradError } from '../util/errors.ts'
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

/** One recorded operation. */
export class GradNode {
  /** Order of creation: gradients flow from high to low. */
  readonly sequence = nextSequence++
  readonly op: Op
  readonly attributes: Attributes
  readonly shapes: readonly Shape[]
  readonly dtypes: readonly DType[]
  /** Where gradients go on to: the leaf or the entry behind each input. */
  readonly sources: readonly (Tensor | GradNode | undefined)[]
  readonly sourceIndex: readonly number[]
  /** Shape, dtype and storage facts of the outputs, to make zero gradients and to check. */
  readonly outputCount: number
  #inputs: readonly (Tensor | number)[] | undefined
  #outputs: readonly Tensor[] | undefined
  #released = false
  /** Outputs with hooks; only those are remembered. */
  watched: Map<number, Tensor> | undefined

  constructor(
    op: Op,
    attributes: Attributes,
    inputs: readonly (Tensor | number)[],
    outputs: readonly Tensor[],
  ) {
    this.op = op
    this.attributes = attributes
    this.shapes = inputs.map((x) => (typeof x === 'number' ? [] : x.shape))
    this.dtypes = inputs.map((x) => (typeof x === 'number' ? 'float32' : x.dtype))
    this.sources = inputs.map((x) =>
      typeof x === 'number' || !x.requiresGrad ? undefined : (x.node ?? x.leaf ?? x),
    )
    this.sourceIndex = inputs.map((x) => (typeof x === 'number' ? 0 : x.outputIndex))
    this.outputCount = outputs.length
    if (op.saves !== 'outputs' && op.saves !== 'none') this.#inputs = save(inputs)
    if (op.saves !== 'inputs' && op.saves !== 'none') this.#outputs = save(outputs)
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
    const outputs = this.#outputs?.map((t, i) => this.#reattach(t, i))
    return {
      g: gs[0]!,
      gs,
      inputs: this.#inputs ?? [],
      output: outputs?.[0] as Tensor,
      outputs: outputs ?? [],
      attributes: this.attributes,
      shapes: this.shapes,
      dtypes: this.dtypes,
      needs: (i) => this.sources[i] !== undefined,
    }
  }

  /** Gives up the saved tensors. */
  release(): void {
    if (this.#released) return
    this.#released = true
    for (const t of [...(this.#inputs ?? []), ...(this.#outputs ?? [])])
      if (typeof t !== 'number') t.storage.saves--
    this.#inputs = undefined
    this.#outputs = undefined
  }

  // Saved outputs are kept without history (an entry must not hold itself); rules see them with it.
  #reattach(t: Tensor, i: number): Tensor {
    const output = t.detach()
    output.storage.shares--
    output.requiresGrad = true
    output.node = this
    output.outputIndex = i
    return output
  }
}

// What is kept is a tensor of its own, so that assigning to a parameter later does not change it.
function save<T extends Tensor | number>(tensors: readonly T[]): readonly T[] {
  return tensors.map((t) => {
    if (typeof t === 'number') return t
    const kept = t.detach()
    t.storage.shares--
    t.storage.saves++
    kept.requiresGrad = t.requiresGrad
    kept.node = t.node
    kept.outputIndex = t.outputIndex
    kept.leaf = t.leaf ?? (t.node === undefined && t.requiresGrad ? t : undefined)
    return kept as T
  })
}

/** Asserts that an op has a gradient rule. */
export function ruleOf(node: GradNode): NonNullable<Op['vjp']> {
  const { vjp } = node.op
  assert(vjp !== undefined, `${node.op.name} was recorded without a gradient rule`)
  return vjp
}
