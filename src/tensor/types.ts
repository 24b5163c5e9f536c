/** @file Types that tensors, ops and the tape share. */
import type { DType } from '../core/dtype.ts'
import type { Shape } from '../core/shape.ts'
import type { Tensor } from './tensor.ts'

/** The constant arguments of an op: plain data, part of the key of its kernels. */
export type Attributes = Readonly<Record<string, unknown>>

/** What a gradient rule is given. */
export interface GradContext<A extends Attributes = Attributes> {
  /** Gradient of the (first) output. */
  readonly g: Tensor
  /** Gradients of all outputs; undefined where an output had no influence. */
  readonly gs: readonly (Tensor | undefined)[]
  /** The inputs; plain numbers stay numbers. Only there when the op saves them. */
  readonly inputs: readonly (Tensor | number)[]
  /** The first output, and all of them. Only there when the op saves them. */
  readonly output: Tensor
  readonly outputs: readonly Tensor[]
  readonly attributes: A
  /** Shapes and dtypes of the inputs, always there. */
  readonly shapes: readonly Shape[]
  readonly dtypes: readonly DType[]
  /** Whether input i wants a gradient: rules skip work for those that do not. */
  readonly needs: (i: number) => boolean
}

/** Nested arrays of numbers, as tensors are made from and read into. */
export type NestedArray<T = number> = T | readonly NestedArray<T>[]
