/** @file Entries of the tape for what was computed without it. */
import { assert } from '../util/errors.ts'
import { makeOp, type Op } from './op.ts'
import { GradNode } from './tape.ts'
import type { Tensor } from './tensor.ts'

const standInOp = makeOp({
  name: 'standIn',
  kind: 'movement',
  onnx: 'Identity',
  infer: () => [],
  lower: () => [],
  saves: 'none',
  vjp: ({ g }) => [g],
})

/** The same value as a leaf, for gradients that stop there; it keeps the way to where it came from. */
export function standIn(x: Tensor): Tensor {
  const alias = x.detach()
  if (x.requiresGrad) attach(standInOp, [x], alias)
  else alias.requireGrad()
  return alias
}

/** Puts an entry on the tape that makes `output` from `inputs`. */
export function attach(op: Op, inputs: readonly Tensor[], output: Tensor): void {
  assert(output.node === undefined, 'an output has history already')
  const facts = { shapes: inputs.map((x) => x.shape), dtypes: inputs.map((x) => x.dtype) }
  new GradNode(op, {}, facts, inputs, [output]).own(output, 0)
}
