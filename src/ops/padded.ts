/** @file Elements under windows that hang over the edges of a tensor. */
import { rangeOf, type KernelBuilder, type Position, type Step } from '../codegen/kernel-builder.ts'
import { dtypes } from '../core/dtype.ts'
import type { Expr } from '../ir/expr.ts'
import type { LowerContext } from '../tensor/op.ts'
import type { Attributes } from '../tensor/types.ts'

/**
 * Element [positions] of the first input, 0 where they are beyond its edges. With a list for
 * `copies`, positions that may be outside are not checked one by one: the input is copied first, with
 * its padding, by kernels that are added to the list. That pays where each element is read many times by
 * a plain loop.
 */
export function loadPadded<A extends Attributes>(
  context: LowerContext<A>,
  k: KernelBuilder,
  positions: readonly Position[],
  copies?: Step[],
): Expr {
  const { shape, dtype } = context.inputs[0]!
  const guard = k.inside(shape, positions)
  const ranges = positions.map(rangeOf)
  const isBounded = ranges.every(({ low, high }) => Number.isFinite(high - low))
  if (guard === undefined || copies === undefined || !isBounded) return k.load(0, positions, guard)
  const sizes = ranges.map(({ low, high }) => high - low + 1)
  const copy = context.temporary(sizes, dtype)
  const start = context.kernel('start')
  start.store(copy, start.axes(sizes), start.s.const(dtypes[dtype].compute, 0))
  copies.push(start.finish())
  // What of the input is inside.
  const first = ranges.map(({ low }) => Math.max(low, 0))
  const counts = ranges.map(({ high }, i) => Math.min(high, shape[i]! - 1) - first[i]! + 1)
  if (counts.every((n) => n > 0)) {
    const fill = context.kernel('pad')
    const axes = fill.axes(counts)
    const at = (offsets: readonly number[]) =>
      axes.map((axis, i) => ({ axis, step: 1, offset: offsets[i]! }))
    const target = at(first.map((n, i) => n - ranges[i]!.low))
    fill.store(copy, target, fill.load(0, at(first)))
    copies.push(fill.finish())
  }
  return k.load(
    copy,
    positions.map((position, i) => k.shifted(position, -ranges[i]!.low)),
  )
}
