/** @file Lowers a contraction to blocks of packed panels around a register tile. */
import { freeAxes, type Axis, type ExprBuilder } from '../ir/expr.ts'
import { visitAll, type Group } from '../ir/group.ts'
import type { Kernel, Value } from '../ir/loops.ts'
import { assert } from '../util/errors.ts'
import { bindFlat, flatExtent, wayToRead, type Range, type Way } from './contract-access.ts'
import {
  chooseBlocks,
  depthUnit,
  extentOf,
  leastDepth,
  tileOf,
  type Blocks,
} from './contract-blocks.ts'
import { planDot, wordCount, type DotPlan } from './contract-dot.ts'
import type { Contraction, Operand, Result } from './contract-pattern.ts'
import { TileOutput, type Turn } from './contract-output.ts'
import { tapsOf } from './contract-windows.ts'
import { keepingOfA, keepingOfB, liesInRows, Scratch, SourceA, SourceB } from './contract-source.ts'
import { multiply } from './contract-tile.ts'
import { Emitter, memoryOf } from './emitter.ts'
import { kernelBuffers } from './lower-nest.ts'
import type { TargetTraits } from './target-traits.ts'
import { chooseLanes, decompose } from './vectorize.ts'

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
  return new ContractLowering(s, group, favourable(s, c, traits), traits).run()
}

// A guarded operand that is contiguous along a long depth is best read as rows, even if that leaves the
// output to be written across: the weight's gradient of a convolution.
export function favourable(s: ExprBuilder, c: Contraction, traits: TargetTraits): Contraction {
  const isGuarded = (operand: Operand) => {
    const way = wayToRead(s, operand, traits)
    return way?.along === 'depth' && way.bounds !== undefined
  }
  const isDeep = extentOf(c.depth) >= 4 * extentOf(c.rows)
  return isDeep && isGuarded(c.b) && !isGuarded(c.a) ? c.swapped() : c
}

class ContractLowering {
  readonly #group: Group
  readonly #c: Contraction
  readonly #traits: TargetTraits
  readonly #b: Emitter
  readonly #blocks: Blocks
  readonly #scratch: Scratch
  /** Where the sums of an edge tile lie while they are finished one by one. */
  readonly #edgeAt: number
  /** Steps of the depth that B's windows hold together. */
  readonly #taps: number
  readonly #sourceA: SourceA
  readonly #sourceB: SourceB
  /** Where partial sums of a task are kept; undefined: in the output. */
  readonly #partialsAt: number | undefined
  readonly #isVector: boolean
  readonly #dot: DotPlan | undefined

