/** @file The kernel of dropout: which elements are zero follows from their place in a stream of random numbers. */
import { dtypes } from '../core/dtype.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { Op } from '../tensor/op.ts'
import { randomWords, uniformExpr, type Draw } from '../tensor/random.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { defineOp } from './define.ts'

/** Which elements are dropped: the probability, and the random numbers that are drawn. */
export type DropoutAttributes = { readonly p: number; readonly draw: Draw }

// Elements are dropped by their place in the stream, which the gradient knows too: no mask is kept.
const dropoutOp: Op<DropoutAttributes> = defineOp<DropoutAttributes>({
  name: 'dropout',
  kind: 'random',
  onnx: 'Dropout',
  infer: ([x]) => [{ shape: x!.shape, dtype: x!.dtype }],
  lower({ inputs, kernel, out }) {
    const k = kernel()
    const { s } = k
    const [at] = k.axes(inputs[0]!.shape)
    const type = dtypes[inputs[0]!.dtype].compute
    const p = s.convert(k.param(4), type)
    const u = s.convert(uniformExpr(s, randomWords(k, at!, 0), 'float32'), type)
    const one = s.const(type, 1)
    const scaled = s.mul(k.load(0, [at!]), s.div(one, s.sub(one, p)))
    k.store(out(), [at!], s.select(s.ge(u, p), scaled, s.const(type, 0)))
    return [k.finish()]
  },
  vjp: ({ g, attributes }) => [dropElements(g, attributes)],
  saves: 'none',
})

/** Drops elements by numbers drawn already. */
export function dropElements(x: Tensor, attributes: DropoutAttributes): Tensor {
  const inputs = [x.reshape([-1]), ...attributes.draw, attributes.p]
  return dispatch(dropoutOp, inputs, attributes).reshape(x.shape)
}
