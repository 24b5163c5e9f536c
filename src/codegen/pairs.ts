/** @file Loads of every other element along the lanes, as the windows of strided pooling make them. */
import type { Axis, LoadExpr } from '../ir/expr.ts'
import type { Value } from '../ir/loops.ts'

/**
 * Note [Pairs]: windows that move by two read every other element, which takes a gather, one access per
 * lane. When the taps of a window lie side by side, the elements between are read as well, by another
 * tap: then two vectors are loaded and taken apart into even and odd elements, for both taps at once.
 * Nothing is read but what taps of the same window read, so no guard is needed at the end of memory.
 * Returns the axis of those taps; undefined for any other load, and for 64-bit elements.
 */
export function tapBeside(e: LoadExpr, axis: Axis): Axis | undefined {
  if (e.guard !== undefined || (e.type !== 'f32' && e.type !== 'i32')) return undefined
  let tap: Axis | undefined
  let isEveryOther = false
  for (const { index, stride } of e.index.terms) {
    if (index.kind !== 'axis') return undefined
    if (index.axis === axis) {
      if (stride !== 2 || isEveryOther) return undefined
      isEveryOther = true
    } else if (stride === 1 && typeof index.axis.extent === 'number' && index.axis.extent > 1)
      tap = index.axis
  }
  return isEveryOther ? tap : undefined
}

/** The tap that begins the pair in which a tap's elements lie, and which of the two they are. */
export function pairOf(tap: Axis, position: Value): { first: number; row: 0 | 1 } | undefined {
  if (position.def.kind !== 'const') return undefined
  const at = Number(position.def.value)
  const isFirst = at % 2 === 0 && at + 1 < (tap.extent as number)
  return isFirst ? { first: at, row: 0 } : { first: at - 1, row: 1 }
}
