/** @file Where the extremes are. */
import { dtypes } from '../core/dtype.ts'
import { formatShape, normalizeAxis } from '../core/shape.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { Op } from '../tensor/op.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ShapeError } from '../util/errors.ts'
import { checkTensor, defineOp } from './define.ts'
import { interleave, reducedShape } from './reduction.ts'

export interface ArgOptions {
  /** The axis to search along; default all elements, counted in row-major order. */
  readonly axis?: number
  /** Keep the searched axis with size 1; default false. */
  readonly keepDims?: boolean
}

type ArgAttributes = { readonly axis: number; readonly keepDims: boolean }

function argOp(name: string, onnx: string, combine: 'max' | 'min'): Op<ArgAttributes> {
  return defineOp<ArgAttributes>({
    name,
    kind: 'reduce',
    onnx,
    infer([x], { axis, keepDims }) {
      if (x!.shape[axis] === 0)
        throw new ShapeError(
          `${name}: nothing to search: shape ${formatShape(x!.shape)} is empty along axis ${axis}. Check the size first`,
        )
      return [{ shape: reducedShape(x!.shape, [axis], keepDims), dtype: 'int32' }]
    },
    lower({ attributes: { axis, keepDims }, inputs, kernel, out }) {
      const k = kernel()
      const { s } = k
      const { shape, dtype } = inputs[0]!
      const kept = k.axes(shape.filter((_, i) => i !== axis))
      const type = dtype === 'bool' ? 'i32' : dtypes[dtype].compute
      const walk = () => {
        const [at] = k.inner([shape[axis]!])
        return { at: at!, x: s.convert(k.load(0, interleave(shape, [axis], kept, [at!])), type) }
      }
      const all = walk()
      const extreme = k.reduce(combine, [all.at], all.x)
      // The extreme of a row with NaNs is NaN, which equals nothing: then the first NaN is meant.
      const { at, x } = walk()
      const isIt =
        type === 'f32' || type === 'f64' ? s.or(s.eq(x, extreme), s.ne(x, x)) : s.eq(x, extreme)
      const none = s.const('i32', 2147483647)
      const first = k.reduce('min', [at], s.select(isIt, k.at(at), none))
      const zero = s.const('i32', 0)
      k.store(out(), keepDims ? interleave(shape, [axis], kept, [zero]) : kept, first)
      return [k.finish()]
    },
  })
}

function run(op: Op<ArgAttributes>, x: Tensor, options: ArgOptions): Tensor {
  checkTensor(op.name, 'x', x)
  checkOptions(op.name, options, ['axis', 'keepDims'])
  const { axis, keepDims = false } = options
  if (axis !== undefined) {
    const at = normalizeAxis(op.name, axis, x.ndim)
    return dispatch(op, [x], { axis: at, keepDims }, `${at}${keepDims}`)
  }
  const position = dispatch(op, [x.reshape([-1])], { axis: 0, keepDims: false }, '0false')
  return keepDims ? position.reshape(x.shape.map(() => 1)) : position
}

const argmaxOp = argOp('argmax', 'ArgMax', 'max')
const argminOp = argOp('argmin', 'ArgMin', 'min')

/**
 * Position (int32) of the largest element along an axis, or of all elements; the first of equal ones.
 * NaN counts as largest. Throws a ShapeError when there is nothing to search.
 *
 * @example
 * argmax(tensor([[1, 5, 2], [7, 3, 7]]), { axis: 1 }) // -> tensor([1, 0], int32, cpu)
 * argmax(tensor([[1, 5, 2], [7, 3, 7]])) // -> tensor(3, int32, cpu)
 */
export function argmax(x: Tensor, options: ArgOptions = {}): Tensor {
  return run(argmaxOp, x, options)
}

/**
 * Position (int32) of the smallest element along an axis, or of all elements; the first of equal
 * ones. NaN counts as smallest. Throws a ShapeError when there is nothing to search.
 *
 * @example
 * argmin(tensor([[1, 5, 2], [7, 3, 7]]), { axis: 1 }) // -> tensor([0, 1], int32, cpu)
 */
export function argmin(x: Tensor, options: ArgOptions = {}): Tensor {
  return run(argminOp, x, options)
}
