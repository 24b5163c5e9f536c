/** @file Lowers kernels that read along one axis and write along another: the order of their squares; see Note [Transposes]. */
import type { Axis, ExprBuilder } from '../ir/expr.ts'
import type { Group } from '../ir/group.ts'
import type { Kernel, Value } from '../ir/loops.ts'
import { assert } from '../util/errors.ts'
import { bindFlat, flatExtent } from './contract-access.ts'
import { extentOf } from './contract-blocks.ts'
import { Emitter } from './emitter.ts'
import type { Side } from './guard-box.ts'
import { kernelOf } from './lower-nest.ts'
import type { TargetTraits } from './target-traits.ts'
import type { Border, Transpose } from './transpose-pattern.ts'
import { Squares } from './transpose-squares.ts'
import { decompose } from './vectorize.ts'

/** A kernel that moves squares of elements. */
export function lowerTranspose(
  s: ExprBuilder,
  group: Group,
  transpose: Transpose,
  traits: TargetTraits,
): Kernel {
  const hasMasks = traits.tail === 'mask'
  const b = new Emitter({
    decompose: (e, lanes) => (e.kind === 'op' ? decompose(s, e, lanes, traits) : e),
    reduce: () => assert(false, 'a transpose has no reductions') as never,
    masksGuards: hasMasks,
  })
  const { border } = transpose
  const walk = { b, transpose, squares: new Squares(b, group, transpose, hasMasks) }
  if (border === undefined) walkSquares(walk)
  else if (isInRows(transpose, border, walk.squares.block)) walkRows(walk, border)
  else walkBands(walk, border)
  return kernelOf(group, b)
}

interface Walk {
  readonly b: Emitter
  readonly transpose: Transpose
  readonly squares: Squares
}

/**
 * Squares are walked along the axis of writing inside, where that is so many times as long as the other
 * one; else along the axis of reading, in whose direction more of a line is left for the next square.
 */
const muchLonger = 4

function walkSquares({ b, transpose: { outer }, squares }: Walk): void {
  const { acrossExtent, alongExtent, block } = squares
  const isAlongInside = b.op('le', [b.mul(acrossExtent, muchLonger), alongExtent])
  const { def } = isAlongInside
  // The code is the same either way: only the loops' counters change their roles.
  const choose = (x: Value, y: Value): Value => {
    if (def.kind === 'const') return def.value ? x : y
    return b.op('select', [isAlongInside, x, y])
  }
  const [across, along] = [squares.count(acrossExtent), squares.count(alongExtent)]
  const [outside, inside] = [choose(across, along), choose(along, across)]
  eachUnit(b, outer, outside, (i) =>
    b.loop(b.int(0), inside, 1, (j) =>
      squares.squares(b.mul(choose(i, j), block), b.mul(choose(j, i), block)),
    ),
  )
}

/** The parallel loop: over all points of some axes, and for each of them over 0 to `count`. */
function eachUnit(b: Emitter, axes: readonly Axis[], count: Value, body: (i: Value) => void): void {
  if (axes.length === 0) return b.loop(b.int(0), count, 1, body, true)
  const unit = (flat: Value) => {
    const point = b.op('div', [flat, count])
    bindFlat(b, axes, point)
    body(b.sub(flat, b.mul(point, count)))
  }
  b.loop(b.int(0), b.mul(flatExtent(b, axes), count), 1, unit, true)
}

function each(b: Emitter, axes: readonly Axis[], body: () => void): void {
  const [axis, ...rest] = axes
  if (axis === undefined) return body()
  range(b, axis, b.int(0), b.size(axis.extent), () => each(b, rest, body))
}

function range(b: Emitter, axis: Axis, begin: Value, end: Value, body: () => void): void {
  b.loop(begin, end, 1, (i) => {
    b.bind(axis, i)
    body()
  })
}

// -- with a border

/**
 * Where rows of an image are about as long as a square, they are done one after the other, so that the
 * result is written from one end to the other; longer ones in bands as wide as a square (`walkBands`),
 * in which they are read without a break.
 */
function isInRows({ across }: Transpose, { inside }: Border, block: number): boolean {
  const [row, ...more] = across
  return more.length === 0 && extentOf([row!]) <= block && inside.some((axis) => axis !== row)
}

function walkRows({ b, transpose, squares }: Walk, { box, inside, stores }: Border): void {
  const across = transpose.across[0]!
  const { acrossExtent, alongExtent, block } = squares
  const sides = box.map((side, i) => ({ ...side, inside: inside[i]! }))
  const outer = sides.filter((side) => side.inside !== across)
  const row = sides.find((side) => side.inside === across)
  const plain = transpose.outer.filter((axis) => !inside.includes(axis))
  const blocks = (extent: Value, body: (first: Value) => void) =>
    b.loop(b.int(0), squares.count(extent), 1, (i) => body(b.mul(i, block)))
  const line = () => blocks(alongExtent, (c) => squares.line(stores, c))
  const axes = [...plain, ...outer.map(({ axis }) => axis)]
  eachUnit(b, axes, b.int(1), () => {
    const isInside = outer
      .flatMap(({ axis, low, high }) => {
        const at = b.positionOf(axis)
        return [b.op('le', [b.int(low), at]), b.op('lt', [at, b.int(high)])]
      })
      .reduce((x, y) => b.op('and', [x, y]))
    b.when(isInside, () => {
      for (const { axis, low, inside } of outer) b.bind(inside, b.sub(b.positionOf(axis), low))
      if (row) range(b, row.axis, b.int(0), b.int(row.low), line)
      blocks(acrossExtent, (r) => blocks(alongExtent, (c) => squares.squares(r, c)))
      if (row) range(b, row.axis, b.int(row.high), b.size(row.axis.extent), line)
    })
    b.when(b.op('not', [isInside]), () => each(b, [row?.axis ?? across], line))
  })
}

function walkBands({ b, transpose, squares }: Walk, { box, inside, stores }: Border): void {
  const { outer, across } = transpose
  const { acrossExtent, alongExtent, block } = squares
  const isBordered = (axis: Axis) => inside.includes(axis)
  const plain = outer.filter((axis) => !isBordered(axis))
  const everywhere = across.filter((axis) => !isBordered(axis))
  eachUnit(b, plain, squares.count(alongExtent), (i) => {
    const c = b.mul(i, block)
    each(b, outer.filter(isBordered), () =>
      b.loop(b.int(0), squares.count(acrossExtent), 1, (j) => squares.squares(b.mul(j, block), c)),
    )
    outsideOf(b, box, (rest) =>
      each(b, [...rest.map(({ axis }) => axis), ...everywhere], () => squares.line(stores, c)),
    )
  })
}

// Everything outside a box: what is before it and behind it along one axis, at any position along the rest; then inside.
function outsideOf(b: Emitter, box: readonly Side[], body: (rest: readonly Side[]) => void): void {
  const [side, ...rest] = box
  if (side === undefined) return
  const { axis, low, high } = side
  range(b, axis, b.int(0), b.int(low), () => body(rest))
  range(b, axis, b.int(high), b.size(axis.extent), () => body(rest))
  range(b, axis, b.int(low), b.int(high), () => outsideOf(b, rest, body))
}
