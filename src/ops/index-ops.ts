/** @file Elements picked by positions, and added at positions. */
import { dtypes } from '../core/dtype.ts'
import { formatShape, normalizeAxis, sameShape, type Shape } from '../core/shape.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, DTypeError, ShapeError, ValueError } from '../util/errors.ts'
import { checkTensor, defineOp } from './define.ts'
import {
  checkAddable,
  checkedPosition,
  checkPositionDType,
  outOfRange,
  replaceAxes,
} from './positions.ts'

const gatherOp = defineOp<{ axis: number }>({
  name: 'gather',
  kind: 'index',
  onnx: 'GatherElements',
  infer: ([x, index]) => [{ shape: index!.shape, dtype: x!.dtype }],
  lower({ attributes: { axis }, inputs, kernel, out }) {
    const k = kernel()
    const axes = k.axes(inputs[1]!.shape)
    const position = checkedPosition(k, k.load(1, axes), inputs[0]!.shape[axis]!)
    k.store(out(), axes, k.load(0, replaceAxes(axes, axis, 1, position)))
    return [k.finish()]
  },
  vjp: ({ g, inputs, shapes, attributes: { axis } }) => [
    scatterInto(shapes[0]!, axis, inputs[1] as Tensor, g),
  ],
  saves: 'inputs',
  complain: ([x, index], { axis }) =>
    outOfRange('gather', index!, x!.shape[axis]!, `axis ${axis} of x`),
})

/**
 * Elements picked along an axis: result[i, j, k] = x[i, index[i, j, k], k] for axis 1. `index` has as
 * many axes as `x`, none longer than those of `x` except `axis`; the result has its shape. PyTorch's
 * `gather`. Throws a ShapeError when the shapes do not fit, a DTypeError for positions that are not
 * integers, and a ValueError that names a position outside the axis.
 *
 * @example
 * const x = tensor([[1, 2], [3, 4]])
 * gather(x, 1, tensor([[1, 1], [0, 1]], { dtype: 'int32' })) // -> tensor([[2, 2], [3, 4]], float32, cpu)
 */
export function gather(x: Tensor, axis: number, index: Tensor): Tensor {
  checkTensor('gather', 'x', x)
  const along = checkIndex('gather', x, axis, index)
  return dispatch(gatherOp, [x, index], { axis: along }, `${along}`)
}

// Adds src at positions of `base`, or of zeros of a shape: the gradient of gather needs no base.
const scatterAddOp = defineOp<{ axis: number; shape: Shape }>({
  name: 'scatterAdd',
  kind: 'index',
  onnx: 'ScatterElements',
  infer: ([, src, base], { shape }) => [{ shape, dtype: (base ?? src)!.dtype }],
  lower({ attributes: { axis, shape }, inputs, outputs, kernel, out }) {
    const start = kernel('start')
    const all = start.axes(shape)
    const { compute } = dtypes[outputs[0]!.dtype]
    start.store(out(), all, inputs.length > 2 ? start.load(2, all) : start.s.const(compute, 0))
    const k = kernel()
    const axes = k.axes(inputs[0]!.shape)
    const position = checkedPosition(k, k.load(0, axes), shape[axis]!)
    k.store(out(), replaceAxes(axes, axis, 1, position), k.load(1, axes), true)
    return [start.finish(), k.finish()]
  },
  vjp({ g, inputs: [index, src], attributes: { axis }, needs }) {
    return [undefined, needs(1) ? ofSource() : undefined, needs(2) ? g : undefined]
    // Only as much of src as the index covers was added.
    function ofSource(): Tensor {
      const picked = g.gather(axis, index as Tensor)
      const { shape } = src as Tensor
      if (sameShape(picked.shape, shape)) return picked
      return picked.unslice({ shape, starts: shape.map(() => 0) })
    }
  },
  saves: 'inputs',
  complain: ([index], { axis, shape }) =>
    outOfRange('scatterAdd', index!, shape[axis]!, `axis ${axis} of x`),
})

/**
 * `x` with elements of `src` added at positions: result[i, index[i, j, k], k] += src[i, j, k] for axis
 * 1, in row-major order of `index`, so that sums come out the same every time. `src` is at least as
 * large as `index` along every axis; what `index` does not cover is left out. PyTorch's `scatter_add`.
 * Throws as `gather` does, and a DTypeError when `src` does not fit into the dtype of `x`.
 *
 * @example
 * const index = tensor([0, 2, 0], { dtype: 'int32' })
 * scatterAdd(zeros([3]), 0, index, tensor([1, 2, 3])) // -> tensor([4, 0, 2], float32, cpu)
 */
export function scatterAdd(x: Tensor, axis: number, index: Tensor, src: Tensor): Tensor {
  checkTensor('scatterAdd', 'x', x)
  checkTensor('scatterAdd', 'src', src)
  const along = checkIndex('scatterAdd', x, axis, index)
  if (src.ndim !== index.ndim || src.shape.some((n, i) => n < index.shape[i]!))
    throw new ShapeError(
      `scatterAdd: src ${formatShape(src.shape)} does not cover index ${formatShape(index.shape)}. Expected src to be at least as large along every axis`,
    )
  checkAddable('scatterAdd', x.dtype, src.dtype)
  return scatterInto(x.shape, along, index, src.cast(x.dtype), x)
}

