/** @file Control flow that depends on values: cond, whileLoop and scan, eagerly and in programs. */
import { formatShape } from '../core/shape.ts'
import { stack } from '../ops/join.ts'
import { tracing } from '../tensor/tracing.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ShapeError, ValueError } from '../util/errors.ts'
import { traceBranches, traceLoop } from './control-trace.ts'
import { Recorder } from './recorder.ts'
import { takeApart } from './tree.ts'

/**
 * Calls one of two functions, as a predicate of one element says. In a compiled function both are recorded
 * and one is run; they must give results of one structure, shape and dtype, draw no random numbers and
 * change nothing outside. Gradients run the branch again.
 *
 * @example
 * const halfOrSquare = compile((x: Tensor) => cond(x.sum().gt(4), (a) => a.div(2), (a) => a.mul(a), [x]))
 * halfOrSquare(tensor([1, 2])) // -> tensor([1, 4], float32, cpu)
 * halfOrSquare(tensor([2, 4])) // -> tensor([1, 2], float32, cpu)
 */
export function cond<Operands extends readonly Tensor[], R>(
  predicate: Tensor | boolean,
  whenTrue: (...operands: Operands) => R,
  whenFalse: (...operands: Operands) => R,
  operands: Operands = [] as unknown as Operands,
): R {
  if (typeof predicate === 'boolean') return (predicate ? whenTrue : whenFalse)(...operands)
  checkPredicate('cond', predicate)
  if (!(tracing instanceof Recorder)) return (isTrue(predicate) ? whenTrue : whenFalse)(...operands)
  return traceBranches(
    tracing,
    predicate,
    () => whenTrue(...operands),
    () => whenFalse(...operands),
  )
}

export interface WhileLoopOptions {
  /** The loop ends after so many steps at the latest. Gradients through a compiled loop need it. Default: no limit. */
  readonly maxSteps?: number
}

/**
 * Replaces `state` by `body(state)` as long as `condition(state)` is true. The state is a tensor, or arrays
 * and objects of them. In a compiled function its shapes and dtypes stay as they are, and the functions
 * draw no random numbers and change nothing outside. There gradients need `maxSteps`: memory for so many
 * states is set aside, and the steps are taken again. Throws a GradError without it.
 *
 * @example
 * const untilAbove = compile((x: Tensor) => whileLoop((a) => a.max().lt(100), (a) => a.mul(2), x))
 * untilAbove(tensor([3, 5])) // -> tensor([ 96, 160], float32, cpu)
 */
export function whileLoop<S>(
  condition: (state: S) => Tensor | boolean,
  body: (state: S) => S,
  state: S,
  options: WhileLoopOptions = {},
): S {
  checkOptions('whileLoop', options, ['maxSteps'])
  const { maxSteps = Infinity } = options
  if (!(maxSteps === Infinity || (Number.isInteger(maxSteps) && maxSteps >= 0)))
    throw new ValueError(
      `whileLoop: maxSteps is a whole number of at least 0, received ${String(maxSteps)}`,
    )
  const holds = (present: S) => {
    const predicate = condition(present)
    if (typeof predicate !== 'boolean') checkPredicate('whileLoop', predicate)
    return predicate
  }
  if (tracing instanceof Recorder) return traceLoop(tracing, holds, body, state, maxSteps)
  let present = state
  for (let step = 0; step < maxSteps && isTrue(holds(present)); step++) present = body(present)
  return present
}

/**
 * Goes along the first axis of `xs` (a tensor, or arrays and objects of tensors): `fn` is given what was
 * carried on and the present slice, and returns what to carry on and a result. Returns what is carried at
 * the end, and all results stacked. In a compiled function every step is recorded. Throws a ShapeError
 * unless all of `xs` are of one length above 0.
 *
 * @example
 * const [sum, sums] = scan((carry, x) => [carry.add(x), carry], tensor(0), tensor([1, 2, 3]))
 * sum // -> tensor(6, float32, cpu)
 * sums // -> tensor([0, 1, 3], float32, cpu)
 */
export function scan<C, X, Y>(
  fn: (carry: C, x: X) => readonly [carry: C, y: Y],
  carry: C,
  xs: X,
): [carry: C, ys: Y] {
  const inputs = takeApart('xs of scan', xs)
  const lengths = new Set(inputs.tensors.map((t) => t.shape[0] ?? 0))
  const [length = 0] = lengths
  if (lengths.size !== 1 || length === 0)
    throw new ShapeError(
      `scan: xs of shapes ${inputs.tensors.map((t) => formatShape(t.shape)).join(', ')}. Expected tensors with one and the same length above 0 along the first axis`,
    )
  const rows = inputs.tensors.map((t) => t.unbind())
  let present = carry
  const results = Array.from({ length }, (_, i) => {
    const [next, y] = fn(present, inputs.rebuild(rows.map((row) => row[i]!)) as X)
    present = next
    return takeApart('a result of scan', y, { merges: false })
  })
  const [first] = results
  const ys = first!.tensors.map((_, k) => stack(results.map(({ tensors }) => tensors[k]!)))
  return [present, first!.rebuild(ys) as Y]
}

const isTrue = (predicate: Tensor | boolean): boolean =>
  typeof predicate === 'boolean' ? predicate : predicate.itemSync() !== 0

function checkPredicate(where: string, predicate: Tensor): void {
  if (predicate.size !== 1)
    throw new ShapeError(
      `${where}: the predicate has ${predicate.size} elements (shape ${formatShape(predicate.shape)}). Expected exactly 1; reduce it with .all() or .any()`,
    )
}
