/** @file tandem/io: tensors and models in files, as data only. */
import '../backend/registry.ts'
import '../ops/methods.ts'

export {
  fromSafetensors,
  load,
  loadTensors,
  save,
  toSafetensors,
  type FromSafetensorsOptions,
  type LoadedTensors,
  type SafetensorsOptions,
} from './safetensors.ts'
export {
  describeModel,
  modelDifferences,
  parseDescription,
  type ModelDescription,
  type ModuleDescription,
} from './model-description.ts'
export { loadModel, saveModel } from './model-files.ts'
export { loadCheckpoint, saveCheckpoint, type Training } from './checkpoint.ts'
export { fromNpy, loadNpy, saveNpy, toNpy } from './npy.ts'
export {
  graphToBytes,
  loadGraph,
  saveGraph,
  type LoadGraphOptions,
  type SaveGraphOptions,
} from './graph-files.ts'
export { LoadedGraph, type SignatureInfo, type TensorSpec } from './loaded-graph.ts'
export type { GraphModel, GraphSignature, InputExample } from './graph-trace.ts'
