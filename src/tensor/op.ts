/** @file What an op is: one description that inference, lowering and the gradient all read. */
import type { Attributes, GradContext } from './types.ts'
import type { DType, ScalarType } from '../core/dtype.ts'
import type { Shape } from '../core/shape.ts'
import type { KernelBuilder, Operand, Step } from '../codegen/kernel-builder.ts'
import { PlanTable } from './plan-table.ts'
import type { Tensor } from './tensor.ts'

/** What an op does with its elements; shared code asks for the kind, never for a name. */
export type OpKind =
  | 'elementwise'
  | 'reduce'
  | 'row'
  | 'movement'
  | 'index'
  | 'contract'
  | 'window'
  | 'random'
  | 'update'

/** An input as inference sees it. A plain number has a dtype only as a weak wish. */
export interface InputSpec extends Operand {
  readonly shape: Shape
  readonly ndim: number
  /** Set when the input is a plain number rather than a tensor. */
  readonly scalar: ScalarType | undefined
}

export interface OutputSpec {
  readonly shape: Shape
  readonly dtype: DType
}

/** What `lower` works with: operand numbers are inputs first, then outputs, then temporaries. */
export interface LowerContext<A extends Attributes> {
  readonly attributes: A
  readonly inputs: readonly InputSpec[]
  readonly outputs: readonly Operand[]
  /** Operand number of output i. */
  readonly out: (i?: number) => number
  /** Adds a temporary and returns its operand number. */
  readonly temporary: (shape: Shape, dtype: DType) => number
  /** A builder for one more kernel of the program. */
  readonly kernel: (name?: string) => KernelBuilder
}

/** What a definition states of an op. */
export interface OpSpec<A extends Attributes = Attributes> {
  readonly name: string
  readonly kind: OpKind
  /** The operator it is exported as, or undefined when a composition stands for it. */
  readonly onnx: string | undefined
  /** Shapes and dtypes of the outputs; every complaint about the arguments is made here. */
  infer(inputs: readonly InputSpec[], attributes: A): readonly OutputSpec[]
  /** The kernels to run, in order. */
  lower(context: LowerContext<A>): readonly Step[]
  /** Gradients for the inputs, undefined where there is none; written with ordinary ops. */
  vjp?(context: GradContext<A>): readonly (Tensor | undefined)[]
  /** Which tensors the gradient reads, so that the tape keeps no others. Default: inputs and outputs. */
  readonly saves?: 'inputs' | 'outputs' | 'none'
  /**
   * Keep sizes in the code (windows and the like gain from it) instead of the argument block; 'round':
   * those that are small or multiples of 16, as products do.
   */
  readonly specialize?: boolean | 'round'
  /** Turns a failed check into the error the caller sees. */
  complain?(inputs: readonly Tensor[], attributes: A): Error
}

/** An op as dispatch meets it. */
export interface Op<A extends Attributes = Attributes> extends OpSpec<A> {
  readonly savesInputs: boolean
  readonly savesOutputs: boolean
  /** What was compiled for this op so far. */
  readonly plans: PlanTable
}

/** Every op has all fields, in one order, so that dispatch sees objects of one kind only. */
export function makeOp<A extends Attributes>(spec: OpSpec<A>): Op<A> {
  const { name, kind, onnx, infer, lower, vjp, saves, specialize, complain } = spec
  const op = {
    name,
    kind,
    onnx,
    infer,
    lower,
    vjp,
    saves,
    specialize,
    complain,
    savesInputs: saves === undefined || saves === 'inputs',
    savesOutputs: saves === undefined || saves === 'outputs',
    plans: new PlanTable(),
  }
  return op as Op<A>
}
