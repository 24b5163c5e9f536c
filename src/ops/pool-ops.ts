/** @file The operators behind maximum pooling over any number of axes: largest elements, where they are, and the way back. */
import type { KernelBuilder, Position, Sum } from '../codegen/kernel-builder.ts'
import { dtypes } from '../core/dtype.ts'
import { sizeOf, type Shape } from '../core/shape.ts'
import { identityOf, type Axis, type Expr } from '../ir/expr.ts'
import { dispatch, dispatchAll } from '../tensor/dispatch.ts'
import type { InputSpec } from '../tensor/op.ts'
import { isRecording, leaveToTape } from '../tensor/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { defineOp } from './define.ts'

/** Windows over the last axes of [n, channels, ...]. */
export interface PoolWindows extends Readonly<Record<string, unknown>> {
  readonly kernel: readonly number[]
  readonly stride: readonly number[]
  readonly before: readonly number[]
  readonly dilation: readonly number[]
  /** How many windows there are along each axis. */
  readonly counts: Shape
}

/** One walk over the elements of a window. */
function walk(k: KernelBuilder, x: InputSpec, windows: PoolWindows, axes: readonly Axis[]) {
  const { kernel, stride, dilation, before } = windows
  const taps = k.inner(kernel)
  const places: Sum[] = taps.map((tap, i) => ({
    terms: [
      { axis: axes[i + 2]!, step: stride[i]! },
      { axis: tap, step: dilation[i]! },
    ],
    offset: -before[i]!,
  }))
  const sizes = x.shape.slice(2)
  const inside = k.inside(sizes, places)
  const least = identityOf('max', dtypes[x.dtype].compute)
  const value = k.load(0, [axes[0]!, axes[1]!, ...places], inside, least)
  return { taps, places, inside, value }
}

interface Attributes extends PoolWindows {
  /** Whether a second output says where the largest elements are. */
  readonly indices: boolean
}

const maxPoolOp = defineOp<Attributes>({
  name: 'maxPool',
  kind: 'window',
  onnx: 'MaxPool',
  specialize: true,
  infer: ([x], { counts, indices }) => {
    const shape = [...x!.shape.slice(0, 2), ...counts]
    const largest = { shape, dtype: x!.dtype }
    return indices ? [largest, { shape, dtype: 'int32' }] : [largest]
  },
  lower({ attributes, inputs, outputs, kernel, out }) {
    const k = kernel()
    const axes = k.axes(outputs[0]!.layout.shape)
    const { taps, value } = walk(k, inputs[0]!, attributes, axes)
    const largest = k.reduce('max', taps, value)
    k.store(out(), axes, largest)
    if (attributes.indices)
      k.store(out(1), axes, positionOf(k, inputs[0]!, attributes, axes, largest))
    return [k.finish()]
  },
  vjp({ g, outputs: [, positions], shapes: [x], attributes: { kernel, stride, dilation } }) {
    const overlap = kernel.some((n, i) => (n - 1) * dilation[i]! >= stride[i]!)
    const sizes = x!.slice(2)
    const key = `${sizes.join()}|${overlap}`
    return [dispatch(maxPoolGradOp, [positions!, g], { sizes, overlap }, key)]
  },
  saves: 'outputs',
})

/** Where the first largest element of a window is, counted in row-major order over the plane. */
function positionOf(
  k: KernelBuilder,
  x: InputSpec,
  windows: PoolWindows,
  axes: readonly Axis[],
  largest: Expr,
): Expr {
  const { s } = k
  const { taps, places, inside, value } = walk(k, x, windows, axes)
  // The largest of a window with NaNs is NaN, which equals nothing: then the first NaN is meant.
  const isFloat = value.type === 'f32' || value.type === 'f64'
  const isLargest = isFloat ? s.or(s.eq(value, largest), s.ne(value, value)) : s.eq(value, largest)
  const counts = inside === undefined ? isLargest : s.and(isLargest, inside)
  const flat = (positions: readonly Position[]) =>
    positions.reduce<Expr>(
      (sum, position, i) => s.add(s.mul(sum, x.shape[i + 2]!), k.at(position)),
      s.const('i32', 0),
    )
  // Taps count from the corner of the window, so that they are constants where they are written out.
  const corner = places.map(({ terms, offset }) => ({ terms: terms.slice(0, 1), offset }))
  const steps = taps.map((axis, i) => ({ axis, step: windows.dilation[i]!, offset: 0 }))
  const none = s.const('i32', 2147483647)
  const first = k.reduce('min', taps, s.select(counts, flat(steps), none))
  return s.add(flat(corner), first)
}

interface Spread extends Readonly<Record<string, unknown>> {
  /** Sizes of the planes. */
  readonly sizes: Shape
  /** Whether windows may share elements. */
  readonly overlap: boolean
}

// Gives each window's gradient to the element at its position; the others get none.
const maxPoolGradOp = defineOp<Spread>({
  name: 'maxPoolGrad',
  kind: 'window',
  onnx: undefined,
  infer: ([, g], { sizes }) => [{ shape: [...g!.shape.slice(0, 2), ...sizes], dtype: g!.dtype }],
  lower({ attributes: { sizes, overlap }, inputs, outputs, kernel, out }) {
    const [, g] = inputs as [InputSpec, InputSpec]
    const { shape } = outputs[0]!.layout
    const start = kernel('start')
    start.store(out(), start.axes(shape), start.s.const(dtypes[g.dtype].compute, 0))
    const k = kernel()
    const axes = k.axes(g.shape)
    const leading = sizes.slice(1).map(() => k.s.const('i32', 0))
    // A position in the plane is one along its last axis when the others stay at 0.
    const place = [axes[0]!, axes[1]!, ...leading, k.load(0, axes)]
    k.store(out(), place, k.load(1, axes), overlap)
    return [start.finish(), k.finish()]
  },
  vjp: ({ g, inputs, shapes: [, windows], attributes: { sizes }, needs }) => {
    if (!needs(1)) return [undefined, undefined]
    const [n, channels] = windows as [number, number]
    const planes = g.reshape([n, channels, sizeOf(sizes)])
    const positions = (inputs[0] as Tensor).reshape([n, channels, -1])
    return [undefined, planes.gather(2, positions).reshape(windows!)]
  },
  saves: 'inputs',
})

const keyOf = ({ kernel, stride, before, dilation, counts }: PoolWindows) =>
  [kernel, stride, before, dilation, counts].join('|')

/** The largest element of each window. Where they are is noted only when a gradient will ask for it. */
export function pooledMax(x: Tensor, windows: PoolWindows): Tensor {
  const indices = x.requiresGrad && isRecording()
  const attributes = { ...windows, indices }
  const key = `${keyOf(windows)}|${indices}`
  const [largest, positions] = dispatchAll(maxPoolOp, [x], attributes, key)
  if (positions !== undefined) leaveToTape(positions)
  return largest!
}
