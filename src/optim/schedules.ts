/** @file Learning rates that change over time, each by a formula in the number of steps. */
import { everyRun } from '../tensor/tracing.ts'
import { checkOptions, ValueError } from '../util/errors.ts'
import { checkNonNegative, type Hyperparameters, type Optimizer } from './optimizer.ts'

/** A schedule as plain data. */
export interface ScheduleState {
  readonly stepCount: number
}

/** Any optimizer: schedules look at its learning rates only. */
export type Scheduled = Pick<Optimizer<Hyperparameters>, 'paramGroups'>

/**
 * Sets the learning rate of an optimizer at each `step()`, from the rate it started with. Make it after
 * the optimizer, call `step()` after `optimizer.step()`: once per epoch or once per batch, as the
 * formula counts. Subclasses give the rate after `step` steps.
 *
 * @example
 * const optimizer = new optim.SGD([new nn.Parameter(tensor([1]))], { lr: 0.5 })
 * const schedule = new optim.ExponentialLR(optimizer, { gamma: 0.5 })
 * schedule.step()
 * optimizer.lr // -> 0.25
 */
export abstract class Schedule {
  readonly optimizer: Scheduled
  #stepCount = 0

  constructor(optimizer: Scheduled) {
    this.optimizer = optimizer
    for (const group of optimizer.paramGroups) group.initialLr ??= group.lr
  }

  /** The rate after `step` steps, for a group that started with `base`. */
  abstract rateAt(step: number, base: number): number

  /** Steps so far. */
  get stepCount(): number {
    return this.#stepCount
  }

  /** Goes one step on and sets the rates. */
  step(): void {
    everyRun(() => {
      this.#stepCount++
      this.apply()
    })
  }

