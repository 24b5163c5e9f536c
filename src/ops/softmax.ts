/** @file Normalised exponentials along an axis, their logarithms, and the logarithm of their sum. */
import type { KernelBuilder } from '../codegen/kernel-builder.ts'
import { dtypes } from '../core/dtype.ts'
import { normalizeAxis } from '../core/shape.ts'
import type { Axis, Expr } from '../ir/expr.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { Op } from '../tensor/op.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { GradContext } from '../tensor/types.ts'
import { checkOptions } from '../util/errors.ts'
import { checkTensor, defineOp } from './define.ts'
import { floatDType, reduction, withAxes } from './reduction.ts'

export interface SoftmaxOptions {
  /** The axis along which the result sums to 1; default -1. */
  readonly axis?: number
}

type AxisAttributes = { readonly axis: number }

/** A kernel over whole rows along one axis: any value at a position, and sums over the row. */
interface RowKernel {
  readonly k: KernelBuilder
  /** Element of input i at the position of the result. */
  readonly at: (i: number) => Expr
  /** Combines f(element of input 0, element of input 1) over the row. */
  readonly reduce: (combine: 'add' | 'max', f: (...elements: Expr[]) => Expr) => Expr
}

function rowOp(spec: {
  readonly name: string
  readonly onnx?: string
  readonly value: (row: RowKernel) => Expr
  readonly vjp: (context: GradContext<AxisAttributes>) => readonly (Tensor | undefined)[]
  readonly saves: 'inputs' | 'outputs'
}): Op<AxisAttributes> {
  return defineOp<AxisAttributes>({
    name: spec.name,
    kind: 'row',
    onnx: spec.onnx,
    infer: ([x]) => [{ shape: x!.shape, dtype: floatDType(x!.dtype) }],
    lower({ attributes: { axis }, inputs, outputs, kernel, out }) {
      const k = kernel()
      const axes = k.axes(outputs[0]!.layout.shape)
      const type = dtypes[outputs[0]!.dtype].compute
      const load = (i: number, along: Axis) =>
        k.s.convert(
          k.load(
            i,
            axes.map((a, n) => (n === axis ? along : a)),
          ),
          type,
        )
      const value = spec.value({
        k,
        at: (i) => load(i, axes[axis]!),
        reduce(combine, f) {
          const [along] = k.inner([inputs[0]!.shape[axis]!])
          return k.reduce(combine, [along!], f(...inputs.map((_, i) => load(i, along!))))
        },
      })
      k.store(out(), axes, value)
      return [k.finish()]
    },
    vjp: spec.vjp,
    saves: spec.saves,
  })
}

const total = (x: Tensor, { axis }: AxisAttributes): Tensor => x.sum({ axis, keepDims: true })

const softmaxOp = rowOp({
  name: 'softmax',
  onnx: 'Softmax',
  value({ k: { s }, at, reduce }) {
    const top = reduce('max', (x) => x!)
    const sum = reduce('add', (x) => s.exp(s.sub(x!, top)))
    return s.mul(s.exp(s.sub(at(0), top)), s.div(s.like(sum, 1), sum))
  },
  vjp: ({ g, output, attributes }) => [run(softmaxBackward, [g, output], attributes)],
  saves: 'outputs',
})

// dx = y (g - sum(g y))
const softmaxBackward = rowOp({
  name: 'softmaxBackward',
  value: ({ k: { s }, at, reduce }) =>
    s.mul(
      at(1),
      s.sub(
        at(0),
        reduce('add', (g, y) => s.mul(g!, y!)),
      ),
    ),
  vjp({ g: gg, inputs, attributes }) {
    const [g, y] = inputs as [Tensor, Tensor]
    const dy = gg.mul(g.sub(total(g.mul(y), attributes))).sub(g.mul(total(gg.mul(y), attributes)))
    return [run(softmaxBackward, [gg, y], attributes), dy]
  },
  saves: 'inputs',
})

const logSoftmaxOp = rowOp({
  name: 'logSoftmax',
  onnx: 'LogSoftmax',
  value({ k: { s }, at, reduce }) {
    const top = reduce('max', (x) => x!)
    const sum = reduce('add', (x) => s.exp(s.sub(x!, top)))
    return s.sub(s.sub(at(0), top), s.log(sum))
  },
  vjp: ({ g, output, attributes }) => [run(logSoftmaxBackward, [g, output], attributes)],
  saves: 'outputs',
})

// dx = g - exp(y) sum(g)
const logSoftmaxBackward = rowOp({
  name: 'logSoftmaxBackward',
  value: ({ k: { s }, at, reduce }) =>
    s.sub(
      at(0),
      s.mul(
        s.exp(at(1)),
        reduce('add', (g) => g!),
      ),
    ),
  vjp({ g: gg, inputs, attributes }) {
    const [g, y] = inputs as [Tensor, Tensor]
    const probability = y.exp()
    return [
      gg.sub(total(gg.mul(probability), attributes)),
      gg.mul(probability).mul(total(g, attributes)).neg(),
    ]
  },
  saves: 'inputs',
})

function run(op: Op<AxisAttributes>, inputs: readonly Tensor[], { axis }: AxisAttributes): Tensor {
  return dispatch(op, inputs, { axis }, `${axis}`)
}

function checked(where: string, x: Tensor, options: SoftmaxOptions): AxisAttributes {
  checkTensor(where, 'x', x)
  checkOptions(where, options, ['axis'])
  return { axis: normalizeAxis(where, options.axis ?? -1, x.ndim) }
}

/**
 * exp(x) divided by its sum along an axis. Shape of `x`; integers become float32. The largest element
 * is subtracted first, so that nothing overflows.
 *
 * @example
 * softmax(tensor([[0, 0], [1, 3]])) // -> tensor([[0.5000, 0.5000], [0.1192, 0.8808]], float32, cpu)
 */
export function softmax(x: Tensor, options: SoftmaxOptions = {}): Tensor {
  return run(softmaxOp, [x], checked('softmax', x, options))
}

/**
 * The logarithm of `softmax`, without its underflow. Shape of `x`; integers become float32.
 *
 * @example
 * logSoftmax(tensor([0, 1000])) // -> tensor([-1000, 0], float32, cpu)
 */
export function logSoftmax(x: Tensor, options: SoftmaxOptions = {}): Tensor {
  return run(logSoftmaxOp, [x], checked('logSoftmax', x, options))
}

/**
 * log(sum(exp(x))) over axes, without overflow. Integers become float32; -Infinity of no elements and
 * of rows of -Infinity.
 *
 * @example
 * logSumExp(tensor([[1000, 1000], [0, 0]]), { axis: 1 }) // -> tensor([1000.6932,    0.6931], float32, cpu)
 */
export const logSumExp = reduction({
  name: 'logSumExp',
  onnx: 'ReduceLogSumExp',
  dtype: floatDType,
  value({ s, reduce }) {
    const top = reduce('max')
    // Infinite rows are their own answer: exp(-Infinity - 0) and exp(Infinity - 0) give it.
    const shift = s.select(s.eq(s.abs(top), Infinity), s.like(top, 0), top)
    return s.add(s.log(reduce('add', (x) => s.exp(s.sub(x, shift)))), shift)
  },
  // dx = softmax(x): exp(x - y), and 0 in rows of -Infinity
  vjp({ g, inputs, output, shapes, attributes }) {
    const y = withAxes(output, shapes[0]!, attributes)
    const shift = y.eq(-Infinity).where(0, y)
    const probability = (inputs[0] as Tensor).sub(shift).exp()
    return [probability.mul(withAxes(g, shapes[0]!, attributes))]
  },
})
