/** @file How reductions are defined: one kernel that walks the reduced axes for every element of the result. */
import { dtypes, isFloat, type DType, type ScalarType } from '../core/dtype.ts'
import { formatShape, normalizeAxes, normalizeAxis, sizeOf, type Shape } from '../core/shape.ts'
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
  const call = callOf(op.name, axis, inputs[0].layout.shape.length, keepDims)
  return dispatch(op, inputs as readonly (Tensor | number)[], call.attributes, call.key)
}

interface ReductionCall {
  readonly attributes: ReduceAttributes
  readonly key: string
}

// The usual calls, over one axis or all, are made once: by ndim, axis and keepDims.
const usual: ReductionCall[] = []
const usualRank = 16

function callOf(
  where: string,
  axis: number | readonly number[] | undefined,
  ndim: number,
  keepDims: boolean,
): ReductionCall {
  if (typeof axis !== 'object' && ndim < usualRank) {
    const at = axis === undefined ? ndim : normalizeAxis(where, axis, ndim)
    return (usual[((ndim * usualRank + at) << 1) | (keepDims ? 1 : 0)] ??= makeCall(
      normalizeAxes(where, axis, ndim),
      keepDims,
    ))
  }
  return makeCall(normalizeAxes(where, axis, ndim), keepDims)
}

const makeCall = (axes: readonly number[], keepDims: boolean): ReductionCall => ({
  attributes: { axes, keepDims },
  key: `${axes.join()}${keepDims}`,
})

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
  const reduced: number[] = []
  for (let i = 0; i < shape.length; i++) {
    if (!axes.includes(i)) reduced.push(shape[i]!)
    else if (keepDims) reduced.push(1)
  }
  return reduced
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

/** Averages of whole numbers are fractions. */
export const floatDType = (dtype: DType): DType => (isFloat(dtype) ? dtype : 'float32')