function scatterInto(shape: Shape, axis: number, index: Tensor, src: Tensor, base?: Tensor) {
  const inputs = base === undefined ? [index, src] : [index, src, base]
  return dispatch(scatterAddOp, inputs, { axis, shape }, `${axis}|${shape.join()}`)
}

function checkIndex(where: string, x: Tensor, axis: number, index: Tensor): number {
  checkTensor(where, 'index', index)
  checkPositionDType(where, 'index', index)
  const along = normalizeAxis(where, axis, x.ndim)
  if (index.ndim !== x.ndim || index.shape.some((n, i) => i !== along && n > x.shape[i]!))
    throw new ShapeError(
      `${where}: index ${formatShape(index.shape)} does not fit x ${formatShape(x.shape)} along axis ${along}. Expected as many axes, and no more than x has along the others; indexSelect takes the same positions everywhere`,
    )
  return along
}

const oneHotOp = defineOp<{ numClasses: number }>({
  name: 'oneHot',
  kind: 'index',
  onnx: 'OneHot',
  infer: ([index], { numClasses }) => [{ shape: [...index!.shape, numClasses], dtype: 'int32' }],
  lower({ attributes: { numClasses }, inputs, kernel, out }) {
    const k = kernel()
    const axes = k.axes([...inputs[0]!.shape, numClasses])
    const position = checkedPosition(k, k.load(0, axes.slice(0, -1)), numClasses)
    const isClass = k.s.eq(position, k.at(axes[axes.length - 1]!))
    k.store(out(), axes, k.s.convert(isClass, 'i32'))
    return [k.finish()]
  },
  complain: ([index], { numClasses }) => outOfRange('oneHot', index!, numClasses, 'numClasses'),
})

export interface OneHotOptions {
  /** How many classes there are: the size of the new last axis. */
  readonly numClasses: number
}

/**
 * Class positions as rows of zeros with a one: shape [...index.shape, numClasses], dtype int32 (cast it
 * to float for probabilities). PyTorch's `one_hot`, which makes int64. Throws a DTypeError for positions
 * that are not integers and a ValueError that names a position that is no class.
 *
 * @example
 * const labels = tensor([0, 2], { dtype: 'int32' })
 * oneHot(labels, { numClasses: 3 }) // -> tensor([[1, 0, 0], [0, 0, 1]], int32, cpu)
 */
export function oneHot(index: Tensor, options: OneHotOptions): Tensor {
  checkTensor('oneHot', 'index', index)
  checkOptions('oneHot', options, ['numClasses'])
  const numClasses = options?.numClasses
  if (!Number.isSafeInteger(numClasses) || numClasses < 1)
    throw new ValueError(
      `oneHot: numClasses is ${String(numClasses)}. Say how many classes there are: oneHot(index, { numClasses: 10 })`,
    )
  checkPositionDType('oneHot', 'index', index)
  return dispatch(oneHotOp, [index], { numClasses }, `${numClasses}`)
}

/**
 * `x` with `value` wherever `mask` is true. The mask broadcasts to the shape of `x`; the result has the
 * shape and dtype of `x`. `value` is a number or a 0-d tensor. PyTorch's `masked_fill`. Throws a
 * DTypeError when the mask is not bool or the value does not fit the dtype.
 *
 * @example
 * const x = tensor([1, 2, 3])
 * maskedFill(x, x.gt(1), -1) // -> tensor([1, -1, -1], float32, cpu)
 */
export function maskedFill(x: Tensor, mask: Tensor, value: Tensor | number): Tensor {
  checkTensor('maskedFill', 'x', x)
  checkTensor('maskedFill', 'mask', mask)
  if (mask.dtype !== 'bool')
    throw new DTypeError(
      `maskedFill: mask is ${mask.dtype}. Expected bool; compare first: mask.ne(0)`,
    )
  if (typeof value !== 'number') {
    checkTensor('maskedFill', 'value', value)
    if (value.ndim > 0)
      throw new ShapeError(
        `maskedFill: value has shape ${formatShape(value.shape)}. Expected a number or a 0-d tensor; use mask.where(value, x) for others`,
      )
  }
  const added = mask.ndim - x.ndim
  if (added > 0 || mask.shape.some((n, i) => n !== 1 && n !== x.shape[i - added]))
    throw new ShapeError(
      `maskedFill: mask ${formatShape(mask.shape)} does not broadcast to x ${formatShape(x.shape)}. Expected sizes equal to those of x, or 1`,
    )
  const filled = mask.where(value, x)
  if (filled.dtype === x.dtype) return filled
  if (dtypes[filled.dtype].kind !== dtypes[x.dtype].kind)
    throw new DTypeError(
      `maskedFill: value ${String(value)} does not fit dtype ${x.dtype}. Cast first: x.cast('${filled.dtype}')`,
    )
  return filled.cast(x.dtype)
}
