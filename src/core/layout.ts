/** @file How the elements of a tensor lie in its storage. Equal layouts are one object. */
import { rowMajorStrides, sameShape, sizeOf, type Shape } from './shape.ts'

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

const known = new Map<number, Layout[]>()
const knownLimit = 1 << 16
let nextId = 1
let count = 0

/** The layout of this shape: row-major unless strides are given. */
export function layoutOf(shape: Shape, strides?: readonly number[]): Layout {
  const used = strides === undefined || isContiguous(shape, strides) ? undefined : strides
  const hash = hashOf(shape, used)
  const found = known.get(hash)
  if (found !== undefined)
    for (const layout of found) if (isSame(layout, shape, used)) return layout
  return remember(hash, shape, used)
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
 * The layout of the same elements, in the same order, under another shape; undefined when only a copy
 * can have it.
 */
export function reshapeLayout(layout: Layout, shape: Shape): Layout | undefined {
  if (layout.contiguous) return layoutOf(shape)
  const strides = reshapeStrides(layout, shape)
  return strides && layoutOf(shape, strides)
}

function reshapeStrides(layout: Layout, shape: Shape): number[] | undefined {
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

function isContiguous(shape: Shape, strides: readonly number[]): boolean {
  let step = 1
  let isRowMajor = true
  for (let i = shape.length - 1; i >= 0; i--) {
    const n = shape[i]!
    if (n !== 1 && strides[i] !== step) isRowMajor = false
    step *= n
  }
  return isRowMajor || step === 0
}

// -- interning; without strides a layout is the row-major one

function remember(hash: number, shape: Shape, strides: readonly number[] | undefined): Layout {
  // Forgetting only costs cache hits: ids are never reused.
  if (count >= knownLimit) {
    known.clear()
    count = 0
  }
  const layout: Layout = {
    id: nextId++,
    // Layouts of one shape share it, which makes comparing shapes cheap.
    shape: strides === undefined ? frozen(shape) : layoutOf(shape).shape,
    strides: frozen(strides ?? rowMajorStrides(shape)),
    size: sizeOf(shape),
    contiguous: strides === undefined,
  }
  const others = known.get(hash)
  if (others === undefined) known.set(hash, [layout])
  else others.push(layout)
  count++
  return layout
}

// Element by element: lists that the engine holds in the same way are quicker to compare.
function frozen(list: readonly number[]): readonly number[] {
  const copy: number[] = []
  for (let i = 0; i < list.length; i++) copy.push(list[i]!)
  return Object.freeze(copy)
}

function hashOf(shape: Shape, strides: readonly number[] | undefined): number {
  let hash = shape.length
  for (let i = 0; i < shape.length; i++) hash = Math.imul(hash ^ shape[i]!, 16777619)
  if (strides !== undefined)
    for (let i = 0; i < strides.length; i++) hash = Math.imul(hash ^ strides[i]!, 16777619)
  return hash & 0x3fffffff
}

function isSame(layout: Layout, shape: Shape, strides: readonly number[] | undefined): boolean {
  return (
    layout.contiguous === (strides === undefined) &&
    sameShape(layout.shape, shape) &&
    (strides === undefined || sameShape(layout.strides, strides))
  )
}
