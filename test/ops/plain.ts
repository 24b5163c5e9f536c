/** @file Plain arrays of numbers with a shape: what reference implementations work on, independent of our kernels. */

/** Numbers in row-major order, and the sizes of their axes. */
export class PlainArray {
  readonly shape: readonly number[]
  readonly data: readonly number[]

  constructor(shape: readonly number[], data: readonly number[]) {
    this.shape = shape
    this.data = data
  }

  /** The element at a position; axes of size 1 are broadcast, and so are missing leading axes. */
  at(...index: readonly number[]): number {
    const skipped = index.length - this.shape.length
    let at = 0
    this.shape.forEach((n, i) => (at = at * n + (n === 1 ? 0 : index[i + skipped]!)))
    return this.data[at]!
  }
}

/** An array of a shape from the value at each position. */
export function plain(
  shape: readonly number[],
  valueAt: (...index: number[]) => number,
): PlainArray {
  return new PlainArray(
    shape,
    positions(shape).map((index) => valueAt(...index)),
  )
}

/** Every position of a shape in row-major order; one empty position for a 0-d shape. */
export function positions(shape: readonly number[]): number[][] {
  let found: number[][] = [[]]
  for (const n of shape)
    found = found.flatMap((index) => Array.from({ length: n }, (_, i) => [...index, i]))
  return found
}

/** The shape that arrays broadcast to. */
export function broadcast(...arrays: readonly PlainArray[]): number[] {
  const ndim = Math.max(...arrays.map((x) => x.shape.length))
  return Array.from({ length: ndim }, (_, i) => {
    const sizes = arrays.map((x) => x.shape[i - ndim + x.shape.length] ?? 1)
    return sizes.find((n) => n !== 1) ?? 1
  })
}

/**
 * The reference of an elementwise op from its meaning at one element: arrays broadcast, numbers stay
 * numbers, anything else (an options object) is handed on as it is.
 */
export function elementwise(
  f: (...values: never[]) => number | boolean,
): (...args: never[]) => PlainArray {
  const call = f as (...values: unknown[]) => number | boolean
  return (...args: unknown[]) => {
    const shape = broadcast(...args.filter((x) => x instanceof PlainArray))
    return plain(shape, (...index) =>
      Number(call(...args.map((x) => (x instanceof PlainArray ? x.at(...index) : x)))),
    )
  }
}

/** The shape without some axes, or with size 1 there. */
export function withoutAxes(
  shape: readonly number[],
  axes: readonly number[],
  keepDims = false,
): number[] {
  return shape.flatMap((n, i) => (axes.includes(i) ? (keepDims ? [1] : []) : [n]))
}

/** Axes as an option gives them, counted from the front; all of them when it is left out. */
export function axesOf(axis: number | readonly number[] | undefined, ndim: number): number[] {
  if (axis === undefined) return Array.from({ length: ndim }, (_, i) => i)
  return (typeof axis === 'number' ? [axis] : [...axis]).map((a) => (a < 0 ? a + ndim : a))
}

/** The reference of a reduction from what it makes of the list of elements along the reduced axes. */
export function reduction(
  f: (values: number[]) => number,
): (
  x: PlainArray,
  options?: { axis?: number | readonly number[]; keepDims?: boolean },
) => PlainArray {
  return (x, { axis, keepDims = false } = {}) => {
    const axes = axesOf(axis, x.shape.length)
    const inner = positions(x.shape.filter((_, i) => axes.includes(i)))
    return plain(withoutAxes(x.shape, axes, keepDims), (...index) => {
      const outer = keepDims ? index.filter((_, i) => !axes.includes(i)) : index
      return f(inner.map((part) => x.at(...merge(x.shape.length, axes, outer, part))))
    })
  }
}

function merge(
  ndim: number,
  axes: readonly number[],
  outer: readonly number[],
  inner: readonly number[],
): number[] {
  let i = 0
  let o = 0
  return Array.from({ length: ndim }, (_, axis) =>
    axes.includes(axis) ? inner[i++]! : outer[o++]!,
  )
}
