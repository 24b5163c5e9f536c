/** @file Copies an operand of a contraction, run by run, into a sheet: rows as long as a block. */
import type { MemoryType, Value } from '../ir/loops.ts'
import type { Bounds } from './affine.ts'
import { bindFlat, type Range, type Way } from './contract-access.ts'
import type { Operand } from './contract-pattern.ts'
import type { Emitter } from './emitter.ts'

/** Where a sheet lies: one row of `stride` elements for each position across the direction of the runs. */
export interface Sheet {
  /**
   * Set where rows are cut into panels of this width, the pieces of all rows for one panel side by
   * side: only under masks, as a vector may belong to two panels.
   */
  readonly panelWidth: number | undefined
  readonly buffer: number
  readonly memory: MemoryType
  readonly at: number
  readonly stride: number
  /** Whether part of a vector can be read and written. */
  readonly hasMasks: boolean
}

/**
 * Fills a sheet. The runs of an image under a kernel window are its lines: whole vectors inside, and
 * element by element where a guard (the padding) or the end of a run cuts in.
 */
export function fillSheet(
  b: Emitter,
  operand: Operand,
  way: Way,
  own: Range,
  depth: Range,
  sheet: Sheet,
): void {
  const [along, across] = way.along === 'lines' ? [own, depth] : [depth, own]
  const [axes, others] =
    way.along === 'lines' ? [operand.own, operand.summed] : [operand.summed, operand.own]
  const outer = axes.slice(0, -1)
  const axis = axes[axes.length - 1]!
  const element = (i: Value, index: Value) => {
    b.bind(axis, i)
    b.store(b.place(sheet.buffer, sheet.memory, index), b.expr(operand.value))
  }
  const vector = (i: Value, index: Value) =>
    b.scope(() => {
      b.bind(axis, i, way.lanes)
      const value = b.splat(b.expr(way.value), way.lanes)
      b.store(b.place(sheet.buffer, sheet.memory, index), value)
    })
  // Under masks the padding comes with the vectors: lanes outside the bounds are zero.
  const masked = (from: Value, to: Value, row: Value, shift: Value) => {
    const { lanes, bounds } = way
    const inner = bounds ? withinBounds(b, bounds, { begin: from, end: to }) : undefined
    b.loop(from, to, lanes, (i) => {
      const ends = b.lanesBelow(b.sub(to, i), lanes)
      const inside = inner && [
        b.lanesBelow(b.sub(inner.end, i), lanes),
        b.op('not', [b.lanesBelow(b.sub(inner.begin, i), lanes)]),
      ]
      b.scope(() => {
        b.bind(axis, i, lanes)
        b.tailMask = inside ? b.op('and', inside) : ends
        const value = b.splat(b.expr(way.value), lanes)
        b.tailMask = undefined
        put(value, row, b.add(shift, i), ends)
      })
    })
  }
  const put = (value: Value, row: Value, column: Value, mask: Value) => {
    const { buffer, memory, panelWidth: width, at } = sheet
    if (width === undefined)
      return b.store(b.place(buffer, memory, b.add(row, column)), value, mask)
    const panel = b.roundDown(column, width)
    const inside = b.sub(column, panel)
    const size = b.add(b.sub(across.end, across.begin), cutGap)
    const line = b.add(b.mul(row, width), at)
    const first = b.add(b.add(line, b.mul(panel, size)), inside)
    const fits = b.lanesBelow(b.sub(b.int(width), inside), way.lanes)
    b.store(b.place(buffer, memory, first), value, b.op('and', [mask, fits]))
    // What is too much for this panel belongs to the next one, at the beginning of its line.
    const next = b.add(first, b.mul(b.sub(size, 1), width))
    b.store(b.place(buffer, memory, next), value, b.op('and', [mask, b.op('not', [fits])]))
  }
  // [from, to) has an inner part where all guards hold: vectors there, element by element beside it.
  const run = (from: Value, to: Value, row: Value, shift: Value) => {
    if (fillsUnderMasks(sheet, way)) return masked(from, to, row, shift)
    const start = b.add(row, shift)
    const elements = (begin: Value, end: Value) =>
      b.loop(begin, end, 1, (i) => element(i, b.add(start, i)))
    const inner = way.bounds ? withinBounds(b, way.bounds, { begin: from, end: to }) : undefined
    const { begin, end } = inner ?? { begin: from, end: to }
    if (inner) elements(from, begin)
    const size = b.sub(end, begin)
    const stop = b.add(begin, b.roundDown(size, way.lanes))
    b.loop(begin, stop, way.lanes, (i) => vector(i, b.add(start, i)))
    // What is left is a vector that overlaps the one before, if there is one.
    const isShort = b.op('lt', [size, b.int(way.lanes)])
    b.when(b.op('and', [b.op('not', [isShort]), b.op('lt', [stop, end])]), () => {
      const last = b.sub(end, way.lanes)
      vector(last, b.add(start, last))
    })
    b.when(isShort, () => elements(begin, end))
    if (inner) elements(end, to)
  }
  b.loop(across.begin, across.end, 1, (position) => {
    bindFlat(b, others, position)
    const line = b.sub(position, across.begin)
    const row = sheet.panelWidth === undefined ? b.add(b.mul(line, sheet.stride), sheet.at) : line
    const shift = b.sub(b.int(0), along.begin)
    if (outer.length === 0) return run(along.begin, along.end, row, shift)
    const extent = b.size(axis.extent)
    const first = b.op('div', [along.begin, extent])
    const last = b.op('div', [b.sub(b.add(along.end, extent), 1), extent])
    b.loop(first, last, 1, (i) => {
      bindFlat(b, outer, i)
      const at = b.mul(i, extent)
      const from = b.op('max', [b.sub(along.begin, at), b.int(0)])
      run(from, b.min(b.sub(along.end, at), extent), row, b.add(shift, at))
    })
  })
}

/**
 * Lines left out between the panels of a sheet that is cut. Each row of the sheet is written to all
 * panels before the next one: a whole number of pages apart, they would share few sets of the cache.
 */
export const cutGap = 1

/** Whether a sheet is filled by masked vectors throughout; only then may it be cut into panels. */
export const fillsUnderMasks = ({ hasMasks }: Pick<Sheet, 'hasMasks'>, way: Way): boolean =>
  hasMasks && (way.isZeroOutside || !way.bounds)

// The part of a range that lies within bounds; empty, but never reversed, where there is none.
function withinBounds(b: Emitter, { lower, upper, fixed }: Bounds, range: Range): Range {
  const from = lower.reduce((x, e) => b.op('max', [x, b.expr(e)]), range.begin)
  const begin = b.min(from, range.end)
  const to = upper.reduce((x, e) => b.min(x, b.expr(e)), range.end)
  const end = b.op('max', [to, begin])
  if (fixed.length === 0) return { begin, end }
  const holds = fixed.map((e) => b.expr(e)).reduce((x, y) => b.op('and', [x, y]))
  return { begin, end: b.op('select', [holds, end, begin]) }
}
