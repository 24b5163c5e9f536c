/** @file Graphs as text, and back. */
import { describe, expect, test } from 'vitest'
import { tensor, zeros } from 'tandem'
import { layoutOf } from '../../src/core/layout.ts'
import { GraphBuilder, type Graph, type Node } from '../../src/compile/graph.ts'
import { parseGraph } from '../../src/compile/parse.ts'
import { constantsOf, partsOf, printGraph } from '../../src/compile/print.ts'
import { graphOf, tracedGraphs } from './traced-graphs.ts'

/** What a graph is made of, without the order of its sources and the keys of its calls. */
function facts({ nodes, outputs, updates }: Graph): unknown {
  const sources = nodes.filter(({ kind }) => /input|state|constant/.test(kind))
  const ordered = [...new Set([...sources, ...nodes])]
  const order = new Map(ordered.map((node, i) => [node, i]))
  const place = ({ node, index }: { node: Node; index: number }) => `${order.get(node)}.${index}`
  return {
    nodes: ordered.map((node) => {
      const { kind, results } = node
      const specs = results.map(({ shape, dtype }) => ({ shape, dtype }))
      if (node.kind === 'view')
        return { kind, specs, of: place(node.of), layout: node.layout.id, offset: node.offset }
      if (node.kind === 'constant') return { kind, specs, tensor: node.tensor }
      if (node.kind === 'input') return { kind, specs, name: node.name }
      if (node.kind === 'state') return { kind, specs, name: node.name, slot: node.slot }
      const inputs = node.inputs.map((x) => (typeof x === 'object' && 'node' in x ? place(x) : x))
      if (node.kind === 'call')
        return { kind, specs, op: node.op.name, attributes: node.attributes, inputs }
      const parts = partsOf(node.control).map(({ role, part }) => [
        role,
        part.inputs,
        facts(part.graph),
      ])
      return { kind, specs, inputs, parts }
    }),
    outputs: outputs.map(place),
    updates: updates.map(({ slot, value }) => [slot, place(value)]),
  }
}

describe('what is printed is parsed again', () => {
  test.each(tracedGraphs)('%s', (_, make) => {
    const graph = make()
    const text = printGraph(graph)
    const parsed = parseGraph(text, constantsOf(graph))
    expect(facts(parsed)).toEqual(facts(graph))
    expect(printGraph(parsed)).toBe(text)
  })
})

test('a program reads like one', () => {
  const graph = graphOf(
    (x, w) => {
      const y = x!.matmul(w!.transpose()).add(tensor([1, 2, 3]))
      return [y.relu().sum({ axis: 0 }), x!.slice([1, 2], 0)]
    },
    zeros([2, 4]),
    zeros([3, 4]),
  )
  expect(printGraph(graph)).toMatchInlineSnapshot(`
    "program(x0: float32[2, 4], x1: float32[3, 4], constant0: constant float32[3]) {
      const v0: float32[4, 3] = x1.permute(1, 0)
      const v1: float32[2, 3] = matmul(x0, v0)
      const v2: float32[2, 3] = add(v1, constant0)
      const v3: float32[2, 3] = relu(v2)
      const v4: float32[3] = sum(v3, { axes: [0], keepDims: false })
      const v5: float32[1] = x0.slice(1, [0, 1])
      return [v4, v5]
    }"
  `)
})

describe('views', () => {
  const base = [4, 6]
  const cases: [string, readonly number[], readonly number[], number][] = [
    ['reshape(2, 2, 6)', [2, 2, 6], [12, 6, 1], 0],
    ['permute(1, 0)', [6, 4], [1, 6], 0],
    ['reshape(2, 2, 6).permute(2, 0, 1)', [6, 2, 2], [1, 12, 6], 0],
    ['expand(3, 4, 6)', [3, 4, 6], [0, 6, 1], 0],
    ['reshape(4, 1, 6).expand(4, 5, 6)', [4, 5, 6], [6, 0, 1], 0],
    ['slice([1, 3], null)', [2, 6], [6, 1], 6],
    ['slice(2, null)', [6], [1], 12],
    ['slice(null, 3)', [4], [6], 3],
    ['slice(null, [5, 0, -2])', [4, 3], [6, -2], 5],
    ['slice(null, [4, null, -2])', [4, 3], [6, -2], 4],
    ['slice(null, [0, 5, 2])', [4, 3], [6, 2], 0],
    ['slice(1, 2)', [], [], 8],
    ['view([3, 4], [1, 6], 0)', [3, 4], [1, 6], 0],
    ['view([2, 2], [7, 1], 3)', [2, 2], [7, 1], 3],
  ]
  test.each(cases)('%s', (text, shape, strides, offset) => {
    const builder = new GraphBuilder()
    const x = builder.input('x0', base, 'float32')
    const y = builder.view(x, layoutOf(shape, strides), offset)
    const printed = printGraph({ nodes: builder.nodes, outputs: [y], updates: [] })
    expect(printed).toContain(`= x0.${text}\n`)
    const [, view] = parseGraph(printed).nodes
    expect(view).toMatchObject({ layout: layoutOf(shape, strides), offset })
  })
})

describe('errors', () => {
  const program = (line: string) => `program(x0: int32[2]) {\n  ${line}\n  return [x0]\n}`
  test.each([
    ['const v0: int32[2] = neg(x1)', /line 2, column 28: expected a number, found 'x1'/],
    ['const v0: int32[2] = nag(x0)', /no operation nag/],
    ['const v0: int32[3] = neg(x0)', /v0 is said to be int32\[3\], but is int32\[2\]/],
    ['const v0: int32[2] = x0.turn(1)', /expected a method of a view, found 'turn'/],
    ['const v0: int32[2] = x0.permute(1)', /permute does not fit/],
    ['const v0: integer[2] = neg(x0)', /unknown dtype "integer"/],
    ['let v0', /expected 'return', found 'let'/],
  ])('%s', (line, message) => {
    expect(() => parseGraph(program(line))).toThrow(message)
  })

  test('a constant that is not given', () => {
    expect(() => parseGraph('program(c: constant int32[2]) { return [c] }')).toThrow(
      /constant c is not among those given: none/,
    )
  })
})
