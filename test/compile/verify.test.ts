/** @file The verifier finds what is wrong with a graph, and says where. */
import { describe, expect, test } from 'vitest'
import { InternalError } from '../../src/util/errors.ts'
import { layoutOf } from '../../src/core/layout.ts'
import type { CallNode, Graph } from '../../src/compile/graph.ts'
import { parseGraph } from '../../src/compile/parse.ts'
import { verifyGraph } from '../../src/compile/verify.ts'
import { tracedGraphs } from './traced-graphs.ts'

test.each(tracedGraphs)('%s is a graph', (_, make) => {
  verifyGraph(make())
})

const text = `program(x0: float32[2, 3], p: state(0) float32[3]) {
  const v0: float32[3, 2] = x0.permute(1, 0)
  const v1: float32[3] = sum(v0, { axes: [1], keepDims: false })
  const v2: float32[3] = add(p, v1)
  return [v1], p := v2
}`

/** The graph of the text, with one node changed in place. */
function changed(position: number, change: object): Graph {
  const graph = parseGraph(text)
  Object.assign(graph.nodes[position]!, change)
  return graph
}

const other = parseGraph(text)
const cases: [string, () => Graph, RegExp][] = [
  [
    'nodes out of order',
    () => ({ ...other, nodes: other.nodes.toReversed() }),
    /node 0 \(add\): operand 0 is not made before it/,
  ],
  [
    'an operand of another graph',
    () => changed(4, { inputs: [1, other.nodes[3]!.results[0]!] }),
    /node 4 \(add\): operand 0 is not made before it/,
  ],
  [
    'a result that is not what is inferred',
    () => {
      const graph = parseGraph(text)
      const { results } = graph.nodes[3] as CallNode
      Object.assign(results[0]!, { dtype: 'float64' })
      return graph
    },
    /node 3 \(sum\): inference says float32\[3\], the results are float64\[3\]/,
  ],
  [
    'a view that reads beyond its base',
    () => changed(2, { offset: 1 }),
    /node 2 \(view\): it reads 1 to 6 of 6 elements/,
  ],
  [
    'a view that reads before its base',
    () => changed(2, { layout: layoutOf([3, 2], [-1, 3]) }),
    /node 2 \(view\): it reads -2 to 3 of 6 elements/,
  ],
  [
    'two states in one slot',
    () => parseGraph(text.replace('p: state', 'q: state(0) float32[3], p: state')),
    /node 2 \(state p\): another node has slot 0/,
  ],
  [
    'an output of another graph',
    () => ({ ...other, outputs: parseGraph(text).outputs }),
    /output 0 is no value of the graph/,
  ],
  [
    'a slot that is updated twice',
    () => ({ ...other, updates: [...other.updates, ...other.updates] }),
    /slot 0 is updated twice/,
  ],
]

describe('what is wrong', () => {
  test.each(cases)('%s', (_, make, message) => {
    const verify = () => verifyGraph(make(), 'after a pass')
    expect(verify).toThrow(InternalError)
    expect(verify).toThrow(message)
    expect(verify).toThrow(/^internal: after a pass: /)
  })
})

test('in a branch', () => {
  const graph = parseGraph(`program(x0: bool[], x1: float32[3]) {
    const v0: float32[3] = cond(x0, x1,
      whenTrue(1) => program(a: float32[3]) { const v0: float32[3] = neg(a) return [v0] },
      whenFalse(1) => program(a: float32[3]) { return [a] })
    return [v0]
  }`)
  expect(() => verifyGraph(graph)).toThrow(
    /node 2 \(cond\): whenFalse returns what was not computed in it/,
  )
})
