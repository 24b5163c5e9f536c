/** @file What a chain of contractions keeps for its rows: the top, sums, and sums of products; how points become factors and sums results. */
import { freeAxes, type ExprBuilder } from '../ir/expr.ts'
import type { MemoryType, Place, Value, Variable } from '../ir/loops.ts'
import type { ChainBlocks } from './chain-blocks.ts'
import { alongLanes, widthsOf } from './chain-lanes.ts'
import type { Chain, ChainOutcome } from './chain-pattern.ts'
import type { Range } from './contract-access.ts'
import { extentOf } from './contract-blocks.ts'
import { accumulator, memoryOf, type Emitter } from './emitter.ts'
import type { TargetTraits } from './target-traits.ts'
import { chooseLanes } from './vectorize.ts'

/** Points of a group of rows: sheet k holds score k, then factor k. */
export interface Sheets {
  readonly buffer: number
  readonly memory: MemoryType
  readonly at: readonly number[]
  /** From one row to the next. */
  readonly stride: number
}

export class ChainRows {
  readonly #b: Emitter
  readonly #s: ExprBuilder
  readonly #c: Chain
  readonly #traits: TargetTraits
  readonly #blocks: ChainBlocks
  readonly #sheets: Sheets
  readonly #topAt: number
  /** By how much what was summed for each row of a tile is scaled down. */
  readonly #scaleAt: number
  readonly #sumAt: readonly number[]
  readonly #products: readonly { readonly at: number; readonly stride: number }[]
  readonly #lanes: number

