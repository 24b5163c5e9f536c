/** @file Keeps a program within a budget of memory: what is read late is computed again instead of kept. */
import { debug } from '../util/config.ts'
import type { CallNode, Graph } from './graph.ts'
import { plannedMemory, type PlannedMemory } from './memory.ts'
import { chooseRepeats, repeatCalls } from './repeat.ts'
import type { Trace } from './trace.ts'

export interface Budget {
  readonly name: string
  readonly bytes: number
  /** Nodes before this one read what was computed first: they belong to a program that runs before. */
  readonly firstReader: number
  /** Bytes that a graph takes in the end; by default those of one program. */
  readonly measure?: (graph: Graph) => number
}

/**
 * Note [Budget]: a training step keeps results of its forward part until the backward part reads them. Where
 * that is more memory than the budget, results are computed a second time shortly before their late readers
 * ("Training Deep Nets with Sublinear Memory Cost", Chen et al., 2016), those first that save most for what they
 * cost; products and convolutions only where the rest is not enough. What fusion leaves in memory, and for
 * how long, is known only afterwards, so a graph is planned like a program, changed where it takes most, and
 * planned again, a few times. A change that does not help is not kept. Results have the same bits: the same
 * kernels compute them from the same operands, and random draws have the same numbers.
 */
export function withinBudget(
  graph: Graph,
  trace: Pick<Trace, 'states' | 'grads'>,
  budget: Budget,
): Graph {
  const plan = (x: Graph): Attempt => {
    const memory = plannedMemory(x, trace)
    return { graph: x, memory, bytes: budget.measure?.(x) ?? memory.bytes }
  }
  const first = plan(graph)
  let least = first
  for (const pace of paces) {
    if (least.bytes <= budget.bytes) break
    const made = shrunk(first, budget, pace, plan)
    if (made.bytes < least.bytes) least = made
  }
  debug(1, () => report(budget, first.bytes, least.bytes))
  return least.graph
}

/** Round after round, until it is enough or nothing helps. */
function shrunk(
  first: Attempt,
  { bytes: wanted, firstReader }: Budget,
  pace: number,
  plan: (graph: Graph) => Attempt,
): Attempt {
  let best = first
  for (const mayRepeat of [isCheap, isRepeatable])
    for (let i = 0; i < shares.length && best.bytes > wanted; i++) {
      const { graph, memory, bytes } = best
      const less = Math.min(bytes - wanted, bytes * pace) * shares[i]!
      const goal = { firstReader, mayRepeat, factor: 1 - less / bytes }
      const repeats = chooseRepeats(graph, memory, goal)
      if (repeats.size === 0) break
      const made = plan(repeatCalls(graph, repeats))
      if (made.bytes > Math.max(wanted, bytes * (1 - leastGain))) continue
      best = made
      i = -1
    }
  return best
}

interface Attempt {
  readonly graph: Graph
  readonly memory: PlannedMemory
  readonly bytes: number
}

/** The part of its memory that a graph is to lose in one round, at most: all that is too much, or if that fails less. */
const paces = [1, 1 / 4]

/** Rounds try to save so many times what they should, one after the other for as long as they fail. */
const shares = [1, 1 / 2, 2, 1 / 4, 4]

/** A round that saves a smaller part of the memory has failed. */
const leastGain = 0.01

/** Products and the like, of which an element of the result takes many operations, are not. */
const isCheap = (node: CallNode) => isRepeatable(node) && node.op.kind !== 'contract'

const isRepeatable = ({ op }: CallNode) => op.kind !== 'update'

function report({ name, bytes }: Budget, before: number, after: number): string {
  const [wanted, first, last] = [bytes, before, after].map((x) => `${(x / 1e6).toFixed(2)} MB`)
  const outcome =
    after > bytes
      ? `cannot be kept within ${wanted}: the least found is ${last}`
      : `${last} is within ${wanted}`
  return `compile: ${name}: memory is ${first} when everything is kept; ${outcome}`
}
