/** @file Constant folding: what is computed from constants alone is computed once, by the op itself. */
import { bytesFor } from '../../backend/backend.ts'
import { dtypes } from '../../core/dtype.ts'
import { sizeOf } from '../../core/shape.ts'
import { dispatchOn } from '../../tensor/dispatch.ts'
import { unscoped } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { isValue, leavingValues, placeOf, rewriteGraph } from '../graph.ts'
import type { Argument, CallNode, ConstantNode, Graph, Value } from '../graph.ts'
import type { Pass } from './pass.ts'

/** Results of more bytes are kept only if they are no larger than what they are made of. */
const mostBytes = 1 << 20

/** Draws are made anew at each run, and values that leave the program have memory of their own. */
export const fold: Pass = {
  run(graph: Graph): Graph {
    const leaving = leavingValues(graph)
    return rewriteGraph(graph, (node, image, builder) => {
      if (node.kind !== 'call' || node.op.kind === 'random' || node.op.kind === 'update')
        return undefined
      if (node.results.some((value) => leaving.has(value))) return undefined
      const operands = node.inputs.map((x) => (isValue(x) ? image(x) : x))
      if (!operands.every(isKnown)) return undefined
      const inputs = operands.map(tensorOf)
      if (!isWorthIt(node, inputs)) return undefined
      const made = evaluate(node, inputs)
      return made?.map((tensor) => builder.constant(tensor, tensor.shape))
    })
  },
}

const isKnown = (x: Argument): x is Value | number =>
  isValue(x) ? placeOf(x).base.node.kind === 'constant' : typeof x === 'number'

function tensorOf(x: Value | number): Tensor | number {
  if (typeof x === 'number') return x
  const { base, layout, offset } = placeOf(x)
  const { tensor } = base.node as ConstantNode
  if (base === x) return tensor
  return new Tensor(tensor.storage, layout, tensor.offset + offset, tensor.dtype, tensor.backend)
}

function isWorthIt({ results }: CallNode, inputs: readonly (Tensor | number)[]): boolean {
  const bytes = ({ shape, dtype }: Pick<Value, 'shape' | 'dtype'>) =>
    bytesFor(dtypes[dtype].bytes, sizeOf(shape))
  const sum = (sizes: readonly number[]) => sizes.reduce((a, b) => a + b, 0)
  const tensors = inputs.filter((x) => typeof x === 'object')
  const made = sum(results.map(bytes))
  const given = sum(tensors.map((t) => Math.min(bytes(t), t.storage.bytes)))
  return tensors.length > 0 && made <= Math.max(mostBytes, given)
}

// What fails is left to the run, which may never come to it.
function evaluate(
  { op, attributes, key }: CallNode,
  inputs: readonly (Tensor | number)[],
): Tensor[] | undefined {
  const { backend } = inputs.find((x) => typeof x === 'object')!
  try {
    return unscoped(() => noGrad(() => dispatchOn(backend, op, inputs, attributes, key)))
  } catch {
    return undefined
  }
}
