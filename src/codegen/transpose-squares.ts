/** @file Squares of elements: read as rows along one axis, transposed in registers, written along another. */
import type { Axis } from '../ir/expr.ts'
import type { Group, Store } from '../ir/group.ts'
import type { Value } from '../ir/loops.ts'
import { bindFlat, flatExtent } from './contract-access.ts'
import { extentOf } from './contract-blocks.ts'
import { memoryOf, type Emitter } from './emitter.ts'
import type { Transpose } from './transpose-pattern.ts'

/** How much of a square there is along each axis; undefined where it is certainly all. */
interface Rest {
  readonly across: Value | undefined
  readonly along: Value | undefined
}

const whole: Rest = { across: undefined, along: undefined }

/**
 * Elements of 32 bits in a cache line. Where squares are smaller than a line, those that share one are
 * done one after the other, so that it comes and goes once.
 */
const lineLanes = 16

/** Writes the code for the squares of one kernel; see Note [Transposes]. */
export class Squares {
  /** The side of a block of squares. */
  readonly block: number
  readonly #b: Emitter
  readonly #group: Group
  readonly #transpose: Transpose
  readonly #side: number
  readonly #hasMasks: boolean

  constructor(b: Emitter, group: Group, transpose: Transpose, hasMasks: boolean) {
    this.block = Math.max(transpose.side, lineLanes)
    this.#b = b
    this.#group = group
    this.#transpose = transpose
    this.#side = transpose.side
    this.#hasMasks = hasMasks
  }

  /** How many positions there are along the axis of writing. */
  get alongExtent(): Value {
    return this.#b.size(this.#transpose.along.extent)
  }

