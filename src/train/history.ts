/** @file The record of a training run. */

/** Values by name: 'loss', 'accuracy', 'valLoss' ... */
export type Logs = Record<string, number>

/**
 * What `fit` returns: the values of each epoch, by name.
 *
 * @example
 * const history = new History()
 * history.add(0, { loss: 0.5 })
 * history.add(1, { loss: 0.25 })
 * history.history // -> { loss: [0.5, 0.25] }
 * history.epochs // -> [0, 1]
 */
export class History {
  /** Numbers of the epochs, from 0. */
  readonly epochs: number[] = []
  /** One value per epoch: the means over its training data, and over the validation data as `val...`. */
  readonly history: Record<string, number[]> = {}

  /** Records an epoch. */
  add(epoch: number, logs: Readonly<Logs>): void {
    this.epochs.push(epoch)
    for (const [name, value] of Object.entries(logs)) (this.history[name] ??= []).push(value)
  }
}
