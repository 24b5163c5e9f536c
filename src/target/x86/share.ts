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
  return {
    count: (sizes) => new Estimate(sizes).of(loop.end),
    cost: (sizes) => new Estimate(sizes).iteration(loop),
    isInRuns: loop.runEnd !== undefined,
  }
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

  iteration({ body, end, runEnd }: Statement & { kind: 'for' }): number {
    if (runEnd === undefined) return this.block(body)
    const count = this.of(end)
    this.#known.set(runEnd, count)
    return this.block(body) / Math.max(1, count)
  }

  block(statements: readonly Statement[]): number {
    let cost = 0
    for (const s of statements) {
      if (s.kind === 'let')
        cost += s.value.def.kind === 'const' ? 0 : Math.max(1, s.value.lanes / 16)
      else if (s.kind === 'if') cost += 1 + this.block(s.then) / 2
      else if (s.kind === 'for') {
        const rounds = Math.max(0, Math.ceil((this.of(s.end) - this.of(s.begin)) / s.step))
        cost += 2 + rounds * this.block(s.body)
      } else cost++
    }
    return cost
  }
}
