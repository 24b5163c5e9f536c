/** @file Calls that compute each element of their result from the elements at its position alone. */
import type { Expr } from '../ir/expr.ts'
import { lowerCall } from '../tensor/plan.ts'
import { specsOf, type CallNode } from './graph.ts'

/**
 * Whether a call is elementwise in the strict sense: which position it is at makes no difference to what it
 * computes there (as it does to the triangle of a matrix), so that axes can be exchanged, or left out.
 */
export function isPointwise({ op, inputs, attributes, results }: CallNode): boolean {
  if (op.kind !== 'elementwise' || results.length !== 1 || results[0]!.shape.includes(0))
    return false
  const { steps } = lowerCall(op, specsOf(inputs), attributes)
  const [step] = steps
  if (step === undefined || steps.length > 1) return false
  const { stores, checks } = step.group
  const [store] = stores
  return stores.length === 1 && checks.length === 0 && isOfElements(store!.value)
}

function isOfElements(e: Expr): boolean {
  switch (e.kind) {
    case 'const':
    case 'param':
      return true
    case 'load':
      return e.guard === undefined
    case 'op':
      return e.args.every(isOfElements)
    default:
      return false
  }
}
