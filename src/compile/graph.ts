/** @file The graph of a program: what is computed from what, as a list of nodes in an order that works. */
import type { DType } from '../core/dtype.ts'
import { layoutOf, type Layout } from '../core/layout.ts'
import type { Shape } from '../core/shape.ts'
import { findOp } from '../ops/define.ts'
import type { InputSpec, Op } from '../tensor/op.ts'
import { specOf } from '../tensor/plan.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { LiveNumber } from '../tensor/tracing.ts'
import type { Attributes } from '../tensor/types.ts'
import { composed, type Place } from './view-place.ts'

/** What a node gives: a tensor of the program, without data. */
export interface Value {
  /** Unique in its graph. */
  readonly id: number
  readonly shape: Shape
  readonly dtype: DType
  readonly node: Node
  /** Which of the node's results it is. */
  readonly index: number
}

/** What an operation takes: a value, a plain number, or a number that each run computes. */
export type Argument = Value | number | LiveNumber

interface NodeBase {
  readonly results: readonly Value[]
}

/** An argument of the program. */
export interface InputNode extends NodeBase {
  readonly kind: 'input'
  readonly name: string
}

/** The content, at the beginning of a run, of something that outlives it: a parameter, a buffer, a `.grad`. */
export interface StateNode extends NodeBase {
  readonly kind: 'state'
  readonly name: string
  readonly slot: number
}

/** A tensor that was there before. */
export interface ConstantNode extends NodeBase {
  readonly kind: 'constant'
  readonly tensor: Tensor
}

/** An operation. */
export interface CallNode extends NodeBase {
  readonly kind: 'call'
  readonly op: Op
  readonly attributes: Attributes
  /** Tells attributes apart. */
  readonly key: string
  readonly inputs: readonly Argument[]
  /** Computed again for the backward pass, the how manieth time: not to be merged with the first. */
  readonly again?: number
}

/** Another layout of the elements of a value that is no view itself. */
export interface ViewNode extends NodeBase {
  readonly kind: 'view'
  readonly of: Value
  readonly layout: Layout
  /** Position of element 0, in elements of `of`. */
  readonly offset: number
}

/** A graph inside another. */
export interface Part {
  readonly graph: Graph
  /** Which of the node's inputs each of the graph's inputs is. */
  readonly inputs: readonly number[]
}

/** What is computed as often as values say. */
export type Control =
  /** The first input is a predicate; the results are those of one of the branches. */
  | { readonly kind: 'cond'; readonly whenTrue: Part; readonly whenFalse: Part }
  /** The first inputs are the state, as many as there are results; parts are given its present value. */
  | { readonly kind: 'while'; readonly condition: Part; readonly body: Part }

/** A branch or a loop. What its graphs return was computed there: it is no input and no view. */
export interface ControlNode extends NodeBase {
  readonly kind: 'control'
  readonly control: Control
  readonly inputs: readonly Value[]
  /** As in a call. */
  readonly again?: number
}

export type Node = InputNode | StateNode | ConstantNode | CallNode | ViewNode | ControlNode

/** A state gets another content at the end of a run. */
export interface Update {
  readonly slot: number
  readonly value: Value
}

export interface Graph {
  readonly nodes: readonly Node[]
  readonly outputs: readonly Value[]
  readonly updates: readonly Update[]
}

/** The values that a node reads. */
export function operandsOf(node: Node): readonly Value[] {
  if (node.kind === 'view') return [node.of]
  if (node.kind === 'control') return node.inputs
  if (node.kind !== 'call') return []
  return node.inputs.filter(isValue)
}

export const isValue = (x: Argument): x is Value => typeof x === 'object' && 'node' in x

/** Where a value lies: the value that has memory, and its layout there. */
export function placeOf(value: Value): Place & { readonly base: Value } {
  const { node } = value
  if (node.kind === 'view') return { base: node.of, layout: node.layout, offset: node.offset }
  return { base: value, layout: layoutOf(value.shape), offset: 0 }
}

/** What inference and lowering are told about the inputs of a call. */
export function specsOf(inputs: readonly Argument[]): InputSpec[] {
  return inputs.map((x) => {
    if (!isValue(x)) return specOf(typeof x === 'number' ? x : undefined)
    return specOf({ dtype: x.dtype, layout: placeOf(x).layout })
  })
}

/** The values with memory that are wanted after the run: outputs and new contents of states. */
export function leavingValues({ outputs, updates }: Graph): Set<Value> {
  const values = [...outputs, ...updates.map(({ value }) => value)]
  return new Set(values.map((value) => placeOf(value).base))
}

/** How often each value is read, by nodes, as an output or as new content of a state. */
export function usesOf({ nodes, outputs, updates }: Graph): Map<Value, number> {
  const uses = new Map<Value, number>()
  const use = (value: Value) => uses.set(value, (uses.get(value) ?? 0) + 1)
  for (const node of nodes) operandsOf(node).forEach(use)
  outputs.forEach(use)
  for (const { value } of updates) use(value)
  return uses
}

/** Makes graphs, node after node. */
export class GraphBuilder {
  readonly nodes: Node[] = []
  readonly #views = new Map<Value, Map<string, Value>>()
  /** Copies of views that other views need. */
  readonly #copies = new Map<Value, Value>()
  #nextId = 0

