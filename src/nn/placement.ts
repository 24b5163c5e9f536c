/** @file Where and as what layers keep their parameters. */
import type { DType } from '../core/dtype.ts'
import type { Shape } from '../core/shape.ts'
import { uniform } from '../ops/random.ts'
import { owned, Parameter } from '../tensor/cell.ts'

/** Options that every layer with parameters has. */
export interface Placement {
  /** A floating-point dtype; default float32. */
  readonly dtype?: DType
  /** Name of the backend; default the one in force. */
  readonly device?: string
}

/** A parameter of uniform numbers within +-bound: what most layers of PyTorch start from. */
export function uniformParameter(shape: Shape, bound: number, placement: Placement): Parameter {
  return owned(Parameter, uniform(shape, { low: -bound, high: bound, ...placement }))
}
