/** @file Slices along an axis, picked by position (embeddings among them) and added at positions. */
import { dtypes } from '../core/dtype.ts'
import { formatShape, normalizeAxis, sameShape, type Shape } from '../core/shape.ts'
import type { Expr, ExprBuilder } from '../ir/expr.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ShapeError, ValueError } from '../util/errors.ts'
import { checkTensor, defineOp } from './define.ts'
import {
  checkAddable,
  checkedPosition,
  checkPositionDType,
  outOfRange,
  replaceAxes,
} from './positions.ts'

interface TakeAttributes extends Readonly<Record<string, unknown>> {
  readonly where: string
  readonly axis: number
  /** Slices at this position are taken (or added) as zeros; undefined: none. */
  readonly without?: number | undefined
  /** The position whose slice gets no gradient; undefined: all do. */
  readonly constant?: number | undefined
}

// x[.., n, ..] and index [i, j] give [.., i, j, ..].
const takeOp = defineOp<TakeAttributes>({
  name: 'take',
  kind: 'index',
  onnx: 'Gather',
  infer: ([x, index], { axis }) => [
    { shape: x!.shape.toSpliced(axis, 1, ...index!.shape), dtype: x!.dtype },
  ],
  lower({ attributes: { axis, without }, inputs, outputs, kernel, out }) {
    const k = kernel()
    const { ndim } = inputs[1]!
    const axes = k.axes(outputs[0]!.layout.shape)
    const raw = k.load(1, axes.slice(axis, axis + ndim))
    const position = checkedPosition(k, raw, inputs[0]!.shape[axis]!)
    const value = k.load(0, replaceAxes(axes, axis, ndim, position))
    k.store(out(), axes, zeroWhere(k.s, position, without, value))
    return [k.finish()]
  },
  vjp: ({ g, inputs, shapes, attributes: { where, axis, constant } }) => [
    addSlices(where, shapes[0]!, axis, inputs[1] as Tensor, g, { without: constant }),
  ],
  saves: 'inputs',
  complain: ([x, index], { where, axis }) =>
    outOfRange(where, index!, x!.shape[axis]!, sourceOf(where, axis)),
})

interface AddAttributes extends TakeAttributes {
  readonly shape: Shape
}

// The transpose of take: adds slices at their positions to `base`, or to zeros of a shape.
const indexAddOp = defineOp<AddAttributes>({
  name: 'indexAdd',
  kind: 'index',
  onnx: undefined,
  infer: ([, src, base], { shape }) => [{ shape, dtype: (base ?? src)!.dtype }],
  lower({ attributes: { axis, shape, without }, inputs, outputs, kernel, out }) {
    const start = kernel('start')
    const all = start.axes(shape)
    const { compute } = dtypes[outputs[0]!.dtype]
    start.store(out(), all, inputs.length > 2 ? start.load(2, all) : start.s.const(compute, 0))
    const k = kernel()
    const { ndim } = inputs[0]!
    const axes = k.axes(inputs[1]!.shape)
    const position = checkedPosition(k, k.load(0, axes.slice(axis, axis + ndim)), shape[axis]!)
    const value = zeroWhere(k.s, position, without, k.load(1, axes))
    k.store(out(), replaceAxes(axes, axis, ndim, position), value, true)
    return [start.finish(), k.finish()]
  },
  vjp: ({ g, inputs: [index], attributes: { where, axis, without }, needs }) => [
    undefined,
    needs(1) ? take(where, g, axis, index as Tensor, { without }) : undefined,
    needs(2) ? g : undefined,
  ],
  saves: 'inputs',
  complain: ([index], { where, axis, shape }) =>
    outOfRange(where, index!, shape[axis]!, sourceOf(where, axis)),
})

const zeroWhere = (s: ExprBuilder, position: Expr, without: number | undefined, value: Expr) =>
  without === undefined ? value : s.select(s.eq(position, without), s.like(value, 0), value)

const sourceOf = (where: string, axis: number) =>
  where === 'embedding' ? 'the weight' : `axis ${axis} of x`

interface Exceptions {
  readonly without?: number | undefined
  readonly constant?: number | undefined
}

function take(
  where: string,
  x: Tensor,
  axis: number,
  index: Tensor,
  { without, constant }: Exceptions = {},
): Tensor {
  const attributes = { where, axis, without, constant: constant ?? without }
  return dispatch(takeOp, [x, index], attributes, `${axis}|${without}`)
}

