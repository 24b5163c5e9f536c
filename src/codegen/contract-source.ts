/** @file Where the tile of a contraction finds its operands: in place, in sheets of long rows, or in packed panels. */
import { freeAxes, type ExprBuilder, type Index } from '../ir/expr.ts'
import type { MemoryType, Value } from '../ir/loops.ts'
import { bindFlat, wayToRead, type Range, type Way } from './contract-access.ts'
import type { Blocks } from './contract-blocks.ts'
import { firstSum, sumLines, wordCount, type DotPlan } from './contract-dot.ts'
import { packPanels } from './contract-pack.ts'
import type { Operand } from './contract-pattern.ts'
import { fillSheet, type Sheet } from './contract-sheet.ts'
import { fillsUnderMasks, fillUnderMasks } from './contract-windows.ts'
import type { ColumnsOfB, RowsOfA } from './contract-tile.ts'
import { memoryOf, type Emitter } from './emitter.ts'
import { strideOf } from './merge-axes.ts'
import type { TargetTraits } from './target-traits.ts'

/** How an operand is kept for the tile. */
export type Keeping =
  Copied | { readonly kind: 'direct'; readonly buffer: number; readonly index: Index }

export type Copied =
  | { readonly kind: 'panels'; readonly way: Way | undefined }
  | { readonly kind: 'sheet'; readonly way: Way }

/** Scratch space, handed out front to back. */
export class Scratch {
  readonly buffer: number
  readonly memory: MemoryType
  length = 0

  constructor(buffer: number, memory: MemoryType) {
    this.buffer = buffer
    this.memory = memory
  }

  take(length: number): number {
    this.length += length
    return this.length - length
  }
}

/** Rows of A are read in place, if the target does so, when each is contiguous along the whole depth. */
export function keepingOfA(
  s: ExprBuilder,
  operand: Operand,
  type: MemoryType,
  traits: TargetTraits,
): Keeping {
  const direct = traits.rowsInPlace ? directRows(operand, type) : undefined
  if (direct) return { kind: 'direct', ...direct }
  return copied(wayToRead(s, operand, traits), 'depth')
}

/** Columns of B are read in place if they lie in panels of the tile's width already. */
export function keepingOfB(
  s: ExprBuilder,
  operand: Operand,
  type: MemoryType,
  width: number,
  traits: TargetTraits,
): Keeping {
  const direct = panelsInPlace(operand, type, width)
  return direct ? { kind: 'direct', ...direct } : copied(wayToRead(s, operand, traits), 'lines')
}

/** Where panels of this many columns begin, if that is how an operand lies: step by step along the depth. */
export function panelsInPlace(
  { value, own, summed }: Operand,
  type: MemoryType,
  width: number,
): { buffer: number; index: Index } | undefined {
  const [axis] = summed
  const lane = own.at(-1)
  if (value.kind !== 'load' || value.guard !== undefined || summed.length !== 1) return undefined
  if (memoryOf[value.dtype] !== type || lane?.extent !== width) return undefined
  const { index, buffer } = value
  if (strideOf(index, lane) !== 1 || strideOf(index, axis!) !== width) return undefined
  const terms = index.terms.filter((t) => !freeAxes(t.index).has(axis!))
  return { buffer, index: { offset: index.offset, terms } }
}

// Sheets are for what comes in runs; vectors that fit everywhere make panels.
function copied(way: Way | undefined, along: Way['along']): Copied {
  const isSheet = way !== undefined && way.along === along && !way.isSimple
  return isSheet ? { kind: 'sheet', way } : { kind: 'panels', way }
}

/** Operand A: `prepare` a block, then ask for the rows of each tile. */
export class SourceA {
  readonly #b: Emitter
  readonly #operand: Operand
  readonly #keeping: Keeping
  readonly #blocks: Blocks
  readonly #scratch: Scratch
  readonly #at: number
  readonly #stride: number
  readonly #hasMasks: boolean
  readonly #dot: DotPlan | undefined
  /** Where the first sums of rows lie, if they are not zero. */
  readonly #firstSumsAt: number | undefined

