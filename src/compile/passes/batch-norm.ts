/** @file Scales and shifts of channels behind a product are taken into its weight and bias: batch norm for inference. */
import { dtypes, isFloat } from '../../core/dtype.ts'
import { expandLayout, layoutOf } from '../../core/layout.ts'
import { sameShape, sizeOf, type Shape } from '../../core/shape.ts'
import { findOp } from '../../ops/define.ts'
import { isValue, placeOf, rewriteGraph, usesOf } from '../graph.ts'
import type { Argument, Graph, Node, Value } from '../graph.ts'
import { any, commuting, matchPattern, once, where } from '../match.ts'
import type { Pass } from './pass.ts'

/**
 * Note [Batch norm]: with known statistics batch norm is y s + t, with a scale and a shift per channel. Behind
 * y = x * w + b, be it a convolution or a dense layer, that is x * (w s) + (b s + t). Where all of these are
 * constants, w s and b s + t are folded into constants afterwards. Parameters may change between runs, so
 * theirs are computed in each run, if that is little beside the product itself. What the run changes, or
 * gradients read, is left alone.
 */
export const batchNorm: Pass = {
  run: (graph) => taken(taken(graph, 'mul'), 'add'),
}

/** The axis of the result along which the weight's axis 0 and the bias lie. */
const channelAxes = {
  conv: () => 1,
  linear: (ndim: number) => ndim - 1,
} satisfies Record<string, (ndim: number) => number>

/** The product has at least so many elements for each one that is computed anew in every run. */
const leastGain = 4

const product = where(any('product'), (x) => isValue(x) && channelAxisOf(x) !== undefined)
const patterns = {
  mul: commuting('mul', once(product), any('factor')),
  add: commuting('add', once(product), any('factor')),
}

function channelAxisOf({ node, shape }: Value): number | undefined {
  if (node.kind !== 'call' || !Object.hasOwn(channelAxes, node.op.name)) return undefined
  return channelAxes[node.op.name as keyof typeof channelAxes](shape.length)
}

function taken(graph: Graph, op: keyof typeof patterns): Graph {
  const uses = usesOf(graph)
  const known = valuesOf(graph, ({ kind }) => kind === 'constant')
  const updated = new Set(graph.updates.map(({ slot }) => slot))
  const steady = valuesOf(
    graph,
    (node) => node.kind === 'constant' || (node.kind === 'state' && !updated.has(node.slot)),
  )
  return rewriteGraph(graph, (node, image, builder) => {
    if (node.kind !== 'call') return undefined
    const [result] = node.results
    const found = matchPattern(patterns[op], result!, { uses })
    if (found === undefined) return undefined
    const y = found.value('product')
    const factor = found.value('factor')
    const call = found.node('product')
    const [x, w, b] = call.inputs as [Value, Value, Value?]
    const { base, offset } = placeOf(image(factor))
    const stride = channelStride(image(factor), y)
    if (stride === undefined || !sameShape(result!.shape, y.shape)) return undefined
    if (call.again !== node.again || !isUniform([result!, y, factor, x, w, b ?? w]))
      return undefined
    const isCheap =
      (known.has(w) && known.has(factor)) ||
      (op === 'mul' ? sizeOf(w.shape) : w.shape[0]!) * leastGain <= sizeOf(y.shape)
    if (!steady.has(w) || !isCheap) return undefined
    const channels = (shape: Shape) => {
      const strides = shape.map((_, i) => (i === 0 ? stride : 0))
      return builder.view(base, layoutOf(shape, strides), offset)
    }
    const make = (name: string, ...inputs: Value[]) =>
      builder.call(findOp(name)!, inputs, {}, '', node.again)[0]!
    const vector = channels(w.shape.slice(0, 1))
    const bias = b === undefined ? undefined : make(op, image(b), vector)
    const inputs =
      op === 'mul'
        ? [image(x), make('mul', image(w), channels(w.shape.map((n, i) => (i === 0 ? n : 1))))]
        : [image(x), image(w)]
    if (bias !== undefined) inputs.push(bias)
    else if (op === 'add') inputs.push(vector)
    return builder.call(call.op, inputs, call.attributes, call.key, node.again)
  })
}

/** The stride from channel to channel of what varies along the channels of `y` only. */
function channelStride(factor: Value, y: Value): number | undefined {
  const axis = channelAxisOf(y)!
  const { layout } = placeOf(factor)
  if (layout.shape.length > y.shape.length || sizeOf(layout.shape) !== y.shape[axis])
    return undefined
  const { shape, strides } = expandLayout(layout, y.shape)
  const isAlong = shape.every((n, i) => i === axis || n === 1 || strides[i] === 0)
  return isAlong ? strides[axis] : undefined
}

const isUniform = (values: readonly Value[]): boolean =>
  values.every(
    ({ dtype }) => dtype === values[0]!.dtype && isFloat(dtype) && dtypes[dtype].bytes >= 4,
  )

/** The values that follow from certain nodes alone. */
function valuesOf({ nodes }: Graph, isSource: (node: Node) => boolean): ReadonlySet<Value> {
  const values = new Set<Value>()
  const follows = (node: Node) => {
    if (node.kind === 'view') return values.has(node.of)
    if (node.kind !== 'call') return isSource(node)
    const isGiven = (x: Argument) => (isValue(x) ? values.has(x) : typeof x === 'number')
    return node.op.kind !== 'random' && node.inputs.every(isGiven)
  }
  for (const node of nodes) if (follows(node)) for (const value of node.results) values.add(value)
  return values
}
