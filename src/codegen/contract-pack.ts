/** @file Packs an operand of a contraction into panels: the order in which the register tile reads it. */
import type { Axis } from '../ir/expr.ts'
import type { MemoryType, Value } from '../ir/loops.ts'
import { bindFlat, type Range, type Way } from './contract-access.ts'
import { bitsOf, joinWord, wordCount, type Words } from './contract-dot.ts'
import type { Operand } from './contract-pattern.ts'
import { memoryOf, type Emitter } from './emitter.ts'
import { strideOf } from './merge-axes.ts'

/** Where panels go: `width` lines side by side, for each step along the depth: an element, or a word of several. */
export interface Panels {
  readonly buffer: number
  readonly memory: MemoryType
  /** Position of the first panel in the buffer. */
  readonly at: number
  readonly width: number
  /** Whether part of a vector can be read. */
  readonly hasMasks: boolean
  /** Steps along the depth until the next block of it is packed. */
  readonly blockSteps?: number
  /** How elements are put into words; undefined: they are not. */
  readonly words?: Words | undefined
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
  const all = { begin: b.int(0), end: wordCount(b, depth, panels.words) }
  const eachPanel = (steps: Range, body: (to: Target) => void) =>
    b.loop(own.begin, own.end, width, (line) => {
      const target = b.add(b.mul(b.sub(line, own.begin), all.end), panels.at)
      body({ b, operand, own, depth, steps, panels, line, target })
    })
  // A few long lines of the operand at a time, all panels of them: memory is read as it lies.
  if (way?.isSimple && way.along === 'lines' && panels.hasMasks && overhang(width, way.lanes) === 0)
    return b.loop(all.begin, all.end, bandSteps, (i) => {
      const steps = { begin: i, end: b.min(b.add(i, bandSteps), all.end) }
      eachPanel(steps, (to) => packLines(to, way))
    })
  eachPanel(all, (to) => {
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
  const next = ahead(to, operand.summed)
  eachStep(to, (index, step) => {
    for (const { at, lanes: count, from, mask } of pieces) {
      const value = step((k) => {
        next?.(from, k, panels.blockSteps ?? bandSteps)
        return b.scope(() => {
          bindFlat(b, operand.own, mask || !panels.hasMasks ? from : lineAt(to, at), count)
          bindFlat(b, operand.summed, k)
          b.tailMask = mask
          const value = b.splat(b.expr(operand.value), count)
          b.tailMask = undefined
          return value
        })
      })
      b.store(b.place(panels.buffer, panels.memory, index, at), value)
    }
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
  eachStep(to, (index, step) => {
    lines.forEach((at, i) => {
      const value = step((k) =>
        b.scope(() => {
          bindFlat(b, operand.own, at)
          bindFlat(b, operand.summed, k)
          return b.expr(operand.value)
        }),
      )
      b.store(b.place(buffer, memory, index, i), value)
    })
  })
}

// Lines are contiguous along the depth: square blocks are read as rows and written as columns.
function packTransposed(to: Target, { lanes }: Way): void {
  const { b, own, panels, line, target } = to
  const { width } = panels
  if (width === lanes || width % lanes !== 0) return packColumns(to, lanes, width)
  // A transpose is long: the code of one does for all pieces of the width.
  b.loop(b.int(0), b.int(width), lanes, (at) => {
    const first = b.min(b.add(line, at), b.sub(own.end, 1))
    packColumns({ ...to, line: first, target: b.add(target, at) }, lanes, lanes)
  })
}

// The first `count` lines of a panel.
function packColumns(to: Target, lanes: number, count: number): void {
  const { b, operand, depth, panels } = to
  const { width, buffer, memory } = panels
  const lines = Array.from({ length: count }, (_, i) => lineAt(to, i))
  const next = ahead(to, operand.own)
  const valueAt = (line: Value, k: Value, run: number) =>
    b.scope(() => {
      bindFlat(b, operand.own, line)
      bindFlat(b, operand.summed, k, run)
      return b.splat(b.expr(operand.value), run)
    })
  const store = (index: Value, offset: number, value: Value) =>
    b.store(b.place(buffer, memory, index, offset), value)
  const perStep = panels.words?.depths ?? 1
  const points = (begin: Value, end: Value) => {
    const put = (index: Value, step: Step) =>
      lines.forEach((line, i) => {
        const value = step((k) => valueAt(line, k, 1))
        store(index, i, value)
      })
    eachStep(to, put, { begin, end })
  }
  // One store for each step of the block, of the values at its depths.
  const steps = (index: Value, offset: number, valueOf: (i: number) => Value) => {
    for (let i = 0; i < lanes; i += perStep) {
      const values = Array.from({ length: perStep }, (_, j) => valueOf(i + j))
      store(index, offset + (i / perStep) * width, join(to, values))
    }
  }
  const block = (k: Value, step: Value) => {
    const index = indexAt(to, step)
    lines.forEach((_, i) => next?.(to.line, k, panelsAhead(to) * width + i))
    // From the end, so that what hangs over is written before what belongs there.
    for (const { at, lanes: side } of piecesOf(count, lanes).toReversed()) {
      if (side > 1) {
        const rows = lines.slice(at, at + lanes).map((line) => valueAt(line, k, lanes))
        // Of a panel too narrow for a square, the last line fills the rest.
        while (rows.length < lanes) rows.push(rows[rows.length - 1]!)
        steps(index, at, (i) => b.transposed(rows, i))
      } else steps(index, at, (i) => valueAt(lines[at]!, b.add(k, i), 1))
    }
  }
  const whole = b.roundDown(b.sub(depth.end, depth.begin), lanes)
  const perBlock = lanes / perStep
  const stop = perStep === 1 ? whole : b.op('div', [whole, b.int(perStep)])
  b.loop(b.int(0), stop, perBlock, (i) => {
    const k = depthAt(to, i)
    const isRun = staysInRun(b, operand.summed, k, lanes)
    if (isRun === undefined) return block(k, i)
    b.when(isRun, () => block(k, i))
    b.when(b.op('not', [isRun]), () => points(i, b.add(i, perBlock)))
  })
  points(stop, wordCount(b, depth, panels.words))
}

/**
 * Note [Ahead]: operands come from memory when they are packed, and while tiles are computed memory is idle. So what
 * will be packed later is asked for ahead: what lies so many steps on along these axes. That is the next block of
 * the depth, or, of lines along the depth, a panel soon to come: processors foresee neither. It goes to the
 * second-level cache: the first is full of panels.
 */
function ahead(
  { b, operand }: Target,
  axes: readonly Axis[],
): ((line: Value, k: Value, steps: number) => void) | undefined {
  const { value, own, summed } = operand
  if (value.kind !== 'load' || value.guard !== undefined || axes.length !== 1) return undefined
  const stride = strideOf(value.index, axes[0]!)
  if (typeof stride !== 'number') return undefined
  const memory = memoryOf[value.dtype]
  return (line, k, steps) => {
    const index = b.scope(() => {
      bindFlat(b, own, line)
      bindFlat(b, summed, k)
      return b.indexValue(value.index)
    })
    b.prefetch(b.place(value.buffer, memory, index, steps * stride))
  }
}

// A panel is packed faster than memory answers if it is small.
function panelsAhead({ operand, panels }: Target): number {
  const [axis] = operand.summed
  const steps = typeof axis?.extent === 'number' ? axis.extent : mostAhead
  return Math.max(1, Math.ceil(mostAhead / (panels.width * steps)))
}

/** Elements. */
const mostAhead = 1024

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

// Where step i lies.
const indexAt = ({ b, panels, target }: Target, i: Value): Value =>
  b.add(target, b.mul(i, panels.width))

// The first depth of step i.
const depthAt = ({ b, depth, panels }: Target, i: Value): Value =>
  b.add(depth.begin, b.mul(i, panels.words?.depths ?? 1))

function join({ b, panels }: Target, values: readonly Value[]): Value {
  if (!panels.words) return values[0]!
  const bits = values.map((value) => bitsOf(b, value))
  return joinWord(b, panels.words, bits)
}

/** Makes what is stored for one step, of the value at each depth. */
type Step = (valueAt: (k: Value) => Value) => Value

// Steps [begin, end), all unless told otherwise. The last word of all may be filled up with zeros.
function eachStep(
  to: Target,
  body: (index: Value, step: Step) => void,
  { begin, end }: Range = to.steps,
): void {
  const { b, depth, panels } = to
  const { words } = panels
  const each = (i: Value, isFull: boolean) => {
    const first = depthAt(to, i)
    const last = b.sub(depth.end, 1)
    body(indexAt(to, i), (valueAt) => {
      const values = Array.from({ length: words?.depths ?? 1 }, (_, j) => {
        const k = b.add(first, j)
        if (isFull || j === 0) return valueAt(k)
        const kept = b.op('select', [b.op('le', [k, last]), b.int(-1), b.int(0)])
        return b.op('and', [bitsOf(b, valueAt(b.min(k, last))), kept])
      })
      return join(to, values)
    })
  }
  if (words === undefined || words.isEven) return b.loop(begin, end, 1, (i) => each(i, true))
  const full = b.min(end, b.op('div', [b.sub(depth.end, depth.begin), b.int(words.depths)]))
  b.loop(begin, full, 1, (i) => each(i, true))
  b.loop(b.op('max', [begin, full]), end, 1, (i) => each(i, false))
}
