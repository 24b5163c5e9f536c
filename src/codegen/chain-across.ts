/** @file What a chain of contractions sums over its rows: added, tile by tile, to what lies in the output. */
import type { Value, Variable } from '../ir/loops.ts'
import type { ChainBlocks } from './chain-blocks.ts'
import { alongLanes } from './chain-lanes.ts'
import type { Across, Chain } from './chain-pattern.ts'
import type { Range } from './contract-access.ts'
import { extentOf } from './contract-blocks.ts'
import type { Scratch } from './contract-source.ts'
import type { Emitter } from './emitter.ts'
import type { TargetTraits } from './target-traits.ts'

export class ChainAcross {
  readonly #b: Emitter
  readonly #c: Chain
  readonly #traits: TargetTraits
  readonly #blocks: ChainBlocks
  readonly #scratch: Scratch
  /** Room for the sums of a tile that hangs over the edge. */
  readonly #roomAt: number

  constructor(
    b: Emitter,
    c: Chain,
    traits: TargetTraits,
    blocks: ChainBlocks,
    scratch: Scratch,
    take: (length: number) => number,
  ) {
    this.#b = b
    this.#c = c
    this.#traits = traits
    this.#blocks = blocks
    this.#scratch = scratch
    this.#roomAt = c.across.length > 0 ? take(blocks.tileRows * blocks.tileColumns) : 0
  }

  /** Nothing is summed yet. */
  start(): void {
    const b = this.#b
    const { across, depth, type } = this.#c
    for (const sum of across)
      b.loop(b.int(0), b.size(depth.extent), 1, (position) =>
        this.#eachPart(b.int(0), b.size(sum.column.extent), (column, lanes, mask) => {
          const place = this.#place(sum, position, column, lanes)
          b.store(place, b.splat(b.const(type, 0), lanes), mask)
        }),
      )
  }

  /** Adds the sums of a tile; its positions along the depth end at `end`. */
  add(sum: Across, sums: readonly Variable[], position: Value, end: Value, column: Value): void {
    const b = this.#b
    const { tileRows, tileColumns } = this.#blocks
    const isRow = b.op('le', [b.add(position, tileRows), end])
    const columns = b.size(sum.column.extent)
    const isWhole =
      extentOf([sum.column]) % tileColumns === 0
        ? isRow
        : b.op('and', [isRow, b.op('le', [b.add(column, tileColumns), columns])])
    b.when(isWhole, () =>
      sums.forEach((made, i) =>
        b.scope(() => {
          const place = this.#place(sum, b.add(position, i), column, tileColumns)
          b.store(place, b.op('add', [b.load(place, tileColumns), b.read(made)]))
        }),
      ),
    )
    b.when(b.op('not', [isWhole]), () => this.#edge(sum, sums, { begin: position, end }, column))
  }

  // A tile that hangs over the edge: its sums go through memory.
  #edge(sum: Across, sums: readonly Variable[], positions: Range, column: Value): void {
    const b = this.#b
    const { tileColumns } = this.#blocks
    const { buffer, memory } = this.#scratch
    const room = (index: Value, offset: number) =>
      b.place(buffer, memory, index, this.#roomAt + offset)
    sums.forEach((made, i) => b.store(room(b.int(0), i * tileColumns), b.read(made)))
    const count = b.min(b.sub(positions.end, positions.begin), sums.length)
    const columns = b.min(b.sub(b.size(sum.column.extent), column), tileColumns)
    b.loop(b.int(0), count, 1, (i) => {
      const line = b.mul(i, tileColumns)
      this.#eachPart(b.int(0), columns, (from, lanes, mask) => {
        const place = this.#place(sum, b.add(positions.begin, i), b.add(column, from), lanes)
        const made = b.load(room(b.add(line, from), 0), lanes, mask)
        b.store(place, b.op('add', [b.load(place, lanes, mask), made]), mask)
      })
    })
  }

  #eachPart(
    begin: Value,
    end: Value,
    body: (column: Value, lanes: number, mask: Value | undefined) => void,
  ): void {
    const lanes = this.#traits.vectorBytes / (this.#c.type === 'f64' ? 8 : 4)
    alongLanes(this.#b, { begin, end }, lanes, this.#traits, body)
  }

  #place({ store, column: axis }: Across, position: Value, column: Value, lanes: number) {
    const b = this.#b
    b.bind(this.#c.depth, position)
    b.bind(axis, column, lanes)
    const index = b.indexValue(store.index, lanes > 1 ? axis : undefined)
    return b.place(store.buffer, this.#scratch.memory, index)
  }
}
