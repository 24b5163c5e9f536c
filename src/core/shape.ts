/** @file Shapes, axes and broadcasting: facts without data. */
import { ShapeError, ValueError } from '../util/errors.ts'

export type Shape = readonly number[]

/** Product of the sizes; 1 for a scalar. */
export function sizeOf(shape: Shape): number {
  let size = 1
  for (let i = 0; i < shape.length; i++) size *= shape[i]!
  return size
}

/** Strides in elements of a row-major array of this shape. */
export function rowMajorStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length)
  let step = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step
    step *= shape[i]!
  }
  return strides
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a === b) return true
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** `[2, 3]`, as error messages print it. */
export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`
}

/**
 * The shape that NumPy's rules give for operands of these shapes: aligned at the last axis, an axis
 * of size 1 stretching. Throws a ShapeError that names the operation and the axis.
 */
export function broadcastShapes(where: string, ...shapes: readonly Shape[]): Shape {
  let result = shapes[0]!
  for (let k = 1; k < shapes.length; k++) result = broadcastTwo(where, result, shapes[k]!)
  return result
}

function broadcastTwo(where: string, a: Shape, b: Shape): Shape {
  if (sameShape(a, b)) return a
  const ndim = Math.max(a.length, b.length)
  const result = new Array<number>(ndim)
  for (let i = 1; i <= ndim; i++) {
    const x = i <= a.length ? a[a.length - i]! : 1
    const y = i <= b.length ? b[b.length - i]! : 1
    if (x !== y && x !== 1 && y !== 1)
      throw new ShapeError(
        `${where}: cannot broadcast ${formatShape(a)} with ${formatShape(b)}: axis -${i} has size ${x} and ${y}. Expected equal sizes or a 1; reshape or slice one of them`,
      )
    result[ndim - i] = x === 1 ? y : x
  }
  return result
}

/** An axis counted from the front, given from either end. Throws a ShapeError outside -ndim .. ndim - 1. */
export function normalizeAxis(where: string, axis: number, ndim: number): number {
  if (!Number.isInteger(axis) || axis < -ndim || axis >= ndim)
    throw new ShapeError(
      ndim === 0
        ? `${where}: axis ${axis} of a 0-d tensor. A scalar has no axes; leave the option out`
        : `${where}: axis ${axis} is out of range for ${ndim} axes. Expected a whole number from ${-ndim} to ${ndim - 1}`,
    )
  return axis < 0 ? axis + ndim : axis
}

/** Axes counted from the front, in ascending order; undefined means all. Throws on repeats. */
export function normalizeAxes(
  where: string,
  axes: number | readonly number[] | undefined,
  ndim: number,
): number[] {
  if (axes === undefined) return Array.from({ length: ndim }, (_, i) => i)
  if (typeof axes === 'number') return [normalizeAxis(where, axes, ndim)]
  const list = axes.map((a) => normalizeAxis(where, a, ndim)).sort((x, y) => x - y)
  if (list.some((axis, i) => i > 0 && axis === list[i - 1]))
    throw new ShapeError(
      `${where}: an axis is repeated in ${formatShape(axes)}. Name each axis once`,
    )
  return list
}

/** Throws a ValueError unless `shape` is an array of whole numbers >= 0, with `most` elements at most. */
export function checkShape(where: string, shape: Shape, most = 2 ** 32): void {
  if (!Array.isArray(shape))
    throw new ValueError(`${where}: expected a shape such as [2, 3], received ${String(shape)}`)
  for (let i = 0; i < shape.length; i++)
    if (!Number.isSafeInteger(shape[i]) || shape[i]! < 0)
      throw new ValueError(
        `${where}: a shape has whole sizes >= 0, received ${formatShape(shape)}. Mend the size ${shape[i]}`,
      )
  if (sizeOf(shape) > most)
    throw new ValueError(`${where}: a tensor of shape ${formatShape(shape)} is too large`)
}
