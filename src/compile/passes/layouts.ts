/** @file Choice of layouts: elementwise ops write in the order in which they read, and what is repeated once. */
import { layoutOf, expandLayout, type Layout } from '../../core/layout.ts'
import type { Shape } from '../../core/shape.ts'
import { findOp } from '../../ops/define.ts'
import { isValue, leavingValues, placeOf, rewriteGraph, specsOf } from '../graph.ts'
import type { Argument, CallNode, Graph, GraphBuilder, Node, Value } from '../graph.ts'
import { isPointwise } from '../pointwise.ts'
import { composed, type Place } from '../view-place.ts'
import type { Pass } from './pass.ts'

/**
 * Note [Layouts]: the axes of an elementwise op can be walked in any order, and written in that order: then
 * its result is a view. So transposes sink towards the readers, and vanish where they meet their inverse.
 * That pays where readers then find the elements in order who did not before; elementwise readers pass a
 * transpose on. Axes along which no operand changes are left out of the op, and the result repeats along
 * them without being copied.
 */
export const layouts: Pass = {
  run(graph: Graph): Graph {
    const leaving = leavingValues(graph)
    const readers = readersOf(graph)
    return rewriteGraph(graph, (node, image, builder) => {
      if (node.kind !== 'call' || node.op.kind !== 'elementwise' || leaving.has(node.results[0]!))
        return undefined
      const inputs = node.inputs.map((x) => (isValue(x) ? image(x) : x))
      const plan = planOf(node, inputs, readers)
      if (plan === undefined || !isPointwise(node)) return undefined
      const made = carryOut(plan, node, inputs, builder)
      return made && [made]
    })
  },
}

/** How the result is laid out in the memory of the call that gives it. */
interface Plan {
  /** The axes of the call, in the order in which it walks them; those that are left out are not among them. */
  readonly axes: readonly number[]
  readonly view: Place
}

/** Who reads a value, and in which layout. */
interface Reading {
  readonly reader: Node
  readonly place: Place
}

type Readers = ReadonlyMap<Value, readonly Reading[]>

// Views are no readers.
function readersOf({ nodes }: Graph): Readers {
  const readers = new Map<Value, Reading[]>()
  for (const reader of nodes) {
    if (reader.kind !== 'call' && reader.kind !== 'control') continue
    for (const x of reader.inputs) {
      if (!isValue(x)) continue
      const { base, ...place } = placeOf(x)
      if (!readers.has(base)) readers.set(base, [])
      readers.get(base)!.push({ reader, place })
    }
  }
  return readers
}

function planOf(node: CallNode, inputs: readonly Argument[], readers: Readers): Plan | undefined {
  const [result] = node.results
  const { shape } = result!
  const operands = inputs.filter(isValue).map((x) => expandLayout(placeOf(x).layout, shape))
  const order = sharedOrder(operands)
  const axes = order.filter((a) => shape[a] === 1 || operands.some((x) => x.strides[a] !== 0))
  const isSame = axes.length === shape.length && axes.every((a, i) => a === i)
  if (isSame || operands.length === 0) return undefined
  const own = layoutOf(axes.map((a) => shape[a]!))
  const strides = shape.map((_, a) => (axes.includes(a) ? own.strides[axes.indexOf(a)]! : 0))
  const view = { layout: layoutOf(shape, strides), offset: 0 }
  const isSmaller = axes.length < shape.length
  return pays(readers.get(result!) ?? [], view, isSmaller) ? { axes, view } : undefined
}

/** The order of the axes by the strides in which all operands agree that are not repeated, or as they are. */
function sharedOrder(operands: readonly Layout[]): number[] {
  const asTheyAre = operands[0]?.shape.map((_, i) => i) ?? []
  const full = operands.filter(({ shape, strides }) =>
    shape.every((n, i) => n === 1 || strides[i] !== 0),
  )
  const [first] = full
  if (first === undefined) return asTheyAre
  const { shape, strides } = first
  const order = asTheyAre.toSorted((a, b) => strides[b]! - strides[a]! || a - b)
  const inOrder = ({ strides: s }: Layout) => layoutOf(at(shape, order), at(s, order)).contiguous
  return full.every(inOrder) ? order : asTheyAre
}

const at = (list: Shape, axes: readonly number[]): number[] => axes.map((a) => list[a]!)

function pays(readers: readonly Reading[], view: Place, isSmaller: boolean): boolean {
  let gain = 0
  for (const { reader, place } of readers) {
    const after = composed(place, view)
    // A copy would be made.
    if (after === undefined) return false
    const before = place.layout.contiguous
    const isInOrder = after.layout.contiguous
    const passesOn = reader.kind === 'call' && reader.op.kind === 'elementwise'
    if (before && !isInOrder && !passesOn && !isSmaller) return false
    gain += Number(isInOrder) - Number(before)
  }
  // One operand is read in order that was not.
  return isSmaller || gain + 1 >= 0
}

function carryOut(
  { axes, view }: Plan,
  { op, attributes, key, again, results }: CallNode,
  inputs: readonly Argument[],
  builder: GraphBuilder,
): Value | undefined {
  const { shape, dtype } = results[0]!
  const operands = inputs.map((x) => {
    // What has no axes must not get any: its dtype would count for more.
    if (!isValue(x) || (x.shape.length === 0 && axes.length > 0)) return x
    const { base, layout, offset } = placeOf(x)
    const { strides } = expandLayout(layout, shape)
    return builder.view(base, layoutOf(at(shape, axes), at(strides, axes)), offset)
  })
  if (op.infer(specsOf(operands), attributes)[0]!.dtype !== dtype) return undefined
  const [first] = operands
  const isCopy = op === findOp('copy') && isValue(first!)
  const made = isCopy ? first : builder.call(op, operands, attributes, key, again)[0]!
  return builder.viewOf(made, view.layout, view.offset)
}
