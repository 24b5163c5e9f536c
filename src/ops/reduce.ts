/** @file Reductions: sums, extremes and what is made of them. */
import { dtypes, isFloat, type DType, type ScalarType } from '../core/dtype.ts'
import { formatShape, normalizeAxes, sizeOf, type Shape } from '../core/shape.ts'
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

/** What a reduction computes its value from: one row of elements, walked as often as it likes. */
export interface Row {
  readonly s: ExprBuilder
  /** Compute type of the result; elements arrive converted to it. */
  readonly type: ScalarType
  /** Number of elements in the row, in that type. */
  readonly count: Expr
  /** Combines f(element) over the row. */
  readonly reduce: (combine: Combine, f?: (x: Expr) => Expr) => Expr
  /** The plain number after the tensor in the op's inputs, if it has one. */
  readonly param: () => Expr
}

export interface Reduction {
  readonly name: string
  readonly onnx?: string
  /** Dtype of the result. */
  readonly dtype: (input: DType) => DType
  readonly value: (row: Row) => Expr
  /** Whether reducing no elements is an error (there is no largest of none). */
  readonly needsElements?: true
  readonly vjp?: (context: GradContext<ReduceAttributes>) => readonly (Tensor | undefined)[]
  readonly saves?: 'inputs' | 'outputs' | 'none'
}

/** Registers a reduction and returns the function over it. */
export function reduction(spec: Reduction): (x: Tensor, options?: ReduceOptions) => Tensor {
  const op = reductionOp(spec)
  return (x, options = {}) => {
    checkTensor(spec.name, 'x', x)
    checkOptions(spec.name, options, ['axis', 'keepDims'])
    return dispatchReduction(op, [x], options)
  }
}

/** Runs a reduction over a tensor (and the number it may take) after its options were checked. */
export function dispatchReduction(
  op: Op<ReduceAttributes>,
  inputs: readonly [Tensor, number?],
  { axis, keepDims = false }: ReduceOptions,
): Tensor {
  const axes = normalizeAxes(op.name, axis, inputs[0].ndim)
  return dispatch(
    op,
    inputs as readonly (Tensor | number)[],
    { axes, keepDims },
    `${axes.join()}${keepDims}`,
  )
}

