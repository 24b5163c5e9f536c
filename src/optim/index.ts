/** @file tandem/optim: optimizers and schedules. ADD AN OPTIMIZER HERE: one file, one line. */
import '../backend/registry.ts'
import '../ops/methods.ts'

export {
  Optimizer,
  type Hyperparameters,
  type OptimizerState,
  type ParameterGroup,
  type ParametersOrGroups,
} from './optimizer.ts'
export { SGD, type SGDOptions } from './sgd.ts'
export { Adam, AdamW, type AdamOptions } from './adam.ts'
export { RMSprop, type RMSpropOptions } from './rmsprop.ts'
export { Adagrad, type AdagradOptions } from './adagrad.ts'
export { clipGradNorm, clipGradValue, type ClipGradNormOptions } from './clip.ts'
export {
  CosineAnnealingLR,
  ExponentialLR,
  LambdaLR,
  LinearLR,
  Schedule,
  SequentialLR,
  StepLR,
  type CosineAnnealingLROptions,
  type ExponentialLROptions,
  type LambdaLROptions,
  type LinearLROptions,
  type ScheduleState,
  type SequentialLROptions,
  type StepLROptions,
} from './schedules.ts'
