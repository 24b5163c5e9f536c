/** @file Watching one value for improvement. */
import { ValueError } from '../util/errors.ts'
import type { Logs } from './history.ts'

export interface MonitorOptions {
  /** The value to watch, such as 'valLoss' (default), 'loss' or 'valAccuracy'. */
  readonly monitor?: string
  /** Smallest change that counts as better. Default 0. */
  readonly minDelta?: number
  /** Whether lower ('min') or higher ('max') is better; 'auto' (default) takes it from the name. */
  readonly mode?: 'auto' | 'min' | 'max'
}

/** Names of values that are better when higher. */
const higherIsBetter = /accuracy|precision|recall|auc|f1/i

/** The best value so far. */
export class Monitor {
  readonly name: string
  best: number
  readonly #sign: 1 | -1
  readonly #minDelta: number
  readonly #where: string

  constructor(where: string, options: MonitorOptions) {
    const { monitor = 'valLoss', minDelta = 0, mode = 'auto' } = options
    if (!['auto', 'min', 'max'].includes(mode))
      throw new ValueError(`${where}: mode is ${JSON.stringify(mode)}. Expected auto, min or max`)
    if (!(minDelta >= 0))
      throw new ValueError(`${where}: minDelta is ${String(minDelta)}. Expected at least 0`)
    const isHigher = mode === 'auto' ? higherIsBetter.test(monitor) : mode === 'max'
    this.name = monitor
    this.#sign = isHigher ? 1 : -1
    this.#minDelta = minDelta
    this.#where = where
    this.best = -this.#sign * Infinity
  }

  /** Forgets what was best. */
  reset(): void {
    this.best = -this.#sign * Infinity
  }

  /** Notes the value of an epoch; true when it is the best so far. Throws a ValueError when there is none. */
  isBetter(logs: Readonly<Logs>): boolean {
    const value = logs[this.name]
    if (value === undefined)
      throw new ValueError(
        `${this.#where}: there is no '${this.name}' among ${Object.keys(logs).join(', ')}. ${this.name.startsWith('val') ? 'Give fit validationData or validationSplit, or monitor another value' : 'Monitor one of these'}`,
      )
    if (!(this.#sign * value > this.#sign * this.best + this.#minDelta)) return false
    this.best = value
    return true
  }
}
