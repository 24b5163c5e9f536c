/** @file The few ops that the tensor floor itself needs, handed down to it by the ops floor. */
import type { DType } from '../core/dtype.ts'
import type { Shape } from '../core/shape.ts'
import { assert } from '../util/errors.ts'
import type { Tensor } from './tensor.ts'

export interface EngineOps {
  add(a: Tensor, b: Tensor): Tensor
  onesLike(t: Tensor): Tensor
  zerosLike(t: Tensor): Tensor
  /** Sums a gradient over the axes along which its input was broadcast, and casts it. */
  fit(g: Tensor, shape: Shape, dtype: DType): Tensor
  /** The tensor itself if its elements lie in row-major order, else a fresh copy that does. */
  contiguous(t: Tensor): Tensor
  /** A fresh copy. */
  clone(t: Tensor): Tensor
}

let ops: EngineOps | undefined

/** Called once by the ops floor. */
export function setEngineOps(implementation: EngineOps): void {
  ops = implementation
}

/** The ops the engine works with. */
export function engine(): EngineOps {
  assert(ops !== undefined, 'the ops were not loaded')
  return ops
}
