/** @file Spread and length: variance, standard deviation and vector norms. */
import { sizeOf, type Shape } from '../core/shape.ts'
import type { Expr } from '../ir/expr.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { GradContext } from '../tensor/types.ts'
import { checkOptions, ValueError } from '../util/errors.ts'
import { checkTensor } from './define.ts'
import {
  dispatchReduction,
  floatDType,
  reduction,
  reductionOp,
  withAxes,
  type ReduceAttributes,
  type ReduceOptions,
  type Row,
} from './reduction.ts'

export interface VarianceOptions extends ReduceOptions {
  /** The sum of squares is divided by count - correction: 1 (default) for a sample, 0 for all there is. */
  readonly correction?: number
}

// Two passes: squares of differences from the mean do not cancel as differences of squares do.
function varianceOf({ s, reduce, count, param }: Row): Expr {
  const mean = s.div(reduce('add'), count)
  const squares = reduce('add', (x) => s.mul(s.sub(x, mean), s.sub(x, mean)))
  return s.div(squares, s.max(s.sub(count, param()), 0))
}

const freedom = (shape: Shape, { axes }: ReduceAttributes, correction: number): number =>
  Math.max(sizeOf(axes.map((a) => shape[a]!)) - correction, 0)

const varianceOp = reductionOp({
  name: 'variance',
  dtype: floatDType,
  value: varianceOf,
  // dv/dx = 2 (x - mean) / (count - correction)
  vjp: ({ g, inputs, shapes: [shape], attributes }) => {
    const [x, correction] = inputs as [Tensor, number]
    const centred = x.sub(x.mean({ axis: attributes.axes, keepDims: true }))
    const scale = g.mul(2 / freedom(shape!, attributes, correction))
    return [centred.mul(withAxes(scale, shape!, attributes))]
  },
  saves: 'inputs',
})

const stdOp = reductionOp({
  name: 'std',
  dtype: floatDType,
  value: (row) => row.s.sqrt(varianceOf(row)),
  // ds/dx = (x - mean) / (s (count - correction)), 0 where all elements are equal
  vjp: ({ g, inputs, output, shapes: [shape], attributes }) => {
    const [x, correction] = inputs as [Tensor, number]
    const centred = x.sub(x.mean({ axis: attributes.axes, keepDims: true }))
    const scale = g.div(withoutZeros(output).mul(freedom(shape!, attributes, correction)))
    return [centred.mul(withAxes(scale, shape!, attributes))]
  },
})

// A divisor where the dividend is 0 whenever the divisor would be.
const withoutZeros = (x: Tensor): Tensor => x.eq(0).where(1, x)

/**
 * Variance over axes, by two passes. Integers and bool become float32. NaN unless there are more
 * elements than `correction`. PyTorch's `var`.
 *
 * @example
 * variance(tensor([1, 2, 3, 4])) // -> tensor(1.6667, float32, cpu)
 * variance(tensor([1, 2, 3, 4]), { correction: 0 }) // -> tensor(1.25, float32, cpu)
 */
export function variance(x: Tensor, options: VarianceOptions = {}): Tensor {
  checkTensor('variance', 'x', x)
  return dispatchReduction(varianceOp, [x, correctionOf('variance', options)], options)
}

/**
 * Standard deviation over axes: the square root of `variance`. Its gradient where all elements are
 * equal is 0.
 *
 * @example
 * std(tensor([[1, 3], [5, 5]]), { axis: 1 }) // -> tensor([1.4142, 0.0000], float32, cpu)
 */
export function std(x: Tensor, options: VarianceOptions = {}): Tensor {
  checkTensor('std', 'x', x)
  return dispatchReduction(stdOp, [x, correctionOf('std', options)], options)
}

function correctionOf(where: string, options: VarianceOptions): number {
  checkOptions(where, options, ['axis', 'keepDims', 'correction'])
  const { correction = 1 } = options
  if (!Number.isFinite(correction))
    throw new ValueError(
      `${where}: correction must be a number, received ${String(correction)}. Use 1 for a sample, 0 for all there is`,
    )
  return correction
}

export interface NormOptions extends ReduceOptions {
  /** Which norm: 1 (sum of absolute values), 2 (Euclidean, default) or Infinity (largest absolute value). */
  readonly p?: number
}

const euclidean = reduction({
  name: 'norm',
  onnx: 'ReduceL2',
  dtype: floatDType,
  value: ({ s, reduce }) => s.sqrt(reduce('add', (x) => s.mul(x, x))),
  // d|x|/dx = x / |x|, 0 at the origin
  vjp: ({ g, inputs, output, shapes, attributes }: GradContext<ReduceAttributes>) => [
    (inputs[0] as Tensor).mul(withAxes(g.div(withoutZeros(output)), shapes[0]!, attributes)),
  ],
})

/**
 * Length of vectors over axes (of all elements by default). Integers and bool become float32.
 * PyTorch's `vector_norm`; throws a ValueError for other norms than 1, 2 and Infinity.
 *
 * @example
 * norm(tensor([3, -4])) // -> tensor(5, float32, cpu)
 * norm(tensor([3, -4]), { p: 1 }) // -> tensor(7, float32, cpu)
 * norm(tensor([3, -4]), { p: Infinity }) // -> tensor(4, float32, cpu)
 */
export function norm(x: Tensor, options: NormOptions = {}): Tensor {
  checkTensor('norm', 'x', x)
  checkOptions('norm', options, ['axis', 'keepDims', 'p'])
  const { p = 2, ...over } = options
  if (p === 2) return euclidean(x, over)
  if (p !== 1 && p !== Infinity)
    throw new ValueError(
      `norm: p is 1, 2 or Infinity, received ${String(p)}. Build others with pow`,
    )
  const sizes = x.cast(floatDType(x.dtype)).abs()
  return p === 1 ? sizes.sum(over) : sizes.max(over)
}
