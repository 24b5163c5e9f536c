/** @file Packs an operand of a contraction into panels: the order in which the register tile reads it. */
import type { Axis } from '../ir/expr.ts'
import type { MemoryType, Value } from '../ir/loops.ts'
import { bindFlat, type Range, type Way } from './contract-access.ts'
import type { Operand } from './contract-pattern.ts'
import type { Emitter } from './emitter.ts'

/** Where panels go: `width` lines side by side, for each step along the depth. */
export interface Panels {
  readonly buffer: number
  readonly memory: MemoryType
  /** Position of the first panel in the buffer. */
  readonly at: number
  readonly width: number
  /** Whether part of a vector can be read. */
  readonly hasMasks: boolean
}

/** Copies lines [own.begin, own.end) of an operand, for a range of depths, into panels. */
export function packPanels(
  b: Emitter,
  operand: Operand,
  way: Way | undefined,
  own: Range,
  depth: Range,
  panels: Panels,
): void {
  const { width } = panels
  const size = b.sub(depth.end, depth.begin)
  const eachPanel = (steps: Range, body: (to: Target) => void) =>
    b.loop(own.begin, own.end, width, (line) => {
      const target = b.add(b.mul(b.sub(line, own.begin), size), panels.at)
      body({ b, operand, own, depth, steps, panels, line, target })
    })
  // A few long lines of the operand at a time, all panels of them: memory is read as it lies.
  if (way?.isSimple && way.along === 'lines' && panels.hasMasks && overhang(width, way.lanes) === 0)
    return b.loop(depth.begin, depth.end, bandSteps, (k) => {
      const steps = { begin: k, end: b.min(b.add(k, bandSteps), depth.end) }
      eachPanel(steps, (to) => packLines(to, way))
    })
  eachPanel(depth, (to) => {
    if (way?.along === 'depth' && !way.bounds) return packTransposed(to, way)
    if (!way?.isSimple) return packPoints(to)
    if (panels.hasMasks) return packLines(to, way)
    const reach = width + (way ? overhang(width, way.lanes) : 0)
    const isFull = b.op('le', [b.add(to.line, reach), own.end])
    b.when(isFull, () => packLines(to, way))
    b.when(b.op('not', [isFull]), () => packPoints(to))
  })
}

/** Steps along the depth that are packed for all panels before the next. */
const bandSteps = 8

interface Target {
  readonly b: Emitter
  readonly operand: Operand
  readonly own: Range
  readonly depth: Range
  /** The steps of the depth that are packed now. */
  readonly steps: Range
  readonly panels: Panels
  /** The first line of the panel, and where the panel begins. */
  readonly line: Value
  readonly target: Value
}

// Lines lie side by side in the operand too: whole vectors are copied, and what is left of the width one by one.
function packLines(to: Target, { lanes }: Way): void {
  const { b, operand, own, panels, line } = to
  const pieces = piecesOf(panels.width, lanes).map((piece) => {
    const from = b.add(line, piece.at)
    const isMasked = panels.hasMasks && piece.lanes > 1
    return {
      ...piece,
      from,
      mask: isMasked ? b.lanesBelow(b.sub(own.end, from), lanes) : undefined,
    }
  })
  eachDepth(to, (index) => {
    for (const { at, lanes: count, from, mask } of pieces)
      b.scope(() => {
        bindFlat(b, operand.own, mask || !panels.hasMasks ? from : lineAt(to, at), count)
        b.tailMask = mask
        const value = b.splat(b.expr(operand.value), count)
        b.tailMask = undefined
        b.store(b.place(panels.buffer, panels.memory, index, at), value)
      })
  })
}

/** How much room panels need behind their end: see Note [Overhang]. */
export const overhang = (width: number, lanes: number): number =>
  width % lanes < lanes / 2 ? 0 : lanes - (width % lanes)

/**
 * Whole vectors of a panel's width, then single lines.
 *
 * Note [Overhang]: where most of a vector is left, a whole one is written all the same. What is too
 * much of it falls into the next step along the depth, which is written afterwards; the last step of
 * the last panel needs some room behind it.
 */
