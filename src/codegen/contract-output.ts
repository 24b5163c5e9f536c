/** @file What becomes of the sums of a tile: passed on to the next block of the depth, or finished and stored. */
import type { ScalarType } from '../core/dtype.ts'
import type { Place, Value, Variable } from '../ir/loops.ts'
import { visitAll } from '../ir/group.ts'
import { bindFlat } from './contract-access.ts'
import type { Outcome, Result } from './contract-pattern.ts'
import { memoryOf, type Emitter } from './emitter.ts'
import { computeOf } from './program-builder.ts'

/** Which block of the depth this is, where sums are made in several. */
export interface Turn {
  readonly isFirst: Value
  readonly isLast: Value
}

/** The corner of a tile, or the end of the rows and columns. */
export interface Corner {
  readonly row: Value
  readonly column: Value
}

export interface OutputOptions {
  /** Whether rows of sums can be finished and stored as vectors. */
  readonly isVector: boolean
  /** Where partial sums wait for the next block of the depth; undefined: in the output. */
  readonly partial: ((row: Value, column: Value) => Place) | undefined
  /** Room for the sums of one tile. */
  readonly room: (index: Value, offset: number) => Place
  /** Whether part of a vector can be stored. */
  readonly hasMasks: boolean
  /** Every tile is known to lie inside the output, in one run of it. */
  readonly isWhole: boolean
}

/** Sums of one row of a tile (or a single one) and where they belong. */
export interface Line extends Corner {
  readonly sum: Variable
  /** The lanes that belong to the output; undefined: all. */
  readonly mask?: Value
}

/** With up to this many operations, sums are finished in the registers where they are. */
const mostInPlace = 6

/** Writes the sums of tiles. */
export class TileOutput {
  readonly #b: Emitter
  readonly #out: Outcome
  readonly #options: OutputOptions
  /** Whether what is made of a sum takes more than a few operations. */
  readonly #isLong: boolean

  constructor(b: Emitter, out: Outcome, options: OutputOptions) {
    this.#b = b
    this.#out = out
    this.#options = options
    let operations = 0
    visitAll(
      out.results.map(({ value }) => value),
      (e) => e.kind === 'op' && operations++,
    )
    this.#isLong = operations > mostInPlace
  }

  /** Whether vectors that start at this column end before `end` and stay in one contiguous run of the output. */
  fits(column: Value, lanes: number, end: Value): Value {
    const b = this.#b
    const { columns } = this.#out
    const isInside = b.op('le', [b.add(column, lanes), end])
    if (columns.length <= 1) return isInside
    const extent = b.size(columns[columns.length - 1]!.extent)
    const isRun = b.op('le', [b.add(b.op('rem', [column, extent]), lanes), extent])
    return b.op('and', [isInside, isRun])
  }

  /** One tile; `fits` says whether its columns do, as above. Without a turn all of the depth is summed. */
  write(
    sums: readonly Variable[],
    corner: Corner,
    end: Corner,
    fits: Value,
    turn: Turn | undefined,
  ): void {
    const b = this.#b
    const { partial, isVector } = this.#options
    const lines = sums.map((sum, i) => ({ row: b.add(corner.row, i), column: corner.column, sum }))
    if (turn && partial) {
      // Room for partial sums is there beyond the edges too.
      const kept = (line: Line) => partial(line.row, line.column)
      this.#addEarlier(lines, turn, kept)
      b.when(b.op('not', [turn.isLast]), () => {
        for (const line of lines) this.#keep(kept(line), b.read(line.sum))
      })
      return b.when(turn.isLast, () => this.write(sums, corner, end, fits, undefined))
    }
    const edge = () => this.#edge(lines, corner, end, turn)
    // Long expressions want registers of their own: the sums leave theirs, and come back row by row.
    const isKept = !isVector || this.#isLong
    if (isKept) this.#keepAll(lines)
    if (!isVector) return edge()
    const whole = () => (isKept ? this.#finishKept(lines, turn) : this.#finish(lines, turn))
    if (this.#options.isWhole) return whole()
    const isWhole = b.op('and', [fits, b.op('le', [b.add(corner.row, sums.length), end.row])])
    b.when(isWhole, whole)
    b.when(b.op('not', [isWhole]), () => {
      if (!isKept) this.#keepAll(lines)
      edge()
    })
  }

  #keepAll(lines: readonly Line[]): void {
    const b = this.#b
    const { room } = this.#options
    lines.forEach(({ sum }, i) => this.#keep(room(b.int(0), i * sum.lanes), b.read(sum)))
  }

  #finishKept(lines: readonly Line[], turn: Turn | undefined): void {
    const b = this.#b
    const { room } = this.#options
    const [{ row, column, sum }] = lines as [Line]
    b.loop(b.int(0), b.int(lines.length), 1, (i) => {
      const own = b.variable(this.#kept(room(b.mul(i, sum.lanes), 0), sum.type, sum.lanes))
      this.#finish([{ row: b.add(row, i), column, sum: own }], turn)
    })
  }

  // A tile that hangs over the edge: its sums lie in memory, and those inside are finished row by
  // row, in parts that lie side by side in the output, or else one by one.
  #edge(lines: readonly Line[], corner: Corner, end: Corner, turn: Turn | undefined): void {
    const b = this.#b
    const { room, hasMasks, isVector } = this.#options
    const { lanes, type } = lines[0]!.sum
    const rows = b.min(b.sub(end.row, corner.row), lines.length)
    const columns = b.min(b.sub(end.column, corner.column), lanes)
    b.loop(b.int(0), rows, 1, (i) => {
      const row = b.add(corner.row, i)
      const line = b.mul(i, lanes)
      if (hasMasks && isVector)
        return this.#eachRun(corner.column, columns, (from, count) => {
          const mask = b.lanesBelow(count, lanes)
          const sum = b.variable(this.#kept(room(b.add(line, from), 0), type, lanes, mask))
          b.tailMask = mask
          this.#finish([{ row, column: b.add(corner.column, from), sum, mask }], turn)
          b.tailMask = undefined
        })
      b.loop(b.int(0), columns, 1, (j) => {
        const sum = b.variable(this.#kept(room(b.add(line, j), 0), type))
        this.#finish([{ row, column: b.add(corner.column, j), sum }], turn)
      })
    })
  }

  // The parts of `count` columns from `column` on that each lie in one contiguous run of the output.
  #eachRun(column: Value, count: Value, body: (from: Value, count: Value) => void): void {
    const b = this.#b
    const { columns } = this.#out
    if (columns.length <= 1) return body(b.int(0), count)
    const extent = b.size(columns[columns.length - 1]!.extent)
    const skipped = b.op('rem', [column, extent])
    const runs = b.op('div', [b.add(b.add(skipped, count), b.sub(extent, 1)), extent])
    b.loop(b.int(0), runs, 1, (i) => {
      const from = b.op('max', [b.sub(b.mul(i, extent), skipped), b.int(0)])
      const to = b.min(b.sub(b.mul(b.add(i, 1), extent), skipped), count)
      body(from, b.sub(to, from))
    })
  }

