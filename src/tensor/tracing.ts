/** @file The hook by which a program is recorded instead of run. Who records stands in src/compile. */
import { TraceError } from '../util/errors.ts'
import type { InputFacts } from './tape.ts'
import type { Op } from './op.ts'
import type { Tensor } from './tensor.ts'
import type { Attributes } from './types.ts'

/**
 * Note [Tracing]: while a tracer is in force, dispatch hands every operation to it and computes nothing.
 * The tensors it gives out look like all others, tape and gradients included, but their storage stands
 * for a value of a graph. Parameters, buffers and `.grad` slots are given such storage when they are
 * first touched, and their own back at the end. What JavaScript itself counts or draws at every step (the
 * number of the step, a learning rate, the position of a random stream) goes through `liveNumbers` and
 * `everyRun`: run at once without a tracer, and at each run of the program with one.
 */
export interface Tracer {
  /** Records an operation and gives its results. */
  call(
    op: Op,
    inputs: readonly (Tensor | number)[],
    attributes: Attributes,
    key: string,
  ): { readonly outputs: Tensor[]; readonly facts: InputFacts }
  /** The stand-in for a tensor from outside; a stand-in stays itself. */
  stand(t: Tensor): Tensor
  /** Prepares the `.grad` of a leaf for being read, or for being replaced whatever it was. */
  touchGrad(leaf: Tensor, isReplaced: boolean): void
  /** Numbers that `compute` gives anew at each run, from sizes that it depends on. */
  numbers(
    count: number,
    compute: (sizes: readonly number[]) => readonly number[],
    sizes: readonly number[],
  ): LiveNumber[]
  /** An action of each run, in its order among the numbers. */
  everyRun(action: () => void): void
  /** Records `body`, which was recorded before, as computed a second time. */
  again<T>(body: () => T): T
  /** Something outside that the program takes for granted: when it changes, the program is traced again. */
  assume(read: () => unknown): void
}

/**
 * A number that is computed anew at each run of a traced program. It can only be handed to operations,
 * which take it for a number, as its type says where it is passed around.
 */
export class LiveNumber {
  /** Which of the program's numbers it is. */
  readonly slot: number
  constructor(slot: number) {
    this.slot = slot
  }
  valueOf(): never {
    throw new TraceError(
      'compile: a number that changes with every step was used in arithmetic of JavaScript while the step was traced. Compute it inside liveNumbers',
    )
  }
}

/** The tracer in force. */
export let tracing: Tracer | undefined

/** Why a tensor that outlived its trace is of no use. */
export const leakedTensor = (): TraceError =>
  new TraceError(
    'compile: this tensor was made while a function was traced, and stands for a value that exists only inside the program. Return it from the function to have its value',
  )

/** Runs `body` under a tracer, or under none. */
export function withTracer<T>(tracer: Tracer | undefined, body: () => T): T {
  const before = tracing
  tracing = tracer
  try {
    return body()
  } finally {
    tracing = before
  }
}

/**
 * Numbers for a launch that depend on what changes from step to step, or on sizes in another way than by
 * products: `compute` is given `sizes`, which differ where an axis of a compiled program is dynamic.
 */
export function liveNumbers(
  count: number,
  compute: (sizes: readonly number[]) => readonly number[],
  sizes: readonly number[] = [],
): readonly number[] {
  const numbers =
    replayed !== undefined
      ? replayed.next()
      : tracing === undefined
        ? compute(sizes)
        : (tracing.numbers(count, compute, sizes) as unknown as readonly number[])
  noted?.push(numbers)
  return numbers
}

/** Does something outside of tensors that belongs to every run of the program, such as counting steps. */
export function everyRun(action: () => void): void {
  if (replayed !== undefined) return
  if (tracing === undefined) action()
  else tracing.everyRun(action)
}

/** Reads a setting that decides what the program does; a compiled program is traced anew when it changes. */
export function assumed<T>(read: () => T): T {
  tracing?.assume(read)
  return read()
}

// -- the same once more

let noted: (readonly number[])[] | undefined
let replayed: { next(): readonly number[] } | undefined

/** Whether something runs a second time: what it changes outside was changed the first time. */
export const isReplaying = (): boolean => replayed !== undefined

/** Runs `body` as if nothing were noted or run a second time around it. */
export function withoutReplay<T>(body: () => T): T {
  const before = { noted, replayed }
  noted = replayed = undefined
  try {
    return body()
  } finally {
    ;({ noted, replayed } = before)
  }
}

/** Runs `body`, and adds the numbers that it draws and counts to `numbers`. */
export function noteNumbers<T>(numbers: (readonly number[])[], body: () => T): T {
  const before = noted
  noted = numbers
  try {
    return body()
  } finally {
    noted = before
  }
}

/** Runs `body` again with the numbers of the first time. */
export function replayNumbers<T>(numbers: readonly (readonly number[])[], body: () => T): T {
  const before = replayed
  let at = 0
  replayed = {
    next() {
      const next = numbers[at++]
      if (next === undefined)
        throw new TraceError(
          'checkpoint: the function draws more random numbers when it is run again. It must do the same each time',
        )
      return next
    },
  }
  try {
    return body()
  } finally {
    replayed = before
  }
}
