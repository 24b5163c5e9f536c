/** @file The loss curve: every step's loss behind a running mean, and the test loss of each epoch. */
import { color, contextOf, clearToFit, redrawOnChange } from './dom.ts'

/** Room for the labels, in CSS pixels. */
const margin = { left: 40, right: 10, top: 8, bottom: 24 }
/** Where the lines of the logarithmic scale may be. */
const levels = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10]
/** How much of the running mean each step keeps. */
const memory = 0.9

/** Draws on a canvas at most once per frame, however often it hears something new. */
export class LossChart {
  readonly #canvas: HTMLCanvasElement
  #stepsPerEpoch = 1
  #epochs = 1
  #losses: number[] = []
  #means: number[] = []
  #mean = 0
  #testLosses: number[] = []
  #isDue = false

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas
    redrawOnChange(canvas, () => this.#redraw())
  }

  /** Begins an empty curve with room for so many epochs. */
  start(stepsPerEpoch: number, epochs: number): void {
    this.#stepsPerEpoch = stepsPerEpoch
    this.#epochs = epochs
    this.#losses = []
    this.#means = []
    this.#mean = 0
    this.#testLosses = []
    this.#redraw()
  }

  /** Adds the losses of further steps. */
  add(losses: readonly number[]): void {
    for (const loss of losses) {
      this.#losses.push(loss)
      this.#mean = memory * this.#mean + (1 - memory) * loss
      // The mean begins at 0; dividing by the weight so far takes that out (as Adam does).
      this.#means.push(this.#mean / (1 - memory ** this.#losses.length))
    }
    this.#redraw()
  }

  /** Adds the test loss of the next epoch. */
  addTest(loss: number): void {
    this.#testLosses.push(loss)
    const [first, last] = [this.#means[0] ?? NaN, this.#means.at(-1) ?? NaN]
    this.#canvas.setAttribute(
      'aria-label',
      `Loss per step: from ${first.toFixed(2)} down to ${last.toFixed(3)} after ${this.#losses.length} steps; test loss ${loss.toFixed(3)}.`,
    )
    this.#redraw()
  }

  #redraw(): void {
    if (this.#isDue) return
    this.#isDue = true
    requestAnimationFrame(() => {
      this.#isDue = false
      this.#draw()
    })
  }

  #draw(): void {
    const context = contextOf(this.#canvas)
    const { width, height } = clearToFit(this.#canvas)
    const right = width - margin.right
    const bottom = height - margin.bottom
    const steps = this.#stepsPerEpoch * this.#epochs
    const x = (step: number) => margin.left + (step / steps) * (right - margin.left)
    const [low, high] = this.#range()
    const y = (loss: number) => {
      const part = Math.log(Math.max(loss, low) / low) / Math.log(high / low)
      return bottom - Math.min(1, part) * (bottom - margin.top)
    }

    context.font = '12px system-ui, sans-serif'
    context.lineWidth = 1
    context.strokeStyle = color('line')
    context.fillStyle = color('soft')
    context.textAlign = 'right'
    context.textBaseline = 'middle'
    for (const level of levels.filter((each) => each >= low && each <= high)) {
      line(context, margin.left, y(level), right, y(level))
      context.fillText(String(level), margin.left - 8, y(level))
    }
    context.textAlign = 'center'
    context.textBaseline = 'alphabetic'
    const every = Math.ceil(this.#epochs / 10)
    for (let epoch = every; epoch <= this.#epochs; epoch += every) {
      const at = x(epoch * this.#stepsPerEpoch)
      line(context, at, margin.top, at, bottom)
      const label = epoch === every ? `epoch ${epoch}` : String(epoch)
      context.fillText(label, Math.min(at, right - 4), height - 6)
    }

    context.lineJoin = 'round'
    context.strokeStyle = color('accent-soft')
    this.#curve(context, this.#losses, x, y)
    context.strokeStyle = color('accent')
    context.lineWidth = 2
    this.#curve(context, this.#means, x, y)
    context.fillStyle = color('test')
    this.#testLosses.forEach((loss, i) => {
      context.beginPath()
      context.arc(x((i + 1) * this.#stepsPerEpoch), y(loss), 4.5, 0, 2 * Math.PI)
      context.fill()
    })
  }

  /** The levels between which the curve lies; about 2.3, a guess's loss, is always on it. */
  #range(): [low: number, high: number] {
    const seen = [...this.#testLosses, this.#means.at(-1) ?? Infinity]
    const least = Math.min(0.1, ...seen)
    const low = levels.findLast((level) => level <= least) ?? levels[0]!
    return [low, Math.max(...this.#means) > 4 ? 10 : 3]
  }

  /** Joins the values by a line; of those that fall on one pixel column the least and the greatest. */
  #curve(
    context: CanvasRenderingContext2D,
    values: readonly number[],
    x: (step: number) => number,
    y: (loss: number) => number,
  ): void {
    context.beginPath()
    let step = 0
    while (step < values.length) {
      const column = Math.floor(x(step + 1))
      let least = values[step]!
      let greatest = least
      for (step++; step < values.length && Math.floor(x(step + 1)) === column; step++) {
        least = Math.min(least, values[step]!)
        greatest = Math.max(greatest, values[step]!)
      }
      context.lineTo(x(step), y(greatest))
      if (least < greatest) context.lineTo(x(step), y(least))
    }
    context.stroke()
  }
}

function line(
  context: CanvasRenderingContext2D,
  x0: number,
  y0: number,
  x1: number,
  y1: number,
): void {
  context.beginPath()
  context.moveTo(x0, y0)
  context.lineTo(x1, y1)
  context.stroke()
}
