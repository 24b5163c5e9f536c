/** @file Changes of dtype, and copies. */
import { checkDType, dtypes, type DType } from '../core/dtype.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkTensor, defineOp } from './define.ts'

const castOp = defineOp<{ dtype: DType }>({
  name: 'cast',
  kind: 'elementwise',
  onnx: 'Cast',
  infer: ([x], { dtype }) => [{ shape: x!.shape, dtype }],
  lower({ inputs, outputs, kernel, out }) {
    const k = kernel()
    const axes = k.axes(outputs[0]!.layout.shape)
    const to = dtypes[outputs[0]!.dtype].compute
    const value = k.load(0, axes)
    // Small integers wrap through int32, as PyTorch's do.
    const { kind, bytes } = dtypes[outputs[0]!.dtype]
    const narrow = kind === 'int' && bytes === 1 && inputs[0]!.dtype === 'int64'
    k.store(out(), axes, k.s.convert(narrow ? k.s.convert(value, 'i32') : value, to))
    return [k.finish()]
  },
  vjp: ({ g }) => [g],
  saves: 'none',
})

/**
 * The same values as another dtype. Floats become integers by truncation (saturating at int32 and
 * int64, wrapping below), anything non-zero becomes true. Throws a DTypeError for an unknown dtype.
 *
 * @example
 * cast(tensor([1.7, -1.7]), 'int32') // -> tensor([1, -1], int32, cpu)
 */
export function cast(x: Tensor, dtype: DType): Tensor {
  checkTensor('cast', 'x', x)
  checkDType('cast', dtype)
  return x.dtype === dtype ? x : dispatch(castOp, [x], { dtype }, dtype)
}

const copyOp = defineOp({
  name: 'copy',
  kind: 'elementwise',
  onnx: 'Identity',
  infer: ([x]) => [{ shape: x!.shape, dtype: x!.dtype }],
  lower({ outputs, kernel, out }) {
    const k = kernel()
    const axes = k.axes(outputs[0]!.layout.shape)
    k.store(out(), axes, k.load(0, axes))
    return [k.finish()]
  },
  vjp: ({ g }) => [g],
  saves: 'none',
})

/**
 * A copy with memory of its own, in row-major order.
 *
 * @example
 * clone(tensor([1, 2])) // -> tensor([1, 2], float32, cpu)
 */
export function clone(x: Tensor): Tensor {
  checkTensor('clone', 'x', x)
  return dispatch(copyOp, [x])
}

/**
 * The tensor itself if its elements lie in row-major order, else a copy that does.
 *
 * @example
 * contiguous(tensor([[1, 2], [3, 4]]).transpose()).strides // -> [2, 1]
 */
export function contiguous(x: Tensor): Tensor {
  checkTensor('contiguous', 'x', x)
  return x.layout.contiguous ? x : dispatch(copyOp, [x])
}
