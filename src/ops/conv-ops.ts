/** @file The operators behind convolutions over any number of axes: the convolution and its two transposes. */
import type { Step } from '../codegen/kernel-builder.ts'
import { promote } from '../core/dtype.ts'
import type { Shape } from '../core/shape.ts'
import type { Axis } from '../ir/expr.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { InputSpec } from '../tensor/op.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { config } from '../util/config.ts'
import { lowerPhases } from './conv-phases.ts'
import {
  isThin,
  loadStrided,
  outputDType,
  within,
  type Channels,
  type ConvAttributes,
  type ConvContext,
  type Windows,
} from './conv-windows.ts'
import { lowerWeightGrad } from './conv-weight-grad.ts'
import { fitsWinograd, place, winogradConv, winogradWeightGrad } from './conv-winograd.ts'
import { defineOp } from './define.ts'
import { sumDType } from './reduction.ts'

const convOp = defineOp<ConvAttributes>({
  name: 'conv',
  kind: 'contract',
  onnx: 'Conv',
  specialize: true,
  infer: ([x, w], { sizes }) => [result(x!, w!, [x!.shape[0]!, w!.shape[0]!, ...sizes])],
  lower(context) {
    const { attributes, inputs, out, kernel } = context
    const { groups, sizes } = attributes
    const [x, w] = inputs as [InputSpec, InputSpec]
    if (usesWinograd(context, w.shape, x.shape[0]!, sizes))
      return winogradConv(context, {
        input: 0,
        shape: x.shape,
        before: attributes.before as Pair,
        result: [w.shape[0]!, ...(sizes as Pair)],
        weight: (k, from, to, ...tap) => k.loadAs('float32', 1, [to, from, ...tap.map(place)]),
        ...(inputs.length > 2 && { bias: (k, channel) => k.loadAs('float32', 2, [channel]) }),
      })
    const k = kernel()
    const [n, group, co, ...o] = k.axes([
      x.shape[0]!,
      groups,
      w.shape[0]! / groups,
      ...sizes,
    ]) as Channels
    const [ci, ...taps] = k.inner(w.shape.slice(1)) as [Axis, ...Axis[]]
    const channel = within(group, co, w.shape[0]! / groups)
    const steps: Step[] = []
    const isSparse = isThin(w.shape[0]! / groups)
    const leading = [n, within(group, ci, w.shape[1]!)]
    const input = loadStrided(context, k, leading, o, taps, steps, isSparse)
    const weight = k.loadAs(outputDType(context), 1, [channel, ci, ...taps])
    const sum = k.reduce('add', [ci, ...taps], k.s.mul(input, weight))
    const bias = inputs.length > 2 ? k.loadAs(outputDType(context), 2, [channel]) : undefined
    k.store(out(), [n, channel, ...o], bias === undefined ? sum : k.s.add(sum, bias))
    return [...steps, k.finish()]
  },
  vjp: ({ g, inputs, shapes: [x, w], attributes, needs }) => [
    needs(0) ? convInputGrad(g, inputs[1] as Tensor, attributes, x!.slice(2)) : undefined,
    needs(1) ? convWeightGrad(inputs[0] as Tensor, g, attributes, w!.slice(2)) : undefined,
    needs(2) ? g.sum({ axis: g.shape.flatMap((_, i) => (i === 1 ? [] : [i])) }) : undefined,
  ],
  saves: 'inputs',
})

