/** @file Update kernels: one launch reads a parameter, its gradient and its state, and writes what is new. */
import { dtypes } from '../core/dtype.ts'
import type { Expr, ExprBuilder } from '../ir/expr.ts'
import { defineOp } from '../ops/define.ts'
import type { Op } from '../tensor/op.ts'
import type { Attributes } from '../tensor/types.ts'

export interface UpdateRule<A extends Attributes> {
  readonly name: string
  /** How many cells change: the parameter, and its state. */
  cells(attributes: A): number
  /**
   * The new values of the cells at one element. `numbers` are the scalars handed over at launch, in
   * order, in the compute type of the parameter.
   */
  rule(
    s: ExprBuilder,
    cells: readonly Expr[],
    gradient: Expr,
    numbers: readonly Expr[],
    attributes: A,
  ): readonly Expr[]
}

/** Registers an update: inputs are the cells, the gradient, then numbers; outputs are the new cells. */
export function defineUpdate<A extends Attributes>(spec: UpdateRule<A>): Op<A> {
  return defineOp<A>({
    name: spec.name,
    kind: 'update',
    onnx: undefined,
    infer: (inputs, attributes) =>
      inputs.slice(0, spec.cells(attributes)).map(({ shape, dtype }) => ({ shape, dtype })),
    lower({ attributes, inputs, outputs, kernel, out }) {
      const k = kernel()
      const axes = k.axes(outputs[0]!.layout.shape)
      const type = dtypes[outputs[0]!.dtype].compute
      let params = 0
      const values = inputs.map((x, i) =>
        k.s.convert(x.scalar === undefined ? k.load(i, axes) : k.param(params++), type),
      )
      const count = outputs.length
      const cells = values.slice(0, count)
      const numbers = values.slice(count + 1)
      spec
        .rule(k.s, cells, values[count]!, numbers, attributes)
        .forEach((value, i) => k.store(out(i), axes, value))
      return [k.finish()]
    },
  })
}
