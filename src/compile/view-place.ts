/** @file Layouts of layouts: where a view of a view lies. */
import { layoutOf, type Layout } from '../core/layout.ts'

/** A layout of the elements of something else, and where its element 0 is. */
export interface Place {
  readonly layout: Layout
  /** In elements. */
  readonly offset: number
}

/**
 * Where a view lies that is taken of the elements, in row-major order, of another view; undefined where
 * only a copy has a layout for it.
 */
export function composed(outer: Place, inner: Place): Place | undefined {
  const { shape, strides } = outer.layout
  if (outer.layout.size === 0) return { layout: layoutOf(shape), offset: inner.offset }
  const axes = joined(inner.layout)
  // Steps of each axis of the outer view, and its beginning, in coordinates of the inner one.
  const begin = coordinates(outer.offset, axes)
  const steps = strides.map((stride) => coordinates(stride, axes))
  const fits = axes.every(({ size }, k) => {
    let [low, high] = [begin[k]!, begin[k]!]
    shape.forEach((n, i) => {
      const reach = (n - 1) * steps[i]![k]!
      if (reach < 0) low += reach
      else high += reach
    })
    return low >= 0 && high < size
  })
  if (!fits) return undefined
  const distance = (at: readonly number[]) =>
    axes.reduce((sum, { stride }, k) => sum + at[k]! * stride, 0)
  return {
    layout: layoutOf(shape, steps.map(distance)),
    offset: inner.offset + distance(begin),
  }
}

interface Axis {
  readonly size: number
  readonly stride: number
}

/** The axes of a layout; those that are walked as one are one. */
function joined({ shape, strides }: Layout): Axis[] {
  const axes: Axis[] = []
  shape.forEach((size, i) => {
    if (size === 1) return
    const stride = strides[i]!
    const before = axes.at(-1)
    if (before?.stride === stride * size)
      axes[axes.length - 1] = { size: before.size * size, stride }
    else axes.push({ size, stride })
  })
  return axes
}

/** A distance in row-major order, along each axis; backwards along all if it is negative. */
function coordinates(distance: number, axes: readonly Axis[]): number[] {
  let rest = Math.abs(distance)
  const at = axes
    .toReversed()
    .map(({ size }, k) => {
      const digit = k === axes.length - 1 ? rest : rest % size
      rest = Math.floor(rest / size)
      return digit
    })
    .reverse()
  return distance < 0 ? at.map((n) => -n || 0) : at
}