  /** Sets the rates for the present step; constructors end with it. */
  protected apply(): void {
    for (const group of this.optimizer.paramGroups)
      group.lr = this.rateAt(this.#stepCount, group.initialLr!)
  }

  stateDict(): ScheduleState {
    return { stepCount: this.#stepCount }
  }
  /** Goes on from a saved state; the rates follow at once. */
  loadStateDict(state: ScheduleState): void {
    this.#stepCount = checkCount(this.constructor.name, 'stepCount', state.stepCount, 0)
    this.apply()
  }
}

export interface StepLROptions {
  /** Steps between two reductions. */
  readonly stepSize: number
  /** Factor of each reduction; default 0.1. */
  readonly gamma?: number
}

/**
 * Multiplies the rate by gamma every stepSize steps.
 *
 * @example
 * const optimizer = new optim.SGD([new nn.Parameter(tensor([1]))], { lr: 1 })
 * const schedule = new optim.StepLR(optimizer, { stepSize: 2, gamma: 0.5 })
 * const rates = [1, 2, 3, 4].map(() => (schedule.step(), optimizer.lr))
 * rates // -> [1, 0.5, 0.5, 0.25]
 */
export class StepLR extends Schedule {
  readonly stepSize: number
  readonly gamma: number
  constructor(optimizer: Scheduled, options: StepLROptions) {
    super(optimizer)
    checkOptions('StepLR', options, ['stepSize', 'gamma'])
    this.stepSize = checkCount('StepLR', 'stepSize', options.stepSize)
    this.gamma = checkFactor('StepLR', 'gamma', options.gamma ?? 0.1)
    this.apply()
  }
  rateAt(step: number, base: number): number {
    return base * this.gamma ** Math.floor(step / this.stepSize)
  }
}

export interface ExponentialLROptions {
  /** Factor of each step. */
  readonly gamma: number
}

/**
 * Multiplies the rate by gamma every step.
 *
 * @example
 * const optimizer = new optim.SGD([new nn.Parameter(tensor([1]))], { lr: 1 })
 * const schedule = new optim.ExponentialLR(optimizer, { gamma: 0.5 })
 * const rates = [1, 2, 3].map(() => (schedule.step(), optimizer.lr))
 * rates // -> [0.5, 0.25, 0.125]
 */
export class ExponentialLR extends Schedule {
  readonly gamma: number
  constructor(optimizer: Scheduled, options: ExponentialLROptions) {
    super(optimizer)
    checkOptions('ExponentialLR', options, ['gamma'])
    this.gamma = checkFactor('ExponentialLR', 'gamma', options.gamma)
    this.apply()
  }
  rateAt(step: number, base: number): number {
    return base * this.gamma ** step
  }
}

export interface CosineAnnealingLROptions {
  /** Steps from the first rate to the last. */
  readonly tMax: number
  /** The last rate; default 0. */
  readonly etaMin?: number
}

/**
 * Half a cosine from the first rate to etaMin in tMax steps (Loshchilov and Hutter, 2017).
 *
 * @example
 * const optimizer = new optim.SGD([new nn.Parameter(tensor([1]))], { lr: 1 })
 * const schedule = new optim.CosineAnnealingLR(optimizer, { tMax: 4 })
 * const rates = [1, 2, 3, 4].map(() => (schedule.step(), optimizer.lr.toFixed(3)))
 * rates // -> ['0.854', '0.500', '0.146', '0.000']
 */
export class CosineAnnealingLR extends Schedule {
  readonly tMax: number
  readonly etaMin: number
  constructor(optimizer: Scheduled, options: CosineAnnealingLROptions) {
    super(optimizer)
    checkOptions('CosineAnnealingLR', options, ['tMax', 'etaMin'])
    this.tMax = checkCount('CosineAnnealingLR', 'tMax', options.tMax)
    this.etaMin = checkFactor('CosineAnnealingLR', 'etaMin', options.etaMin ?? 0)
    this.apply()
  }
  rateAt(step: number, base: number): number {
    const { tMax, etaMin } = this
    return etaMin + ((base - etaMin) * (1 + Math.cos((Math.PI * step) / tMax))) / 2
  }
}

export interface LinearLROptions {
  /** Factor at the start; default 1/3. */
  readonly startFactor?: number
  /** Factor at the end; default 1. */
  readonly endFactor?: number
  /** Steps from the one to the other; default 5. */
  readonly totalIters?: number
}

/**
 * A straight line from startFactor to endFactor of the rate, in totalIters steps: a warm-up.
 *
 * @example
 * const optimizer = new optim.SGD([new nn.Parameter(tensor([1]))], { lr: 1 })
 * const schedule = new optim.LinearLR(optimizer, { startFactor: 0.5, totalIters: 2 })
 * const rates = [0, 1, 2].map((i) => (i > 0 && schedule.step(), optimizer.lr))
 * rates // -> [0.5, 0.75, 1]
 */
export class LinearLR extends Schedule {
  readonly startFactor: number
  readonly endFactor: number
  readonly totalIters: number
  constructor(optimizer: Scheduled, options: LinearLROptions = {}) {
    super(optimizer)
    checkOptions('LinearLR', options, ['startFactor', 'endFactor', 'totalIters'])
    this.startFactor = checkFactor('LinearLR', 'startFactor', options.startFactor ?? 1 / 3)
    this.endFactor = checkFactor('LinearLR', 'endFactor', options.endFactor ?? 1)
    this.totalIters = checkCount('LinearLR', 'totalIters', options.totalIters ?? 5)
    this.apply()
  }
  rateAt(step: number, base: number): number {
    const { startFactor, endFactor, totalIters } = this
    return (
      base * (startFactor + ((endFactor - startFactor) * Math.min(step, totalIters)) / totalIters)
    )
  }
}

export interface LambdaLROptions {
  /** The factor of the first rate after a number of steps. */
  readonly lrLambda: (step: number) => number
}

/**
 * The first rate times any function of the number of steps.
 *
 * @example
 * const optimizer = new optim.SGD([new nn.Parameter(tensor([1]))], { lr: 1 })
 * const schedule = new optim.LambdaLR(optimizer, { lrLambda: (step) => 1 / (1 + step) })
 * schedule.step()
 * optimizer.lr // -> 0.5
 */
export class LambdaLR extends Schedule {
  readonly lrLambda: (step: number) => number
  constructor(optimizer: Scheduled, options: LambdaLROptions) {
    super(optimizer)
    checkOptions('LambdaLR', options, ['lrLambda'])
    if (typeof options.lrLambda !== 'function')
      throw new ValueError(
        `LambdaLR: lrLambda must be a function of the number of steps, received ${typeof options.lrLambda}`,
      )
    this.lrLambda = options.lrLambda
    this.apply()
  }
  rateAt(step: number, base: number): number {
    const rate = base * this.lrLambda(step)
    checkNonNegative('LambdaLR', 'the rate', rate)
    return rate
  }
}

export interface SequentialLROptions {
  /** One after the other, each counting from 0 when its time comes. */
  readonly schedules: readonly Schedule[]
  /** At which steps the next one takes over; one less than schedules, rising. */
  readonly milestones: readonly number[]
}

/**
 * Several schedules of one optimizer, one after the other; for example a warm-up and then a cosine. Step
 * this one only.
 *
 * @example
 * const optimizer = new optim.SGD([new nn.Parameter(tensor([1]))], { lr: 1 })
 * const warmup = new optim.LinearLR(optimizer, { startFactor: 0.5, totalIters: 2 })
 * const cosine = new optim.CosineAnnealingLR(optimizer, { tMax: 2 })
 * const schedule = new optim.SequentialLR(optimizer, { schedules: [warmup, cosine], milestones: [2] })
 * const rates = [0, 1, 2, 3].map((i) => (i > 0 && schedule.step(), optimizer.lr))
 * rates // -> [0.5, 0.75, 1, 0.5]
 */
export class SequentialLR extends Schedule {
  readonly schedules: readonly Schedule[]
  readonly milestones: readonly number[]
  constructor(optimizer: Scheduled, options: SequentialLROptions) {
    super(optimizer)
    checkOptions('SequentialLR', options, ['schedules', 'milestones'])
    const { schedules, milestones } = options
    if (schedules.length === 0 || milestones.length !== schedules.length - 1)
      throw new ValueError(
        `SequentialLR: ${schedules.length} schedules and ${milestones.length} milestones. Expected one milestone between each two schedules`,
      )
    if (milestones.some((m, i) => m <= (milestones[i - 1] ?? 0)))
      throw new ValueError(
        `SequentialLR: milestones [${milestones.join(', ')}] do not rise from above 0. Sort them`,
      )
    if (schedules.some((s) => s.optimizer !== optimizer))
      throw new ValueError(
        'SequentialLR: a schedule belongs to another optimizer. Make all of them for this one',
      )
    this.schedules = schedules
    this.milestones = milestones
    this.apply()
  }
  rateAt(step: number, base: number): number {
    const next = this.milestones.findIndex((m) => step < m)
    const index = next < 0 ? this.schedules.length - 1 : next
    return this.schedules[index]!.rateAt(step - (this.milestones[index - 1] ?? 0), base)
  }
}

function checkCount(where: string, name: string, value: unknown, least = 1): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least) return value
  throw new ValueError(
    `${where}: ${name} must be a whole number of at least ${least}, received ${String(value)}`,
  )
}

function checkFactor(where: string, name: string, value: unknown): number {
  checkNonNegative(where, name, value)
  return value as number
}