function piecesOf(width: number, lanes: number): { readonly at: number; readonly lanes: number }[] {
  const pieces = []
  for (let at = 0; at < width;) {
    const left = width - at
    const count = left >= lanes / 2 ? lanes : 1
    pieces.push({ at, lanes: count })
    at += count
  }
  return pieces
}

// Lines past the end repeat the last one: what becomes of them is never stored.
function lineAt({ b, own, line }: Target, i: number): Value {
  return i === 0 ? line : b.min(b.add(line, i), b.sub(own.end, 1))
}

function packPoints(to: Target): void {
  const { b, operand, panels } = to
  const { width, buffer, memory } = panels
  const lines = Array.from({ length: width }, (_, i) => lineAt(to, i))
  eachDepth(to, (index) => {
    lines.forEach((at, i) =>
      b.scope(() => {
        bindFlat(b, operand.own, at)
        b.store(b.place(buffer, memory, index, i), b.expr(operand.value))
      }),
    )
  })
}

// Lines are contiguous along the depth: square blocks are read as rows and written as columns.
function packTransposed(to: Target, { lanes }: Way): void {
  const { b, operand, depth, panels, target } = to
  const { width, buffer, memory } = panels
  const lines = Array.from({ length: width }, (_, i) => lineAt(to, i))
  const valueAt = (line: Value, k: Value, count: number) =>
    b.scope(() => {
      bindFlat(b, operand.own, line)
      bindFlat(b, operand.summed, k, count)
      return b.splat(b.expr(operand.value), count)
    })
  const store = (index: Value, offset: number, value: Value) =>
    b.store(b.place(buffer, memory, index, offset), value)
  const indexAt = (k: Value) => b.add(target, b.mul(b.sub(k, depth.begin), width))
  const points = (begin: Value, end: Value) =>
    b.loop(begin, end, 1, (k) => {
      const index = indexAt(k)
      lines.forEach((line, i) => store(index, i, valueAt(line, k, 1)))
    })
  const block = (k: Value) => {
    const index = indexAt(k)
    // From the end, so that what hangs over is written before what belongs there.
    for (const { at, lanes: count } of piecesOf(width, lanes).toReversed()) {
      if (count > 1) {
        const rows = lines.slice(at, at + lanes).map((line) => valueAt(line, k, lanes))
        // Of a panel too narrow for a square, the last line fills the rest.
        while (rows.length < lanes) rows.push(rows[rows.length - 1]!)
        rows.forEach((_, i) => store(index, at + i * width, b.transposed(rows, i)))
      } else
        for (let i = 0; i < lanes; i++)
          store(index, at + i * width, valueAt(lines[at]!, b.add(k, i), 1))
    }
  }
  const stop = b.add(depth.begin, b.roundDown(b.sub(depth.end, depth.begin), lanes))
  b.loop(depth.begin, stop, lanes, (k) => {
    const isRun = staysInRun(b, operand.summed, k, lanes)
    if (isRun === undefined) return block(k)
    b.when(isRun, () => block(k))
    b.when(b.op('not', [isRun]), () => points(k, b.add(k, lanes)))
  })
  points(stop, depth.end)
}

// Whether the last axis goes on for so many lanes; undefined where it always does, from depths that are multiples of them.
function staysInRun(
  b: Emitter,
  axes: readonly Axis[],
  flat: Value,
  lanes: number,
): Value | undefined {
  const { extent } = axes[axes.length - 1]!
  if (axes.length === 1 || (typeof extent === 'number' && extent % lanes === 0)) return undefined
  const size = b.size(extent)
  return b.op('le', [b.add(b.op('rem', [flat, size]), lanes), size])
}

function eachDepth(to: Target, body: (index: Value) => void): void {
  const { b, operand, depth, steps, panels, target } = to
  b.loop(steps.begin, steps.end, 1, (k) => {
    bindFlat(b, operand.summed, k)
    body(b.add(target, b.mul(b.sub(k, depth.begin), panels.width)))
  })
}
