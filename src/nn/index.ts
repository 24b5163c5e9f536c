/** @file tandem/nn: modules and layers. ADD A LAYER HERE: one file, one line. */
import '../backend/registry.ts'
import '../ops/methods.ts'

export { Buffer, Parameter } from '../tensor/cell.ts'
export {
  Module,
  type ForwardHook,
  type ForwardPreHook,
  type Layer,
  type StateDict,
} from './module.ts'
export type { LoadOptions, LoadReport } from './load.ts'
export { Linear, type LinearOptions } from './linear.ts'
export type { Placement } from './placement.ts'
export { ModuleDict, ModuleList, ParameterList, Sequential } from './containers.ts'
export { Flatten, Identity } from './simple.ts'
export * from './activations.ts'
export * as init from './init.ts'
export { Conv1d, Conv2d, type ConvOptions } from './conv.ts'
export { ConvTranspose1d, ConvTranspose2d, type ConvTransposeOptions } from './conv-transpose.ts'
export { Dropout, type DropoutLayerOptions } from './dropout.ts'
export { Embedding, type EmbeddingLayerOptions } from './embedding.ts'
export * from './losses.ts'
export { BatchNorm1d, BatchNorm2d, type BatchNormOptions } from './batch-norm.ts'
export {
  GroupNorm,
  LayerNorm,
  RMSNorm,
  type GroupNormOptions,
  type LayerNormOptions,
  type RMSNormOptions,
} from './norm.ts'
export {
  AdaptiveAvgPool2d,
  AvgPool1d,
  AvgPool2d,
  MaxPool1d,
  MaxPool2d,
  type AvgPoolLayerOptions,
  type MaxPoolLayerOptions,
} from './pool.ts'
export {
  MultiheadAttention,
  type AttentionCallOptions,
  type MultiheadAttentionOptions,
} from './attention.ts'
export { TransformerEncoderLayer, type TransformerEncoderLayerOptions } from './transformer.ts'
