/** @file Runs a graph node by node with eager operations: what passes are compared by. */
import { cond, noGrad, Tensor, whileLoop } from 'tandem'
import { dispatchOn } from '../../src/tensor/dispatch.ts'
import type { Backend } from '../../src/backend/backend.ts'
import { isValue, type Graph, type Part, type Value } from '../../src/compile/graph.ts'

/** What a run is given. */
export interface GraphInputs {
  readonly inputs: readonly Tensor[]
  /** By slot. */
  readonly states?: readonly Tensor[]
  readonly numbers?: readonly number[]
}

/** The outputs of a graph, and after them the new contents of states in the order of their slots. */
export function runGraph(backend: Backend, graph: Graph, given: GraphInputs): Tensor[] {
  const { states = [], numbers = [] } = given
  const tensors = new Map<Value, Tensor>()
  const tensorOf = (value: Value) => tensors.get(value)!
  const inputs = [...given.inputs]
  const runPart = (part: Part, all: readonly Tensor[]) =>
    runGraph(backend, part.graph, { inputs: part.inputs.map((i) => all[i]!.contiguous()), numbers })
  for (const node of graph.nodes) {
    const results = noGrad((): readonly Tensor[] => {
      switch (node.kind) {
        case 'input':
          return [inputs.shift()!]
        case 'state':
          return [states[node.slot]!]
        case 'constant':
          return [node.tensor]
        case 'view': {
          const { storage, offset, dtype } = tensorOf(node.of)
          return [new Tensor(storage, node.layout, offset + node.offset, dtype, backend)]
        }
        case 'call': {
          const { op, attributes, key } = node
          const args = node.inputs.map((x) =>
            isValue(x) ? tensorOf(x) : typeof x === 'number' ? x : numbers[x.slot]!,
          )
          return dispatchOn(backend, op, args, attributes, key)
        }
        case 'control': {
          const { control } = node
          const all = node.inputs.map(tensorOf)
          if (control.kind === 'cond')
            return cond(
              all[0]!,
              () => runPart(control.whenTrue, all),
              () => runPart(control.whenFalse, all),
            )
          const outside = all.slice(node.results.length)
          return whileLoop(
            (state) => runPart(control.condition, [...state, ...outside])[0]!,
            (state) => runPart(control.body, [...state, ...outside]),
            all.slice(0, node.results.length),
          )
        }
      }
    })
    node.results.forEach((value, i) => tensors.set(value, results[i]!))
  }
  const updates = graph.updates.toSorted((a, b) => a.slot - b.slot)
  return [...graph.outputs, ...updates.map((x) => x.value)].map(tensorOf)
}