  input(name: string, shape: Shape, dtype: DType): Value {
    return this.#add({ kind: 'input', name }, [{ shape, dtype }])[0]!
  }

  state(slot: number, name: string, shape: Shape, dtype: DType): Value {
    return this.#add({ kind: 'state', name, slot }, [{ shape, dtype }])[0]!
  }

  constant(tensor: Tensor, shape: Shape): Value {
    return this.#add({ kind: 'constant', tensor }, [{ shape, dtype: tensor.dtype }])[0]!
  }

  /** Throws what the op's own inference throws. */
  call(
    op: Op,
    inputs: readonly Argument[],
    attributes: Attributes,
    key: string,
    again?: number,
  ): readonly Value[] {
    const specs = op.infer(specsOf(inputs), attributes)
    const node = { kind: 'call', op, attributes, key, inputs } as const
    return this.#add(again === undefined ? node : { ...node, again }, specs)
  }

  /** Results are like those of the first graph, or like the state. */
  control(control: Control, inputs: readonly Value[], again?: number): readonly Value[] {
    const { graph } = control.kind === 'cond' ? control.whenTrue : control.body
    const node = { kind: 'control', control, inputs } as const
    return this.#add(again === undefined ? node : { ...node, again }, graph.outputs)
  }

  /** The value itself, if that is the layout it has. */
  view(value: Value, layout: Layout, offset: number): Value {
    const { base } = placeOf(value)
    if (offset === 0 && layout === layoutOf(base.shape)) return base
    let known = this.#views.get(base)
    if (known === undefined) this.#views.set(base, (known = new Map()))
    const key = `${layout.id}@${offset}`
    let view = known.get(key)
    if (view === undefined) {
      const spec = { shape: layout.shape, dtype: base.dtype }
      ;[view] = this.#add({ kind: 'view', of: base, layout, offset }, [spec])
      known.set(key, view!)
    }
    return view!
  }

  /** A view of the elements of a value in their order, also of a view; of a copy where nothing else has that layout. */
  viewOf(value: Value, layout: Layout, offset: number): Value {
    if (value.node.kind !== 'view') return this.view(value, layout, offset)
    const place = composed({ layout, offset }, value.node)
    if (place !== undefined) return this.view(value.node.of, place.layout, place.offset)
    let copy = this.#copies.get(value)
    if (copy === undefined) {
      ;[copy] = this.call(findOp('copy')!, [value], {}, '')
      this.#copies.set(value, copy!)
    }
    return this.view(copy!, layout, offset)
  }

  /** The same kind of node with other inputs. */
  copy(node: Node, inputs: (value: Value) => Value): readonly Value[] {
    switch (node.kind) {
      case 'call': {
        const mapped = node.inputs.map((x) => (isValue(x) ? inputs(x) : x))
        return this.#add({ ...node, inputs: mapped }, node.results)
      }
      case 'control':
        return this.#add({ ...node, inputs: node.inputs.map(inputs) }, node.results)
      case 'view':
        return [this.viewOf(inputs(node.of), node.layout, node.offset)]
      default:
        return this.#add(node, node.results)
    }
  }

  #add(
    node:
      | Without<InputNode>
      | Without<StateNode>
      | Without<ConstantNode>
      | Without<CallNode>
      | Without<ViewNode>
      | Without<ControlNode>,
    specs: readonly { readonly shape: Shape; readonly dtype: DType }[],
  ): readonly Value[] {
    const results: Value[] = []
    const made = { ...node, results } as Node
    specs.forEach(({ shape, dtype }, index) =>
      results.push({ id: this.#nextId++, shape, dtype, node: made, index }),
    )
    this.nodes.push(made)
    return results
  }
}

type Without<N extends Node> = Omit<N, 'results'>

/** What a rewrite makes of a node: the values that take the place of its results, or undefined to copy it. */
export type Rule = (
  node: Node,
  inputs: (value: Value) => Value,
  builder: GraphBuilder,
) => readonly Value[] | undefined

/** Builds a graph anew, node by node; what nobody reads afterwards is left out. */
export function rewriteGraph(graph: Graph, rule: Rule): Graph {
  const builder = new GraphBuilder()
  const images = new Map<Value, Value>()
  const image = (value: Value) => images.get(value)!
  for (const node of graph.nodes) {
    const made = rule(node, image, builder) ?? builder.copy(node, image)
    node.results.forEach((value, i) => images.set(value, made[i]!))
  }
  return prune({
    nodes: builder.nodes,
    outputs: graph.outputs.map(image),
    updates: graph.updates.map(({ slot, value }) => ({ slot, value: image(value) })),
  })
}

/** Without the nodes that nothing depends on; inputs stay, they are the program's signature. */
export function prune(graph: Graph): Graph {
  const wanted = new Set<Node>()
  const want = (value: Value) => wanted.add(value.node)
  graph.outputs.forEach(want)
  for (const { value } of graph.updates) want(value)
  // Who reads a value comes after it.
  for (const node of graph.nodes.toReversed()) if (wanted.has(node)) operandsOf(node).forEach(want)
  return { ...graph, nodes: graph.nodes.filter((n) => n.kind === 'input' || wanted.has(n)) }
}
