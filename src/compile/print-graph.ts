/** @file Prints a graph, a line per node. */
import { isValue, type Argument, type Graph, type Node, type Value } from './graph.ts'

/** Inputs and states by name, constants as c and other values as v with their numbers. */
export function printGraph({ nodes, outputs, updates }: Graph): string {
  return [
    ...nodes.map(line),
    `return ${outputs.map(name).join(', ')}`,
    ...updates.map(({ slot, value }) => `state ${slot} becomes ${name(value)}`),
  ].join('\n')
}

function line(node: Node): string {
  const results = node.results
    .map((value) => `${name(value)}: ${value.dtype} [${value.shape.join(', ')}]`)
    .join(', ')
  switch (node.kind) {
    case 'call':
      return `${results} = ${node.op.name}(${node.inputs.map(argument).join(', ')})${node.key && ` {${node.key}}`}`
    case 'view':
      return `${results} = ${name(node.of)} with strides [${node.layout.strides.join(', ')}] from ${node.offset}`
    default:
      return `${results} = ${node.kind}`
  }
}

function name({ id, node }: Value): string {
  if (node.kind === 'input' || node.kind === 'state') return node.name
  return `${node.kind === 'constant' ? 'c' : 'v'}${id}`
}

function argument(x: Argument): string {
  if (typeof x === 'number') return String(x)
  return isValue(x) ? name(x) : `number ${x.slot}`
}
