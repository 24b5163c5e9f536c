/** @file Casts are left out where the op behind or before them computes the same without. */
import { dtypes } from '../../core/dtype.ts'
import { layoutOf } from '../../core/layout.ts'
import { sameShape } from '../../core/shape.ts'
import { isValue, placeOf, rewriteGraph, specsOf, usesOf } from '../graph.ts'
import type { Argument, CallNode, Graph, GraphBuilder, Value } from '../graph.ts'
import { isPointwise } from '../pointwise.ts'
import type { Pass } from './pass.ts'
import { holds } from './simplify-rules.ts'

/**
 * Note [Casts]: operands are loaded at their own dtype and computed with at a wider one, float16 and bfloat16
 * at float32. So a cast to float32, an elementwise op, and a cast back are that op on what was there before:
 * nothing is rounded in between. And an operand need not be cast to the dtype that the op computes at anyway.
 * Both let data stay narrow, and casts vanish with the memory they write.
 */
export const casts: Pass = {
  run(graph: Graph): Graph {
    const uses = usesOf(graph)
    return rewriteGraph(graph, (node, image, builder) => {
      if (node.kind !== 'call') return undefined
      if (node.op.name === 'cast') return narrowed(node, uses, image, builder)
      return promoted(node, image, builder)
    })
  },
}

/** What an argument was before it was cast, under the same view. */
interface Source {
  readonly value: Value
  readonly argument: Value
}

function sourceOf(x: Argument): Source | undefined {
  if (!isValue(x)) return undefined
  const { node } = placeOf(x).base
  if (node.kind !== 'call' || node.op.name !== 'cast') return undefined
  const value = node.inputs[0] as Value
  return { value, argument: x }
}

/** A view of the source as the argument is one of the cast. */
function uncast(
  { value, argument }: Source,
  image: (value: Value) => Value,
  builder: GraphBuilder,
) {
  if (argument.node.kind !== 'view') return image(value)
  return builder.viewOf(image(value), argument.node.layout, argument.node.offset)
}

// cast(op(cast(x))) = op(x)
function narrowed(
  node: CallNode,
  uses: ReadonlyMap<Value, number>,
  image: (value: Value) => Value,
  builder: GraphBuilder,
): readonly Value[] | undefined {
  const [result] = node.results
  const [wide] = node.inputs as [Value]
  const inner = wide.node
  const isWithin = holds(result!.dtype, wide.dtype) && result!.dtype !== wide.dtype
  const isSame = dtypes[result!.dtype].compute === dtypes[wide.dtype].compute
  if (inner.kind !== 'call' || inner.again !== node.again || uses.get(wide) !== 1) return undefined
  if (!isWithin || !isSame || dtypes[result!.dtype].kind !== 'float') return undefined
  const sources = inner.inputs.map(sourceOf)
  const fits = (x: Source | undefined) => x?.value.dtype === result!.dtype
  if (inner.op.name === 'cast' || !sources.some(fits) || !isPointwise(inner)) return undefined
  const inputs = inner.inputs.map((x, i) =>
    fits(sources[i]) ? uncast(sources[i]!, image, builder) : isValue(x) ? image(x) : x,
  )
  return callLike(inner, inputs, result!, builder)
}

// op(cast(x), y) = op(x, y) where y has the wider dtype
function promoted(
  node: CallNode,
  image: (value: Value) => Value,
  builder: GraphBuilder,
): readonly Value[] | undefined {
  const [result] = node.results
  if (node.results.length !== 1 || result!.dtype === 'bool') return undefined
  const sources = node.inputs.map(sourceOf)
  const isProduct = promotesOperands.has(node.op.name)
  if (!sources.some(Boolean) || !(isProduct || isPointwise(node))) return undefined
  let inputs = node.inputs.map((x) => (isValue(x) ? image(x) : x))
  let isChanged = false
  sources.forEach((source, i) => {
    if (source === undefined || !holds(source.value.dtype, source.argument.dtype)) return
    // Operands that lie in another way, expanded ones say, may be added up in another order.
    if (isProduct && !isWhole(source.value)) return
    const attempt = inputs.with(i, uncast(source, image, builder))
    if (!infers(node, attempt, result!)) return
    inputs = attempt
    isChanged = true
  })
  return isChanged ? callLike(node, inputs, result!, builder) : undefined
}

/** Whether a value lies in memory as the result of a cast does. */
const isWhole = (value: Value): boolean => placeOf(value).layout === layoutOf(value.shape)

/** Products that load each operand at its own dtype. */
const promotesOperands = new Set(['matmul', 'linear'])

function infers({ op, attributes }: CallNode, inputs: readonly Argument[], wanted: Value): boolean {
  try {
    const [spec] = op.infer(specsOf(inputs), attributes)
    return spec!.dtype === wanted.dtype && sameShape(spec!.shape, wanted.shape)
  } catch {
    // The op does not take the dtype before the cast.
    return false
  }
}

function callLike(
  node: CallNode,
  inputs: readonly Argument[],
  wanted: Value,
  builder: GraphBuilder,
): readonly Value[] | undefined {
  const { op, attributes, key, again } = node
  return infers(node, inputs, wanted) ? builder.call(op, inputs, attributes, key, again) : undefined
}
