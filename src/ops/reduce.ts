/** @file Reductions: sums, means, products, extremes and truth over axes. */
import { sizeOf } from '../core/shape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { GradContext } from '../tensor/types.ts'
import { floatDType, reduction, sumDType, withAxes, type ReduceAttributes } from './reduction.ts'

export type { ReduceOptions } from './reduction.ts'

/**
 * Sum over axes. Integers below int64 and bool sum in int32. The sum of no elements is 0.
 *
 * @example
 * sum(tensor([[1, 2], [3, 4]]), { axis: 0 }) // -> tensor([4, 6], float32, cpu)
 */
export const sum = reduction({
  name: 'sum',
  onnx: 'ReduceSum',
  dtype: sumDType,
  value: ({ reduce }) => reduce('add'),
  vjp: ({ g, shapes, attributes }) => [withAxes(g, shapes[0]!, attributes).expand(shapes[0]!)],
  saves: 'none',
})

/**
 * Arithmetic mean over axes. Integers and bool average in float32. The mean of no elements is NaN.
 *
 * @example
 * mean(tensor([[1, 2], [3, 6]]), { axis: 1 }) // -> tensor([1.5, 4.5], float32, cpu)
 */
export const mean = reduction({
  name: 'mean',
  onnx: 'ReduceMean',
  dtype: floatDType,
  value: ({ s, reduce, count }) => s.div(reduce('add'), count),
  vjp: ({ g, shapes: [shape], attributes }) => {
    const count = sizeOf(attributes.axes.map((a) => shape![a]!))
    return [withAxes(g.div(count), shape!, attributes).expand(shape!)]
  },
  saves: 'none',
})

/**
 * Product over axes. Integers below int64 and bool multiply in int32. The product of no elements is 1.
 *
 * @example
 * prod(tensor([[1, 2], [3, 4]]), { axis: 1 }) // -> tensor([2, 12], float32, cpu)
 */
export const prod = reduction({
  name: 'prod',
  onnx: 'ReduceProd',
  dtype: sumDType,
  value: ({ reduce }) => reduce('mul'),
  vjp: ({ g, inputs, shapes, attributes }) => {
    // The reduced axes come last and become one.
    const x = inputs[0] as Tensor
    const isGone = (axis: number) => attributes.axes.includes(axis)
    const axes = x.shape.map((_, i) => i)
    const order = [...axes.filter((a) => !isGone(a)), ...axes.filter(isGone)]
    const turned = x.permute(order)
    const count = sizeOf(attributes.axes.map((a) => x.shape[a]!))
    const rows = turned.reshape([count === 0 ? 0 : x.size / count, count])
    const others = productOfOthers(rows).reshape(turned.shape)
    const back = axes.map((a) => order.indexOf(a))
    return [others.permute(back).mul(withAxes(g, shapes[0]!, attributes))]
  },
  saves: 'inputs',
})

// For each element of [rows, n] the product of the others in its row, without dividing, so that zeros
// are nothing special: an element's neighbour times what stands outside the pair.
function productOfOthers(x: Tensor): Tensor {
  const [rows, n] = x.shape as [number, number]
  if (n === 0) return x
  if (n === 1) return x.onesLike()
  const even =
    n % 2 === 0
      ? x
      : x.pad(
          [
            [0, 0],
            [0, 1],
          ],
          { value: 1 },
        )
  const pairs = even.reshape([rows, even.shape[1]! / 2, 2])
  const products = pairs.slice(null, null, 0).mul(pairs.slice(null, null, 1))
  const outside = productOfOthers(products).unsqueeze(2) // [rows, n / 2, 1]
  const others = outside.mul(pairs.flip({ axis: 2 })).reshape(even.shape)
  return n === even.shape[1] ? others : others.slice(null, [0, n])
}

// The gradient is shared evenly by all elements that attain the extreme, as PyTorch's amax does.
const extremeGradient = ({
  g,
  inputs,
  output,
  shapes,
  attributes,
}: GradContext<ReduceAttributes>): readonly Tensor[] => {
  const x = inputs[0] as Tensor
  const attained = x.eq(withAxes(output, shapes[0]!, attributes)).cast(g.dtype)
  const count = attained.sum({ axis: attributes.axes, keepDims: true })
  return [attained.div(count).mul(withAxes(g, shapes[0]!, attributes))]
}

/**
 * Largest element over axes; NaN if there is one. Dtype of `x`. The gradient is split evenly among
 * equal largest elements (PyTorch's `amax`). Throws a ShapeError when there is nothing to reduce.
 *
 * @example
 * max(tensor([[1, 5], [7, 3]]), { axis: 1 }) // -> tensor([5, 7], float32, cpu)
 */
export const max = reduction({
  name: 'max',
  onnx: 'ReduceMax',
  dtype: (dtype) => dtype,
  value: ({ reduce, type }) => reduce(type === 'bool' ? 'or' : 'max'),
  needsElements: true,
  vjp: extremeGradient,
})

/**
 * Smallest element over axes; NaN if there is one. Dtype of `x`. The gradient is split evenly among
 * equal smallest elements (PyTorch's `amin`). Throws a ShapeError when there is nothing to reduce.
 *
 * @example
 * min(tensor([[1, 5], [7, 3]])) // -> tensor(1, float32, cpu)
 */
export const min = reduction({
  name: 'min',
  onnx: 'ReduceMin',
  dtype: (dtype) => dtype,
  value: ({ reduce, type }) => reduce(type === 'bool' ? 'and' : 'min'),
  needsElements: true,
  vjp: extremeGradient,
})

/**
 * Whether any element over axes is not zero (NaN counts as not zero). The result is bool; false of no
 * elements.
 *
 * @example
 * any(tensor([[0, 0], [0, 2]]), { axis: 1 }) // -> tensor([false, true], bool, cpu)
 */
export const any = reduction({
  name: 'any',
  dtype: () => 'bool',
  value: ({ reduce }) => reduce('or'),
})

/**
 * Whether all elements over axes are not zero (NaN counts as not zero). The result is bool; true of
 * no elements.
 *
 * @example
 * all(tensor([[1, 0], [1, 2]]), { axis: 1 }) // -> tensor([false, true], bool, cpu)
 */
export const all = reduction({
  name: 'all',
  dtype: () => 'bool',
  value: ({ reduce }) => reduce('and'),
})
