/** @file Lowers kernels that read along one axis and write along another, in squares; see Note [Transposes]. */
import type { Axis, ExprBuilder } from '../ir/expr.ts'
import type { Group } from '../ir/group.ts'
import type { Kernel, Value } from '../ir/loops.ts'
import { assert } from '../util/errors.ts'
import { bindFlat, flatExtent } from './contract-access.ts'
import { Emitter, memoryOf } from './emitter.ts'
import { kernelBuffers } from './lower-nest.ts'
import type { TargetTraits } from './target-traits.ts'
import type { Transpose } from './transpose-pattern.ts'
import { decompose } from './vectorize.ts'

/** A kernel that moves squares of elements. */
export function lowerTranspose(
  s: ExprBuilder,
  group: Group,
  transpose: Transpose,
  traits: TargetTraits,
): Kernel {
  const b = new Emitter({
    decompose: (e, lanes) => (e.kind === 'op' ? decompose(s, e, lanes, traits) : e),
    reduce: () => assert(false, 'a transpose has no reductions') as never,
    masksGuards: traits.tail === 'mask',
  })
  new Squares(b, group, transpose, traits).run()
  return {
    name: group.name,
    buffers: kernelBuffers(group),
    sizeCount: group.sizeCount,
    params: group.params,
    scratchBytes: 0,
    body: b.finish(),
  }
}

/** How much of a square there is, where it may be less than all. */
interface Rest {
  /** Positions along the axis of reading. */
  readonly across: Value
  /** Positions along the axis of writing. */
  readonly along: Value
}

class Squares {
  readonly #b: Emitter
  readonly #group: Group
  readonly #across: Axis
  readonly #along: Axis
  readonly #parts: Transpose['parts']
  readonly #side: number
  readonly #hasMasks: boolean

  constructor(b: Emitter, group: Group, transpose: Transpose, traits: TargetTraits) {
    this.#b = b
    this.#group = group
    this.#across = transpose.across
    this.#along = transpose.along
    this.#parts = transpose.parts
    this.#side = transpose.side
    this.#hasMasks = traits.tail === 'mask'
  }

  run(): void {
    const b = this.#b
    const outer = this.#group.axes.filter((axis) => axis !== this.#across && axis !== this.#along)
    if (outer.length === 0) return this.#blocks(this.#across, true, (r) => this.#row(r))
    const body = (i: Value) => {
      bindFlat(b, outer, i)
      this.#blocks(this.#across, false, (r) => this.#row(r))
    }
    b.loop(b.int(0), flatExtent(b, outer), 1, body, true)
  }

  #row(r: Value): void {
    this.#blocks(this.#along, false, (c) => this.#square(r, c))
  }

  // The first positions of all squares along an axis.
  #blocks(axis: Axis, parallel: boolean, body: (first: Value) => void): void {
    const b = this.#b
    const extent = b.size(axis.extent)
    if (!parallel) return b.loop(b.int(0), extent, this.#side, body)
    const count = b.op('div', [b.add(extent, this.#side - 1), b.int(this.#side)])
    b.loop(b.int(0), count, 1, (i) => body(b.mul(i, this.#side)), true)
  }

  #square(r: Value, c: Value): void {
    const b = this.#b
    const side = b.int(this.#side)
    const left = ({ extent }: Axis, first: Value): Value =>
      typeof extent === 'number' && extent <= this.#side
        ? b.int(extent)
        : b.sub(b.size(extent), first)
    const rest = { across: left(this.#across, r), along: left(this.#along, c) }
    const isEven = ({ extent }: Axis) => typeof extent === 'number' && extent % this.#side === 0
    if (isEven(this.#across) && isEven(this.#along)) return this.#whole(r, c)
    const isSmall = ({ extent }: Axis) => typeof extent === 'number' && extent < this.#side
    if (isSmall(this.#across) || isSmall(this.#along))
      return b.once(() => this.#part(r, c, rest))
    const fits = b.op('and', [
      b.op('le', [side, rest.across]),
      b.op('le', [side, rest.along]),
    ])
    b.when(fits, () => this.#whole(r, c))
    b.when(b.op('not', [fits]), () => this.#part(r, c, rest))
  }

  #whole(r: Value, c: Value): void {
    const read = this.#readSquare(r, c, undefined)
    for (let j = 0; j < this.#side; j++) this.#write(r, c, j, read(j), undefined)
  }

  #part(r: Value, c: Value, rest: Rest): void {
    const b = this.#b
    const side = this.#side
    if (!this.#hasMasks) return this.#points(r, c, rest)
    const read = this.#readSquare(r, c, rest)
    const mask = b.lanesBelow(rest.along, side)
    const columns = Array.from({ length: side }, (_, j) => read(j))
    columns.forEach((column, j) => {
      const isInside = b.op('lt', [b.int(j), rest.across])
      const write = () => this.#write(r, c, j, column, mask)
      if (j === 0) write()
      else if (isInside.def.kind !== 'const') b.when(isInside, write)
      else if (isInside.def.value) write()
    })
  }

  // Reads a square of each part. What is returned gives the values of all parts for one line of the result.
  #readSquare(r: Value, c: Value, rest: Rest | undefined): (j: number) => readonly Value[] {
    const b = this.#b
    const side = this.#side
    const mask = rest && b.lanesBelow(rest.across, side)
    const squares = this.#parts.map((part) =>
      Array.from({ length: side }, (_, i) =>
        b.scope(() => {
          // Lines past the end repeat the last one: what becomes of them is never stored.
          const at = b.add(c, i)
          b.bind(this.#along, rest ? b.min(at, b.sub(b.size(this.#along.extent), 1)) : at)
          b.bind(this.#across, r, side)
          b.tailMask = mask
          const line = b.splat(b.expr(part), side)
          b.tailMask = undefined
          return line
        }),
      ),
    )
    return (j) => squares.map((rows) => b.transposed(rows, j))
  }

  #write(r: Value, c: Value, j: number, values: readonly Value[], mask: Value | undefined): void {
    const b = this.#b
    b.scope(() => {
      b.bind(this.#across, b.add(r, j))
      b.bind(this.#along, c, this.#side)
      this.#parts.forEach((part, k) => b.define(part, values[k]!))
      b.tailMask = mask
      this.#store(this.#side)
      b.tailMask = undefined
    })
  }

  #store(lanes: number): void {
    const b = this.#b
    const { stores, buffers } = this.#group
    const values = stores.map(({ value }) => b.splat(b.expr(value), lanes))
    stores.forEach(({ buffer, index }, k) => {
      const { dtype } = buffers[buffer]!
      const at = b.indexValue(index, lanes > 1 ? this.#along : undefined)
      b.storeAs(dtype, b.place(buffer, memoryOf[dtype], at), values[k]!, b.tailMask)
    })
  }

  // Without masks, what is less than a square goes point by point.
  #points(r: Value, c: Value, rest: Rest): void {
    const b = this.#b
    const end = (first: Value, count: Value) => b.add(first, b.min(count, this.#side))
    b.loop(r, end(r, rest.across), 1, (i) => {
      b.bind(this.#across, i)
      b.loop(c, end(c, rest.along), 1, (j) => {
        b.bind(this.#along, j)
        this.#store(1)
      })
    })
  }
}
