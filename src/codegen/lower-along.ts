/** @file Lowers a contraction to tiles of sums whose vectors run along the depth. */
import type { Axis, ExprBuilder } from '../ir/expr.ts'
import type { Group } from '../ir/group.ts'
import type { Kernel, Value, Variable } from '../ir/loops.ts'
import { assert } from '../util/errors.ts'
import type { AlongPlan, Factor } from './along-pattern.ts'
import { bindFlat, flatExtent } from './contract-access.ts'
import { storeResults } from './contract-output.ts'
import type { Contraction } from './contract-pattern.ts'
import { Emitter, memoryOf } from './emitter.ts'
import { kernelOf } from './lower-nest.ts'
import type { TargetTraits } from './target-traits.ts'
import { decompose } from './vectorize.ts'

/**
 * Note [Along the depth]: a product whose factors both lie contiguous along the depth would have to be transposed
 * for a tile whose vectors run along the columns: element by element, for sums that are few. Here each sum of a tile is
 * a vector along the depth, of which every lane adds up its share; both factors are read where they lie. In the
 * end the lanes of each sum are added up, which a long depth makes little of. The gradient of a convolution's
 * weight is of this kind: an image and its gradient, row by row.
 *
 * Rows of A are outside, so that those of a tile stay in the first cache while all tiles of B pass.
 */
export function lowerAlong(
  s: ExprBuilder,
  group: Group,
  c: Contraction,
  plan: AlongPlan,
  traits: TargetTraits,
): Kernel {
  const { batch, rows, columns } = c
  const b = new Emitter({
    decompose: (e, lanes) => (e.kind === 'op' ? decompose(s, e, lanes, traits) : e),
    reduce: () => assert(false, 'the sum of a contraction is defined by its tile') as never,
  })
  const { a, b: other } = plan
  const rowTiles = b.op('div', [flatExtent(b, rows), b.int(a.lines.length)])
  const each = (task: Value) => {
    const outer = b.op('div', [task, rowTiles])
    bindFlat(b, batch, outer)
    const row = b.mul(b.sub(task, b.mul(outer, rowTiles)), a.lines.length)
    b.loop(b.int(0), flatExtent(b, columns), other.lines.length, (column) => {
      bindFlat(b, a.own, row)
      bindFlat(b, other.own, column)
      const sums = sumTile(b, c, plan, traits)
      sums.forEach((line, i) =>
        line.forEach((sum, j) => {
          const total = b.variable(b.across('add', b.read(sum)))
          storeResults(b, c.out, { row: b.add(row, i), column: b.add(column, j), sum: total })
        }),
      )
    })
  }
  b.loop(b.int(0), b.mul(flatExtent(b, batch), rowTiles), 1, each, true)
  return kernelOf(group, b)
}

/** The sums of each row of a tile, with the products at all depths in their lanes. */
function sumTile(
  b: Emitter,
  { type }: Contraction,
  { depth, run, lanes, a, b: other }: AlongPlan,
  traits: TargetTraits,
): readonly (readonly Variable[])[] {
  const zero = b.splat(b.const(type, 0), lanes)
  const sums = a.lines.map(() => other.lines.map(() => b.variable(zero)))
  const last = depth.at(-1)!
  const isFused = traits.spells('fma', type, lanes)
  const step = (at: Value, mask?: Value) => {
    b.bind(last, at)
    const linesOf = ({ load, lines }: Factor) => {
      const index = b.indexValue(load.index)
      const memory = memoryOf[load.dtype]
      return lines.map(
        (line) => () => b.load(b.place(load.buffer, memory, index, line), lanes, mask),
      )
    }
    // The lines of the shorter side wait in registers, those of the other one pass by.
    const isWide = other.lines.length > a.lines.length
    const [few, many] = isWide ? [a, other] : [other, a]
    const waiting = linesOf(few).map((load) => load())
    linesOf(many).forEach((load, i) => {
      const passing = load()
      waiting.forEach((value, j) => {
        const sum = isWide ? sums[j]![i]! : sums[i]![j]!
        const old = b.read(sum)
        b.set(
          sum,
          isFused
            ? b.op('fma', [value, passing, old])
            : b.op('add', [old, b.op('mul', [value, passing])]),
        )
      })
    })
  }
  eachLine(b, depth.slice(0, -1), () => {
    const whole = run - (run % lanes)
    b.loop(b.int(0), b.int(whole), lanes, (i) => step(i))
    if (whole < run) b.scope(() => step(b.int(whole), b.lanesBelow(b.int(run - whole), lanes)))
  })
  return sums
}

function eachLine(b: Emitter, axes: readonly Axis[], body: () => void): void {
  const [axis, ...rest] = axes
  if (axis === undefined) return body()
  b.loop(b.int(0), b.size(axis.extent), 1, (i) => {
    b.bind(axis, i)
    eachLine(b, rest, body)
  })
}