  constructor(
    b: Emitter,
    operand: Operand,
    keeping: Keeping,
    blocks: Blocks,
    scratch: Scratch,
    hasMasks: boolean,
    dot?: DotPlan,
  ) {
    this.#b = b
    this.#operand = operand
    this.#keeping = keeping
    this.#blocks = blocks
    this.#scratch = scratch
    this.#stride = sheetStride(blocks.depth, scratch.memory)
    const steps = blocks.depth / (dot?.depths ?? 1)
    const width = { panels: steps, sheet: this.#stride, direct: 0 }[keeping.kind]
    this.#at = scratch.take(blocks.rows * width + mostOverhang)
    this.#hasMasks = hasMasks
    this.#dot = dot
    this.#firstSumsAt = dot?.movesB ? scratch.take(blocks.rows + mostOverhang) : undefined
  }

  prepare(rows: Range, depth: Range): void {
    const keeping = this.#keeping
    if (keeping.kind === 'direct') return
    const place = roomFor(this.#scratch, this.#at, this.#blocks, this.#hasMasks)
    const words = this.#dot?.words.a
    const to = { ...place, width: this.#blocks.tileRows, stride: this.#stride, words }
    if (keeping.kind === 'panels') {
      packPanels(this.#b, this.#operand, keeping.way, rows, depth, to)
      if (this.#dot?.movesB) this.#sumRows(this.#dot, rows, depth)
    } else fill(this.#b, this.#operand, keeping.way, rows, depth, { ...to, panelWidth: undefined })
  }

  rowsAt(row: Value, rows: Range, depth: Range): RowsOfA {
    const b = this.#b
    const keeping = this.#keeping
    const { buffer } = this.#scratch
    if (keeping.kind === 'panels') {
      const line = b.sub(row, rows.begin)
      const steps = wordCount(b, depth, this.#dot?.words.a)
      const panel = b.add(b.mul(line, steps), this.#at)
      const at = this.#firstSumsAt
      return at === undefined ? { buffer, panel } : { buffer, panel, firstSums: b.add(line, at) }
    }
    // Rows past the end repeat the last one: what becomes of them is never stored.
    const lines = Array.from({ length: this.#blocks.tileRows }, (_, i) =>
      i === 0 ? row : b.min(b.add(row, i), b.sub(rows.end, 1)),
    )
    if (keeping.kind === 'sheet') {
      const startOf = (line: Value) => b.add(b.mul(b.sub(line, rows.begin), this.#stride), this.#at)
      return { buffer, starts: lines.map((line) => b.sub(startOf(line), depth.begin)) }
    }
    const { index } = keeping
    const startOf = (line: Value) =>
      b.scope(() => {
        bindFlat(b, this.#operand.own, line)
        return b.indexValue(index)
      })
    return { buffer: keeping.buffer, starts: lines.map(startOf) }
  }

  // What the sums of each row start at: see Note [Dots].
  #sumRows(dot: DotPlan, rows: Range, depth: Range): void {
    const b = this.#b
    const { buffer, memory } = this.#scratch
    const { tileRows } = this.#blocks
    const lanes = Math.ceil(tileRows / dot.lanes) * dot.lanes
    const steps = wordCount(b, depth, dot.words.a)
    const zero = b.splat(b.int(0), lanes)
    b.loop(rows.begin, rows.end, tileRows, (row) => {
      const line = b.sub(row, rows.begin)
      const panel = b.add(b.mul(line, steps), this.#at)
      const sum = b.variable(zero)
      b.loop(b.int(0), steps, 1, (i) => {
        const words = b.load(b.place(buffer, memory, b.add(panel, b.mul(i, tileRows))), lanes)
        b.set(sum, sumLines(b, dot, words, b.read(sum)))
      })
      b.store(b.place(buffer, memory, line, this.#firstSumsAt), firstSum(b, dot, b.read(sum)))
    })
  }
}

/** Operand B: `prepare` a block, then ask for the columns of each tile. */
export class SourceB {
  readonly #b: Emitter
  readonly #operand: Operand
  readonly #keeping: Keeping
  readonly #blocks: Blocks
  readonly #scratch: Scratch
  readonly #at: number
  readonly #stride: number
  readonly #hasMasks: boolean
  readonly #isSheet: boolean
  readonly #dot: DotPlan | undefined

  constructor(
    b: Emitter,
    operand: Operand,
    keeping: Keeping,
    blocks: Blocks,
    scratch: Scratch,
    hasMasks: boolean,
    dot?: DotPlan,
  ) {
    this.#b = b
    this.#operand = operand
    this.#keeping = keeping
    this.#blocks = blocks
    this.#scratch = scratch
    this.#stride = sheetStride(blocks.columns, scratch.memory)
    this.#isSheet = keeping.kind !== 'direct' && liesInRows(keeping, hasMasks)
    const width = this.#isSheet ? this.#stride : blocks.columns
    const steps = blocks.depth / (dot?.depths ?? 1)
    this.#at = keeping.kind === 'direct' ? 0 : scratch.take(steps * width + mostOverhang)
    this.#hasMasks = hasMasks
    this.#dot = dot
  }

  prepare(columns: Range, depth: Range): void {
    const keeping = this.#keeping
    if (keeping.kind === 'direct') return
    const width = this.#blocks.tileColumns
    const place = roomFor(this.#scratch, this.#at, this.#blocks, this.#hasMasks)
    const to = { ...place, width, stride: this.#stride, words: this.#dot?.words.b }
    if (keeping.kind === 'panels')
      packPanels(this.#b, this.#operand, keeping.way, columns, depth, to)
    else {
      const panelWidth = this.#isSheet ? undefined : width
      fill(this.#b, this.#operand, keeping.way, columns, depth, { ...to, panelWidth })
    }
  }

  columnsAt(column: Value, columns: Range, depth: Range): ColumnsOfB {
    const b = this.#b
    const { buffer } = this.#scratch
    const keeping = this.#keeping
    const stride = this.#blocks.tileColumns
    if (keeping.kind === 'direct') {
      const panel = b.scope(() => {
        bindFlat(b, this.#operand.own, column)
        return b.indexValue(keeping.index)
      })
      return { buffer: keeping.buffer, start: b.add(panel, b.mul(depth.begin, stride)), stride }
    }
    const offset = b.sub(column, columns.begin)
    if (this.#isSheet) return { buffer, start: b.add(offset, this.#at), stride: this.#stride }
    const steps = wordCount(b, depth, this.#dot?.words.b)
    return { buffer, start: b.add(b.mul(offset, steps), this.#at), stride }
  }
}

/** Whether operand B is read from rows of a sheet; under masks a sheet is cut into panels as it is filled. */
export const liesInRows = (keeping: Copied, hasMasks: boolean): boolean =>
  keeping.kind === 'sheet' && !fillsUnderMasks({ hasMasks }, keeping.way)

/** Where an operand is packed to, and how. */
const roomFor = (
  { buffer, memory }: Scratch,
  at: number,
  { depth }: Blocks,
  hasMasks: boolean,
) => ({
  buffer,
  memory,
  at,
  hasMasks,
  blockSteps: depth,
})

/** Room behind panels, in elements: see Note [Overhang]. */
const mostOverhang = 16

function fill(
  b: Emitter,
  operand: Operand,
  way: Way,
  own: Range,
  depth: Range,
  sheet: Sheet,
): void {
  const copy = fillsUnderMasks(sheet, way) ? fillUnderMasks : fillSheet
  copy(b, operand, way, own, depth, sheet)
}

// An odd number of cache lines, so that the rows of a sheet fall into different sets of the cache.
function sheetStride(length: number, memory: MemoryType): number {
  const perLine = 64 / (memory === 'f64' ? 8 : 4)
  return (Math.ceil(length / perLine) | 1) * perLine
}

function directRows(
  operand: Operand,
  type: MemoryType,
): { buffer: number; index: Index } | undefined {
  const { value, summed } = operand
  const [axis] = summed
  if (value.kind !== 'load' || value.guard !== undefined || summed.length !== 1) return undefined
  if (axis === undefined || memoryOf[value.dtype] !== type) return undefined
  const isAlong = (t: Index['terms'][number]) => t.index.kind === 'axis' && t.index.axis === axis
  const along = value.index.terms.filter(isAlong)
  const rest = value.index.terms.filter((t) => !isAlong(t))
  if (along.length !== 1 || along[0]!.stride !== 1) return undefined
  if (rest.some((t) => freeAxes(t.index).has(axis))) return undefined
  return { buffer: value.buffer, index: { offset: value.index.offset, terms: rest } }
}
