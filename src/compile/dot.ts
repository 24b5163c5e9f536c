/** @file Graphs as pictures: the language of Graphviz. */
import { isValue, operandsOf, placeOf, type Graph, type Node, type Value } from './graph.ts'
import { partsOf, specText } from './print.ts'

/**
 * A graph for Graphviz: a box per call, branch or loop, an ellipse per input, state and constant. Edges carry
 * what is read, with the view that is taken of it; a state's new content goes back to it by a dashed edge.
 *
 * @example
 * const f = compile((x: Tensor) => x.add(1))
 * f(tensor([1, 2]))
 * graphToDot(f.programs[0].graph).split('\n')[0] // -> 'digraph program {'
 */
export function graphToDot(graph: Graph, name = 'program'): string {
  const lines = ['rankdir=TB', 'node [fontname="monospace"]', ...contentsOf(graph, 'n')]
  return `digraph ${quoteUnlessPlain(name)} {\n${lines.map((line) => `  ${line}`).join('\n')}\n}`
}

/** Statements for the nodes of a graph, whose names begin with a prefix. */
function contentsOf({ nodes, outputs, updates }: Graph, prefix: string): string[] {
  const names = new Map(nodes.map((node, i) => [node, `${prefix}${i}`]))
  const edge = (value: Value, to: string, style = '') => {
    const { base } = placeOf(value)
    const label = base === value ? specText(value) : `${specText(base)} as ${specText(value)}`
    return `${names.get(base.node)} -> ${to} [label=${JSON.stringify(label)}${style}]`
  }
  const lines = nodes
    .filter((node) => node.kind !== 'view')
    .flatMap((node) => [
      `${names.get(node)} [label=${JSON.stringify(labelOf(node))}, shape=${shapes[node.kind]}]`,
      ...valuesOf(node).map((value) => edge(value, names.get(node)!)),
      ...clustersOf(node, names.get(node)!),
    ])
  outputs.forEach((value, i) => {
    lines.push(`${prefix}out${i} [label="output ${i}", shape=plaintext]`)
    lines.push(edge(value, `${prefix}out${i}`))
  })
  for (const { slot, value } of updates) {
    const state = nodes.find((node) => node.kind === 'state' && node.slot === slot)
    const target = state === undefined ? `${prefix}state${slot}` : names.get(state)!
    lines.push(edge(value, target, ', style=dashed, constraint=false'))
  }
  return lines
}

const shapes = {
  input: 'ellipse',
  state: 'ellipse',
  constant: 'ellipse',
  call: 'box',
  control: 'box',
  view: 'box',
} satisfies Record<Node['kind'], string>

const valuesOf = (node: Node): readonly Value[] => (node.kind === 'view' ? [] : operandsOf(node))

function labelOf(node: Node): string {
  switch (node.kind) {
    case 'input':
    case 'state':
      return `${node.name}\n${specText(node.results[0]!)}`
    case 'constant':
      return `constant\n${specText(node.results[0]!)}`
    case 'call': {
      const numbers = node.inputs.flatMap((x) => {
        if (isValue(x)) return []
        return typeof x === 'number' ? String(x) : `$${x.slot}`
      })
      return [node.op.name, ...numbers].join(' ')
    }
    case 'control':
      return node.control.kind
    case 'view':
      return 'view'
  }
}

/** The parts of a branch or a loop, each in a frame. */
function clustersOf(node: Node, name: string): string[] {
  if (node.kind !== 'control') return []
  return partsOf(node.control).flatMap(({ role, part }) => [
    `subgraph cluster_${name}_${role} {`,
    `  label=${JSON.stringify(role)}`,
    ...contentsOf(part.graph, `${name}_${role}_`).map((line) => `  ${line}`),
    '}',
  ])
}

const quoteUnlessPlain = (name: string): string =>
  /^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name)
