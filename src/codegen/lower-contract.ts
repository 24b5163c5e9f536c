/** @file Lowers a contraction to blocks of packed panels around a register tile. */
import { freeAxes, type Axis, type ExprBuilder, type Index } from '../ir/expr.ts'
import { visitAll, type Group } from '../ir/group.ts'
import type { Kernel, MemoryType, Value } from '../ir/loops.ts'
import { bindFlat, flatExtent, pack, type Panels, type Range } from './contract-pack.ts'
import type { Contraction } from './contract-pattern.ts'
import { multiply, TileOutput, type DirectRows, type Turn } from './contract-tile.ts'
import { Emitter, memoryOf } from './emitter.ts'
import { kernelBuffers } from './lower-nest.ts'
import type { TargetTraits } from './target-traits.ts'
import { chooseLanes, decompose } from './vectorize.ts'

/** Extents of the blocks, in elements, all known when the kernel is built: they bound the scratch space. */
interface Blocks {
  /** The register tile. */
  readonly tileRows: number
  readonly tileColumns: number
  /** A panel of B of this depth stays in the first-level cache. */
  readonly depth: number
  /** A block of A of this many rows stays in the second-level cache. */
  readonly rows: number
  readonly columns: number
  /** Rows of one task; a task is what a thread does on its own. */
  readonly taskRows: number
}

/**
 * Note [Blocking]: the loops are those of Goto and van de Geijn's "Anatomy of high-performance matrix
 * multiplication". From outside: batch, tasks (rows x columns), blocks of depth (B is packed here),
 * blocks of rows (A is packed here), panels of B, panels of A, and the register tile.
 */
export function lowerContract(
  s: ExprBuilder,
  group: Group,
  c: Contraction,
  traits: TargetTraits,
): Kernel {
  return new ContractLowering(s, group, c, traits).run()
}

class ContractLowering {
  readonly #s: ExprBuilder
  readonly #group: Group
  readonly #c: Contraction
  readonly #traits: TargetTraits
  readonly #b: Emitter
  readonly #blocks: Blocks
  readonly #memory: MemoryType
  readonly #scratch: number
  readonly #direct: DirectRows | undefined
  readonly #panelsA: Panels
  readonly #panelsB: Panels
  /** Whether the output can hold partial sums; if not, scratch space does. */
  readonly #keepsInOutput: boolean
  readonly #partialAt: number
  readonly #scratchLength: number
  readonly #isVector: boolean

