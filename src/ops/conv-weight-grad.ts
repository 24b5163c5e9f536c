/** @file Lowers the gradient of a convolution in its weight: a product, of small weights in parts of the batch. */
import type { Step } from '../codegen/kernel-builder.ts'
import { dtypes, type DType } from '../core/dtype.ts'
import { sizeOf } from '../core/shape.ts'
import type { Axis } from '../ir/expr.ts'
import type { InputSpec } from '../tensor/op.ts'
import {
  isThin,
  loadStrided,
  outputDType,
  within,
  type Channels,
  type ConvContext,
} from './conv-windows.ts'

/** The steps of the gradient: see Note [Parts of a batch]. */
export function lowerWeightGrad(context: ConvContext): Step[] {
  const { attributes, inputs, outputs, out, kernel } = context
  const { groups, sizes } = attributes
  const [x, g] = inputs as [InputSpec, InputSpec]
  const k = kernel()
  const perGroup = g.shape[1]! / groups
  const weight = [perGroup, x.shape[1]! / groups, ...sizes]
  const images = x.shape[0]!
  const positions = sizeOf(g.shape.slice(2))
  const parts = partsOf(images, positions, groups * sizeOf(weight))
  const [part] = parts === 1 ? [] : k.axes([parts])
  const [group, co, ci, ...taps] = k.axes([groups, ...weight]) as Channels
  const [image, ...o] = k.inner([images / parts, ...g.shape.slice(2)]) as [Axis, ...Axis[]]
  const n = part === undefined ? image : within(part, image, images / parts)
  const channel = within(group, co, perGroup)
  const steps: Step[] = []
  const leading = [n, within(group, ci, x.shape[1]! / groups)]
  const isAlong = part !== undefined && fillsVectors(o.at(-1)!)
  const isCopied = isAlong && attributes.stride.every((s) => s === 1)
  const input = loadStrided(context, k, leading, o, taps, steps, isThin(perGroup) || isCopied)
  const grad = k.loadAs(outputDType(context), 1, [n, channel, ...o])
  const sum = k.reduce('add', [image, ...o], k.s.mul(grad, input))
  if (part === undefined) {
    k.store(out(), [channel, ci, ...taps], sum)
    return [...steps, k.finish()]
  }
  const partial = context.temporary([parts, ...outputs[0]!.layout.shape], sumDTypeOf(context))
  k.store(partial, [part, channel, ci, ...taps], sum)
  return [...steps, k.finish(isAlong ? 'depth' : undefined), sumParts(context, partial, parts)]
}

// Note [Parts of a batch]: a small weight makes few tiles, of which each sums over all positions of all images:
// threads would have little to share, and each would pack both operands for itself. So the images are summed in
// parts, side by side, and the parts are added up. How many there are depends on sizes alone, and so do results.
function partsOf(images: number, positions: number, weights: number): number {
  if (weights > mostWeights) return 1
  let parts = Math.max(1, Math.min(mostParts, Math.floor((images * positions) / leastSummed)))
  while (images % parts !== 0) parts--
  return parts
}

/** Of more weights there are tiles enough. */
const mostWeights = 4096
const mostParts = 16
/** Positions that a part should have at least, of all its images. */
const leastSummed = 512

/** Whether lanes that run along the rows of images do not leave many others idle: see Note [Along the depth]. */
function fillsVectors({ extent }: Axis): boolean {
  const size = extent as number
  return size / (Math.ceil(size / widestVector) * widestVector) > 0.8
}

/** Of the targets that there are. */
const widestVector = 16

function sumParts(context: ConvContext, partial: number, parts: number): Step {
  const { outputs, out, kernel } = context
  const k = kernel('parts')
  const axes = k.axes(outputs[0]!.layout.shape)
  const [part] = k.inner([parts]) as [Axis]
  k.store(out(), axes, k.reduce('add', [part], k.load(partial, [part, ...axes])))
  return k.finish()
}

/** What sums are kept as that will be added up. */
const sumDTypeOf = (context: ConvContext): DType =>
  dtypes[outputDType(context)].compute === 'f32' ? 'float32' : outputDType(context)
