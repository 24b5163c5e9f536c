/** @file What can watch, and steer, a training run. */
import type { Logs } from './history.ts'
import type { Model } from './model.ts'

/** The run that callbacks watch. */
export interface Run {
  readonly model: Model
  /** Number of the epoch after the last. */
  readonly epochs: number
  /** Batches per epoch; undefined when the data does not tell. */
  readonly steps: number | undefined
  /** Set it to true, and the run ends with the present epoch. */
  stopTraining: boolean
}

/**
 * Methods that `fit` calls as it goes; all may be left out, and may return promises. A plain object
 * will do: `{ onEpochEnd: (epoch, logs) => console.log(epoch, logs.loss) }`.
 */
export interface Callback {
  onTrainBegin?(run: Run): void | Promise<void>
  onEpochBegin?(epoch: number, run: Run): void | Promise<void>
  /** `logs` are the means over the epoch so far; empty where the device has not told yet. */
  onBatchEnd?(batch: number, logs: Logs, run: Run): void | Promise<void>
  /** `logs` are the means over the epoch, those of the validation data as 'valLoss' and so on. */
  onEpochEnd?(epoch: number, logs: Logs, run: Run): void | Promise<void>
  onTrainEnd?(run: Run): void | Promise<void>
}