  /** How many positions there are along the axes of reading. */
  get acrossExtent(): Value {
    return flatExtent(this.#b, this.#transpose.across)
  }

  /** How many blocks reach so far. */
  count(extent: Value): Value {
    const b = this.#b
    return b.op('div', [b.add(extent, this.block - 1), b.int(this.block)])
  }

  /** Does the squares of the block that begins at `r` along the axes of reading and `c` along that of writing. */
  squares(r: Value, c: Value): void {
    const [across, along] = [this.acrossExtent, this.alongExtent]
    this.#inBlock(r, across, (i) => this.#inBlock(c, along, (j) => this.#square(i, j)))
  }

  /** Writes one line of a block, without parts. */
  line(stores: readonly Store[], c: Value): void {
    this.#inBlock(c, this.alongExtent, (at) => this.#line(stores, at))
  }

  // Where squares begin in the block that begins at `first`, up to the end of the axis.
  #inBlock(first: Value, extent: Value, body: (at: Value) => void): void {
    const b = this.#b
    if (this.block === this.#side) return body(first)
    b.loop(first, b.min(b.add(first, this.block), extent), this.#side, body)
  }

  #square(r: Value, c: Value): void {
    const b = this.#b
    const side = this.#side
    const left = (axes: readonly Axis[], size: Value, first: Value): Value | undefined => {
      const extent = extentOf(axes)
      if (extent % side === 0) return undefined
      return extent < side ? size : b.sub(size, first)
    }
    const { across, along } = this.#transpose
    const rest: Rest = {
      across: left(across, this.acrossExtent, r),
      along: left([along], this.alongExtent, c),
    }
    const fits = [rest.across, rest.along]
      .filter((count) => count !== undefined)
      .map((count) => b.op('le', [b.int(side), count]))
    if (fits.length === 0) return this.#whole(r, c)
    if (fits.some(({ def }) => def.kind === 'const')) return b.once(() => this.#part(r, c, rest))
    const isWhole = fits.reduce((x, y) => b.op('and', [x, y]))
    b.when(isWhole, () => this.#whole(r, c))
    b.when(b.op('not', [isWhole]), () => this.#part(r, c, rest))
  }

  #whole(r: Value, c: Value): void {
    const read = this.#readSquare(r, c, whole)
    for (let j = 0; j < this.#side; j++) this.#write(r, c, j, read(j), undefined)
  }

  #part(r: Value, c: Value, rest: Rest): void {
    const b = this.#b
    const side = this.#side
    if (!this.#hasMasks) return this.#lines(r, c, rest)
    const read = this.#readSquare(r, c, rest)
    const mask = rest.along && b.lanesBelow(rest.along, side)
    const columns = Array.from({ length: side }, (_, j) => read(j))
    columns.forEach((column, j) => {
      const write = () => this.#write(r, c, j, column, mask)
      const isInside = b.op('lt', [b.int(j), rest.across ?? b.int(side)])
      if (j === 0) write()
      else if (isInside.def.kind !== 'const') b.when(isInside, write)
      else if (isInside.def.value) write()
    })
  }

  // Reads a square of each part. What is returned gives the values of all parts for one line of the result.
  #readSquare(r: Value, c: Value, rest: Rest): (j: number) => readonly Value[] {
    const b = this.#b
    const { parts, along } = this.#transpose
    const side = this.#side
    const mask = rest.across && b.lanesBelow(rest.across, side)
    const squares = parts.map((part) =>
      Array.from({ length: side }, (_, i) =>
        b.scope(() => {
          // Lines past the end repeat the last one: what becomes of them is never stored.
          const at = b.add(c, i)
          b.bind(along, rest.along ? b.min(at, b.sub(this.alongExtent, 1)) : at)
          b.bind(part.across, r, side)
          b.tailMask = mask
          const line = b.splat(b.expr(part.read), side)
          b.tailMask = undefined
          return line
        }),
      ),
    )
    return (j) => squares.map((rows) => b.transposed(rows, j))
  }

  #write(r: Value, c: Value, j: number, values: readonly Value[], mask: Value | undefined): void {
    const b = this.#b
    const { parts, along, stores } = this.#transpose
    b.scope(() => {
      this.#bindAcross(r, j)
      b.bind(along, c, this.#side)
      parts.forEach((part, k) => b.define(part.value, values[k]!))
      this.#store(stores, this.#side, mask)
    })
  }

  // Position j of the square that begins at r, which is a multiple of the square's side.
  #bindAcross(r: Value, j: number): void {
    const b = this.#b
    const [outermost, ...others] = this.#transpose.across
    let [first, step] = [r, j]
    for (const axis of others.toReversed()) {
      // Several axes are one only where their rows come out even in a square.
      const extent = axis.extent as number
      b.bind(axis, b.int(step % extent))
      first = b.op('div', [first, b.int(extent)])
      step = Math.floor(step / extent)
    }
    b.bind(outermost!, b.add(first, step))
  }

  #store(stores: readonly Store[], lanes: number, mask?: Value): void {
    const b = this.#b
    b.tailMask = mask
    const values = stores.map(({ value }) => b.splat(b.expr(value), lanes))
    stores.forEach(({ buffer, index }, k) => {
      const { dtype } = this.#group.buffers[buffer]!
      const at = b.indexValue(index, lanes > 1 ? this.#transpose.along : undefined)
      b.storeAs(dtype, b.place(buffer, memoryOf[dtype], at), values[k]!, mask)
    })
    b.tailMask = undefined
  }

  // Without masks, what is less than a square goes line by line, its elements gathered.
  #lines(r: Value, c: Value, rest: Rest): void {
    const b = this.#b
    const count = rest.across ? b.min(rest.across, this.#side) : this.#side
    b.loop(r, b.add(r, count), 1, (i) => {
      bindFlat(b, this.#transpose.across, i)
      this.#line(this.#transpose.stores, c)
    })
  }

  // One line of a square, its parts not transposed.
  #line(stores: readonly Store[], c: Value): void {
    const b = this.#b
    const { along } = this.#transpose
    const store = (mask?: Value) =>
      b.scope(() => {
        b.bind(along, c, this.#side)
        this.#store(stores, this.#side, mask)
      })
    const left = b.sub(this.alongExtent, c)
    if (extentOf([along]) % this.#side === 0) return store()
    if (this.#hasMasks) return store(b.lanesBelow(left, this.#side))
    const fits = b.op('le', [b.int(this.#side), left])
    b.when(fits, () => store())
    b.when(b.op('not', [fits]), () =>
      b.loop(c, this.alongExtent, 1, (j) => {
        b.bind(along, j)
        this.#store(stores, 1)
      }),
    )
  }
}