// Inputs: the gradient g [n, co, o] and the weight. The result: x[n, ci, i], the sum over co and k.
const convInputGradOp = defineOp<ConvAttributes>({
  name: 'convInputGrad',
  kind: 'contract',
  onnx: 'ConvTranspose',
  specialize: true,
  infer: ([g, w], { groups, sizes }) => [
    result(g!, w!, [g!.shape[0]!, w!.shape[1]! * groups, ...sizes]),
  ],
  lower(context) {
    const { sizes, before } = context.attributes
    const [g, w] = context.inputs as [InputSpec, InputSpec]
    if (usesWinograd(context, w.shape, g.shape[0]!, sizes))
      // The convolution of the gradient with the windows turned round.
      return winogradConv(context, {
        input: 0,
        shape: g.shape,
        before: before.map((n) => 2 - n) as unknown as Pair,
        result: [w.shape[1]!, ...(sizes as Pair)],
        weight: (k, from, to, ...tap) =>
          k.loadAs('float32', 1, [from, to, ...tap.map((n) => place(2 - n))]),
      })
    return lowerPhases(context)
  },
  vjp: ({ g, inputs, shapes: [grad, w], attributes, needs }) => [
    needs(0) ? conv(g, inputs[1] as Tensor, undefined, attributes, grad!.slice(2)) : undefined,
    needs(1) ? convWeightGrad(g, inputs[0] as Tensor, attributes, w!.slice(2)) : undefined,
  ],
  saves: 'inputs',
})

// Inputs: x and the gradient g [n, co, o]. The result: w[co, ci, k], the sum over n and o.
const convWeightGradOp = defineOp<ConvAttributes>({
  name: 'convWeightGrad',
  kind: 'contract',
  onnx: undefined,
  specialize: true,
  infer: ([x, g], { groups, sizes }) => [
    result(x!, g!, [g!.shape[1]!, x!.shape[1]! / groups, ...sizes]),
  ],
  lower(context) {
    const { before, groups, sizes } = context.attributes
    const [x, g] = context.inputs as [InputSpec, InputSpec]
    const weight = [g.shape[1]!, x.shape[1]! / groups, ...sizes]
    if (usesWinograd(context, weight, x.shape[0]!, g.shape.slice(2)))
      return winogradWeightGrad(context, [0, 1], [x.shape, g.shape], before as Pair)
    return lowerWeightGrad(context)
  },
  vjp: ({ g, inputs, shapes: [x, grad], attributes, needs }) => [
    needs(0) ? convInputGrad(inputs[1] as Tensor, g, attributes, x!.slice(2)) : undefined,
    needs(1) ? conv(inputs[0] as Tensor, g, undefined, attributes, grad!.slice(2)) : undefined,
  ],
  saves: 'inputs',
})

type Pair = readonly [number, number]

/** Of these shapes: a weight, the images, and the side that is cut into tiles. */
function usesWinograd(
  context: ConvContext,
  [to, from, ...window]: Shape,
  batch: number,
  sizes: Shape,
): boolean {
  const { attributes } = context
  const dtype = outputDType(context)
  const problem = { ...attributes, window, dtype, batch, channels: [to!, from!] as const, sizes }
  return attributes.winograd && fitsWinograd(problem)
}

/** y[n, co, o] from x, w and a bias per channel; `sizes` are those of o. */
export function conv(
  x: Tensor,
  w: Tensor,
  bias: Tensor | undefined,
  windows: Windows,
  sizes: Shape,
): Tensor {
  const inputs = bias === undefined ? [x, w] : [x, w, bias]
  return dispatch(convOp, inputs, ...described(windows, sizes))
}

/** x[n, ci, i] from g[n, co, o] and w; `sizes` are those of i. */
export function convInputGrad(g: Tensor, w: Tensor, windows: Windows, sizes: Shape): Tensor {
  return dispatch(convInputGradOp, [g, w], ...described(windows, sizes))
}

/** w[co, ci, k] from x and g[n, co, o]; `sizes` are those of k. */
function convWeightGrad(x: Tensor, g: Tensor, windows: Windows, sizes: Shape): Tensor {
  return dispatch(convWeightGradOp, [x, g], ...described(windows, sizes))
}

/** The attributes, and the key that they are known by. */
function described(
  { stride, before, dilation, groups }: Windows,
  sizes: Shape,
): [ConvAttributes, string] {
  const { winograd } = config
  const attributes = { stride, before, dilation, groups, sizes, winograd }
  return [attributes, Object.values(attributes).join('|')]
}

const result = (a: InputSpec, b: InputSpec, shape: Shape) => ({
  shape,
  dtype: sumDType(promote(a.dtype, b.dtype)),
})
