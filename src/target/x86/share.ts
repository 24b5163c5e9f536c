/** @file How the iterations of a kernel are shared among threads: how many there are, and how much work each is. */
import type { ScalarType } from '../../core/dtype.ts'
import type { Kernel, Statement, Value } from '../../ir/loops.ts'
import { scalarOp, type ScalarOp, type ScalarValue } from '../../ir/scalar-op.ts'
import { parallelLoop } from './emit.ts'

export interface Share {
  /** Whether there is a parallel loop; a kernel without one is done by one thread, as one iteration. */
  readonly isShared: boolean
  /** Iterations of the parallel loop for these sizes. */
  count(sizes: readonly number[]): number
  /** Roughly how many instructions one of them takes. */
  cost(sizes: readonly number[]): number
  /** Whether a call does a run of them at once, so that few long runs cost less than many short ones. */
  readonly isInRuns: boolean
}

/** A share as plain data, which can be kept in a file; values are positions in `formulas`. */
export interface ShareData {
  readonly formulas: readonly Formula[]
  /** -1 where there is no parallel loop. */
  readonly end: number
  /** -1 where iterations are not taken in runs. */
  readonly runEnd: number
  readonly work: Work
}

/** A constant, a size of the argument block, or an operation; null for what depends on positions and data. */
type Formula =
  | number
  | { readonly slot: number }
  | { readonly op: ScalarOp; readonly from: ScalarType; readonly args: readonly number[] }
  | null

/** What a block costs: its own statements, and the loops in it. */
interface Work {
  cost: number
  readonly loops: {
    readonly begin: number
    readonly end: number
    readonly step: number
    /** How many times it is run: less than once behind a condition. */
    readonly times: number
    readonly body: Work
  }[]
}

/** The share of a kernel. */
export const shareOf = (kernel: Kernel): Share => shareFrom(shareDataOf(kernel))

/** The share of a kernel as data. */
export function shareDataOf(kernel: Kernel): ShareData {
  const loop = parallelLoop(kernel)
  // Of the program only this much is kept as long as its code.
  const formulas = new Formulas()
  const end = loop === undefined ? -1 : formulas.at(loop.end)
  const runEnd = loop?.runEnd === undefined ? -1 : formulas.at(loop.runEnd)
  const work = workOf(loop?.body ?? kernel.body, formulas)
  return { end, runEnd, work, formulas: formulas.list }
}

/** The share that data describes. */
export function shareFrom({ formulas, end, runEnd, work }: ShareData): Share {
  return {
    isShared: end >= 0,
    count: (sizes) => (end < 0 ? 1 : new Estimate(formulas, sizes).of(end)),
    cost: (sizes) => new Estimate(formulas, sizes).iteration(work, end, runEnd),
    isInRuns: runEnd >= 0,
  }
}

class Formulas {
  readonly list: Formula[] = []
  readonly #places = new Map<Value, number>()

  at(value: Value): number {
    const known = this.#places.get(value)
    if (known !== undefined) return known
    const formula = this.#formula(value)
    this.#places.set(value, this.list.length)
    return this.list.push(formula) - 1
  }

  #formula({ def, type }: Value): Formula {
    if (def.kind === 'const') return Number(def.value)
    if (def.kind === 'size') return { slot: def.slot }
    if (def.kind !== 'op' || (type !== 'i32' && type !== 'bool')) return null
    const from = def.args[def.args.length - 1]!.type
    if (from !== 'i32' && from !== 'bool') return null
    return { op: def.op, from, args: def.args.map((x) => this.at(x)) }
  }
}

function workOf(
  statements: readonly Statement[],
  formulas: Formulas,
  times = 1,
  work: Work = { cost: 0, loops: [] },
): Work {
  for (const s of statements) {
    if (s.kind === 'for') {
      const [begin, end] = [formulas.at(s.begin), formulas.at(s.end)]
      work.cost += 2 * times
      work.loops.push({ begin, end, step: s.step, times, body: workOf(s.body, formulas) })
    } else if (s.kind === 'if') {
      work.cost += times
      workOf(s.then, formulas, times / 2, work)
    } else if (s.kind === 'store') work.cost += times * Math.max(1, s.value.lanes / 16)
    else if (s.kind !== 'let') work.cost += times
    else if (s.value.def.kind !== 'const') work.cost += times * Math.max(1, s.value.lanes / 16)
  }
  return work
}

/** Evaluates what depends on sizes; what depends on positions and data is taken at position 0. */
class Estimate {
  readonly #formulas: readonly Formula[]
  readonly #sizes: readonly number[]
  readonly #known = new Map<number, number>()

  constructor(formulas: readonly Formula[], sizes: readonly number[]) {
    this.#formulas = formulas
    this.#sizes = sizes
  }

  of(place: number): number {
    const known = this.#known.get(place)
    if (known !== undefined) return known
    const made = this.#evaluate(this.#formulas[place]!)
    this.#known.set(place, made)
    return made
  }

  #evaluate(formula: Formula): number {
    if (formula === null) return 0
    if (typeof formula === 'number') return formula
    if ('slot' in formula) return this.#sizes[formula.slot]!
    const args: ScalarValue[] = formula.args.map((x) => this.of(x))
    return Number(scalarOp(formula.op).evaluate(formula.from, ...args))
  }

  iteration(work: Work, end: number, runEnd: number): number {
    if (runEnd < 0) return this.block(work)
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
