/** @file The register tile of a contraction: rows times vectors of sums, and what is done with them at the end. */
import type { Index } from '../ir/expr.ts'
import type { MemoryType, Place, Value, Variable } from '../ir/loops.ts'
import { bindFlat, type Range } from './contract-pack.ts'
import type { Outcome } from './contract-pattern.ts'
import { memoryOf, type Emitter } from './emitter.ts'
import type { TargetTraits } from './target-traits.ts'

/** Row i of A at depth k is at[i] + k, in a buffer of its own. */
export interface DirectRows {
  readonly buffer: number
  readonly index: Index
}

/** Where a tile finds its operands. */
export interface TileInput {
  readonly scratch: number
  readonly memory: MemoryType
  /** The panel of B, and that of A unless its rows are read in place. */
  readonly panelB: Value
  readonly rowsA:
    { readonly panel: Value } | { readonly direct: DirectRows; readonly starts: readonly Value[] }
}

/** rows x columns sums of products over a range of depths, in variables, one per row. */
export function multiply(
  b: Emitter,
  type: 'f32' | 'f64',
  rows: number,
  columns: number,
  depth: Range,
  input: TileInput,
  traits: TargetTraits,
): readonly Variable[] {
  const { scratch, memory, rowsA } = input
  const zero = b.splat(b.const(type, 0), columns)
  const sums = Array.from({ length: rows }, () => b.variable(zero))
  const isFused = traits.spells('fma', type, traits.vectorBytes / (type === 'f64' ? 8 : 4))
  const panelB = b.variable(input.panelB)
  const panelA = 'panel' in rowsA ? b.variable(rowsA.panel) : undefined
  const steps = (k: Value, count: number) => {
    const atB = b.read(panelB)
    const atA = panelA && b.read(panelA)
    const starts = 'direct' in rowsA ? rowsA.starts.map((start) => b.add(start, k)) : []
    for (let u = 0; u < count; u++) {
      const line = b.load(b.place(scratch, memory, atB, u * columns), columns)
      sums.forEach((sum, i) => {
        const place: Place =
          'direct' in rowsA
            ? b.place(rowsA.direct.buffer, memory, starts[i]!, u)
            : b.place(scratch, memory, atA!, u * rows + i)
        const factor = b.splat(b.load(place), columns)
        const old = b.read(sum)
        b.set(
          sum,
          isFused
            ? b.op('fma', [factor, line, old])
            : b.op('add', [old, b.op('mul', [factor, line])]),
        )
      })
    }
    b.set(panelB, b.add(atB, count * columns))
    if (panelA) b.set(panelA, b.add(atA!, count * rows))
  }
  const unroll = traits.tileUnroll
  const whole = b.roundDown(b.sub(depth.end, depth.begin), unroll)
  const stop = unroll === 1 ? depth.end : b.add(depth.begin, whole)
  b.loop(depth.begin, stop, unroll, (k) => steps(k, unroll))
  if (unroll > 1) b.loop(stop, depth.end, 1, (k) => steps(k, 1))
  return sums
}

/** Which block of the depth this is, where sums are made in several: undefined when it is the only one. */
export interface Turn {
  readonly isFirst: Value
  readonly isLast: Value
  /** Where partial sums wait for the next block of the depth; undefined: in the output. */
  readonly partial: ((row: Value, column: Value) => Place) | undefined
}

/** Sums of one row of a tile (or a single one) and where they belong. */
interface Line {
  readonly row: Value
  readonly column: Value
  readonly sum: Variable
}

/** Writes the sums of tiles. */
export class TileOutput {
  readonly #b: Emitter
  readonly #out: Outcome
  readonly #memory: MemoryType
  readonly #turn: Turn | undefined

  constructor(b: Emitter, out: Outcome, memory: MemoryType, turn: Turn | undefined) {
    this.#b = b
    this.#out = out
    this.#memory = memory
    this.#turn = turn
  }

  /** True where vectors that start at this column stay in one contiguous run of the output; undefined: always. */
  isRun(column: Value, lanes: number): Value | undefined {
    const b = this.#b
    const { columns } = this.#out
    if (columns.length === 1) return undefined
    const extent = b.size(columns[columns.length - 1]!.extent)
    return b.op('le', [b.add(b.op('rem', [column, extent]), lanes), extent])
  }

  /** A tile that lies inside the output, its columns contiguous there. */
  whole(sums: readonly Variable[], row: Value, column: Value): void {
    const b = this.#b
    this.#finish(sums.map((sum, i) => ({ row: b.add(row, i), column, sum })))
  }

  /** A tile that hangs over the edge: its sums go through memory, and those inside are finished one by one. */
  edge(
    sums: readonly Variable[],
    corner: { readonly row: Value; readonly column: Value },
    end: { readonly row: Value; readonly column: Value },
    memory: (index: Value, offset: number) => Place,
  ): void {
    const b = this.#b
    const { lanes } = sums[0]!
    sums.forEach((sum, i) => b.store(memory(b.int(0), i * lanes), b.read(sum)))
    const rows = b.min(b.sub(end.row, corner.row), sums.length)
    const columns = b.min(b.sub(end.column, corner.column), lanes)
    b.loop(b.int(0), rows, 1, (i) =>
      b.loop(b.int(0), columns, 1, (j) => {
        const sum = b.variable(b.load(memory(b.add(b.mul(i, lanes), j), 0)))
        this.#finish([{ row: b.add(corner.row, i), column: b.add(corner.column, j), sum }])
      }),
    )
  }

  #finish(lines: readonly Line[]): void {
    const b = this.#b
    const turn = this.#turn
    const last = () => lines.forEach((line) => this.#at(line, (place) => this.#store(line, place)))
    if (turn === undefined) return last()
    const kept = (line: Line, place: Place): Place =>
      turn.partial?.(line.row, line.column) ?? { ...place, memory: this.#memory }
    b.when(b.op('not', [turn.isFirst]), () => {
      for (const line of lines)
        this.#at(line, (place) => {
          const before = b.load(kept(line, place), line.sum.lanes)
          b.set(line.sum, b.op('add', [before, b.read(line.sum)]))
        })
    })
    b.when(turn.isLast, last)
    b.when(b.op('not', [turn.isLast]), () => {
      for (const line of lines)
        this.#at(line, (place) => b.store(kept(line, place), b.read(line.sum)))
    })
  }

  #at({ row, column, sum: { lanes } }: Line, body: (place: Place) => void): void {
    const b = this.#b
    const { columns, rows, index, store, dtype } = this.#out
    b.scope(() => {
      bindFlat(b, rows, row)
      bindFlat(b, columns, column, lanes)
      const run = lanes > 1 ? columns[columns.length - 1] : undefined
      body(b.place(store.buffer, memoryOf[dtype], b.indexValue(index, run)))
    })
  }

  #store({ sum }: Line, place: Place): void {
    const b = this.#b
    const out = this.#out
    b.define(out.sum, b.read(sum))
    let value = b.splat(b.expr(out.value), sum.lanes)
    if (out.store.accumulate) {
      value = b.op('add', [b.loadAs(out.dtype, place, sum.lanes), value])
    }
    b.storeAs(out.dtype, place, value)
  }
}
