/** @file Running totals along an axis. */
import { dtypes } from '../core/dtype.ts'
import { normalizeAxis } from '../core/shape.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ValueError } from '../util/errors.ts'
import { checkTensor, defineOp } from './define.ts'
import { sumDType } from './reduction.ts'

export interface ScanOptions {
  /** The axis to run along. */
  readonly axis: number
}

const cumsumOp = defineOp<{ axis: number }>({
  name: 'cumsum',
  kind: 'row',
  onnx: 'CumSum',
  infer: ([x]) => [{ shape: x!.shape, dtype: sumDType(x!.dtype) }],
  lower({ attributes, outputs, kernel, out }) {
    const k = kernel()
    const axes = k.axes(outputs[0]!.layout.shape)
    const x = k.s.convert(k.load(0, axes), dtypes[outputs[0]!.dtype].compute)
    k.store(out(), axes, k.s.scan('add', axes[attributes.axis]!, x))
    return [k.finish()]
  },
  // Element i is part of totals i and later: the gradient is the running total from the end.
  vjp: ({ g, attributes }) => [g.flip(attributes).cumsum(attributes).flip(attributes)],
  saves: 'none',
})

/**
 * Running sum along an axis, each element included. Integers below int64 and bool sum in int32.
 *
 * @example
 * cumsum(tensor([1, 2, 3]), { axis: 0 }) // -> tensor([1, 3, 6], float32, cpu)
 */
export function cumsum(x: Tensor, options: ScanOptions): Tensor {
  checkTensor('cumsum', 'x', x)
  checkOptions('cumsum', options, ['axis'])
  if (options?.axis === undefined)
    throw new ValueError('cumsum: no axis. Say along which: cumsum(x, { axis: 0 })')
  const axis = normalizeAxis('cumsum', options.axis, x.ndim)
  return dispatch(cumsumOp, [x], { axis }, `${axis}`)
}
