/** @file Checks that a graph is one: what it is made of belongs to it, comes in order, and fits. */
import { layoutOf, type Layout } from '../core/layout.ts'
import { sameShape, sizeOf } from '../core/shape.ts'
import { LiveNumber } from '../tensor/tracing.ts'
import { InternalError } from '../util/errors.ts'
import { isValue, operandsOf, specsOf } from './graph.ts'
import type { CallNode, ControlNode, Graph, Node, Part, Value, ViewNode } from './graph.ts'
import { partsOf, specText } from './print.ts'

/**
 * Throws an InternalError that names the node unless every value is made before it is read, once, by a node
 * of the graph; results are what inference says of the inputs; views stay inside of what they are views of;
 * states have a slot each; and what is returned belongs to the graph. `where` begins the message.
 *
 * @example
 * const f = compile((x: Tensor) => x.add(1))
 * f(tensor([1, 2]))
 * verifyGraph(f.programs[0].graph) // -> undefined
 */
export function verifyGraph(graph: Graph, where = 'graph'): void {
  const { nodes, outputs, updates } = graph
  const known = new Set<Value>()
  const ids = new Set<number>()
  const slots = new Set<number>()
  nodes.forEach((node, i) => {
    const place = `${where}: node ${i} (${describe(node)})`
    const check: Check = (condition, what) => {
      if (!condition) throw new InternalError(`internal: ${place}: ${what()}`)
    }
    for (const [k, value] of operandsOf(node).entries())
      check(known.has(value), () => `operand ${k} is not made before it`)
    checkNode(node, check, place)
    if (node.kind === 'state') {
      check(!slots.has(node.slot), () => `another node has slot ${node.slot}`)
      slots.add(node.slot)
    }
    for (const [k, value] of node.results.entries()) {
      check(value.node === node && value.index === k, () => `result ${k} belongs to another node`)
      check(!ids.has(value.id), () => `id ${value.id} is taken`)
      ids.add(value.id)
      known.add(value)
    }
  })
  const fail = (what: string) => {
    throw new InternalError(`internal: ${where}: ${what}`)
  }
  outputs.forEach((value, i) => known.has(value) || fail(`output ${i} is no value of the graph`))
  const updated = new Set<number>()
  for (const { slot, value } of updates) {
    if (!known.has(value)) fail(`the new content of slot ${slot} is no value of the graph`)
    if (updated.has(slot)) fail(`slot ${slot} is updated twice`)
    updated.add(slot)
  }
}

type Check = (condition: boolean, what: () => string) => void

function describe(node: Node): string {
  if (node.kind === 'call') return node.op.name
  if (node.kind === 'control') return node.control.kind
  return node.kind === 'input' || node.kind === 'state' ? `${node.kind} ${node.name}` : node.kind
}

function checkNode(node: Node, check: Check, place: string): void {
  switch (node.kind) {
    case 'call':
      return checkCall(node, check)
    case 'view':
      return checkView(node, check)
    case 'control':
      return checkControl(node, check, place)
    default: {
      check(node.results.length === 1, () => `expected one result, found ${node.results.length}`)
      if (node.kind !== 'constant') return
      const [value] = node.results
      const { tensor } = node
      check(
        sameShape(tensor.shape, value!.shape) && tensor.dtype === value!.dtype,
        () => `the tensor is ${specText(tensor)}, the result ${specText(value!)}`,
      )
    }
  }
}

function checkCall({ op, inputs, attributes, results }: CallNode, check: Check): void {
  for (const [i, x] of inputs.entries())
    check(
      isValue(x) || typeof x === 'number' || x instanceof LiveNumber,
      () => `operand ${i} is no value and no number`,
    )
  const wanted = op.infer(specsOf(inputs), attributes).map(specText).join()
  const found = results.map(specText).join()
  check(wanted === found, () => `inference says ${wanted}, the results are ${found}`)
}

function checkView({ of, layout, offset, results: [value] }: ViewNode, check: Check): void {
  check(of.node.kind !== 'view', () => 'a view of a view')
  check(
    value !== undefined && sameShape(value.shape, layout.shape) && value.dtype === of.dtype,
    () => `the result is not a view of ${specText(of)} with shape [${layout.shape.join(', ')}]`,
  )
  check(offset !== 0 || layout !== layoutOf(of.shape), () => 'a view that is the same as its base')
  const { low, high } = reachOf(layout)
  const size = sizeOf(of.shape)
  check(
    layout.size === 0 || (offset + low >= 0 && offset + high < size),
    () => `it reads ${offset + low} to ${offset + high} of ${size} elements`,
  )
}

function reachOf({ shape, strides }: Layout): { low: number; high: number } {
  let [low, high] = [0, 0]
  shape.forEach((n, i) => {
    const reach = (n - 1) * strides[i]!
    low += Math.min(reach, 0)
    high += Math.max(reach, 0)
  })
  return { low, high }
}

function checkControl({ control, inputs, results }: ControlNode, check: Check, place: string) {
  const same = (a: readonly Value[], b: readonly Value[]) =>
    a.map(specText).join() === b.map(specText).join()
  for (const { role, part } of partsOf(control)) {
    verifyGraph(part.graph, `${place}, ${role}`)
    checkPart(part, role, inputs, check)
  }
  const decides = ({ shape }: Value) => sizeOf(shape) === 1
  if (control.kind === 'cond') {
    check(inputs[0] !== undefined && decides(inputs[0]), () => 'the predicate is not one element')
    for (const part of [control.whenTrue, control.whenFalse])
      check(same(part.graph.outputs, results), () => 'a branch gives something else')
    return
  }
  const [answer] = control.condition.graph.outputs
  check(answer !== undefined && decides(answer), () => 'the condition is not one element')
  check(same(control.body.graph.outputs, results), () => 'the body gives something else')
  check(same(inputs.slice(0, results.length), results), () => 'the first state is something else')
}

function checkPart({ graph, inputs }: Part, role: string, given: readonly Value[], check: Check) {
  const wanted = graph.nodes.filter((node) => node.kind === 'input')
  const fits = wanted.every(({ results: [value] }, i) => {
    const x = given[inputs[i]!]
    return x !== undefined && specText(x) === specText(value!)
  })
  check(fits && wanted.length === inputs.length, () => `${role} does not take what it is given`)
  check(
    graph.outputs.every(({ node }) => node.kind === 'call' || node.kind === 'control'),
    () => `${role} returns what was not computed in it`,
  )
  check(
    graph.updates.length === 0 && graph.nodes.every(({ kind }) => kind !== 'state'),
    () => `${role} has states`,
  )
}
