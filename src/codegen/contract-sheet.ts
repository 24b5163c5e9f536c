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
  // [from, to) has an inner part where all guards hold: vectors there, element by element beside it.
  const run = (from: Value, to: Value, start: Value) => {
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
    const row = b.add(b.mul(b.sub(position, across.begin), sheet.stride), sheet.at)
    const start = b.sub(row, along.begin)
    if (outer.length === 0) return run(along.begin, along.end, start)
    const extent = b.size(axis.extent)
    const first = b.op('div', [along.begin, extent])
    const last = b.op('div', [b.sub(b.add(along.end, extent), 1), extent])
    b.loop(first, last, 1, (i) => {
      bindFlat(b, outer, i)
      const at = b.mul(i, extent)
      const from = b.op('max', [b.sub(along.begin, at), b.int(0)])
      run(from, b.min(b.sub(along.end, at), extent), b.add(start, at))
    })
  })
}

/** The part of a range that lies within bounds; empty, but never reversed, where there is none. */
export function withinBounds(b: Emitter, { lower, upper, fixed }: Bounds, range: Range): Range {
  const from = lower.reduce((x, e) => b.op('max', [x, b.expr(e)]), range.begin)
  const begin = b.min(from, range.end)
  const to = upper.reduce((x, e) => b.min(x, b.expr(e)), range.end)
  const end = b.op('max', [to, begin])
  if (fixed.length === 0) return { begin, end }
  const holds = fixed.map((e) => b.expr(e)).reduce((x, y) => b.op('and', [x, y]))
  return { begin, end: b.op('select', [holds, end, begin]) }
}
