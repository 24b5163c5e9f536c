/** @file Lowers a chain of contractions block by block: scores, then factors, then products. */
import type { Axis, Expr, ExprBuilder } from '../ir/expr.ts'
import type { Group } from '../ir/group.ts'
import type { Kernel, Value, Variable } from '../ir/loops.ts'
import { assert } from '../util/errors.ts'
import type { Bounds } from './affine.ts'
import { ChainAcross } from './chain-across.ts'
import { chooseChainBlocks, type ChainBlocks } from './chain-blocks.ts'
import type { Across, Chain, Product, Score } from './chain-pattern.ts'
import { ChainRows, type Sheets, type TilePlace } from './chain-rows.ts'
import { bindFlat, flatExtent, wayToRead, type Range, type Way } from './contract-access.ts'
import { extentOf } from './contract-blocks.ts'
import { overhang, packPanels } from './contract-pack.ts'
import type { Operand } from './contract-pattern.ts'
import { Scratch } from './contract-source.ts'
import { multiply, type ColumnsOfB, type RowsOfA } from './contract-tile.ts'
import { Emitter } from './emitter.ts'
import { kernelBuffers } from './lower-nest.ts'
import type { TargetTraits } from './target-traits.ts'
import { decompose } from './vectorize.ts'

/**
 * The kernel of a chain. From outside: tasks (batch x blocks of rows; A of the scores is packed here),
 * blocks of the depth (their B and that of the products are packed here), and tiles of rows, for which
 * scores are made, turned into factors and multiplied, all in the first-level cache.
 */
export function lowerChain(s: ExprBuilder, group: Group, c: Chain, traits: TargetTraits): Kernel {
  return new ChainLowering(s, group, c, traits).run()
}

/** An operand, how it is read, and where its panels lie. */
interface Packed {
  readonly operand: Operand
  readonly way: Way | undefined
  readonly at: number
  readonly width: number
}

class ChainLowering {
  readonly #group: Group
  readonly #c: Chain
  readonly #traits: TargetTraits
  readonly #b: Emitter
  readonly #blocks: ChainBlocks
  readonly #scratch: Scratch
  readonly #sheets: Sheets
  readonly #rows: ChainRows
  readonly #across: ChainAcross
  readonly #scoreA: readonly Packed[]
  readonly #scoreB: readonly Packed[]
  readonly #productB: readonly Packed[]
  readonly #acrossB: readonly Packed[]

