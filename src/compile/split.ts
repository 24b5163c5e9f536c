/** @file Cuts the graph of a function and its gradients into a forward and a backward part. */
import { LiveNumber } from '../tensor/tracing.ts'
import { assert, TraceError } from '../util/errors.ts'
import { GraphBuilder, operandsOf, placeOf, prune } from './graph.ts'
import type { Graph, Node, Value } from './graph.ts'

/** Where a saved value comes from: an argument, a state as it was before the run, or an output of the forward part. */
export type Saved =
  | { readonly kind: 'input'; readonly index: number }
  | { readonly kind: 'state'; readonly slot: number }
  | { readonly kind: 'output'; readonly index: number }

/** What is what in a graph that is to be cut. */
export interface Seam {
  /** The last so many inputs are gradients of results. */
  readonly cotangentCount: number
  /** The last so many outputs are what is made from them. */
  readonly gradientCount: number
  /** Numbers from this one on are known in the backward part only. */
  readonly numberCount: number
}

export interface Split {
  /** Its outputs: those of the function, then the saved ones. */
  readonly forward: Graph
  /** Its inputs: the saved values, then the gradients of the results. */
  readonly backward: Graph
  readonly saved: readonly Saved[]
}

/**
 * Note [Saved values]: the backward part has what depends on the gradients of results, and what is marked
 * as computed again. What it reads of the rest is saved, except for what costs little: constants stand in both parts,
 * views are taken anew, arguments and parameters are there anyway, and elementwise functions of any of
 * these, or of what is saved, are computed twice.
 */
export function splitGraph(graph: Graph, seam: Seam): Split {
  const { cotangentCount, gradientCount } = seam
  const inputs = graph.nodes.filter((node) => node.kind === 'input')
  const cotangents = inputs.slice(inputs.length - cotangentCount).flatMap((node) => node.results)
  const outputs = graph.outputs.slice(0, graph.outputs.length - gradientCount)
  const gradients = graph.outputs.slice(outputs.length)
  const { updates } = graph
  const late = lateNodes(graph, cotangents, seam.numberCount)
  for (const value of [...outputs, ...updates.map((u) => u.value)])
    if (late.has(value.node))
      throw new TraceError(
        'compile: a hook keeps a gradient that is not known before backward. Call backward() inside the function, or register the hook outside of it',
      )
  const { saved, again } = chooseSaved(graph, late, gradients)
  const early = graph.nodes.filter((node) => !late.has(node))
  const kept = saved.filter(({ node }) => node.kind !== 'input' && node.kind !== 'state')
  const forward = prune({ nodes: early, outputs: [...outputs, ...kept], updates })
  let next = outputs.length
  return {
    forward,
    backward: backwardOf(graph, { late, again, saved, cotangents, gradients }),
    saved: saved.map(({ node }): Saved => {
      if (node.kind === 'input') return { kind: 'input', index: inputs.indexOf(node) }
      if (node.kind === 'state') return { kind: 'state', slot: node.slot }
      return { kind: 'output', index: next++ }
    }),
  }
}

function lateNodes({ nodes }: Graph, cotangents: readonly Value[], numberCount: number): Set<Node> {
  const late = new Set<Node>(cotangents.map(({ node }) => node))
  const isLate = (node: Node) =>
    (node.kind === 'call' || node.kind === 'control') &&
    (node.again !== undefined ||
      node.inputs.some((x) => x instanceof LiveNumber && x.slot >= numberCount))
  for (const node of nodes)
    if (isLate(node) || operandsOf(node).some((value) => late.has(value.node))) late.add(node)
  return late
}

const baseOf = (value: Value): Value => placeOf(value).base

function chooseSaved(graph: Graph, late: ReadonlySet<Node>, gradients: readonly Value[]) {
  const wanted = new Set<Value>()
  const want = (value: Value) => {
    if (!late.has(value.node)) wanted.add(baseOf(value))
  }
  for (const node of late) operandsOf(node).forEach(want)
  gradients.forEach(want)
  // What the backward part has without saving it, in the order in which it is computed.
  const early = graph.nodes.filter((node) => !late.has(node))
  const isThere = new Set<Value>()
  const cheap = new Set<Node>()
  for (const node of early) {
    if (node.kind === 'call' || node.kind === 'control') {
      if (
        node.kind === 'call' &&
        node.op.kind === 'elementwise' &&
        operandsOf(node).every((value) => isThere.has(baseOf(value)))
      )
        cheap.add(node)
      else {
        for (const value of node.results) if (wanted.has(value)) isThere.add(value)
        continue
      }
    }
    for (const value of node.results) isThere.add(value)
  }
  const again = new Set<Node>()
  for (const node of early.toReversed())
    if (cheap.has(node) && node.results.some((value) => wanted.has(value))) {
      again.add(node)
      operandsOf(node).forEach(want)
    }
  const saved = early
    .filter((node) => node.kind !== 'constant' && !again.has(node))
    .flatMap((node) => node.results.filter((value) => wanted.has(value)))
  return { saved, again }
}

function backwardOf(
  { nodes }: Graph,
  parts: {
    readonly late: ReadonlySet<Node>
    readonly again: ReadonlySet<Node>
    readonly saved: readonly Value[]
    readonly cotangents: readonly Value[]
    readonly gradients: readonly Value[]
  },
): Graph {
  const { late, again, saved, cotangents, gradients } = parts
  const builder = new GraphBuilder()
  const images = new Map<Value, Value>()
  const image = (value: Value): Value => {
    const found = images.get(value)
    assert(found !== undefined, 'a value of the backward part was not saved')
    return found
  }
  const take = (value: Value, name: string) =>
    images.set(value, builder.input(name, value.shape, value.dtype))
  saved.forEach((value, i) => take(value, `saved${i}`))
  cotangents.forEach((value, i) => take(value, `g${i}`))
  for (const node of nodes) {
    if (node.results.every((value) => images.has(value))) continue
    const isPart =
      late.has(node) ||
      again.has(node) ||
      node.kind === 'constant' ||
      (node.kind === 'view' && images.has(node.of))
    if (!isPart) continue
    const made = builder.copy(node, image)
    node.results.forEach((value, i) => images.set(value, made[i]!))
  }
  return prune({ nodes: builder.nodes, outputs: gradients.map(image), updates: [] })
}
