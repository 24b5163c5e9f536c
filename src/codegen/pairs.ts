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
  if (!readsEveryOther(e, axis)) return undefined
  const isTap = ({ index, stride }: LoadExpr['index']['terms'][number]) =>
    index.kind === 'axis' &&
    stride === 1 &&
    typeof index.axis.extent === 'number' &&
    index.axis.extent > 1
  const tap = e.index.terms.findLast(isTap)?.index
  return tap?.kind === 'axis' ? tap.axis : undefined
}

/**
 * Whether lanes along an axis read every other element, of 32 bits, without a guard. Where vectors can
 * be read under masks no tap need lie beside: the last lane's neighbour, which may not exist, is
 * masked.
 */
export function readsEveryOther(e: LoadExpr, axis: Axis): boolean {
  if (e.guard !== undefined || (e.type !== 'f32' && e.type !== 'i32')) return false
  const { terms } = e.index
  if (!terms.every(({ index }) => index.kind === 'axis')) return false
  const along = terms.filter(({ index }) => index.kind === 'axis' && index.axis === axis)
  return along.length === 1 && along[0]!.stride === 2
}

/** The tap that begins the pair in which a tap's elements lie, and which of the two they are. */
export function pairOf(tap: Axis, position: Value): { first: number; row: 0 | 1 } | undefined {
  if (position.def.kind !== 'const') return undefined
  const at = Number(position.def.value)
  const isFirst = at % 2 === 0 && at + 1 < (tap.extent as number)
  return isFirst ? { first: at, row: 0 } : { first: at - 1, row: 1 }
}
