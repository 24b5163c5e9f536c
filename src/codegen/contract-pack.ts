/** @file Packs an operand of a contraction into panels: the order in which the register tile reads it. */
import { freeAxes, type Axis, type ExprBuilder } from '../ir/expr.ts'
import type { MemoryType, Value } from '../ir/loops.ts'
import type { Operand } from './contract-pattern.ts'
import type { Emitter } from './emitter.ts'
import type { TargetTraits } from './target-traits.ts'
import { chooseLanes, contiguousAlong } from './vectorize.ts'

/** Where panels go: `width` lines side by side, for each step along the depth. */
export interface Panels {
  readonly buffer: number
  readonly memory: MemoryType
  /** Position of the first panel in the buffer. */
  readonly at: number
  readonly width: number
}

/** A range of flat positions. */
export interface Range {
  readonly begin: Value
  readonly end: Value
}

/** Binds axes to the coordinates of a flat position; lanes run along the last axis. */
export function bindFlat(b: Emitter, axes: readonly Axis[], flat: Value, lanes = 1): void {
  let rest = flat
  for (let i = axes.length - 1; i > 0; i--) {
    const extent = b.size(axes[i]!.extent)
    const quotient = b.op('div', [rest, extent])
    b.bind(axes[i]!, b.sub(rest, b.mul(quotient, extent)), i === axes.length - 1 ? lanes : 1)
    rest = quotient
  }
  if (axes.length > 0) b.bind(axes[0]!, rest, axes.length === 1 ? lanes : 1)
}

/** How many positions some axes have together. */
export function flatExtent(b: Emitter, axes: readonly Axis[]): Value {
  return axes.reduce((n, axis) => b.mul(n, b.size(axis.extent)), b.int(1))
}

/** Copies lines [own.begin, own.end) of an operand, for a range of depths, into panels. */
export function pack(
  b: Emitter,
  s: ExprBuilder,
  operand: Operand,
  own: Range,
  depth: Range,
  panels: Panels,
  traits: TargetTraits,
): void {
  const { width } = panels
  const write = waysToPack(s, operand, traits)
  const size = b.sub(depth.end, depth.begin)
  b.loop(own.begin, own.end, width, (line) => {
    const target = b.add(b.mul(b.sub(line, own.begin), size), panels.at)
    const to: Target = { b, operand, own, depth, panels, line, target }
    if (write.kind === 'points') return packPoints(to)
    if (write.kind === 'depth') return packTransposed(to, write.lanes)
    const isFull = b.op('le', [b.add(line, width), own.end])
    b.when(isFull, () => packLines(to, write.lanes))
    b.when(b.op('not', [isFull]), () => packPoints(to))
  })
}

interface Target {
  readonly b: Emitter
  readonly operand: Operand
  readonly own: Range
  readonly depth: Range
  readonly panels: Panels
  /** The first line of the panel, and where the panel begins. */
  readonly line: Value
  readonly target: Value
}

/** Vectors across the lines, vectors along the depth that are transposed, or single elements. */
function waysToPack(
  s: ExprBuilder,
  { value, own, summed }: Operand,
  traits: TargetTraits,
): { readonly kind: 'lines' | 'depth'; readonly lanes: number } | { readonly kind: 'points' } {
  const free = freeAxes(value)
  const native = traits.vectorBytes / (value.type === 'f64' ? 8 : 4)
  const runs = (axes: readonly Axis[]) =>
    axes.length === 1 &&
    free.has(axes[0]!) &&
    contiguousAlong([value], axes[0]!) &&
    chooseLanes(s, [value], [], axes[0]!, traits) > 1
  if (runs(own)) return { kind: 'lines', lanes: native }
  if (runs(summed)) return { kind: 'depth', lanes: native }
  return { kind: 'points' }
}

// Lines lie side by side in the operand too: whole vectors are copied, and what is left of the width one by one.
function packLines(to: Target, lanes: number): void {
  const { b, operand, depth, panels, line, target } = to
  const { width, buffer, memory } = panels
  const whole = width - (width % lanes)
  const pieces = whole > 0 ? [{ at: 0, lanes: whole }] : []
  for (let at = whole; at < width; at++) pieces.push({ at, lanes: 1 })
  eachDepth(to, (k) => {
    bindFlat(b, operand.summed, k)
    const index = b.add(target, b.mul(b.sub(k, depth.begin), width))
    for (const piece of pieces)
      b.scope(() => {
        bindFlat(b, operand.own, b.add(line, piece.at), piece.lanes)
        const value = b.splat(b.expr(operand.value), piece.lanes)
        b.store(b.place(buffer, memory, index, piece.at), value)
      })
  })
}

// Lines past the end repeat the last one: what becomes of them is never stored.
function lineAt({ b, own, line }: Target, i: number): Value {
  return i === 0 ? line : b.min(b.add(line, i), b.sub(own.end, 1))
}

function packPoints(to: Target): void {
  const { b, operand, depth, panels, target } = to
  const { width, buffer, memory } = panels
  const lines = Array.from({ length: width }, (_, i) => lineAt(to, i))
  eachDepth(to, (k) => {
    bindFlat(b, operand.summed, k)
    const index = b.add(target, b.mul(b.sub(k, depth.begin), width))
    lines.forEach((at, i) =>
      b.scope(() => {
        bindFlat(b, operand.own, at)
        b.store(b.place(buffer, memory, index, i), b.expr(operand.value))
      }),
    )
  })
}

// Lines are contiguous along the depth: square blocks are read as rows and written as columns.
function packTransposed(to: Target, lanes: number): void {
  const { b, operand, depth, panels, target } = to
  const { width, buffer, memory } = panels
  const lines = Array.from({ length: width }, (_, i) => lineAt(to, i))
  const whole = width - (width % lanes)
  const size = b.sub(depth.end, depth.begin)
  const stop = b.add(depth.begin, b.roundDown(size, lanes))
  const [axis] = operand.summed as [Axis]
  const valueAt = (line: Value, k: Value, count: number) =>
    b.scope(() => {
      bindFlat(b, operand.own, line)
      b.bind(axis, k, count)
      return b.splat(b.expr(operand.value), count)
    })
  b.loop(depth.begin, stop, lanes, (k) => {
    const index = b.add(target, b.mul(b.sub(k, depth.begin), width))
    for (let at = 0; at < whole; at += lanes) {
      const rows = lines.slice(at, at + lanes).map((line) => valueAt(line, k, lanes))
      for (let i = 0; i < lanes; i++)
        b.store(b.place(buffer, memory, index, at + i * width), b.transposed(rows, i))
    }
    for (let at = whole; at < width; at++)
      for (let i = 0; i < lanes; i++)
        b.store(b.place(buffer, memory, index, at + i * width), valueAt(lines[at]!, b.add(k, i), 1))
  })
  b.loop(stop, depth.end, 1, (k) => {
    const index = b.add(target, b.mul(b.sub(k, depth.begin), width))
    lines.forEach((line, i) => b.store(b.place(buffer, memory, index, i), valueAt(line, k, 1)))
  })
}

function eachDepth({ b, depth }: Target, body: (k: Value) => void): void {
  b.loop(depth.begin, depth.end, 1, body)
}
