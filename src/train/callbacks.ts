/** @file Callbacks: stopping early, keeping the best model, changing the learning rate, writing logs. */
import { files, checkPath } from '../io/files.ts'
import { saveModel } from '../io/model-files.ts'
import type { StateDict } from '../nn/module.ts'
import { checkOptions, ValueError } from '../util/errors.ts'
import type { Callback, Run } from './callback.ts'
import type { Logs } from './history.ts'
import { Monitor, type MonitorOptions } from './monitor.ts'

export interface EarlyStoppingOptions extends MonitorOptions {
  /** Epochs in a row without improvement that end training; 0 (default) and 1 mean the first. */
  readonly patience?: number
  /** Go back to the best epoch's values at the end. Default false. */
  readonly restoreBestWeights?: boolean
}

/**
 * Ends training when a value no longer improves.
 *
 * @example no-run
 * await model.fit(x, y, { epochs: 100, validationSplit: 0.1, callbacks: [new EarlyStopping({ patience: 2 })] })
 */
export class EarlyStopping implements Callback {
  /** Epoch that training stopped after; undefined when it ran to its end. */
  stoppedEpoch: number | undefined
  readonly #monitor: Monitor
  readonly #patience: number
  readonly #restore: boolean
  #wait = 0
  #best: StateDict | undefined

  constructor(options: EarlyStoppingOptions = {}) {
    checkOptions('EarlyStopping', options, [
      'monitor',
      'minDelta',
      'mode',
      'patience',
      'restoreBestWeights',
    ])
    const { patience = 0, restoreBestWeights = false } = options
    if (!Number.isInteger(patience) || patience < 0)
      throw new ValueError(
        `EarlyStopping: patience is ${String(patience)}. Expected a whole number of epochs`,
      )
    this.#monitor = new Monitor('EarlyStopping', options)
    this.#patience = patience
    this.#restore = restoreBestWeights
  }

  onTrainBegin(): void {
    this.stoppedEpoch = undefined
    this.#wait = 0
    this.#best = undefined
    this.#monitor.reset()
  }

  onEpochEnd(epoch: number, logs: Logs, run: Run): void {
    if (this.#monitor.isBetter(logs)) {
      this.#wait = 0
      if (this.#restore) this.#best = run.model.module.stateDict()
    } else if (++this.#wait >= this.#patience) {
      this.stoppedEpoch = epoch
      run.stopTraining = true
    }
  }

  onTrainEnd(run: Run): void {
    if (this.#best !== undefined) run.model.module.loadStateDict(this.#best)
    this.#best = undefined
  }
}

export interface ModelCheckpointOptions extends MonitorOptions {
  /** Keep a file only of epochs that are the best so far. Default false: every epoch. */
  readonly saveBestOnly?: boolean
}

/**
 * Saves the model after every epoch, or after every one that is the best so far. `{epoch}` in the path
 * becomes the number of the epoch, from 1, and the name of a value in braces that value.
 *
 * @example no-run
 * new ModelCheckpoint('runs/{epoch}-{valLoss}.safetensors', { saveBestOnly: true })
 */
export class ModelCheckpoint implements Callback {
  readonly #path: string
  readonly #monitor: Monitor
  readonly #bestOnly: boolean

  constructor(path: string, options: ModelCheckpointOptions = {}) {
    checkPath('ModelCheckpoint', path)
    checkOptions('ModelCheckpoint', options, ['monitor', 'minDelta', 'mode', 'saveBestOnly'])
    this.#path = path
    this.#monitor = new Monitor('ModelCheckpoint', options)
    this.#bestOnly = options.saveBestOnly ?? false
  }

  onTrainBegin(): void {
    this.#monitor.reset()
  }

  async onEpochEnd(epoch: number, logs: Logs, run: Run): Promise<void> {
    if (this.#bestOnly && !this.#monitor.isBetter(logs)) return
    const values: Logs = { ...logs, epoch: epoch + 1 }
    const path = this.#path.replace(/\{(\w+)\}/g, (field, name: string) => {
      const value = values[name]
      if (value === undefined) return field
      return Number.isInteger(value) ? String(value) : value.toFixed(4)
    })
    await saveModel(run.model.module, path)
  }
}

/**
 * Sets the learning rate at the beginning of each epoch.
 *
 * @example
 * new LearningRateScheduler((epoch, lr) => (epoch < 10 ? lr : lr * 0.9))
 */
export class LearningRateScheduler implements Callback {
  readonly #schedule: (epoch: number, lr: number) => number

  /** `schedule` gets the number of the epoch, from 0, and the present rate. */
  constructor(schedule: (epoch: number, lr: number) => number) {
    if (typeof schedule !== 'function')
      throw new ValueError(
        `LearningRateScheduler: expected a function (epoch, lr) => lr, received ${typeof schedule}`,
      )
    this.#schedule = schedule
  }

  onEpochBegin(epoch: number, run: Run): void {
    const { optimizer } = run.model
    optimizer.lr = this.#schedule(epoch, optimizer.lr)
  }
}

/**
 * Ends training when the loss is no longer a number, instead of computing nonsense for hours.
 *
 * @example no-run
 * await model.fit(x, y, { epochs: 10, callbacks: [new TerminateOnNaN()] })
 */
export class TerminateOnNaN implements Callback {
  onBatchEnd(_batch: number, logs: Logs, run: Run): void {
    if (isBroken(logs)) run.stopTraining = true
  }
  onEpochEnd(_epoch: number, logs: Logs, run: Run): void {
    if (isBroken(logs)) run.stopTraining = true
  }
}

const isBroken = ({ loss }: Logs) => loss !== undefined && !Number.isFinite(loss)

/**
 * Writes the values of each epoch as a line of a CSV file. Not in browsers.
 *
 * @example no-run
 * await model.fit(x, y, { epochs: 10, callbacks: [new CSVLogger('run.csv')] })
 */
export class CSVLogger implements Callback {
  readonly #path: string
  #lines: string[] = []

  constructor(path: string) {
    checkPath('CSVLogger', path)
    this.#path = path
  }

  onTrainBegin(): void {
    this.#lines = []
  }

  async onEpochEnd(epoch: number, logs: Logs): Promise<void> {
    const { writeAtomically } = await files('CSVLogger', 'a callback with onEpochEnd')
    if (this.#lines.length === 0) this.#lines.push(['epoch', ...Object.keys(logs)].join())
    this.#lines.push([epoch, ...Object.values(logs)].join())
    await writeAtomically(this.#path, new TextEncoder().encode(`${this.#lines.join('\n')}\n`))
  }
}
