/** @file tandem: tensors, gradients and everything that works on them. */
import './backend/registry.ts'
import './ops/methods.ts'

export * from './ops/all.ts'
export * from './ops/create.ts'
export { Tensor, type GradHook } from './tensor/tensor.ts'
export { noGrad, enableGrad } from './tensor/tape.ts'
export { tidy } from './tensor/scope.ts'
export { configure, withConfig, type Config } from './util/config.ts'
export * from './util/errors.ts'
export type { DType, TypedArray } from './core/dtype.ts'
export type { Shape } from './core/shape.ts'
