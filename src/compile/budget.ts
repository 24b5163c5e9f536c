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
  for (const mostAtOnce of paces) {
    let best = first
    for (const mayRepeat of [isCheap, isRepeatable])
      for (let i = 0; i < shares.length && best.bytes > budget.bytes; i++) {
        const goal = { budget: budget.bytes, mostAtOnce, share: shares[i]! }
        const { firstReader } = budget
        const factor = factorOf(best.bytes, goal)
        const repeats = chooseRepeats(best.graph, best.memory, { firstReader, mayRepeat, factor })
        if (repeats.size === 0) break
        const made = plan(repeatCalls(best.graph, repeats))
        if (made.bytes > Math.max(budget.bytes, best.bytes * (1 - leastGain))) continue
        best = made
        i = -1
      }
    if (best.bytes < least.bytes) least = best
    if (least.bytes <= budget.bytes) break
  }
  debug(1, () => report(budget, first.bytes, least.bytes))
  return least.graph
}

interface Attempt {
  readonly graph: Graph
  readonly memory: PlannedMemory
  readonly bytes: number
}

/** Memory is made less at once, or if that fails by no more than a part in each round. */
const paces = [1, 1 / 4]

/** Rounds try to save so much of what is too much, one after the other for as long as they fail. */
const shares = [1, 1 / 2, 2, 1 / 4, 4]

/** A round that saves a smaller part of the memory has failed. */
const leastGain = 0.01

/** What a round should leave of the memory. */
function factorOf(
  bytes: number,
  goal: { readonly budget: number; readonly mostAtOnce: number; readonly share: number },
): number {
  const tooMuch = Math.min(bytes - goal.budget, bytes * goal.mostAtOnce)
  return 1 - (tooMuch * goal.share) / bytes
}

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
