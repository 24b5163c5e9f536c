/** @file Matrix products. */
import { dtypes, promote, type DType } from '../core/dtype.ts'
import { broadcastShapes, formatShape, type Shape } from '../core/shape.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { InputSpec } from '../tensor/op.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { ShapeError } from '../util/errors.ts'
import { checkTensor, defineOp } from './define.ts'

/** Sums of products in int32 for small integers, as `sum`; bool counts. */
const productDType = (a: DType, b: DType): DType => {
  const dtype = promote(a, b)
  return dtypes[dtype].kind === 'float' || dtype === 'int64' ? dtype : 'int32'
}

const matmulOp = defineOp({
  name: 'matmul',
  kind: 'contract',
  onnx: 'MatMul',
  specialize: 'round',
  infer: ([a, b]) => [inferMatmul('matmul', a!, b!)],
  lower({ inputs, outputs, kernel, out }) {
    const [a] = inputs as [InputSpec]
    const k = kernel()
    const axes = k.axes(outputs[0]!.layout.shape)
    const [inner] = k.inner([a.shape[a.ndim - 1]!])
    const batch = axes.slice(0, -2)
    const [m, n] = axes.slice(-2)
    const type = dtypes[outputs[0]!.dtype].compute
    const x = k.s.convert(k.load(0, [...batch, m!, inner!]), type)
    const y = k.s.convert(k.load(1, [...batch, inner!, n!]), type)
    k.store(out(), axes, k.reduce('add', [inner!], k.s.mul(x, y)))
    return [k.finish()]
  },
  vjp: ({ g, inputs, needs }) => {
    const [a, b] = inputs as [Tensor, Tensor]
    return [
      needs(0) ? g.matmul(b.transpose()) : undefined,
      needs(1) ? a.transpose().matmul(g) : undefined,
    ]
  },
  saves: 'inputs',
})

function inferMatmul(name: string, a: InputSpec, b: InputSpec): { shape: Shape; dtype: DType } {
  const inner = a.shape[a.ndim - 1]!
  const other = b.shape[b.ndim - 2]!
  if (inner !== other)
    throw new ShapeError(
      `${name}: inner sizes differ: a ${formatShape(a.shape)} x b ${formatShape(b.shape)}. Expected a.shape[${a.ndim - 1}] === b.shape[${b.ndim - 2}]${b.shape[b.ndim - 1] === inner ? '; transpose b?' : ''}`,
    )
  const batch = broadcastShapes(name, a.shape.slice(0, -2), b.shape.slice(0, -2))
  return {
    shape: [...batch, a.shape[a.ndim - 2]!, b.shape[b.ndim - 1]!],
    dtype: productDType(a.dtype, b.dtype),
  }
}

/**
 * Matrix product over the last two axes, leading axes broadcasting: [..., m, k] x [..., k, n] ->
 * [..., m, n]. A 1-d operand is a row (as `a`) or a column (as `b`) and that axis is dropped from the
 * result. Small integers give an exact int32 (modulo 2^32). Products of bfloat16 are summed in float32
 * and rounded once; a processor that multiplies them in pairs (AVX512_BF16) adds them in another order
 * and takes what is subnormal for zero. Throws a ShapeError when the inner sizes differ or an operand is
 * 0-d.
 *
 * @example
 * matmul(tensor([[1, 2], [3, 4]]), tensor([[1], [10]])) // -> tensor([[21], [43]], float32, cpu)
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  checkTensor('matmul', 'a', a)
  checkTensor('matmul', 'b', b)
  if (a.ndim === 0 || b.ndim === 0)
    throw new ShapeError(
      `matmul: expected operands of at least 1 axis, received ${formatShape(a.shape)} x ${formatShape(b.shape)}. Use mul for scalars`,
    )
  const left = a.ndim === 1 ? a.unsqueeze(0) : a
  const right = b.ndim === 1 ? b.unsqueeze(1) : b
  const product = dispatch(matmulOp, [left, right])
  if (a.ndim > 1 && b.ndim > 1) return product
  const axis = [...(a.ndim === 1 ? [-2] : []), ...(b.ndim === 1 ? [-1] : [])]
  return product.squeeze({ axis })
}