/** Registers a reduction: one kernel that walks the reduced axes for every element of the result. */
export function reductionOp(spec: Reduction): Op<ReduceAttributes> {
  return defineOp<ReduceAttributes>({
    name: spec.name,
    kind: 'reduce',
    onnx: spec.onnx,
    infer([x], { axes, keepDims }) {
      const { shape, dtype } = x!
      if (spec.needsElements && sizeOf(axes.map((a) => shape[a]!)) === 0)
        throw new ShapeError(
          `${spec.name}: nothing to reduce: shape ${formatShape(shape)} along ${axes.length === 1 ? 'axis' : 'axes'} ${axes.join(', ')} is empty. Check the size first`,
        )
      return [{ shape: reducedShape(shape, axes, keepDims), dtype: spec.dtype(dtype) }]
    },
    lower({ attributes: { axes, keepDims }, inputs, outputs, kernel, out }) {
      const k = kernel()
      const { s } = k
      const { shape } = inputs[0]!
      const kept = k.axes(shape.filter((_, i) => !axes.includes(i)))
      const sizes = axes.map((a) => shape[a]!)
      const type = dtypes[outputs[0]!.dtype].compute
      const value = spec.value({
        s,
        type,
        count: sizes
          .map((n) => s.convert(s.size(n), type))
          .reduce((a, b) => s.mul(a, b), s.convert(s.const('i32', 1), type)),
        reduce(combine, f = (x) => x) {
          const gone = k.inner(sizes)
          const x = s.convert(k.load(0, interleave(shape, axes, kept, gone)), type)
          return k.reduce(combine, gone, f(x))
        },
        param: () => s.convert(k.param(0), type),
      })
      const zero = s.const('i32', 0)
      const zeros = axes.map(() => zero)
      k.store(out(), keepDims ? interleave(shape, axes, kept, zeros) : kept, value)
      return [k.finish()]
    },
    ...(spec.vjp && { vjp: spec.vjp }),
    ...(spec.saves && { saves: spec.saves }),
  })
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
export const sumDType = (dtype: DType): DType =>
  isFloat(dtype) || dtype === 'int64' ? dtype : 'int32'

/**
 * Sum over axes. Integers below int64 and bool sum in int32. The sum of no elements is 0.
 *
 * @example
 * sum(tensor([[1, 2], [3, 4]]), { axis: 0 }) // -> tensor([4, 6], float32, wasm)
 */
export const sum = reduction({
  name: 'sum',
  onnx: 'ReduceSum',
  dtype: sumDType,
  value: ({ reduce }) => reduce('add'),
  vjp: ({ g, shapes, attributes }) => [withAxes(g, shapes[0]!, attributes).expand(shapes[0]!)],
  saves: 'none',
})

/** Averages of whole numbers are fractions. */
const floatDType = (dtype: DType): DType => (isFloat(dtype) ? dtype : 'float32')
const sameDType = (dtype: DType): DType => dtype

/**
 * Arithmetic mean over axes. Integers and bool average in float32. The mean of no elements is NaN.
 *
 * @example
 * mean(tensor([[1, 2], [3, 6]]), { axis: 1 }) // -> tensor([1.5, 4.5], float32, wasm)
 */
export const mean = reduction({
  name: 'mean',
  onnx: 'ReduceMean',
  dtype: floatDType,
  value: ({ s, reduce, count }) => s.div(reduce('add'), count),
  vjp: ({ g, shapes: [shape], attributes }) => {
    const count = sizeOf(attributes.axes.map((a) => shape![a]!))
    return [withAxes(g.div(count), shape!, attributes).expand(shape!)]
  },
  saves: 'none',
})

/**
 * Product over axes. Integers below int64 and bool multiply in int32. The product of no elements is 1.
 *
 * @example
 * prod(tensor([[1, 2], [3, 4]]), { axis: 1 }) // -> tensor([2, 12], float32, wasm)
 */
export const prod = reduction({
  name: 'prod',
  onnx: 'ReduceProd',
  dtype: sumDType,
  value: ({ reduce }) => reduce('mul'),
  vjp: ({ g, inputs, shapes, attributes }) => {
    // The product of the others: all of them, divided by x. A lone zero is the only element whose
    // others can have a product; with two, all gradients are 0.
    const x = inputs[0] as Tensor
    const over = { axis: attributes.axes, keepDims: true }
    const isZero = x.eq(0)
    const others = isZero.where(1, x)
    const zeros = isZero.sum(over)
    const product = others.prod(over)
    const atZero = isZero.where(product, 0)
    const share = zeros.eq(0).where(product.div(others), zeros.eq(1).where(atZero, 0))
    return [share.mul(withAxes(g, shapes[0]!, attributes))]
  },
  saves: 'inputs',
})

// The gradient is shared evenly by all elements that attain the extreme, as PyTorch's amax does.
const extremeGradient = ({
  g,
  inputs,
  output,
  shapes,
  attributes,
}: GradContext<ReduceAttributes>): readonly Tensor[] => {
  const x = inputs[0] as Tensor
  const attained = x.eq(withAxes(output, shapes[0]!, attributes)).cast(g.dtype)
  const count = attained.sum({ axis: attributes.axes, keepDims: true })
  return [attained.div(count).mul(withAxes(g, shapes[0]!, attributes))]
}

/**
 * Largest element over axes; NaN if there is one. Dtype of `x`. The gradient is split evenly among
 * equal largest elements (PyTorch's `amax`). Throws a ShapeError when there is nothing to reduce.
 *
 * @example
 * max(tensor([[1, 5], [7, 3]]), { axis: 1 }) // -> tensor([5, 7], float32, wasm)
 */
export const max = reduction({
  name: 'max',
  onnx: 'ReduceMax',
  dtype: sameDType,
  value: ({ reduce, type }) => reduce(type === 'bool' ? 'or' : 'max'),
  needsElements: true,
  vjp: extremeGradient,
})

/**
 * Smallest element over axes; NaN if there is one. Dtype of `x`. The gradient is split evenly among
 * equal smallest elements (PyTorch's `amin`). Throws a ShapeError when there is nothing to reduce.
 *
 * @example
 * min(tensor([[1, 5], [7, 3]])) // -> tensor(1, float32, wasm)
 */
export const min = reduction({
  name: 'min',
  onnx: 'ReduceMin',
  dtype: sameDType,
  value: ({ reduce, type }) => reduce(type === 'bool' ? 'and' : 'min'),
  needsElements: true,
  vjp: extremeGradient,
})

/**
 * Whether any element over axes is not zero (NaN counts as not zero). The result is bool; false of no
 * elements.
 *
 * @example
 * any(tensor([[0, 0], [0, 2]]), { axis: 1 }) // -> tensor([false, true], bool, wasm)
 */
export const any = reduction({
  name: 'any',
  dtype: () => 'bool',
  value: ({ reduce }) => reduce('or'),
})

/**
 * Whether all elements over axes are not zero (NaN counts as not zero). The result is bool; true of
 * no elements.
 *
 * @example
 * all(tensor([[1, 0], [1, 2]]), { axis: 1 }) // -> tensor([false, true], bool, wasm)
 */
export const all = reduction({
  name: 'all',
  dtype: () => 'bool',
  value: ({ reduce }) => reduce('and'),
})
