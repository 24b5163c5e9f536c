/** @file tandem/data: datasets and loaders. */
import '../backend/registry.ts'
import '../ops/methods.ts'

export { collate, type Collated } from './collate.ts'
export {
  ConcatDataset,
  IterableDataset,
  MapDataset,
  Subset,
  randomSplit,
  type Dataset,
  type DatasetLike,
  type RandomSplitOptions,
} from './dataset.ts'
export { DataLoader, type DataLoaderOptions } from './data-loader.ts'
export { TensorDataset } from './tensor-dataset.ts'
