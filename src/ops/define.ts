/** @file How ops are defined: a registry, and a factory for the families whose shape and lowering follow from their kind. */
import { dtypes, isFloat, resultType, type DType } from '../core/dtype.ts'
import { broadcastShapes } from '../core/shape.ts'
import { derivative } from '../ir/derivative.ts'
import type { Expr, ExprBuilder } from '../ir/expr.ts'
import { dispatch, dispatchOver } from '../tensor/dispatch.ts'
import {
  makeOp,
  type InputSpec,
  type LowerContext,
  type Op,
  type OpSpec,
  type OutputSpec,
} from '../tensor/op.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { Attributes, GradContext } from '../tensor/types.ts'
import type { Step } from '../codegen/kernel-builder.ts'
import { assert, DTypeError, UnsupportedError, ValueError } from '../util/errors.ts'

/** Every op, by name. Tests, docs and exporters read it. */
export const operators = new Map<string, Op>()

/** Registers an op. One block per op: everything the library knows about it stands in here. */
export function defineOp<A extends Attributes>(spec: OpSpec<A>): Op<A> {
  return register(makeOp(spec))
}

function register<A extends Attributes>(op: Op<A>): Op<A> {
  assert(!operators.has(op.name), `op ${op.name} is defined twice`)
  operators.set(op.name, op as unknown as Op)
  return op
}

/** Registers a view: it has no kernel; its block is its name and its gradient. */
export function defineView<A extends Attributes>(
  name: string,
  onnx: string,
  vjp: (context: GradContext<A>) => Tensor,
): Op<A> {
  const noKernel = (): never => {
    throw new UnsupportedError(`${name}: a view runs no kernel`)
  }
  return defineOp<A>({
    name,
    kind: 'movement',
    onnx,
    infer: noKernel,
    lower: noKernel,
    vjp: (context) => [vjp(context)],
    saves: 'none',
  })
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
  /** The gradient rule in terms of ops. Or state one of the next two, which make it one kernel. */
  vjp?(context: GradContext): readonly (Tensor | undefined)[]
  /**
   * The gradient of each operand, from the gradient g of the result and the operands; undefined for
   * none; an empty list stops gradients. 'derived' differentiates `scalar`.
   */
  readonly partials?: 'derived' | readonly (PartialRule | undefined)[]
  /** The gradient of the only operand, from that of the result and the result itself. */
  fromOutput?(s: ExprBuilder, g: Expr, output: Expr): Expr
  readonly saves?: 'inputs' | 'outputs' | 'none'
  /** Why a dtype makes no sense and what to do instead; undefined if it does. */
  refuse?(dtype: DType): string | undefined
}

/** The gradient of one operand at one element. */
export type PartialRule = (s: ExprBuilder, g: Expr, ...operands: Expr[]) => Expr

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
export function binary(spec: ElementwiseOp): (a: Operand, b: Operand) => Tensor {
  const op = elementwise(spec)
  return (a, b) => {
    checkOperands(spec.name, a, b)
    return dispatch(op, [a, b])
  }
}

/** Registers an elementwise op of any number of operands. */
export function elementwise(spec: ElementwiseOp): Op {
  return register(makeElementwise(spec))
}

function makeElementwise(spec: ElementwiseOp): Op {
  const gradientOp = derivativesOf(spec)
  const op = makeOp({
    name: spec.name,
    kind: 'elementwise',
    onnx: spec.onnx,
    infer: (inputs) => [inferElementwise(spec, inputs)],
    lower: (context) => [lowerElementwise(spec, context)],
    ...gradientOf(spec, gradientOp),
  })
  derivatives.set(op, gradientOp)
  return op
}

// Note [Derived gradients]: the gradient of an elementwise op is elementwise itself, so it is one
// kernel, made from its scalar expression when first needed. Its own gradient is derived in turn:
// that is how derivatives of any order come about.
const derivatives = new WeakMap<Op, (operand: number) => Op | undefined>()

