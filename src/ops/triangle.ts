/** @file Triangles of matrices. */
import { formatShape } from '../core/shape.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { Op } from '../tensor/op.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ShapeError, ValueError } from '../util/errors.ts'
import { checkTensor, defineOp } from './define.ts'

interface Attributes extends Readonly<Record<string, unknown>> {
  readonly diagonal: number
}

function triangleOp(name: 'tril' | 'triu'): Op<Attributes> {
  return defineOp<Attributes>({
    name,
    kind: 'elementwise',
    onnx: 'Trilu',
    infer: ([x]) => [{ shape: x!.shape, dtype: x!.dtype }],
    lower({ attributes: { diagonal }, inputs, kernel, out }) {
      const k = kernel()
      const { s } = k
      const axes = k.axes(inputs[0]!.shape)
      const [row, column] = axes.slice(-2).map((axis) => s.at(axis))
      const edge = s.add(row!, diagonal)
      const isKept = name === 'tril' ? s.le(column!, edge) : s.le(edge, column!)
      const x = k.load(0, axes)
      k.store(out(), axes, s.select(isKept, x, s.like(x, 0)))
      return [k.finish()]
    },
    vjp: ({ g, attributes }) => [g[name](attributes)],
    saves: 'none',
  })
}

const trilOp = triangleOp('tril')
const triuOp = triangleOp('triu')

export interface TriangleOptions {
  /** The last (tril) or first (triu) diagonal kept: 0 the main one (default), above it positive. */
  readonly diagonal?: number
}

/**
 * The lower triangles of the matrices in the last two axes: 0 above a diagonal. PyTorch's `tril`. Throws a
 * ShapeError for fewer than two axes.
 *
 * @example
 * tril(ones([2, 2])) // -> tensor([[1, 0], [1, 1]], float32, cpu)
 */
export function tril(x: Tensor, options: TriangleOptions = {}): Tensor {
  return triangle(trilOp, x, options)
}

/**
 * The upper triangles of the matrices in the last two axes: 0 below a diagonal. PyTorch's `triu`. Throws a
 * ShapeError for fewer than two axes.
 *
 * @example
 * triu(ones([2, 2]), { diagonal: 1 }) // -> tensor([[0, 1], [0, 0]], float32, cpu)
 */
export function triu(x: Tensor, options: TriangleOptions = {}): Tensor {
  return triangle(triuOp, x, options)
}

function triangle(op: Op<Attributes>, x: Tensor, options: TriangleOptions): Tensor {
  checkTensor(op.name, 'x', x)
  checkOptions(op.name, options, ['diagonal'])
  const { diagonal = 0 } = options
  if (x.ndim < 2)
    throw new ShapeError(
      `${op.name}: x has shape ${formatShape(x.shape)}. Expected at least 2 axes, rows and columns`,
    )
  if (!Number.isSafeInteger(diagonal))
    throw new ValueError(`${op.name}: diagonal is ${String(diagonal)}. Expected a whole number`)
  return dispatch(op, [x], { diagonal }, `${diagonal}`)
}
