/** @file Views as the methods that make them: reshape, permute, expand, slice. */
import { expandLayout, layoutOf, reshapeLayout } from '../core/layout.ts'
import { rowMajorStrides, sizeOf, type Shape } from '../core/shape.ts'
import type { Place } from './view-place.ts'

/** A method of a view, and its arguments as they are printed. */
export interface ViewStep {
  readonly method: ViewMethod
  readonly args: readonly unknown[]
}

type ViewMethod = keyof typeof viewMethods

type Range = number | null | readonly [start: number, end: number | null, step?: number]

/** What each method makes of a place; undefined where it cannot. */
export const viewMethods = {
  reshape({ layout, offset }: Place, ...shape: number[]) {
    if (sizeOf(shape) !== layout.size) return undefined
    const made = reshapeLayout(layout, shape)
    return made && { layout: made, offset }
  },
  permute({ layout: { shape, strides }, offset }: Place, ...axes: number[]) {
    const at = (list: readonly number[]) => axes.map((a) => list[a]!)
    const isOrder = axes.toSorted((a, b) => a - b).every((a, i) => a === i)
    if (!isOrder || axes.length !== shape.length) return undefined
    return { layout: layoutOf(at(shape), at(strides)), offset }
  },
  expand({ layout, offset }: Place, ...shape: number[]) {
    const own = shape.slice(shape.length - layout.shape.length)
    if (!layout.shape.every((n, i) => n === own[i] || n === 1)) return undefined
    return { layout: expandLayout(layout, shape), offset }
  },
  /** A range per axis, as slice() takes them; none counts from the end. */
  slice({ layout: { shape, strides }, offset }: Place, ...ranges: Range[]) {
    const sizes: number[] = []
    const steps: number[] = []
    let at = offset
    for (const [axis, n] of shape.entries()) {
      const range = ranges[axis] ?? null
      if (typeof range === 'number') {
        at += range * strides[axis]!
        continue
      }
      const [start, end, step = 1] = range ?? [0, n]
      if (!Number.isInteger(step) || step === 0) return undefined
      at += start * strides[axis]!
      sizes.push(Math.ceil(((end ?? (step < 0 ? -1 : n)) - start) / step))
      steps.push(step * strides[axis]!)
    }
    return { layout: layoutOf(sizes, steps), offset: at }
  },
  view(_: Place, shape: Shape, strides: readonly number[], offset: number) {
    return { layout: layoutOf(shape, strides), offset }
  },
} satisfies Record<string, (place: Place, ...args: never[]) => Place | undefined>

/** Does a step; undefined where it does not fit. */
export function viewStep(place: Place, { method, args }: ViewStep): Place | undefined {
  return (viewMethods[method] as (place: Place, ...args: unknown[]) => Place | undefined)(
    place,
    ...args,
  )
}

/** The methods that lead from a row-major tensor of a shape to a view of it. */
export function stepsOf(base: Shape, place: Place): readonly ViewStep[] {
  const { shape, strides } = place.layout
  const plain: ViewStep = { method: 'view', args: [[...shape], [...strides], place.offset] }
  for (const attempt of [reshapeAndPermute, reshapeAndExpand, sliceSteps]) {
    const steps = attempt(base, place)
    let at: Place | undefined = { layout: layoutOf(base), offset: 0 }
    for (const step of steps) at = at && viewStep(at, step)
    if (at?.layout === place.layout && at.offset === place.offset) return steps
  }
  return [plain]
}

const reshapeTo = (base: Shape, shape: Shape): ViewStep[] =>
  shape.join() === base.join() ? [] : [{ method: 'reshape', args: shape }]

// In the order of their strides the axes are those of a row-major tensor.
function reshapeAndPermute(base: Shape, { layout }: Place): ViewStep[] {
  const { shape, strides } = layout
  if (layout.contiguous) return reshapeTo(base, shape)
  const order = strides.map((_, i) => i).sort((a, b) => strides[b]! - strides[a]! || a - b)
  const axes = order.map((_, i) => order.indexOf(i))
  const sorted = order.map((a) => shape[a]!)
  return [...reshapeTo(base, sorted), { method: 'permute', args: axes }]
}

function reshapeAndExpand(base: Shape, { layout: { shape, strides } }: Place): ViewStep[] {
  const own = shape.map((n, i) => (strides[i] === 0 ? 1 : n))
  const added = own.findIndex((n) => n !== 1)
  const isSame = own.slice(added).join() === base.join()
  const first = isSame ? [] : reshapeTo(base, own)
  return [...first, { method: 'expand', args: [...shape] }]
}

// Axes that are left out are those at whose stride no axis of the view steps.
function sliceSteps(base: Shape, { layout, offset }: Place): ViewStep[] {
  const { shape, strides } = layout
  const baseStrides = rowMajorStrides(base)
  let rest = offset
  let next = 0
  const ranges = base.map((n, axis): Range => {
    const stride = baseStrides[axis]!
    const start = Math.floor(rest / stride)
    rest -= start * stride
    const [count, step] = [shape[next], strides[next]! / stride]
    const isLast = base.length - axis === shape.length - next
    if (count === undefined || !(isLast || (Number.isInteger(step) && step !== 0))) return start
    next++
    if (step === 1) return start === 0 && count === n ? null : [start, start + count]
    const last = start + (count - 1) * step
    if (step > 0) return [start, last + 1, step]
    return [start, last === 0 ? null : last - 1, step]
  })
  return [{ method: 'slice', args: ranges }]
}
