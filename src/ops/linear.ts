/** @file The affine map of a dense layer, as one kernel. */
import { dtypes, isFloat, type DType } from '../core/dtype.ts'
import { formatShape } from '../core/shape.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { InputSpec } from '../tensor/op.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { DTypeError, ShapeError } from '../util/errors.ts'
import { checkTensor, defineOp, promoteInputs } from './define.ts'

const linearOp = defineOp({
  name: 'linear',
  kind: 'contract',
  onnx: 'Gemm',
  specialize: 'round',
  infer(inputs) {
    const [x, weight] = inputs as [InputSpec, InputSpec]
    checkShapes(inputs)
    return [{ shape: [...x.shape.slice(0, -1), weight.shape[0]!], dtype: linearDType(inputs) }]
  },
  lower({ inputs, outputs, kernel, out }) {
    const k = kernel()
    const axes = k.axes(outputs[0]!.layout.shape)
    const [inner] = k.inner([inputs[1]!.shape[1]!])
    const rows = axes.slice(0, -1)
    const column = axes[axes.length - 1]!
    const type = dtypes[outputs[0]!.dtype].compute
    const x = k.s.convert(k.load(0, [...rows, inner!]), type)
    const w = k.s.convert(k.load(1, [column, inner!]), type)
    const sum = k.reduce('add', [inner!], k.s.mul(x, w))
    const isBiased = inputs.length === 3
    k.store(out(), axes, isBiased ? k.s.add(sum, k.s.convert(k.load(2, [column]), type)) : sum)
    return [k.finish()]
  },
  // y = x w^T + b: dx = g w, dw = g^T x over all rows, db = g summed over the rows by the engine.
  vjp: ({ g, inputs, needs }) => {
    const [x, weight] = inputs as [Tensor, Tensor]
    const flat = (t: Tensor) => (t.ndim === 2 ? t : t.reshape([-1, t.shape[t.ndim - 1]!]))
    return [
      needs(0) ? g.matmul(weight) : undefined,
      needs(1) ? weightGradient(flat(g), flat(x)) : undefined,
      needs(2) ? g : undefined,
    ]
  },
  saves: 'inputs',
})

const weightGradient = (g: Tensor, x: Tensor): Tensor => g.transpose().matmul(x)

function linearDType(inputs: readonly InputSpec[]): DType {
  const dtype = promoteInputs(inputs)
  if (isFloat(dtype)) return dtype
  throw new DTypeError(
    `linear: expected floating-point tensors, received ${inputs.map((x) => x.dtype).join(', ')}. Cast them: x.cast('float32')`,
  )
}

function checkShapes([x, weight, bias]: readonly InputSpec[]): void {
  const shapes = `x ${formatShape(x!.shape)}, weight ${formatShape(weight!.shape)}`
  if (x!.ndim === 0 || weight!.ndim !== 2)
    throw new ShapeError(
      `linear: expected x of at least 1 axis and weight [outFeatures, inFeatures], received ${shapes}`,
    )
  const [outFeatures, inFeatures] = weight!.shape
  const last = x!.shape[x!.ndim - 1]
  if (last !== inFeatures)
    throw new ShapeError(
      `linear: x has ${last} features, the weight takes ${inFeatures}: ${shapes}. Expected x.shape.at(-1) === weight.shape[1]${last === outFeatures ? '; transpose the weight?' : ''}`,
    )
  if (bias !== undefined && (bias.ndim !== 1 || bias.shape[0] !== outFeatures))
    throw new ShapeError(
      `linear: bias ${formatShape(bias.shape)} does not fit ${outFeatures} outputs. Expected [${outFeatures}]`,
    )
}

/**
 * x times the transpose of weight, plus bias: [..., inFeatures] with weight [outFeatures, inFeatures]
 * and bias [outFeatures] -> [..., outFeatures]. Dtypes promote to a float. PyTorch's
 * `functional.linear`. Throws a ShapeError when the sizes do not fit.
 *
 * @example
 * linear(tensor([[1, 2]]), tensor([[1, 1], [0, 10]]), tensor([0, 5])) // -> tensor([[3, 25]], float32, cpu)
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  checkTensor('linear', 'x', x)
  checkTensor('linear', 'weight', weight)
  if (bias !== undefined) checkTensor('linear', 'bias', bias)
  return dispatch(linearOp, bias === undefined ? [x, weight] : [x, weight, bias])
}