function addSlices(
  where: string,
  shape: Shape,
  axis: number,
  index: Tensor,
  src: Tensor,
  { without, base }: { readonly without?: number | undefined; readonly base?: Tensor } = {},
): Tensor {
  const inputs = base === undefined ? [index, src] : [index, src, base]
  const attributes = { where, axis, without, shape }
  return dispatch(indexAddOp, inputs, attributes, `${axis}|${without}|${shape.join()}`)
}

/**
 * Slices of `x` at positions along an axis: that axis of the result is as long as the 1-d `index`.
 * PyTorch's `index_select`. Throws a ShapeError for an index with more axes, a DTypeError for positions
 * that are not integers, and a ValueError that names a position outside the axis.
 *
 * @example
 * const x = tensor([[1, 2], [3, 4], [5, 6]])
 * indexSelect(x, 0, tensor([2, 0], { dtype: 'int32' })) // -> tensor([[5, 6], [1, 2]], float32, cpu)
 */
export function indexSelect(x: Tensor, axis: number, index: Tensor): Tensor {
  checkTensor('indexSelect', 'x', x)
  checkPositions('indexSelect', index)
  return take('indexSelect', x, normalizeAxis('indexSelect', axis, x.ndim), index)
}

/**
 * `x` with slices of `src` added at positions along an axis, in the order of the 1-d `index`. `src` has
 * the shape of `x` but for that axis, which is as long as `index`. PyTorch's `index_add`. Throws as
 * `indexSelect` does, and a DTypeError when `src` does not fit into the dtype of `x`.
 *
 * @example
 * const index = tensor([1, 1], { dtype: 'int32' })
 * indexAdd(zeros([2, 2]), 0, index, tensor([[1, 2], [3, 4]])) // -> tensor([[0, 0], [4, 6]], float32, cpu)
 */
export function indexAdd(x: Tensor, axis: number, index: Tensor, src: Tensor): Tensor {
  checkTensor('indexAdd', 'x', x)
  checkTensor('indexAdd', 'src', src)
  checkPositions('indexAdd', index)
  const along = normalizeAxis('indexAdd', axis, x.ndim)
  const expected = x.shape.with(along, index.size)
  if (!sameShape(src.shape, expected))
    throw new ShapeError(
      `indexAdd: src ${formatShape(src.shape)} does not fit x ${formatShape(x.shape)} and ${index.size} positions along axis ${along}. Expected ${formatShape(expected)}`,
    )
  checkAddable('indexAdd', x.dtype, src.dtype)
  return addSlices('indexAdd', x.shape, along, index, src.cast(x.dtype), { base: x })
}

export interface EmbeddingOptions {
  /** The row that stands for padding: it gets no gradient. Default none. */
  readonly paddingIndex?: number
}

/**
 * Rows of a table: `weight` [rows, ...] and `index` of any shape give [...index.shape, ...]. The gradient
 * adds up the rows of the incoming one, position by position. PyTorch's `functional.embedding` with the
 * arguments in the order of the method. Throws a DTypeError for positions that are not integers and a
 * ValueError that names a position outside the table.
 *
 * @example
 * const weight = tensor([[1, 2], [3, 4], [5, 6]])
 * embedding(weight, tensor([2, 0], { dtype: 'int32' })) // -> tensor([[5, 6], [1, 2]], float32, cpu)
 */
export function embedding(weight: Tensor, index: Tensor, options: EmbeddingOptions = {}): Tensor {
  checkTensor('embedding', 'weight', weight)
  checkTensor('embedding', 'index', index)
  checkOptions('embedding', options, ['paddingIndex'])
  const { paddingIndex } = options
  if (weight.ndim === 0)
    throw new ShapeError(
      'embedding: weight has no axes. Expected a table of shape [rows, features]',
    )
  checkPositionDType('embedding', 'index', index)
  const rows = weight.shape[0]!
  if (
    paddingIndex !== undefined &&
    !(Number.isSafeInteger(paddingIndex) && paddingIndex >= 0 && paddingIndex < rows)
  )
    throw new ValueError(
      `embedding: paddingIndex ${String(paddingIndex)} is no row of weight ${formatShape(weight.shape)}. Expected a whole number from 0 to ${rows - 1}`,
    )
  return take('embedding', weight, 0, index, { constant: paddingIndex })
}

function checkPositions(where: string, index: Tensor): void {
  checkTensor(where, 'index', index)
  checkPositionDType(where, 'index', index)
  if (index.ndim !== 1)
    throw new ShapeError(
      `${where}: index has shape ${formatShape(index.shape)}. Expected one axis; flatten it, or use gather for positions that differ from place to place`,
    )
}
