/** @file tandem/train: Model with compile, fit, evaluate and predict, and what goes with it. */
import '../backend/registry.ts'
import '../ops/methods.ts'

export { Model, type CompileOptions, type EvaluateOptions, type Results } from './model.ts'
export type { FitOptions } from './fit-options.ts'
export { History, type Logs } from './history.ts'
export type { Callback, Run } from './callback.ts'
export {
  CSVLogger,
  EarlyStopping,
  LearningRateScheduler,
  ModelCheckpoint,
  TerminateOnNaN,
  type EarlyStoppingOptions,
  type ModelCheckpointOptions,
} from './callbacks.ts'
export type { MonitorOptions } from './monitor.ts'
export { ProgressBar, type ProgressBarOptions } from './progress-bar.ts'
export {
  Accuracy,
  MeanAbsoluteError,
  MeanSquaredError,
  Precision,
  Recall,
  TopKAccuracy,
  type Metric,
  type MetricChoice,
  type MetricFunction,
  type ThresholdOptions,
} from './metrics.ts'
export type { Part } from './averages.ts'
export type { LossChoice, LossFunction } from './losses.ts'
export type { OptimizerChoice } from './optimizers.ts'
export type { Batch, Data, Input } from './batches.ts'
