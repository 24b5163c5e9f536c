/** @file Runs a function once with tensors that have no data, and records what it would do. */
import type { Backend } from '../backend/backend.ts'
import type { DType } from '../core/dtype.ts'
import type { Shape } from '../core/shape.ts'
import type { Cell } from '../tensor/cell.ts'
import { withWatcher } from '../tensor/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { withoutReplay, withTracer } from '../tensor/tracing.ts'
import type { Graph } from './graph.ts'
import { Recorder } from './recorder.ts'

/** What a state of a graph is in the world outside. */
export type State =
  | { readonly kind: 'cell'; readonly cell: Cell }
  /** The gradient that a leaf had before the run. */
  | { readonly kind: 'grad'; readonly leaf: Tensor }

/** What is done with the `.grad` of a leaf at the end of a run. */
export interface GradOutcome {
  readonly leaf: Tensor
  /** Which output of the graph becomes the gradient; undefined: there is none any more. */
  readonly output: number | undefined
}

/** Something that JavaScript does at the beginning of each run. */
export type Action =
  | {
      readonly kind: 'numbers'
      readonly slot: number
      readonly count: number
      readonly compute: (sizes: readonly number[]) => readonly number[]
      /** What `compute` is given. */
      readonly sizes: readonly number[]
    }
  | { readonly kind: 'act'; readonly act: () => void }

/** Something outside that the program takes for granted, and what it was. */
export interface Assumption {
  readonly read: () => unknown
  readonly value: unknown
}

export interface Trace {
  readonly backend: Backend
  readonly graph: Graph
  /** By slot. */
  readonly states: readonly State[]
  readonly grads: readonly GradOutcome[]
  readonly actions: readonly Action[]
  readonly numberCount: number
  readonly assumptions: readonly Assumption[]
}

/** A tensor that the function is called with. */
export interface ArgumentSpec {
  readonly name: string
  readonly shape: Shape
  readonly dtype: DType
}

/** What the outputs of the graph begin and end with; between them is what `.grad` becomes. */
export interface Traced {
  readonly returned: readonly Tensor[]
  readonly gradients: readonly Tensor[]
}

/**
 * Traces `run`, which gets a tensor per argument and says what the program is to give.
 * Parameters and gradients are afterwards as they were before, also when it throws. Without arguments
 * the first tensor that is found outside decides on the backend. Throws a DynamicAxesError when the
 * program becomes longer than `room`.
 */
export function trace(
  backend: Backend,
  specs: readonly ArgumentSpec[],
  run: (inputs: readonly Tensor[], recorder: Recorder) => Traced,
  room = Infinity,
): Trace {
  const recorder = new Recorder(backend, { isSettled: specs.length > 0, room })
  try {
    const record = () => {
      const inputs = specs.map((spec) => recorder.input(spec))
      return recorder.finish(run(inputs, recorder))
    }
    // A checkpoint around the call watches its run, not its trace.
    return withTracer(recorder, () => withWatcher(undefined, () => withoutReplay(record)))
  } finally {
    recorder.restore()
  }
}
