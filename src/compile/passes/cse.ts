/** @file Common subexpressions: a call with the op, the attributes and the operands of an earlier one is that one. */
import { isValue, leavingValues, rewriteGraph } from '../graph.ts'
import type { Argument, CallNode, Graph, Value } from '../graph.ts'
import type { Pass } from './pass.ts'

/**
 * Draws are equal where their numbers are the same ones. Values that leave the program stay apart: whoever
 * has one may give its memory up.
 */
export const cse: Pass = {
  run(graph: Graph): Graph {
    const leaving = leavingValues(graph)
    const calls = new Map<string, { readonly results: readonly Value[]; leaves: boolean }>()
    const constants = new Map<unknown, readonly Value[]>()
    const ids = new Map<unknown, number>()
    const idOf = (x: unknown) => {
      if (!ids.has(x)) ids.set(x, ids.size)
      return ids.get(x)!
    }
    return rewriteGraph(graph, (node, image, builder) => {
      if (node.kind === 'constant') {
        const { tensor } = node
        const known = constants.get(tensor) ?? builder.copy(node, image)
        constants.set(tensor, known)
        return known
      }
      if (node.kind !== 'call' || node.op.kind === 'update') return undefined
      const key = `${idOf(node.op)}|${keyOf(node)}|${operandsText(node, image)}`
      const leaves = node.results.some((value) => leaving.has(value))
      const known = calls.get(key)
      if (known !== undefined && !(leaves && known.leaves)) {
        known.leaves ||= leaves
        return known.results
      }
      const results = builder.copy(node, image)
      if (known === undefined) calls.set(key, { results, leaves })
      return results
    })
  },
}

const keyOf = ({ key, attributes, again = 0 }: CallNode): string =>
  `${key}|${JSON.stringify(attributes)}|${again}`

function operandsText({ inputs }: CallNode, image: (value: Value) => Value): string {
  const text = (x: Argument) => {
    if (isValue(x)) return `v${image(x).id}`
    if (typeof x !== 'number') return `$${x.slot}`
    return Object.is(x, -0) ? '-0' : String(x)
  }
  return inputs.map(text).join()
}
