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