  constructor(s: ExprBuilder, group: Group, c: Contraction, traits: TargetTraits) {
    this.#s = s
    this.#group = group
    this.#c = c
    this.#traits = traits
    this.#b = new Emitter({
      decompose: (e, lanes) => (e.kind === 'op' ? decompose(s, e, lanes, traits) : e),
      reduce: () => {
        throw new Error('internal: the sum of a contraction is defined by its tile')
      },
    })
    this.#memory = c.type
    this.#keepsInOutput = keepsPartialSums(c)
    this.#blocks = chooseBlocks(c, traits, this.#keepsInOutput)
    this.#direct = directRows(c)
    this.#isVector = hasVectorOutcome(s, c, traits)
    this.#scratch = kernelBuffers(group).length
    const { tileRows, tileColumns, depth, rows, columns, taskRows } = this.#blocks
    const panels = (at: number, width: number): Panels => ({
      buffer: this.#scratch,
      memory: this.#memory,
      at,
      width,
    })
    this.#panelsA = panels(tileRows * tileColumns, tileRows)
    this.#panelsB = panels(this.#panelsA.at + (this.#direct ? 0 : depth * rows), tileColumns)
    this.#partialAt = this.#panelsB.at + depth * columns
    this.#scratchLength = this.#partialAt + (this.#keepsInOutput ? 0 : taskRows * columns)
  }

  run(): Kernel {
    const b = this.#b
    const { batch, rows, columns } = this.#c
    const { taskRows, columns: blockColumns, tileRows, tileColumns } = this.#blocks
    this.#eachBatch(batch, () =>
      this.#eachBlock(flatExtent(b, rows), taskRows, tileRows, (rowRange) =>
        this.#eachBlock(flatExtent(b, columns), blockColumns, tileColumns, (columnRange) =>
          this.#task(rowRange, columnRange),
        ),
      ),
    )
    const bytes = this.#memory === 'f64' ? 8 : 4
    return {
      name: this.#group.name,
      buffers: [...kernelBuffers(this.#group), { memory: this.#memory, written: true }],
      sizeCount: this.#group.sizeCount,
      params: this.#group.params,
      scratchBytes: bytes * this.#scratchLength,
      body: b.finish(),
    }
  }

  #eachBatch(axes: readonly Axis[], body: () => void): void {
    const [axis, ...rest] = axes
    if (axis === undefined) return body()
    const b = this.#b
    b.loop(
      b.int(0),
      b.size(axis.extent),
      1,
      (i) => {
        b.bind(axis, i)
        this.#eachBatch(rest, body)
      },
      true,
    )
  }

  // Blocks of about equal size, none larger than `most`, each a multiple of `unit` but the last.
  #eachBlock(
    extent: Value,
    most: number,
    unit: number,
    body: (range: Range) => void,
    begin = this.#b.int(0),
  ): void {
    const b = this.#b
    const { count, size } = split(b, extent, most, unit)
    b.loop(
      b.int(0),
      count,
      1,
      (i) => {
        const at = b.mul(i, size)
        body({ begin: b.add(begin, at), end: b.add(begin, b.min(b.add(at, size), extent)) })
      },
      true,
    )
  }

  #task(rows: Range, columns: Range): void {
    const b = this.#b
    const depth = flatExtent(b, this.#c.depth)
    const { depth: most } = this.#blocks
    if (depth.def.kind === 'const' && (depth.def.value as number) <= most)
      return this.#depthBlock(rows, columns, { begin: b.int(0), end: depth }, undefined)
    // Of no depth at all the sums are zero, but they are stored: there is always a first block.
    const { count: blocks, size } = split(b, depth, most, depthUnit)
    const count = b.op('max', [blocks, b.int(1)])
    b.loop(b.int(0), count, 1, (i) => {
      const begin = b.mul(i, size)
      const turn: Turn = {
        isFirst: b.op('eq', [i, b.int(0)]),
        isLast: b.op('eq', [i, b.sub(count, 1)]),
        partial: this.#partialPlace(rows, columns),
      }
      this.#depthBlock(rows, columns, { begin, end: b.min(b.add(begin, size), depth) }, turn)
    })
  }

  #partialPlace(rows: Range, columns: Range): Turn['partial'] {
    if (this.#keepsInOutput) return undefined
    const b = this.#b
    const stride = this.#blocks.columns
    return (row, column) => {
      const line = b.add(b.mul(b.sub(row, rows.begin), stride), b.sub(column, columns.begin))
      return b.place(this.#scratch, this.#memory, line, this.#partialAt)
    }
  }

  #depthBlock(rows: Range, columns: Range, depth: Range, turn: Turn | undefined): void {
    const b = this.#b
    const { rows: blockRows, tileRows } = this.#blocks
    pack(b, this.#s, this.#c.b, columns, depth, this.#panelsB, this.#traits)
    this.#eachBlock(
      b.sub(rows.end, rows.begin),
      blockRows,
      tileRows,
      (block) => {
        if (!this.#direct) pack(b, this.#s, this.#c.a, block, depth, this.#panelsA, this.#traits)
        this.#tiles(block, columns, depth, turn)
      },
      rows.begin,
    )
  }

  #tiles(rows: Range, columns: Range, depth: Range, turn: Turn | undefined): void {
    const b = this.#b
    const { tileRows, tileColumns } = this.#blocks
    const size = b.sub(depth.end, depth.begin)
    const panel = (panels: Panels, begin: Value, at: Value) =>
      b.add(b.mul(b.sub(at, begin), size), panels.at)
    const output = new TileOutput(b, this.#c.out, this.#memory, turn)
    b.loop(columns.begin, columns.end, tileColumns, (column) => {
      const panelB = panel(this.#panelsB, columns.begin, column)
      const fits = [b.op('le', [b.add(column, tileColumns), columns.end])]
      const isRun = output.isRun(column, tileColumns)
      if (isRun) fits.push(isRun)
      b.loop(rows.begin, rows.end, tileRows, (row) => {
        const direct = this.#direct
        const rowsA = direct
          ? { direct, starts: this.#rowStarts(direct, row, rows.end) }
          : { panel: panel(this.#panelsA, rows.begin, row) }
        const input = { scratch: this.#scratch, memory: this.#memory, panelB, rowsA }
        const { type } = this.#c
        const sums = multiply(b, type, tileRows, tileColumns, depth, input, this.#traits)
        const edge = () =>
          output.edge(sums, { row, column }, { row: rows.end, column: columns.end }, (index, at) =>
            b.place(this.#scratch, this.#memory, index, at),
          )
        if (!this.#isVector) return edge()
        const isWhole = [...fits, b.op('le', [b.add(row, tileRows), rows.end])].reduce((x, y) =>
          b.op('and', [x, y]),
        )
        b.when(isWhole, () => output.whole(sums, row, column))
        b.when(b.op('not', [isWhole]), edge)
      })
    })
  }

  // Rows past the end repeat the last one: what becomes of them is never stored.
  #rowStarts(direct: DirectRows, row: Value, end: Value): Value[] {
    const b = this.#b
    return Array.from({ length: this.#blocks.tileRows }, (_, i) =>
      b.scope(() => {
        bindFlat(b, this.#c.a.own, i === 0 ? row : b.min(b.add(row, i), b.sub(end, 1)))
        return b.indexValue(direct.index)
      }),
    )
  }
}

/** Depths are cut at multiples of this: the unrolling of the tile and the blocks of transposed packing. */
const depthUnit = 16

function split(
  b: Emitter,
  extent: Value,
  most: number,
  unit: number,
): { count: Value; size: Value } {
  const ceilDiv = (x: Value, y: Value) => b.op('div', [b.sub(b.add(x, y), 1), y])
  const count = ceilDiv(extent, b.int(most))
  const even = ceilDiv(extent, b.op('max', [count, b.int(1)]))
  return { count, size: b.mul(ceilDiv(even, b.int(unit)), unit) }
}

function chooseBlocks(c: Contraction, traits: TargetTraits, keepsInOutput: boolean): Blocks {
  const bytes = c.type === 'f64' ? 8 : 4
  const tileColumns = (traits.tileVectors * traits.vectorBytes) / bytes
  const { tileRows } = traits
  const known = (axes: readonly Axis[]) =>
    axes.reduce((n, { extent }) => n * (typeof extent === 'number' ? extent : Infinity), 1)
  const fit = (wanted: number, unit: number, axes: readonly Axis[]) =>
    Math.max(unit, Math.min(down(wanted, unit), up(known(axes), unit)))
  const depth = fit(Math.max(256, traits.l1Bytes / 2 / (tileColumns * bytes)), depthUnit, c.depth)
  const rows = fit(traits.l2Bytes / 2 / (depth * bytes), tileRows, c.rows)
  const columns = fit(
    keepsInOutput ? (2 * traits.l2Bytes) / (depth * bytes) : 256,
    tileColumns,
    c.columns,
  )
  const taskRows = keepsInOutput ? down(1024, tileRows) : rows
  return { tileRows, tileColumns, depth, rows, columns, taskRows }
}

const down = (x: number, unit: number) => Math.floor(x / unit) * unit
const up = (x: number, unit: number) => Math.ceil(x / unit) * unit

// Rows of A are read in place when each is contiguous along the whole depth.
function directRows(c: Contraction): DirectRows | undefined {
  const { value, summed } = c.a
  const [axis] = summed
  if (value.kind !== 'load' || value.guard !== undefined || summed.length !== 1) return undefined
  if (axis === undefined || memoryOf[value.dtype] !== c.type) return undefined
  const isAlong = (t: Index['terms'][number]) => t.index.kind === 'axis' && t.index.axis === axis
  const along = value.index.terms.filter(isAlong)
  const rest = value.index.terms.filter((t) => !isAlong(t))
  if (along.length !== 1 || along[0]!.stride !== 1) return undefined
  if (rest.some((t) => freeAxes(t.index).has(axis))) return undefined
  return { buffer: value.buffer, index: { offset: value.index.offset, terms: rest } }
}

// Partial sums may wait in the output if it is as precise as they are and nothing else reads it.
function keepsPartialSums(c: Contraction): boolean {
  const { store, value, dtype } = c.out
  if (store.accumulate || memoryOf[dtype] !== c.type) return false
  let isRead = false
  visitAll(
    [value, c.a.value, c.b.value],
    (e) => (isRead ||= e.kind === 'load' && e.buffer === store.buffer),
  )
  return !isRead
}

// Whether the sums of a row can be finished and stored as vectors along the last column axis.
function hasVectorOutcome(s: ExprBuilder, c: Contraction, traits: TargetTraits): boolean {
  const { index, value, columns, dtype } = c.out
  const run = columns[columns.length - 1]!
  const isUnit = index.terms.every((t) =>
    freeAxes(t.index).has(run) ? t.index.kind === 'axis' && t.stride === 1 : true,
  )
  const runs = index.terms.filter((t) => t.index.kind === 'axis' && t.index.axis === run)
  return isUnit && runs.length === 1 && chooseLanes(s, [value], [dtype], run, traits) > 1
}
