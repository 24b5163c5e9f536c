/** @file Several tensors as one: end to end along an axis, or along a new one. */
import { promote } from '../core/dtype.ts'
import { formatShape, normalizeAxis, sameShape } from '../core/shape.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ShapeError, ValueError } from '../util/errors.ts'
import { checkTensor, defineOp } from './define.ts'

// One kernel per input, each writing into its part of the output.
const catOp = defineOp<{ axis: number }>({
  name: 'cat',
  kind: 'movement',
  onnx: 'Concat',
  infer(inputs, { axis }) {
    const total = inputs.reduce((n, x) => n + x.shape[axis]!, 0)
    return [
      {
        shape: inputs[0]!.shape.with(axis, total),
        dtype: inputs.map((x) => x.dtype).reduce(promote),
      },
    ]
  },
  lower({ attributes: { axis }, inputs, kernel, out }) {
    let offset = 0
    return inputs.flatMap(({ shape }, i) => {
      const k = kernel()
      const axes = k.axes(shape)
      const target = axes.map((a, at) => (at === axis ? { axis: a, step: 1, offset } : a))
      offset += shape[axis]!
      k.store(out(), target, k.load(i, axes))
      return shape.includes(0) ? [] : [k.finish()]
    })
  },
  vjp({ g, shapes, attributes: { axis }, needs }) {
    const all = Array.from({ length: axis }, () => null)
    let begin = 0
    return shapes.map((shape, i) => {
      const end = begin + shape[axis]!
      const part = needs(i) ? g.slice(...all, [begin, end]) : undefined
      begin = end
      return part
    })
  },
  saves: 'none',
})

export interface JoinOptions {
  /** The axis to join along; default 0. */
  readonly axis?: number
}

/**
 * Tensors end to end along an axis; along the others they have the same sizes. Dtypes promote. PyTorch's
 * `cat`. Throws a ShapeError that says which tensor does not fit and a ValueError for no tensors at all.
 *
 * @example
 * cat([tensor([1, 2]), tensor([3])]) // -> tensor([1, 2, 3], float32, cpu)
 * cat([ones([2, 1]), zeros([2, 2])], { axis: 1 }) // -> tensor([[1, 0, 0], [1, 0, 0]], float32, cpu)
 */
export function cat(tensors: readonly Tensor[], options: JoinOptions = {}): Tensor {
  checkTensors('cat', tensors)
  checkOptions('cat', options, ['axis'])
  const [first] = tensors as [Tensor]
  const axis = normalizeAxis('cat', options.axis ?? 0, first.ndim)
  tensors.forEach((x, i) => {
    if (x.ndim !== first.ndim || x.shape.some((n, a) => a !== axis && n !== first.shape[a]))
      throw new ShapeError(
        `cat: tensor ${i} has shape ${formatShape(x.shape)}, tensor 0 ${formatShape(first.shape)}. Expected the same sizes except along axis ${axis}`,
      )
  })
  return dispatch(catOp, tensors, { axis }, `${axis}`)
}

/**
 * Tensors of one shape along a new axis. Dtypes promote. PyTorch's `stack`. Throws a ShapeError that says
 * which tensor does not fit and a ValueError for no tensors at all.
 *
 * @example
 * stack([tensor([1, 2]), tensor([3, 4])]) // -> tensor([[1, 2], [3, 4]], float32, cpu)
 * stack([tensor([1, 2]), tensor([3, 4])], { axis: 1 }) // -> tensor([[1, 3], [2, 4]], float32, cpu)
 */
export function stack(tensors: readonly Tensor[], options: JoinOptions = {}): Tensor {
  checkTensors('stack', tensors)
  checkOptions('stack', options, ['axis'])
  const [first] = tensors as [Tensor]
  const axis = normalizeAxis('stack', options.axis ?? 0, first.ndim + 1)
  tensors.forEach((x, i) => {
    if (!sameShape(x.shape, first.shape))
      throw new ShapeError(
        `stack: tensor ${i} has shape ${formatShape(x.shape)}, tensor 0 ${formatShape(first.shape)}. Expected equal shapes; cat joins along an axis they have`,
      )
  })
  return cat(
    tensors.map((x) => x.unsqueeze(axis)),
    { axis },
  )
}

function checkTensors(where: string, tensors: readonly Tensor[]): void {
  if (!Array.isArray(tensors))
    throw new ValueError(
      `${where}: expected an array of tensors, received ${String(tensors)}. Wrap them: ${where}([a, b])`,
    )
  if (tensors.length === 0)
    throw new ValueError(`${where}: no tensors. Expected at least one, for the dtype and the shape`)
  tensors.forEach((x, i) => checkTensor(where, `tensors[${i}]`, x))
}
