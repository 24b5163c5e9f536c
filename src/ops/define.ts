/** @file How ops are defined: a registry, and a factory for the families whose shape and lowering follow from their kind. */
import { dtypes, isFloat, resultType, type DType } from '../core/dtype.ts'
import { broadcastShapes } from '../core/shape.ts'
import type { Expr, ExprBuilder } from '../ir/expr.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { InputSpec, LowerContext, Op, OutputSpec } from '../tensor/op.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { Attributes, GradContext } from '../tensor/types.ts'
import type { Step } from '../codegen/kernel-builder.ts'
import { assert, DTypeError, ValueError } from '../util/errors.ts'

/** Every op, by name. Tests, docs and exporters read it. */
export const operators = new Map<string, Op>()

/** Registers an op. One block per op: everything the library knows about it stands in here. */
export function defineOp<A extends Attributes>(op: Op<A>): Op<A> {
  assert(!operators.has(op.name), `op ${op.name} is defined twice`)
  operators.set(op.name, op as unknown as Op)
  return op
}

/** How the dtype of an elementwise result follows from its operands. */
export type DTypeRule =
  /** The promoted dtype. */
  | 'promote'
  /** The promoted dtype, integers and bool becoming float32. */
  | 'floating'
  /** bool, computed at the promoted dtype. */
  | 'bool'

export interface ElementwiseOp {
  readonly name: string
  readonly dtype: DTypeRule
  readonly onnx?: string
  /** The value at one element; operands arrive converted to the compute type. */
  scalar(s: ExprBuilder, ...operands: Expr[]): Expr
  vjp?(context: GradContext): readonly (Tensor | undefined)[]
  readonly saves?: 'inputs' | 'outputs' | 'none'
  /** Which dtypes make no sense, with the reason; e.g. floats for bitwise operations. */
  refuse?(dtype: DType): string | undefined
}

/** An operand of an elementwise op: a plain number takes part as PyTorch's weak scalar does. */
export type Operand = Tensor | number

/** A function of one tensor, element by element. */
export function unary(spec: ElementwiseOp): (x: Tensor) => Tensor {
  const op = elementwise(spec)
  return (x) => {
    checkTensor(spec.name, 'x', x)
    return dispatch(op, [x])
  }
}

/** A function of two tensors (or a tensor and a number), element by element, broadcasting. */
export function binary(spec: ElementwiseOp): (a: Tensor, b: Operand) => Tensor {
  const op = elementwise(spec)
  return (a, b) => {
    checkTensor(spec.name, 'a', a)
    if (typeof b !== 'number') checkTensor(spec.name, 'b', b)
    return dispatch(op, [a, b])
  }
}

/** Registers an elementwise op of any number of operands. */
export function elementwise(spec: ElementwiseOp): Op {
  return defineOp<Attributes>({
    name: spec.name,
    kind: 'elementwise',
    onnx: spec.onnx,
    infer: (inputs) => [inferElementwise(spec, inputs)],
    lower: (context) => [lowerElementwise(spec, context)],
    ...(spec.vjp && { vjp: spec.vjp }),
    ...(spec.saves && { saves: spec.saves }),
  })
}

function inferElementwise(spec: ElementwiseOp, inputs: readonly InputSpec[]): OutputSpec {
  const shape = broadcastShapes(spec.name, ...inputs.map((x) => x.shape))
  const dtype = computeDType(spec, inputs)
  const why = spec.refuse?.(dtype)
  if (why !== undefined) throw new DTypeError(`${spec.name}: ${why}, received ${describe(inputs)}`)
  return { shape, dtype: spec.dtype === 'bool' ? 'bool' : dtype }
}

function computeDType(spec: ElementwiseOp, inputs: readonly InputSpec[]): DType {
  const dtype = promoteInputs(inputs)
  return spec.dtype === 'floating' && !isFloat(dtype) ? 'float32' : dtype
}

function lowerElementwise(spec: ElementwiseOp, context: LowerContext<Attributes>): Step {
  const k = context.kernel()
  const axes = k.axes(context.outputs[0]!.layout.shape)
  const type = dtypes[computeDType(spec, context.inputs)].compute
  let params = 0
  const operands = context.inputs.map((x, i) =>
    k.s.convert(x.scalar === undefined ? k.load(i, axes) : k.param(params++), type),
  )
  k.store(context.out(), axes, spec.scalar(k.s, ...operands))
  return k.finish()
}

/** The dtype that operands, plain numbers among them, promote to. */
export function promoteInputs(inputs: readonly InputSpec[]): DType {
  return resultType(inputs.map((x) => (x.scalar === undefined ? x : x.dtype === 'int32' ? 1 : 0.5)))
}

/** The dtypes and shapes of operands, for error messages. */
export function describe(inputs: readonly InputSpec[]): string {
  return inputs
    .map((x) => (x.scalar === undefined ? `${x.dtype} [${x.shape.join(', ')}]` : 'a number'))
    .join(' and ')
}

/** Throws a ValueError unless `x` is a tensor. */
export function checkTensor(where: string, name: string, x: unknown): asserts x is Tensor {
  if (x instanceof Tensor) return
  const got = Array.isArray(x) ? 'an array' : x === null ? 'null' : `a value of type ${typeof x}`
  throw new ValueError(
    `${where}: ${name} must be a tensor, received ${got}. Wrap it: tensor(${name})`,
  )
}