  constructor(
    b: Emitter,
    s: ExprBuilder,
    c: Chain,
    traits: TargetTraits,
    blocks: ChainBlocks,
    sheets: Sheets,
    take: (length: number) => number,
  ) {
    this.#b = b
    this.#s = s
    this.#c = c
    this.#traits = traits
    this.#blocks = blocks
    this.#sheets = sheets
    const { rows, tileRows, tileColumns } = blocks
    this.#topAt = take(rows)
    this.#scaleAt = take(tileRows)
    this.#sumAt = c.rowSums.map(() => take(rows))
    this.#products = c.products.map(({ b: y }) => {
      const stride = Math.ceil(extentOf(y.own) / tileColumns) * tileColumns
      return { at: take(rows * stride), stride }
    })
    const made = [...c.factors, ...c.rowSums.map((x) => x.value)]
    const all = c.top ? [...made, c.top.value] : made
    const lanes = chooseLanes(s, all, [], c.depth, traits)
    const sums = c.rowSums.length > 0 ? ['add' as const] : []
    const combines = c.top ? ['max' as const, ...sums] : sums
    const canCombine = combines.every((combine) => traits.spells(combine, c.type, lanes))
    this.#lanes = canCombine ? lanes : 1
  }

  /** Nothing is summed yet for these rows. */
  start({ begin, end }: Range): void {
    const b = this.#b
    const { type, top } = this.#c
    const { tileColumns } = this.#blocks
    const zero = b.const(type, 0)
    b.loop(b.int(0), b.sub(end, begin), 1, (row) => {
      if (top) b.store(this.#place(this.#topAt, row), b.const(type, top.start))
      for (const at of this.#sumAt) b.store(this.#place(at, row), zero)
      for (const { at, stride } of this.#products) {
        const line = b.mul(row, stride)
        for (let i = 0; i < stride; i += tileColumns)
          b.store(this.#place(at + i, line), b.splat(zero, tileColumns))
      }
    })
  }

  /** Turns the scores of a tile into factors. */
  makeFactors(place: TilePlace): void {
    const { part, reach } = place
    if (this.#c.top) {
      this.#eachRow(place, (row, i, sheet) => this.#raiseTop(row, i, part, sheet))
      this.#makeScales()
    }
    this.#eachRow(place, (row, i, sheet) => {
      this.#factorsOfRow(row, i, part, sheet)
      if (reach === part) return
      this.#fillZeros({ begin: reach.begin, end: part.begin }, sheet)
      this.#fillZeros({ begin: part.end, end: reach.end }, sheet)
    })
  }

  #eachRow(
    { tile, rows, group, block }: TilePlace,
    body: (row: Value, i: Value, sheet: SheetPlace) => void,
  ): void {
    const b = this.#b
    const begin = b.sub(tile.begin, group.begin)
    b.loop(b.int(0), b.sub(tile.end, tile.begin), 1, (i) => {
      const row = b.add(tile.begin, i)
      b.bind(this.#c.rows, row)
      const line = b.mul(b.add(begin, i), this.#sheets.stride)
      body(b.sub(row, rows.begin), i, (k, depth) =>
        this.#place(this.#sheets.at[k]!, b.add(line, b.sub(depth, block.begin))),
      )
    })
  }

  #fillZeros(range: Range, sheet: SheetPlace): void {
    const b = this.#b
    const { factors, type } = this.#c
    alongLanes(b, range, this.#lanes, this.#traits, (position, lanes, mask) => {
      const zero = b.splat(b.const(type, 0), lanes)
      factors.forEach((_, k) => b.store(sheet(k, position), zero, mask))
    })
  }

  // The top of a row with this part of the depth, and what that means for the sums so far.
  #raiseTop(row: Value, i: Value, part: Range, sheet: SheetPlace): void {
    const b = this.#b
    const { scores, depth, top } = this.#c
    const largest = this.#reducePart('max', part, (position, lanes, mask) => {
      scores.forEach(({ stand }, k) => b.define(stand, b.load(sheet(k, position), lanes, mask)))
      b.bind(depth, position, lanes)
      const value = b.splat(b.expr(top!.value), lanes)
      b.store(sheet(0, position), value, mask)
      return [value]
    })
    const before = b.load(this.#place(this.#topAt, row))
    const now = b.op('max', [before, largest[0]!])
    b.store(this.#place(this.#scaleAt, i), b.op('sub', [before, now]))
    b.store(this.#place(this.#topAt, row), now)
  }

  // exp(top before - top now) of all rows of a tile; there is room for whole vectors of them.
  #makeScales(): void {
    const b = this.#b
    const isWide = this.#c.type === 'f64'
    const lanes = this.#lanes === 1 ? 1 : this.#traits.vectorBytes / (isWide ? 8 : 4)
    const noIndex = { offset: 0, terms: [] }
    const fall = this.#s.load(standForFall, isWide ? 'float64' : 'float32', noIndex)
    b.loop(b.int(0), b.int(this.#blocks.tileRows), lanes, (i) => {
      const place = this.#place(this.#scaleAt, i)
      b.define(fall, b.load(place, lanes))
      b.store(place, b.expr(this.#s.exp(fall)))
    })
  }

  #factorsOfRow(row: Value, i: Value, part: Range, sheet: SheetPlace): void {
    const b = this.#b
    const { scores, depth, top, rowSums, factors } = this.#c
    if (top) b.define(top.stand, b.load(this.#place(this.#topAt, row)))
    const sums = this.#reducePart('add', part, (position, lanes, mask) => {
      b.bind(depth, position, lanes)
      if (top) b.define(top.value, b.load(sheet(0, position), lanes, mask))
      else
        scores.forEach(({ stand }, k) => b.define(stand, b.load(sheet(k, position), lanes, mask)))
      const made = factors.map((factor) => b.splat(b.expr(factor), lanes))
      const added = rowSums.map(({ value }) => b.splat(b.expr(value), lanes))
      made.forEach((factor, k) => b.store(sheet(k, position), factor, mask))
      return added
    })
    sums.forEach((sum, k) => {
      const place = this.#place(this.#sumAt[k]!, row)
      const before = b.load(place)
      if (!top) return b.store(place, b.op('add', [before, sum]))
      const scale = b.load(this.#place(this.#scaleAt, i))
      b.store(place, b.op('add', [b.op('mul', [before, scale]), sum]))
    })
  }

  /** Adds a tile's sums of product k, for columns from `column` on, to those of its rows. */
  addProducts(k: number, sums: readonly Variable[], row: Value, column: Value): void {
    const b = this.#b
    const { at, stride } = this.#products[k]!
    const index = b.add(b.mul(row, stride), column)
    sums.forEach((sum, i) => {
      const place = b.place(this.#sheets.buffer, this.#sheets.memory, index, at + i * stride)
      const before = b.load(place, sum.lanes)
      const scaled = this.#c.top
        ? b.op('mul', [before, b.load(this.#place(this.#scaleAt + i, b.int(0)))])
        : before
      b.store(place, b.op('add', [scaled, b.read(sum)]))
    })
  }

  /** Stores what became of these rows. */
  finish({ begin, end }: Range): void {
    const b = this.#b
    const { rows, top, rowSums, outcomes } = this.#c
    b.loop(begin, end, 1, (row) => {
      b.bind(rows, row)
      const at = b.sub(row, begin)
      if (top) b.define(top.stand, b.load(this.#place(this.#topAt, at)))
      rowSums.forEach(({ stand }, k) => b.define(stand, b.load(this.#place(this.#sumAt[k]!, at))))
      for (const outcome of outcomes) this.#finishRow(outcome, at)
    })
  }

  #finishRow({ store, dtype, value, column }: ChainOutcome, row: Value): void {
    const b = this.#b
    const write = (lanes: number, mask?: Value) => {
      const index = b.indexValue(store.index, lanes > 1 ? column : undefined)
      const place = b.place(store.buffer, memoryOf[dtype], index)
      b.storeAs(dtype, place, b.splat(b.expr(value), lanes), mask)
    }
    if (column === undefined) return write(1)
    const isUnit = store.index.terms.every(
      ({ index, stride }) =>
        !freeAxes(index).has(column) || (index.kind === 'axis' && stride === 1),
    )
    const lanes = isUnit ? chooseLanes(this.#s, [value], [dtype], column, this.#traits) : 1
    const all = { begin: b.int(0), end: b.size(column.extent) }
    alongLanes(b, all, lanes, this.#traits, (i, width, mask) => {
      b.bind(column, i, width)
      this.#c.products.forEach((product, k) => {
        const { stand } = product
        if (product.column !== column) return
        const { at, stride } = this.#products[k]!
        b.define(stand, b.load(this.#place(at, b.add(b.mul(row, stride), i)), width, mask))
      })
      write(width, mask)
    })
  }

  // Combines values over part of the depth; each has lanes along it.
  #reducePart(
    combine: 'add' | 'max',
    part: Range,
    body: (position: Value, lanes: number, mask: Value | undefined) => readonly Value[],
  ): readonly Value[] {
    const b = this.#b
    const { type, rowSums } = this.#c
    const count = combine === 'max' ? 1 : rowSums.length
    const totals = new Map<number, Variable[]>()
    for (const width of widthsOf(this.#lanes, this.#traits))
      totals.set(
        width,
        Array.from({ length: count }, () => accumulator(b, combine, type, width)),
      )
    alongLanes(b, part, this.#lanes, this.#traits, (position, width, mask) => {
      const values = body(position, width, mask)
      values.forEach((value, k) => {
        const total = totals.get(width)![k]!
        const both = b.op(combine, [b.read(total), value])
        b.set(total, mask ? b.op('select', [mask, both, b.read(total)]) : both)
      })
    })
    const lists = [...totals.values()]
    return Array.from({ length: count }, (_, k) =>
      lists
        .map((list) => b.across(combine, b.read(list[k]!)))
        .reduce((x, y) => b.op(combine, [x, y])),
    )
  }

  #place(at: number, index: Value): Place {
    return this.#b.place(this.#sheets.buffer, this.#sheets.memory, index, at)
  }
}

/** Where a tile is. */
export interface TilePlace {
  readonly tile: Range
  /** The rows of the task. */
  readonly rows: Range
  /** The rows in the sheets. */
  readonly group: Range
  /** The part of the depth in the panels. */
  readonly block: Range
  /** What the tile needs of the block. */
  readonly part: Range
  /** What the group needs of the block: factors are zero beyond the part. */
  readonly reach: Range
}

type SheetPlace = (k: number, depth: Value) => Place

/** Buffer of the stand-in for how far a top was below the next; those of a chain count down from -1. */
const standForFall = -1000