  constructor(s: ExprBuilder, group: Group, c: Chain, traits: TargetTraits) {
    this.#group = group
    this.#c = c
    this.#traits = traits
    const b = (this.#b = new Emitter({
      decompose: (e, lanes) => (e.kind === 'op' ? decompose(s, e, lanes, traits) : e),
      reduce: () => assert(false, 'the sums of a chain are defined by its tiles') as never,
    }))
    const blocks = (this.#blocks = chooseChainBlocks(c, traits))
    const scratch = (this.#scratch = new Scratch(kernelBuffers(group).length, c.type))
    const lanes = traits.vectorBytes / (c.type === 'f64' ? 8 : 4)
    const take = (length: number) => scratch.take(Math.ceil(length / lanes) * lanes)
    const packed = (operand: Operand, width: number, lines: number, depth: number): Packed => {
      const way = wayToRead(s, operand, traits)
      const room = Math.ceil(lines / width) * width * depth + overhang(width, lanes)
      return { operand, way, at: take(room), width }
    }
    const { tileRows, tileColumns, groupRows } = blocks
    this.#scoreA = c.scores.map(({ a }) => packed(a, tileRows, blocks.rows, extentOf(a.summed)))
    this.#scoreB = c.scores.map(({ b: y }) =>
      packed(y, tileColumns, blocks.depth, extentOf(y.summed)),
    )
    this.#productB = c.products.map(({ b: y }) =>
      packed(y, tileColumns, extentOf(y.own), blocks.depth),
    )
    this.#acrossB = c.across.map(({ b: y }) => packed(y, tileColumns, extentOf(y.own), blocks.rows))
    const count = Math.max(c.scores.length, c.factors.length)
    // An odd number of vectors, so that the rows of a sheet fall into different sets of the cache.
    const stride = (Math.ceil(blocks.depth / lanes) | 1) * lanes
    this.#sheets = {
      buffer: scratch.buffer,
      memory: scratch.memory,
      at: Array.from({ length: count }, () => take(groupRows * stride + tileColumns)),
      stride,
    }
    this.#rows = new ChainRows(b, s, c, traits, blocks, this.#sheets, take)
    this.#across = new ChainAcross(b, c, traits, blocks, scratch, take)
  }

  run(): Kernel {
    this.#tasks()
    const { memory, length } = this.#scratch
    return {
      name: this.#group.name,
      buffers: [...kernelBuffers(this.#group), { memory, written: true }],
      sizeCount: this.#group.sizeCount,
      params: this.#group.params,
      scratchBytes: length * (memory === 'f64' ? 8 : 4),
      body: this.#b.finish(),
    }
  }

  // What is summed over the rows is added up by one task, in the order of the rows.
  #tasks(): void {
    const b = this.#b
    const { batch, rows, across } = this.#c
    const { rows: most, groupRows } = this.#blocks
    const extent = b.size(rows.extent)
    // Blocks of about equal size, each a multiple of the groups but the last.
    const count = ceilDiv(b, extent, b.int(most))
    const even = ceilDiv(b, extent, b.op('max', [count, b.int(1)]))
    const size = b.mul(ceilDiv(b, even, b.int(groupRows)), groupRows)
    const block = (i: Value) => {
      const begin = b.mul(i, size)
      this.#rowBlock({ begin, end: b.min(b.add(begin, size), extent) })
    }
    const tasks = flatExtent(b, batch)
    if (across.length > 0) {
      const whole = (item: Value) => {
        bindFlat(b, batch, item)
        this.#across.start()
        b.loop(b.int(0), count, 1, block)
      }
      return b.loop(b.int(0), tasks, 1, whole, true)
    }
    const part = (task: Value) => {
      const item = b.op('div', [task, count])
      bindFlat(b, batch, item)
      block(b.sub(task, b.mul(item, count)))
    }
    b.loop(b.int(0), b.mul(tasks, count), 1, part, true)
  }

  #rowBlock(rows: Range): void {
    const b = this.#b
    const { scores, products, across, depth: axis } = this.#c
    const { depth: step, groupRows } = this.#blocks
    const columnsOf = (operand: Operand) => ({ begin: b.int(0), end: flatExtent(b, operand.own) })
    scores.forEach(({ a }, k) => this.#pack(this.#scoreA[k]!, rows, whole(b, a)))
    across.forEach(({ b: y }, k) => this.#pack(this.#acrossB[k]!, columnsOf(y), rows))
    this.#rows.start(rows)
    const depth = this.#reach(rows, { begin: b.int(0), end: b.size(axis.extent) })
    b.loop(depth.begin, depth.end, step, (begin) => {
      const block = { begin, end: b.min(b.add(begin, step), depth.end) }
      scores.forEach(({ b: y }, k) => this.#pack(this.#scoreB[k]!, block, whole(b, y)))
      products.forEach(({ b: y }, k) => this.#pack(this.#productB[k]!, columnsOf(y), block))
      b.loop(rows.begin, rows.end, groupRows, (row) => {
        const group = { begin: row, end: b.min(b.add(row, groupRows), rows.end) }
        if (this.#c.bounds === undefined) return this.#groupOfRows(group, rows, block, block)
        const reach = this.#reach(group, block)
        const isSome = b.op('lt', [reach.begin, reach.end])
        b.when(isSome, () => this.#groupOfRows(group, rows, block, reach))
      })
    })
    this.#rows.finish(rows)
  }

  #pack({ operand, way, at, width }: Packed, own: Range, depth: Range): void {
    const { buffer, memory } = this.#scratch
    const hasMasks = this.#traits.tail === 'mask'
    packPanels(this.#b, operand, way, own, depth, { buffer, memory, at, width, hasMasks })
  }

  // The part of a range of the depth in which factors of these rows may differ from zero: from whole
  // columns of tiles to the last point.
  #reach(rows: Range, range: Range): Range {
    const b = this.#b
    const { bounds } = this.#c
    if (bounds === undefined) return range
    const { begin, end } = this.#within(bounds.depth, this.#c.rows, rows, range)
    const skipped = b.roundDown(b.sub(begin, range.begin), this.#blocks.tileColumns)
    return { begin: b.add(range.begin, skipped), end }
  }

  // What is left of a range within bounds that are linear in an axis: extremes are at the ends of it.
  #within(bounds: Bounds, axis: Axis, along: Range, range: Range): Range {
    const b = this.#b
    const atEnds = (e: Expr) =>
      [along.begin, b.sub(along.end, 1)].map((position) =>
        b.scope(() => {
          b.bind(axis, position)
          return b.expr(e)
        }),
      )
    const from = bounds.lower
      .map((e) => b.op('min', atEnds(e)))
      .reduce((x, y) => b.op('max', [x, y]), range.begin)
    const to = bounds.upper
      .map((e) => b.op('max', atEnds(e)))
      .reduce((x, y) => b.min(x, y), range.end)
    // Nothing is an empty range inside the other, never a reversed one.
    const begin = b.min(from, range.end)
    return { begin, end: b.op('max', [to, begin]) }
  }

  // One group of rows over what it needs of a block of the depth.
  #groupOfRows(group: Range, rows: Range, block: Range, reach: Range): void {
    const b = this.#b
    const { scores, products, across, bounds } = this.#c
    const { tileRows, groupRows } = this.#blocks
    const tile = (own: Range) => {
      const isAlone = groupRows === tileRows
      const part = isAlone || bounds === undefined ? reach : this.#reach(own, reach)
      const place = { tile: own, rows, group, block, part, reach }
      scores.forEach((score, k) => this.#makeScores(score, k, place))
      this.#rows.makeFactors(place)
      products.forEach((product, k) => this.#multiplyOn(product, k, place))
    }
    if (groupRows === tileRows) tile(group)
    else
      b.loop(group.begin, group.end, tileRows, (begin) =>
        tile({ begin, end: b.min(b.add(begin, tileRows), group.end) }),
      )
    across.forEach((sum, k) => this.#multiplyAcross(sum, k, { group, rows, block, reach }))
  }

  #makeScores({ a, b: y }: Score, k: number, place: TilePlace): void {
    const { tile, rows, group, block, part } = place
    const b = this.#b
    const { tileColumns } = this.#blocks
    const { buffer, memory, stride, at } = this.#sheets
    const depth = whole(b, a)
    const from = (packed: Packed, operand: Operand, offset: Value) =>
      b.add(b.mul(offset, flatExtent(b, operand.summed)), packed.at)
    const panel = from(this.#scoreA[k]!, a, b.sub(tile.begin, rows.begin))
    const line = b.mul(b.sub(tile.begin, group.begin), stride)
    b.loop(part.begin, part.end, tileColumns, (column) => {
      const offset = b.sub(column, block.begin)
      const start = from(this.#scoreB[k]!, y, offset)
      const sums = this.#multiply(depth, { buffer, panel }, { buffer, start, stride: tileColumns })
      const index = b.add(line, offset)
      sums.forEach((sum, i) =>
        b.store(b.place(buffer, memory, index, at[k]! + i * stride), b.read(sum)),
      )
    })
  }

  #multiplyOn({ b: y, factor }: Product, k: number, place: TilePlace): void {
    const { tile, rows, group, block, part } = place
    const b = this.#b
    const { tileColumns } = this.#blocks
    const { buffer, at, stride } = this.#sheets
    const size = b.sub(block.end, block.begin)
    const offset = b.sub(part.begin, block.begin)
    const line = b.mul(b.sub(tile.begin, group.begin), stride)
    const panel = b.add(b.add(line, offset), at[factor]!)
    const a = { buffer, panel, steps: { depth: 1, row: stride } }
    b.loop(b.int(0), flatExtent(b, y.own), tileColumns, (column) => {
      const from = b.add(b.mul(column, size), this.#productB[k]!.at)
      const start = b.add(b.mul(offset, tileColumns), from)
      const sums = this.#multiply(part, a, { buffer, start, stride: tileColumns })
      this.#rows.addProducts(k, sums, b.sub(tile.begin, rows.begin), column)
    })
  }

  // Sums over the rows of a group, for tiles of positions along the depth.
  #multiplyAcross(
    sum: Across,
    k: number,
    { group, rows, block, reach }: Omit<TilePlace, 'tile' | 'part'>,
  ): void {
    const b = this.#b
    const { bounds, depth } = this.#c
    const { tileRows, tileColumns } = this.#blocks
    const { buffer, at, stride } = this.#sheets
    const size = b.sub(rows.end, rows.begin)
    b.loop(reach.begin, reach.end, tileRows, (position) => {
      const tile = { begin: position, end: b.min(b.add(position, tileRows), reach.end) }
      const own = bounds === undefined ? group : this.#within(bounds.rows, depth, tile, group)
      const line = b.mul(b.sub(own.begin, group.begin), stride)
      const panel = b.add(b.add(line, b.sub(position, block.begin)), at[sum.factor]!)
      const a = { buffer, panel, steps: { depth: stride, row: 1 } }
      b.loop(b.int(0), flatExtent(b, sum.b.own), tileColumns, (column) => {
        const from = b.add(b.mul(column, size), this.#acrossB[k]!.at)
        const start = b.add(b.mul(b.sub(own.begin, rows.begin), tileColumns), from)
        const sums = this.#multiply(own, a, { buffer, start, stride: tileColumns })
        this.#across.add(sum, sums, position, reach.end, column)
      })
    })
  }

  #multiply(depth: Range, a: RowsOfA, columns: ColumnsOfB): readonly Variable[] {
    const { tileRows, tileColumns } = this.#blocks
    const input = { memory: this.#scratch.memory, a, b: columns }
    return multiply(this.#b, this.#c.type, tileRows, tileColumns, depth, input, this.#traits)
  }
}

const whole = (b: Emitter, operand: Operand): Range => ({
  begin: b.int(0),
  end: flatExtent(b, operand.summed),
})

const ceilDiv = (b: Emitter, x: Value, y: Value): Value => b.op('div', [b.sub(b.add(x, y), 1), y])
