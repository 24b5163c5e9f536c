/** @file The progress of a training run, as Keras shows it. */
import { checkOptions } from '../util/errors.ts'
import type { Callback, Run } from './callback.ts'
import type { Logs } from './history.ts'

export interface ProgressBarOptions {
  /** Draw a bar that moves within its line. Default: whether the output is a terminal. */
  readonly live?: boolean
  /** Where text goes. Default standard output, or a browser's console. */
  readonly write?: (text: string) => void
}

interface Output {
  readonly isTTY?: boolean
  write(text: string): unknown
}

const width = 20
/** A live line is redrawn at most this often, in milliseconds. */
const frame = 80

/** Standard output, where there is one. */
export function standardOutput(): Output | undefined {
  return (globalThis as { process?: { stdout?: Output } }).process?.stdout
}

/**
 * Shows how far training has come. In a terminal a bar moves with the batches and tells the time left;
 * elsewhere there is one line per epoch.
 *
 * @example
 * import { Model, ProgressBar } from 'tandem/train'
 * const lines: string[] = []
 * const model = new Model(new nn.Linear(1, 1)).compile({ optimizer: 'sgd', loss: 'meanSquaredError' })
 * const bar = new ProgressBar({ live: false, write: (text) => lines.push(text) })
 * await model.fit(tensor([[1]]), tensor([[2]]), { verbose: 0, callbacks: [bar] })
 * lines.join('').trim().replace(/[0-9.]+/g, '#') // -> Epoch #/# - #s - loss: #
 */
export class ProgressBar implements Callback {
  readonly #isLive: boolean
  readonly #write: (text: string) => void
  #begin = 0
  #drawn = 0
  #batches = 0
  #last = ''

  constructor(options: ProgressBarOptions = {}) {
    checkOptions('ProgressBar', options, ['live', 'write'])
    const output = standardOutput()
    this.#isLive = options.live ?? (options.write === undefined && output?.isTTY === true)
    this.#write =
      options.write ??
      ((text) => {
        if (output !== undefined) output.write(text)
        // eslint-disable-next-line no-console -- the only place to print to in a browser
        else console.log(text.trimEnd())
      })
  }

  onEpochBegin(epoch: number, run: Run): void {
    this.#begin = performance.now()
    this.#drawn = 0
    this.#batches = 0
    this.#last = ''
    if (this.#isLive) this.#write(`Epoch ${epoch + 1}/${run.epochs}\n`)
  }

  onBatchEnd(batch: number, logs: Logs, run: Run): void {
    this.#batches = batch + 1
    const now = performance.now()
    if (!this.#isLive || now - this.#drawn < frame) return
    this.#drawn = now
    const perStep = (now - this.#begin) / this.#batches
    const left = run.steps === undefined ? '' : seconds(perStep * (run.steps - this.#batches))
    this.#draw(`${this.#bar(run)} ${left} ${stepTime(perStep)} - ${values(logs)}`)
  }

  onEpochEnd(epoch: number, logs: Logs, run: Run): void {
    const elapsed = performance.now() - this.#begin
    if (!this.#isLive) {
      this.#write(`Epoch ${epoch + 1}/${run.epochs} - ${seconds(elapsed)} - ${values(logs)}\n`)
      return
    }
    const perStep = elapsed / Math.max(1, this.#batches)
    this.#draw(`${this.#bar(run)} ${seconds(elapsed)} ${stepTime(perStep)} - ${values(logs)}`)
    this.#write('\n')
  }

  /** Replaces the line; what an older, longer one leaves is blanked. */
  #draw(line: string): void {
    this.#write(`\r${line.padEnd(this.#last.length)}`)
    this.#last = line
  }

  #bar({ steps }: Run): string {
    if (steps === undefined) return `${this.#batches}`
    const done = Math.round((width * this.#batches) / Math.max(1, steps))
    const count = `${this.#batches}/${steps}`.padStart(2 * String(steps).length + 1)
    return `${count} ${'━'.repeat(done)}${'╌'.repeat(Math.max(0, width - done))}`
  }
}

function values(logs: Logs): string {
  return Object.entries(logs)
    .map(([name, value]) => `${name}: ${decimals(value)}`)
    .join(' - ')
}

/** Four digits after the point, or powers of ten for what they would not show. */
function decimals(value: number): string {
  const isSmall = value !== 0 && Math.abs(value) < 1e-3
  return isSmall ? value.toExponential(4) : value.toFixed(4)
}

function seconds(milliseconds: number): string {
  const s = milliseconds / 1000
  if (s < 10) return `${s.toFixed(1)}s`
  if (s < 60) return `${Math.round(s)}s`
  return `${Math.floor(s / 60)}:${String(Math.round(s) % 60).padStart(2, '0')}`
}

function stepTime(milliseconds: number): string {
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(1)}s/step`
  if (milliseconds >= 10) return `${Math.round(milliseconds)}ms/step`
  if (milliseconds >= 1) return `${milliseconds.toFixed(1)}ms/step`
  return `${Math.round(milliseconds * 1000)}us/step`
}
