/** @file How the elements of a tensor lie in its storage. Equal layouts are one object. */
import { rowMajorStrides, sizeOf, type Shape } from './shape.ts'

/**
 * Shape and strides (in elements; negative ones run backwards). Layouts are interned: the same shape
 * and strides always give the same object, so that comparing layouts and keying caches by them is one
 * number. Where position 0 is belongs to the tensor, not to its layout.
 */
export interface Layout {
  readonly id: number
  readonly shape: Shape
  readonly strides: readonly number[]
  /** Number of elements. */
  readonly size: number
  /** Whether the elements lie in row-major order without gaps. */
  readonly contiguous: boolean
}

const known = new Map<string, Layout>()
const knownLimit = 1 << 16
let nextId = 1

/** The layout of this shape: row-major unless strides are given. */
export function layoutOf(shape: Shape, strides?: readonly number[]): Layout {
  const rowMajor = rowMajorStrides(shape)
  const size = sizeOf(shape)
  const contiguous = strides === undefined || isContiguous(shape, strides, rowMajor)
  const used = contiguous ? rowMajor : strides
  const key = contiguous ? shape.join() : `${shape.join()};${used.join()}`
  const found = known.get(key)
  if (found !== undefined) return found
  // Forgetting only costs cache hits: ids are never reused.
  if (known.size >= knownLimit) known.clear()
  const layout = {
    id: nextId++,
    shape: Object.freeze([...shape]),
    strides: Object.freeze([...used]),
    size,
    contiguous,
  }
  known.set(key, layout)
  return layout
}

/** The layout of a broadcast view: stretched and added axes have stride 0. */
export function expandLayout(layout: Layout, shape: Shape): Layout {
  if (layout.shape === shape) return layout
  const added = shape.length - layout.shape.length
  const strides = shape.map((n, i) => {
    const own = i - added
    return own < 0 || (layout.shape[own] === 1 && n !== 1) ? 0 : layout.strides[own]!
  })
  return layoutOf(shape, strides)
}

/**
 * The strides under which the same elements, in the same order, have another shape; undefined when
 * only a copy can give it.
 */
export function reshapeStrides(layout: Layout, shape: Shape): number[] | undefined {
  if (layout.contiguous) return rowMajorStrides(shape)
  if (layout.size === 0) return rowMajorStrides(shape)
  const from = layout.shape
    .map((n, i) => ({ n, stride: layout.strides[i]! }))
    .filter((a) => a.n !== 1)
  const strides = new Array<number>(shape.length)
  let i = from.length - 1
  let room = 1 // elements of the present run of mergeable axes that are still to be handed out
  let step = 1
  for (let j = shape.length - 1; j >= 0; j--) {
    const n = shape[j]!
    if (n === 1) {
      strides[j] = step
      continue
    }
    if (room === 1) {
      if (i < 0) return undefined
      room = from[i]!.n
      step = from[i]!.stride
      i--
      while (i >= 0 && from[i]!.stride === step * room) room *= from[i--]!.n
    }
    if (room % n !== 0) return undefined
    strides[j] = step
    step *= n
    room /= n
  }
  return strides
}

function isContiguous(
  shape: Shape,
  strides: readonly number[],
  rowMajor: readonly number[],
): boolean {
  if (sizeOf(shape) === 0) return true
  for (let i = 0; i < shape.length; i++)
    if (shape[i] !== 1 && strides[i] !== rowMajor[i]) return false
  return true
}
