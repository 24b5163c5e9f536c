/** @file How the iterations of a kernel are shared among threads: how many there are, and how much work each is. */
import type { Kernel, Statement, Value } from '../../ir/loops.ts'
import { scalarOp, type ScalarValue } from '../../ir/scalar-op.ts'
import { parallelLoop } from './emit.ts'

export interface Share {
  /** Iterations of the parallel loop for these sizes. */
  count(sizes: readonly number[]): number
  /** Roughly how many instructions one of them takes. */
  cost(sizes: readonly number[]): number
  /** Whether a call does a run of them at once, so that few long runs cost less than many short ones. */
  readonly isInRuns: boolean
}

/** The share of a kernel, or undefined when one thread has to do it all. */
export function shareOf(kernel: Kernel): Share | undefined {
  const loop = parallelLoop(kernel)
  if (loop === undefined) return undefined
  // Of the program only this much is kept as long as its code.
  const { end, runEnd } = loop
  const work = workOf(loop.body)
  return {
    count: (sizes) => new Estimate(sizes).of(end),
    cost: (sizes) => new Estimate(sizes).iteration(work, end, runEnd),
    isInRuns: runEnd !== undefined,
  }
}

/** What a block costs: its own statements, and the loops in it. */
interface Work {
  cost: number
  readonly loops: {
    readonly begin: Value
    readonly end: Value
    readonly step: number
    /** How many times it is run: less than once behind a condition. */
    readonly times: number
    readonly body: Work
  }[]
}

function workOf(
  statements: readonly Statement[],
  times = 1,
  work: Work = { cost: 0, loops: [] },
): Work {
  for (const s of statements) {
    if (s.kind === 'for') {
      const { begin, end, step } = s
      work.cost += 2 * times
      work.loops.push({ begin, end, step, times, body: workOf(s.body) })
    } else if (s.kind === 'if') {
      work.cost += times
      workOf(s.then, times / 2, work)
    } else if (s.kind !== 'let') work.cost += times
    else if (s.value.def.kind !== 'const') work.cost += times * Math.max(1, s.value.lanes / 16)
  }
  return work
}

/** Evaluates what depends on sizes; what depends on positions and data is taken at position 0. */
class Estimate {
  readonly #sizes: readonly number[]
  readonly #known = new Map<Value, number>()

  constructor(sizes: readonly number[]) {
    this.#sizes = sizes
  }

  of(value: Value): number {
    const known = this.#known.get(value)
    if (known !== undefined) return known
    const made = this.#evaluate(value)
    this.#known.set(value, made)
    return made
  }

  #evaluate({ def, type }: Value): number {
    if (def.kind === 'const') return Number(def.value)
    if (def.kind === 'size') return this.#sizes[def.slot]!
    if (def.kind !== 'op' || (type !== 'i32' && type !== 'bool')) return 0
    const from = def.args[def.args.length - 1]!.type
    if (from !== 'i32' && from !== 'bool') return 0
    const args: ScalarValue[] = def.args.map((x) => this.of(x))
    return Number(scalarOp(def.op).evaluate(from, ...args))
  }

  iteration(work: Work, end: Value, runEnd: Value | undefined): number {
    if (runEnd === undefined) return this.block(work)
    const count = this.of(end)
    this.#known.set(runEnd, count)
    return this.block(work) / Math.max(1, count)
  }

  block({ cost, loops }: Work): number {
    let sum = cost
    for (const { begin, end, step, times, body } of loops) {
      const rounds = Math.max(0, Math.ceil((this.of(end) - this.of(begin)) / step))
      sum += times * rounds * this.block(body)
    }
    return sum
  }
}