  #finish(lines: readonly Line[], turn: Turn | undefined): void {
    const b = this.#b
    const last = () => {
      for (const line of lines) storeResults(b, this.#out, line)
    }
    if (turn === undefined) return last()
    this.#addEarlier(lines, turn)
    b.when(turn.isLast, last)
    b.when(b.op('not', [turn.isLast]), () => {
      for (const line of lines)
        placesOf(b, this.#out, line, ([place]) => b.store(place!, b.read(line.sum), line.mask))
    })
  }

  // Adds what the blocks before this one left, in the output unless told otherwise.
  #addEarlier(lines: readonly Line[], turn: Turn, kept?: (line: Line) => Place): void {
    const b = this.#b
    const add = ({ sum, mask }: Line, place: Place) =>
      b.set(sum, b.op('add', [this.#kept(place, sum.type, sum.lanes, mask), b.read(sum)]))
    b.when(b.op('not', [turn.isFirst]), () => {
      for (const line of lines)
        if (kept) add(line, kept(line))
        else placesOf(b, this.#out, line, ([place]) => add(line, place!))
    })
  }

  // Scratch space of words holds the bits of sums.
  #keep(place: Place, value: Value): void {
    const b = this.#b
    const type = computeOf(place.memory)
    b.store(place, value.type === type ? value : b.op('bitcast', [value], type))
  }

  #kept(place: Place, type: ScalarType, lanes = 1, mask?: Value): Value {
    const b = this.#b
    const value = b.load(place, lanes, mask)
    return value.type === type ? value : b.op('bitcast', [value], type)
  }
}

/** Stores what is made of the sums of a line. */
export function storeResults(b: Emitter, out: Outcome, line: Line): void {
  placesOf(b, out, line, (places) => {
    b.define(out.sum, b.read(line.sum))
    out.results.forEach((result, i) => storeOne(b, result, line, places[i]!))
  })
}

// Where the results of a line belong. Partial sums wait in the place of the first.
function placesOf(
  b: Emitter,
  { columns, rows, results }: Outcome,
  { row, column, sum: { lanes } }: Line,
  body: (places: readonly Place[]) => void,
): void {
  b.scope(() => {
    bindFlat(b, rows, row)
    bindFlat(b, columns, column, lanes)
    const run = lanes > 1 ? columns[columns.length - 1] : undefined
    body(
      results.map(({ store, dtype, index }) =>
        b.place(store.buffer, memoryOf[dtype], b.indexValue(index, run)),
      ),
    )
  })
}

function storeOne(
  b: Emitter,
  { store, dtype, value: result }: Result,
  { sum, mask }: Line,
  place: Place,
): void {
  let value = b.splat(b.expr(result), sum.lanes)
  if (store.accumulate) value = b.op('add', [b.loadAs(dtype, place, sum.lanes, mask), value])
  b.storeAs(dtype, place, value, mask)
}
