/** @file A trace with other numbers in it: the program that the function would be at other sizes. */
import { layoutOf, type Layout } from '../core/layout.ts'
import { sizeOf } from '../core/shape.ts'
import { LiveNumber } from '../tensor/tracing.ts'
import type { Attributes } from '../tensor/types.ts'
import { DynamicAxesError } from './dynamic-axes.ts'
import { GraphBuilder, isValue, prune } from './graph.ts'
import type { Argument, CallNode, Control, Graph, Node, Part, Value } from './graph.ts'
import type { Trace } from './trace.ts'

/** What stands in the place of a number. */
export type Renumber = (x: number) => number

/**
 * Rebuilds a trace with other numbers: sizes of inputs, layouts of views, attributes, plain operands, and
 * what random draws take. Shapes of results are inferred anew. `mark` tells apart what different numbers
 * make of one call. Throws what inference throws, and a DynamicAxesError where a view would leave its memory.
 */
export function resizeTrace(trace: Trace, renumber: Renumber, mark: string): Trace {
  return {
    ...trace,
    graph: resizeGraph(trace.graph, renumber, mark),
    actions: trace.actions.map((action) =>
      action.kind === 'act' ? action : { ...action, sizes: action.sizes.map(renumber) },
    ),
  }
}

function resizeGraph(graph: Graph, renumber: Renumber, mark: string): Graph {
  const builder = new GraphBuilder()
  const images = new Map<Value, Value>()
  const image = (value: Value) => images.get(value)!
  const made = (node: Node): readonly Value[] => {
    switch (node.kind) {
      case 'input': {
        const { shape, dtype } = node.results[0]!
        const sizes = shape.map(renumber)
        return [builder.input(node.name, sizes, dtype)]
      }
      case 'state':
        return builder.copy(node, image)
      case 'constant':
        checkConstant(node.results[0]!, renumber)
        return builder.copy(node, image)
      case 'view': {
        const layout = resizeLayout(node.layout, renumber)
        const offset = renumber(node.offset)
        checkInside(layout, offset, image(node.of))
        return [builder.view(image(node.of), layout, offset)]
      }
      case 'call':
        return resizeCall(node)
      case 'control':
        return builder.control(
          resizeControl(node.control, renumber, mark),
          node.inputs.map(image),
          node.again,
        )
    }
  }
  const resizeCall = ({ op, inputs, attributes, key, again, results }: CallNode) => {
    const resized = resizeData(attributes, renumber) as Attributes
    const newKey = resized === attributes ? key : `${key}@${mark}`
    const mapped = inputs.map((x): Argument =>
      typeof x === 'number' ? renumber(x) : isValue(x) ? image(x) : x,
    )
    const made = builder.call(op, mapped, resized, newKey, again)
    const isAlike = made.every(
      ({ shape, dtype }, i) =>
        shape.length === results[i]!.shape.length && dtype === results[i]!.dtype,
    )
    if (!isAlike)
      throw new DynamicAxesError(`compile: ${op.name} has results of another kind at ${mark}`)
    return made
  }
  for (const node of graph.nodes) {
    const values = made(node)
    node.results.forEach((value, i) => images.set(value, values[i]!))
  }
  return prune({
    nodes: builder.nodes,
    outputs: graph.outputs.map(image),
    updates: graph.updates.map(({ slot, value }) => ({ slot, value: image(value) })),
  })
}

function resizeControl(control: Control, renumber: Renumber, mark: string): Control {
  const part = ({ graph, inputs }: Part): Part => ({
    graph: resizeGraph(graph, renumber, mark),
    inputs,
  })
  return control.kind === 'cond'
    ? { kind: 'cond', whenTrue: part(control.whenTrue), whenFalse: part(control.whenFalse) }
    : { kind: 'while', condition: part(control.condition), body: part(control.body) }
}

function resizeLayout(layout: Layout, renumber: Renumber): Layout {
  const numbers = (list: readonly number[]) => list.map(renumber)
  const shape = numbers(layout.shape)
  return layout.contiguous ? layoutOf(shape) : layoutOf(shape, numbers(layout.strides))
}

/** Plain data with other numbers; the same object where none is another. */
function resizeData(data: unknown, renumber: Renumber): unknown {
  if (typeof data === 'number') return renumber(data)
  if (typeof data !== 'object' || data === null || data instanceof LiveNumber) return data
  if (Array.isArray(data)) {
    const items = data.map((item) => resizeData(item, renumber))
    return items.every((item, i) => Object.is(item, data[i])) ? data : items
  }
  const prototype: unknown = Object.getPrototypeOf(data)
  if (prototype !== Object.prototype && prototype !== null) return data
  const before = Object.entries(data)
  const after = before.map(([key, item]) => [key, resizeData(item, renumber)] as const)
  return after.every(([, item], i) => Object.is(item, before[i]![1]))
    ? data
    : Object.fromEntries(after)
}

function checkInside({ shape, strides, size }: Layout, offset: number, of: Value): void {
  if (size === 0) return
  const ends = shape.map((n, i) => (n - 1) * strides[i]!)
  const reach = (pick: (x: number) => number) => ends.reduce((sum, x) => sum + pick(x), offset)
  const isInside =
    reach((x) => Math.min(x, 0)) >= 0 && reach((x) => Math.max(x, 0)) < sizeOf(of.shape)
  if (!isInside || !shape.every((n) => Number.isSafeInteger(n) && n >= 0))
    throw new DynamicAxesError(
      `compile: a part of a tensor of shape [${of.shape.join(', ')}] would lie outside of it: the function takes a fixed part of a dynamic axis that is shorter`,
    )
}

function checkConstant({ shape }: Value, renumber: Renumber): void {
  if (shape.every((n) => renumber(n) === n)) return
  throw new DynamicAxesError(
    `compile: data of shape [${shape.join(', ')}] was made in the function from JavaScript numbers, in a size that depends on a dynamic axis, for which a number stands in while it is traced. Make it of tensor operations (arange, zeros, ones), or pass it as an argument`,
  )
}
