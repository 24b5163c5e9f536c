/** @file Copies an operand of a contraction by masked vectors, run by run: the windows of an image with their padding. */
import type { Value } from '../ir/loops.ts'
import { bindFlat, type Range, type Way } from './contract-access.ts'
import { extentOf } from './contract-blocks.ts'
import type { Operand } from './contract-pattern.ts'
import { withinBounds, type Sheet } from './contract-sheet.ts'
import type { Emitter } from './emitter.ts'

/** Whether an operand can be copied so: what its guards leave out is zero, as masked lanes are. */
export const fillsUnderMasks = ({ hasMasks }: Pick<Sheet, 'hasMasks'>, way: Way): boolean =>
  hasMasks && (way.isZeroOutside || !way.bounds)

/**
 * Fills a sheet, or the panels it is cut into. A vector's place along the run is worked out once; then
 * come all positions across, which differ by the taps of the window, and are neighbours in a panel.
 */
export function fillUnderMasks(
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
  const { lanes, bounds } = way
  const count = tapsOf(operand, way)
  // Whether vectors never reach past a run or a panel.
  const isEven =
    typeof axis.extent === 'number' &&
    axis.extent % lanes === 0 &&
    way.along === 'lines' &&
    (sheet.panelWidth ?? 0) % lanes === 0
  // Positions [band) across of a run [from, to) of the last axis; `shift` more is the column in the sheet.
  const run = (band: Range, from: Value, to: Value, shift: Value) =>
    b.loop(from, to, lanes, (i) => {
      const ends = isEven ? undefined : b.lanesBelow(b.sub(to, i), lanes)
      const put = placing(b, sheet, across, b.add(shift, i), ends, lanes)
      const copy = (row: Value, offset: number) => {
        const inner = bounds && withinBounds(b, bounds, { begin: from, end: to })
        const inside = inner && [
          b.lanesBelow(b.sub(inner.end, i), lanes),
          b.op('not', [b.lanesBelow(b.sub(inner.begin, i), lanes)]),
        ]
        b.scope(() => {
          b.bind(axis, i, lanes)
          b.tailMask = inside ? b.op('and', inside) : ends
          const value = b.splat(b.expr(way.value), lanes)
          b.tailMask = undefined
          put(value, row, offset)
        })
      }
      if (count === 1)
        return b.loop(band.begin, band.end, 1, (position) => {
          bindFlat(b, others, position)
          copy(b.sub(position, across.begin), 0)
        })
      // The taps of a window are written out: where they lie, and what is padding, is the same for all channels.
      const window = b.int(count)
      const [begin, end] = [band.begin, band.end].map((x) => b.op('div', [x, window]))
      b.loop(begin!, end!, 1, (channel) => {
        b.bind(others[0]!, channel)
        const row = b.sub(b.mul(channel, count), across.begin)
        for (let tap = 0; tap < count; tap++)
          b.scope(() => {
            bindFlat(b, others.slice(1), b.int(tap))
            copy(row, tap)
          })
      })
    })
  const shift = b.sub(b.int(0), along.begin)
  const runs = (band: Range) => {
    if (outer.length === 0) return run(band, along.begin, along.end, shift)
    const extent = b.size(axis.extent)
    const first = b.op('div', [along.begin, extent])
    const last = b.op('div', [b.sub(b.add(along.end, extent), 1), extent])
    b.loop(first, last, 1, (i) => {
      bindFlat(b, outer, i)
      const at = b.mul(i, extent)
      const from = b.op('max', [b.sub(along.begin, at), b.int(0)])
      run(band, from, b.min(b.sub(along.end, at), extent), b.add(shift, at))
    })
  }
  // A few long lines of the operand at a time: memory is read as it lies.
  const band = bandSteps * count
  b.loop(across.begin, across.end, band, (begin) =>
    runs({ begin, end: b.min(b.add(begin, band), across.end) }),
  )
}

/** Positions across, or windows of them, that are copied for all of the runs before the next. */
const bandSteps = 8

/** Windows of more taps than this are walked by a loop. */
const mostTaps = 32

/**
 * How many steps of the depth make up the window of one channel, if that is known and not many: blocks
 * of the depth then hold whole windows. Otherwise 1.
 */
export function tapsOf({ summed }: Operand, way: Way | undefined): number {
  const count = extentOf(summed.slice(1))
  return way?.along === 'lines' && summed.length > 1 && count <= mostTaps ? count : 1
}

/** How the vectors of one column are stored: in a row, or so many rows further on. Without a mask they fit. */
function placing(
  b: Emitter,
  { buffer, memory, panelWidth: width, at, stride }: Sheet,
  across: Range,
  column: Value,
  mask: Value | undefined,
  lanes: number,
): (value: Value, row: Value, more: number) => void {
  if (width === undefined) {
    const start = b.add(column, at)
    return (value, row, more) => {
      const place = b.place(buffer, memory, b.add(start, b.mul(row, stride)), more * stride)
      b.store(place, value, mask)
    }
  }
  const panel = b.roundDown(column, width)
  const inside = b.sub(column, panel)
  const size = b.sub(across.end, across.begin)
  const start = b.add(b.add(b.mul(panel, size), inside), at)
  if (mask === undefined)
    return (value, row, more) =>
      b.store(b.place(buffer, memory, b.add(start, b.mul(row, width)), more * width), value)
  const fits = b.lanesBelow(b.sub(b.int(width), inside), lanes)
  const here = b.op('and', [mask, fits])
  // What is too much for this panel belongs to the next one, at the beginning of its line.
  const there = b.op('and', [mask, b.op('not', [fits])])
  const next = b.add(start, b.mul(b.sub(size, 1), width))
  return (value, row, more) => {
    const line = b.mul(row, width)
    b.store(b.place(buffer, memory, b.add(start, line), more * width), value, here)
    b.store(b.place(buffer, memory, b.add(next, line), more * width), value, there)
  }
}