/**
 * The op of this name; `mul.grad1` is the gradient of `mul` for its operand 1, and so on.
 *
 * @example
 * findOp('div.grad1').kind // -> 'elementwise'
 */
export function findOp(name: string): Op | undefined {
  const parts = /^(.+)\.grad(\d+)$/.exec(name)
  if (parts === null) return operators.get(name)
  const of = findOp(parts[1]!)
  return of && derivatives.get(of)?.(Number(parts[2]))
}

function derivativesOf(spec: ElementwiseOp): (operand: number) => Op | undefined {
  const made: Op[] = []
  return (i) => {
    const scalar = i === 0 && spec.fromOutput !== undefined ? spec.fromOutput : partialOf(spec, i)
    if (scalar === undefined) return undefined
    const name = `${spec.name}.grad${i}`
    return (made[i] ??= makeElementwise({ name, dtype: 'promote', scalar, partials: 'derived' }))
  }
}

function partialOf(spec: ElementwiseOp, i: number): PartialRule | undefined {
  const { partials } = spec
  if (partials !== 'derived') return partials?.[i]
  return (s, g, ...operands) =>
    derivative(s, spec.scalar(s, ...operands), operands[i]!, g) ?? s.like(g, 0)
}

function gradientOf(
  { vjp, saves, partials, fromOutput }: ElementwiseOp,
  gradientOp: (operand: number) => Op | undefined,
): Pick<OpSpec, 'vjp' | 'saves'> {
  if (vjp !== undefined) return { vjp, ...(saves && { saves }) }
  if (fromOutput !== undefined)
    return {
      vjp: ({ g, output }) => [dispatchOver(gradientOp(0)!, g, [output])],
      saves: 'outputs',
    }
  if (partials === undefined) return {}
  return {
    vjp: ({ g, inputs, needs }) => {
      const ops = inputs.map((_, i) => (needs(i) ? gradientOp(i) : undefined))
      const last = ops.findLastIndex((op) => op !== undefined)
      return ops.map(
        (op, i) => op && (i === last ? dispatchOver(op, g, inputs) : dispatch(op, [g, ...inputs])),
      )
    },
    saves: partials.length === 0 ? 'none' : 'inputs',
  }
}

function inferElementwise(spec: ElementwiseOp, inputs: readonly InputSpec[]): OutputSpec {
  const shape = broadcastShapes(spec.name, ...inputs.map((x) => x.shape))
  const dtype = computeDType(spec, inputs)
  const why = spec.refuse?.(dtype)
  if (why !== undefined) throw new DTypeError(`${spec.name}: received ${describe(inputs)}. ${why}`)
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

/** Throws a ValueError unless all are tensors or numbers, one at least a tensor. */
export function checkOperands(where: string, a: Operand, b: Operand): void {
  if (a instanceof Tensor) {
    if (typeof b !== 'number') checkTensor(where, 'b', b)
  } else if (typeof a !== 'number') checkTensor(where, 'a', a)
  else if (typeof b !== 'number') checkTensor(where, 'b', b)
  else
    throw new ValueError(
      `${where}: received the numbers ${a} and ${b}. Expected at least one tensor; wrap one: tensor(${a})`,
    )
}

/** For `refuse`: arithmetic that bool has none of. */
export const needsNumbers = (dtype: DType): string | undefined =>
  dtype === 'bool' ? "Expected numbers; cast first: x.cast('int32')" : undefined

/** Throws a ValueError unless `x` is a tensor. */
export function checkTensor(where: string, name: string, x: unknown): asserts x is Tensor {
  if (x instanceof Tensor) return
  const got = Array.isArray(x) ? 'an array' : x === null ? 'null' : `a value of type ${typeof x}`
  throw new ValueError(
    `${where}: ${name} must be a tensor, received ${got}. Wrap it: tensor(${name})`,
  )
}
