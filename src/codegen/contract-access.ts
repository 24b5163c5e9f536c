/** @file How the operands of a contraction are walked: flat positions, and the direction in which vectors can be read. */
import { freeAxes, rewrite, type Axis, type Expr, type ExprBuilder } from '../ir/expr.ts'
import type { Value } from '../ir/loops.ts'
import { boundsOf, joinBounds, type Bounds } from './affine.ts'
import type { Operand } from './contract-pattern.ts'
import type { Emitter } from './emitter.ts'
import type { TargetTraits } from './target-traits.ts'
import { chooseLanes, contiguousAlong } from './vectorize.ts'

/** A range of flat positions. */
export interface Range {
  readonly begin: Value
  readonly end: Value
}

/** Binds axes to the coordinates of a flat position; lanes run along the last axis. */
export function bindFlat(b: Emitter, axes: readonly Axis[], flat: Value, lanes = 1): void {
  let rest = flat
  for (let i = axes.length - 1; i > 0; i--) {
    const extent = b.size(axes[i]!.extent)
    const quotient = b.op('div', [rest, extent])
    b.bind(axes[i]!, b.sub(rest, b.mul(quotient, extent)), i === axes.length - 1 ? lanes : 1)
    rest = quotient
  }
  if (axes.length > 0) b.bind(axes[0]!, rest, axes.length === 1 ? lanes : 1)
}

/** How many positions some axes have together. */
export function flatExtent(b: Emitter, axes: readonly Axis[]): Value {
  return axes.reduce((n, axis) => b.mul(n, b.size(axis.extent)), b.int(1))
}

/** How vectors of an operand can be read: across its lines or along the depth, within the bounds that its guards set. */
export interface Way {
  readonly along: 'lines' | 'depth'
  readonly lanes: number
  /** The operand without the guards. */
  readonly value: Expr
  readonly bounds: Bounds | undefined
  /** What the guards leave out is zero, and so are lanes that a mask switches off. */
  readonly isZeroOutside: boolean
  /** Vectors fit everywhere but at the end: one axis, nothing guarded. */
  readonly isSimple: boolean
}

/** The best way to read vectors, or undefined when there is none. */
export function wayToRead(s: ExprBuilder, operand: Operand, traits: TargetTraits): Way | undefined {
  const lanes = traits.vectorBytes / (operand.value.type === 'f64' ? 8 : 4)
  const along = (which: 'lines' | 'depth', axes: readonly Axis[]): Way | undefined => {
    const axis = axes[axes.length - 1]
    if (axis === undefined) return undefined
    // Under masks a part of a vector is worth reading, too.
    const least = traits.tail === 'mask' ? lanes / 4 : lanes
    if (typeof axis.extent === 'number' && axis.extent < least) return undefined
    const bounds: Bounds[] = []
    let isZeroOutside = true
    const value = rewrite(s, operand.value, (e) => {
      if (e.kind !== 'load' || e.guard === undefined) return undefined
      // One element for all lanes is read outside the loop along them, where nothing else guards it.
      if (!e.index.terms.some((t) => freeAxes(t.index).has(axis))) return undefined
      const solved = boundsOf(s, e.guard, axis)
      if (solved === undefined) return undefined
      bounds.push(solved)
      isZeroOutside &&= Number(e.otherwise) === 0 && e === operand.value
      return s.load(e.buffer, e.dtype, e.index)
    })
    if (!freeAxes(value).has(axis) || !contiguousAlong([value], axis)) return undefined
    if (chooseLanes(s, [value], [], axis, traits) === 1) return undefined
    const isSimple = bounds.length === 0 && axes.length === 1
    const joined = bounds.length > 0 ? joinBounds(bounds) : undefined
    return { along: which, lanes, value, bounds: joined, isZeroOutside, isSimple }
  }
  return along('lines', operand.own) ?? along('depth', operand.summed)
}
