/** @file Algebraic simplification: calls are replaced by cheaper ones, by the rules of a table. */
import { sameShape } from '../../core/shape.ts'
import { findOp } from '../../ops/define.ts'
import { leavingValues, placeOf, rewriteGraph } from '../graph.ts'
import type { Graph, GraphBuilder, Value } from '../graph.ts'
import { matchPattern } from '../match.ts'
import type { Pass } from './pass.ts'
import { simplifyRules, type Make, type RewriteRule } from './simplify-rules.ts'

/** The rules by the op of what they replace. */
const rulesOf = new Map<string | undefined, RewriteRule[]>()
for (const rule of simplifyRules)
  rulesOf.set(rule.pattern.op, [...(rulesOf.get(rule.pattern.op) ?? []), rule])

/** As often as this the result of a rule is looked at again. */
const mostSteps = 10

export const simplify: Pass = {
  run(graph: Graph): Graph {
    const leaving = leavingValues(graph)
    return rewriteGraph(graph, (node, image, builder) => {
      if (node.kind !== 'call' || node.results.length !== 1) return undefined
      const leaves = leaving.has(node.results[0]!)
      let value = builder.copy(node, image)[0]!
      for (let step = 0; step < mostSteps; step++) {
        const simpler = simplified(value, builder, node.again)
        // What leaves the program has memory of its own.
        if (simpler === undefined || (leaves && !isComputed(simpler))) break
        value = simpler
      }
      return [value]
    })
  },
}

const isComputed = (value: Value): boolean => {
  const { kind } = placeOf(value).base.node
  return kind === 'call' || kind === 'control'
}

function simplified(value: Value, builder: GraphBuilder, again?: number): Value | undefined {
  const { node } = value
  if (node.kind !== 'call') return undefined
  for (const { pattern, when, make } of rulesOf.get(node.op.name) ?? []) {
    const found = matchPattern(pattern, value)
    if (found === undefined || when?.(found, value) === false) continue
    const call: Make = (name, ...inputs) => {
      const isSame = name === node.op.name
      const [attributes, key] = isSame ? [node.attributes, node.key] : [{}, '']
      return builder.call(findOp(name)!, inputs, attributes, key, again)[0]!
    }
    const made = make(found, call)
    if (made.dtype === value.dtype && sameShape(made.shape, value.shape)) return made
  }
  return undefined
}
