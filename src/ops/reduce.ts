/** @file Reductions: sums, extremes and what is made of them. */
import { dtypes, isFloat, type DType } from '../core/dtype.ts'
import { normalizeAxes, sizeOf, type Shape } from '../core/shape.ts'
import type { Combine, Expr, ExprBuilder } from '../ir/expr.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { Op } from '../tensor/op.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { GradContext } from '../tensor/types.ts'
import { checkOptions, ShapeError } from '../util/errors.ts'
import { checkTensor, defineOp } from './define.ts'

export interface ReduceOptions {
  /** Axis or axes to reduce; default all. */
  readonly axis?: number | readonly number[]
  /** Keep reduced axes with size 1; default false. */
  readonly keepDims?: boolean
}

export type ReduceAttributes = { readonly axes: readonly number[]; readonly keepDims: boolean }

export interface Reduction {
  readonly name: string
  readonly onnx?: string
  readonly combine: Combine
  /** Dtype of the result. */
  dtype(input: DType): DType
  /** The value combined, for an element of the input in the compute type of the result. */
  element?(s: ExprBuilder, x: Expr): Expr
  /** The result, from the combination and the number of elements combined. */
  finish?(s: ExprBuilder, total: Expr, count: Expr): Expr
  /** Whether reducing no elements is an error (there is no largest of none). */
  readonly needsElements?: true
  vjp?(context: GradContext<ReduceAttributes>): readonly (Tensor | undefined)[]
  readonly saves?: 'inputs' | 'outputs' | 'none'
}

/** Registers a reduction and returns the function over it. */
export function reduction(spec: Reduction): (x: Tensor, options?: ReduceOptions) => Tensor {
  const op: Op<ReduceAttributes> = defineOp<ReduceAttributes>({
    name: spec.name,
    kind: 'reduce',
    onnx: spec.onnx,
    infer([x], { axes, keepDims }) {
      const { shape, dtype } = x!
      if (spec.needsElements && sizeOf(axes.map((a) => shape[a]!)) === 0)
        throw new ShapeError(
          `${spec.name}: nothing to reduce: shape [${shape.join(', ')}] along ${axes.join(', ')} is empty. Check the size first`,
        )
      return [{ shape: reducedShape(shape, axes, keepDims), dtype: spec.dtype(dtype) }]
    },
    lower({ attributes, inputs, outputs, kernel, out }) {
      const k = kernel()
      const { shape } = inputs[0]!
      const kept = k.axes(shape.filter((_, i) => !attributes.axes.includes(i)))
      const gone = k.inner(attributes.axes.map((a) => shape[a]!))
      const type = dtypes[outputs[0]!.dtype].compute
      const x = k.s.convert(k.load(0, interleave(shape, attributes.axes, kept, gone)), type)
      const total = k.reduce(spec.combine, gone, spec.element?.(k.s, x) ?? x)
      const count = gone
        .map((a) => k.s.size(a.extent))
        .reduce((a, b) => k.s.mul(a, b), k.s.const('i32', 1))
      const value = spec.finish?.(k.s, total, k.s.convert(count, type)) ?? total
      const positions = attributes.keepDims
        ? interleave(
            shape,
            attributes.axes,
            kept,
            gone.map(() => k.s.const('i32', 0)),
          )
        : kept
      k.store(out(), positions, value)
      return [k.finish()]
    },
    ...(spec.vjp && { vjp: spec.vjp }),
    ...(spec.saves && { saves: spec.saves }),
  })
  return (x, options = {}) => {
    checkTensor(spec.name, 'x', x)
    checkOptions(spec.name, options, ['axis', 'keepDims'])
    const axes = normalizeAxes(spec.name, options.axis, x.ndim)
    const keepDims = options.keepDims ?? false
    return dispatch(op, [x], { axes, keepDims }, `${axes.join()}${keepDims}`)
  }
}

/** The shape after reducing some axes. */
export function reducedShape(shape: Shape, axes: readonly number[], keepDims: boolean): number[] {
  return shape.flatMap((n, i) => (!axes.includes(i) ? [n] : keepDims ? [1] : []))
}

/** Positions of the input: kept axes and reduced ones, each where it belongs. */
export function interleave<K, G>(
  shape: Shape,
  axes: readonly number[],
  kept: readonly K[],
  gone: readonly G[],
): (K | G)[] {
  let k = 0
  let g = 0
  return shape.map((_, i) => (axes.includes(i) ? gone[g++]! : kept[k++]!))
}

/** Gives a reduced gradient its axes back, so that it broadcasts against the input. */
export function withAxes(g: Tensor, shape: Shape, { axes, keepDims }: ReduceAttributes): Tensor {
  return keepDims ? g : g.reshape(reducedShape(shape, axes, true))
}

/** Whole numbers and bools add up in int32 (int64 stays): WebGPU knows no wider integer. */
const sumDType = (dtype: DType): DType => (isFloat(dtype) || dtype === 'int64' ? dtype : 'int32')

/**
 * Sum over axes. Integers below int64 and bool sum in int32. The sum of no elements is 0.
 *
 * @example
 * sum(tensor([[1, 2], [3, 4]]), { axis: 0 }) // -> tensor([4, 6], float32, wasm)
 */
export const sum = reduction({
  name: 'sum',
  onnx: 'ReduceSum',
  combine: 'add',
  dtype: sumDType,
  vjp: ({ g, shapes, attributes }) => [withAxes(g, shapes[0]!, attributes).expand(shapes[0]!)],
  saves: 'none',
})