  constructor(s: ExprBuilder, group: Group, c: Contraction, traits: TargetTraits) {
    this.#group = group
    this.#c = c
    this.#traits = traits
    const b = (this.#b = new Emitter({
      decompose: (e, lanes) => (e.kind === 'op' ? decompose(s, e, lanes, traits) : e),
      reduce: () => assert(false, 'the sum of a contraction is defined by its tile') as never,
    }))
    this.#isVector = hasVectorOutcome(s, c, traits)
    const dot = (this.#dot = planDot(s, c, traits))
    const panels = (way: Way | undefined) => ({ kind: 'panels', way }) as const
    const keepingA = dot ? panels(dot.ways.a) : keepingOfA(s, c.a, c.type, traits)
    const { tileColumns } = tileOf(c, traits)
    const keepingB = dot ? panels(dot.ways.b) : keepingOfB(s, c.b, c.type, tileColumns, traits)
    const depthsInWord = dot?.depths ?? 1
    // A depth known to be one block leaves no partial sums.
    const isDeep = extentOf(c.depth) > leastDepth * depthsInWord
    const keepsPartials = isDeep && (!this.#isVector || !canHoldPartials(c))
    this.#taps = keepingB.kind === 'sheet' ? tapsOf(c.b, keepingB.way) : 1
    const isSheet = keepingB.kind !== 'direct' && liesInRows(keepingB, traits.tail === 'mask')
    const blocks = (this.#blocks = chooseBlocks(c, traits, {
      isSheet,
      comesInRuns: keepingB.kind === 'sheet',
      taps: this.#taps,
      keepsPartials,
      depthsInWord,
    }))
    const hasMasks = traits.tail === 'mask'
    const scratch = (this.#scratch = new Scratch(kernelBuffers(group).length, dot ? 'i32' : c.type))
    this.#edgeAt = scratch.take(blocks.tileRows * blocks.tileColumns)
    this.#sourceA = new SourceA(b, c.a, keepingA, blocks, scratch, hasMasks, dot)
    this.#sourceB = new SourceB(b, c.b, keepingB, blocks, scratch, hasMasks, dot)
    this.#partialsAt = keepsPartials ? scratch.take(blocks.taskRows * blocks.columns) : undefined
  }

  run(): Kernel {
    const b = this.#b
    const { batch, rows, columns } = this.#c
    const { tileRows, tileColumns } = this.#blocks
    const all = {
      rows: { begin: b.int(0), end: flatExtent(b, rows) },
      columns: { begin: b.int(0), end: flatExtent(b, columns) },
    }
    if (batch.length > 0) this.#eachBatch(batch, () => this.#product(all.rows, all.columns))
    else if (extentOf(rows) >= extentOf(columns))
      this.#inRuns(all.rows, tileRows, (range) => this.#product(range, all.columns))
    else this.#inRuns(all.columns, tileColumns, (range) => this.#product(all.rows, range))
    const { memory, length } = this.#scratch
    return {
      name: this.#group.name,
      buffers: [...kernelBuffers(this.#group), { memory, written: true }],
      sizeCount: this.#group.sizeCount,
      params: this.#group.params,
      scratchBytes: length * (memory === 'f64' ? 8 : 4),
      body: b.finish(),
    }
  }

  #eachBatch(axes: readonly Axis[], body: () => void): void {
    const b = this.#b
    const each = (i: Value) => {
      bindFlat(b, axes, i)
      body()
    }
    b.loop(b.int(0), flatExtent(b, axes), 1, each, true)
  }

  // Note [Sharing]: threads share the longer side. Each packs all of the other operand for itself,
  // which is little beside what it computes, and nobody waits for anybody.
  #inRuns({ end }: Range, unit: number, body: (range: Range) => void): void {
    const b = this.#b
    const count = b.op('div', [b.add(end, unit - 1), b.int(unit)])
    b.runs(count, (from, to) =>
      body({ begin: b.mul(from, unit), end: b.min(b.mul(to, unit), end) }),
    )
  }

  #product(rows: Range, columns: Range): void {
    const { taskRows, columns: blockColumns, tileRows, tileColumns } = this.#blocks
    this.#eachBlock(rows, taskRows, tileRows, (rowRange) =>
      this.#eachBlock(columns, blockColumns, tileColumns, (columnRange) =>
        this.#task(rowRange, columnRange),
      ),
    )
  }

  // Blocks of about equal size, none larger than `most`, each a multiple of `unit` but the last.
  #eachBlock(range: Range, most: number, unit: number, body: (block: Range) => void): void {
    const b = this.#b
    const extent = b.sub(range.end, range.begin)
    if (extent.def.kind === 'const' && (extent.def.value as number) <= most) return body(range)
    const { count, size } = split(b, extent, most, unit)
    b.loop(b.int(0), count, 1, (i) => {
      const at = b.mul(i, size)
      const end = b.min(b.add(at, size), extent)
      body({ begin: b.add(range.begin, at), end: b.add(range.begin, end) })
    })
  }

  #task(rows: Range, columns: Range): void {
    const b = this.#b
    const depth = flatExtent(b, this.#c.depth)
    const { depth: most } = this.#blocks
    if (depth.def.kind === 'const' && (depth.def.value as number) <= most)
      return this.#depthBlock(rows, columns, { begin: b.int(0), end: depth }, undefined)
    // Of no depth at all the sums are zero, but they are stored: there is always a first block.
    const { count: blocks, size } = split(b, depth, most, depthUnit(this.#taps))
    const count = b.op('max', [blocks, b.int(1)])
    b.loop(b.int(0), count, 1, (i) => {
      const begin = b.mul(i, size)
      const turn: Turn = {
        isFirst: b.op('eq', [i, b.int(0)]),
        isLast: b.op('eq', [i, b.sub(count, 1)]),
      }
      this.#depthBlock(rows, columns, { begin, end: b.min(b.add(begin, size), depth) }, turn)
    })
  }

  #output(rows: Range, columns: Range): TileOutput {
    const b = this.#b
    const { buffer, memory } = this.#scratch
    const at = this.#partialsAt
    const stride = this.#blocks.columns
    return new TileOutput(b, this.#c.out, {
      isVector: this.#isVector,
      hasMasks: this.#traits.tail === 'mask',
      isWhole: this.#fillsTiles(),
      room: (index, offset) => b.place(buffer, memory, index, this.#edgeAt + offset),
      partial:
        at === undefined
          ? undefined
          : (row, column) => {
              const line = b.mul(b.sub(row, rows.begin), stride)
              return b.place(buffer, memory, b.add(line, b.sub(column, columns.begin)), at)
            },
    })
  }

  // Whether no tile hangs over an edge, nor from one run of the output to the next.
  #fillsTiles(): boolean {
    const { rows, columns, out } = this.#c
    const { tileRows, tileColumns } = this.#blocks
    const run = out.columns.slice(-1)
    const divides = (axes: readonly Axis[], unit: number) => extentOf(axes) % unit === 0
    return divides(rows, tileRows) && divides(columns, tileColumns) && divides(run, tileColumns)
  }

  #depthBlock(rows: Range, columns: Range, depth: Range, turn: Turn | undefined): void {
    const { rows: blockRows, tileRows } = this.#blocks
    const output = this.#output(rows, columns)
    this.#sourceB.prepare(columns, depth)
    this.#eachBlock(rows, blockRows, tileRows, (block) => {
      this.#sourceA.prepare(block, depth)
      this.#tiles(block, columns, depth, output, turn)
    })
  }

  #tiles(
    rows: Range,
    columns: Range,
    depth: Range,
    output: TileOutput,
    turn: Turn | undefined,
  ): void {
    const b = this.#b
    const { type } = this.#c
    const { tileRows, tileColumns } = this.#blocks
    const words = this.#dot?.words.a
    const steps = words ? { begin: b.int(0), end: wordCount(b, depth, words) } : depth
    const end = { row: rows.end, column: columns.end }
    b.loop(columns.begin, columns.end, tileColumns, (column) => {
      const inputB = this.#sourceB.columnsAt(column, columns, depth)
      const fits = output.fits(column, tileColumns, columns.end)
      b.loop(rows.begin, rows.end, tileRows, (row) => {
        const inputA = this.#sourceA.rowsAt(row, rows, depth)
        const input = { memory: this.#scratch.memory, a: inputA, b: inputB }
        const sums = multiply(b, type, tileRows, tileColumns, steps, input, this.#traits, this.#dot)
        output.write(sums, { row, column }, end, fits, turn)
      })
    })
  }
}

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

// Partial sums may wait in the output if it is as precise as they are and nothing else reads it.
function canHoldPartials(c: Contraction): boolean {
  const [{ store, dtype }] = c.out.results as [Result]
  if (store.accumulate || memoryOf[dtype] !== c.type) return false
  let isRead = false
  visitAll(
    [...c.out.results.map(({ value }) => value), c.a.value, c.b.value],
    (e) => (isRead ||= e.kind === 'load' && e.buffer === store.buffer),
  )
  return !isRead
}

// Whether the sums of a row can be finished and stored as vectors along the last column axis.
function hasVectorOutcome(s: ExprBuilder, c: Contraction, traits: TargetTraits): boolean {
  const { results, columns } = c.out
  const run = columns[columns.length - 1]!
  const isAlong = ({ index, value, dtype }: Result) => {
    const isUnit = index.terms.every((t) =>
      freeAxes(t.index).has(run) ? t.index.kind === 'axis' && t.stride === 1 : true,
    )
    const runs = index.terms.filter((t) => t.index.kind === 'axis' && t.index.axis === run)
    return isUnit && runs.length === 1 && chooseLanes(s, [value], [dtype], run, traits) > 1
  }
  return results.every(isAlong)
}
