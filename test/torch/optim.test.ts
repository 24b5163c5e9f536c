/** @file Optimizers, schedules and gradient clipping against PyTorch: the same gradients, step by step. */
import { describe, expect, test } from 'vitest'
import { zeros } from 'tandem'
import { Parameter } from 'tandem/nn'
import {
  Adagrad,
  Adam,
  AdamW,
  clipGradNorm,
  CosineAnnealingLR,
  ExponentialLR,
  LinearLR,
  RMSprop,
  SequentialLR,
  SGD,
  StepLR,
  type Optimizer,
  type Schedule,
} from 'tandem/optim'
import { difference, readFixture, toTensor, type Recorded } from './fixture.ts'

const constructors = { SGD, Adam, AdamW, RMSprop, Adagrad }
const schedules = { StepLR, ExponentialLR, CosineAnnealingLR, LinearLR } as unknown as Record<
  string,
  new (optimizer: Optimizer, options: object) => Schedule
>

interface Fixture {
  readonly optimizers: readonly {
    readonly name: keyof typeof constructors
    readonly options: object
    readonly start: readonly Recorded[]
    readonly steps: readonly {
      readonly grads: readonly Recorded[]
      readonly params: readonly Recorded[]
    }[]
  }[]
  /** The rate of each step, from 0.1. */
  readonly schedules: readonly {
    readonly name: string
    readonly options: object
    readonly rates: readonly number[]
  }[]
  readonly warmup: readonly number[]
  readonly clipping: readonly {
    readonly maxNorm: number
    readonly normType: number | 'Infinity'
    readonly grads: readonly Recorded[]
    readonly norm: number
    readonly clipped: readonly Recorded[]
  }[]
}

const fixture = readFixture<Fixture>('optim')

describe('optimizers', () => {
  for (const { name, options, start, steps } of fixture.optimizers)
    test(`${name} ${JSON.stringify(options)}`, () => {
      const params = start.map((p) => new Parameter(toTensor(p)))
      const optimizer = new constructors[name](params, options)
      const wrong = steps.flatMap(({ grads, params: expected }, step) => {
        params.forEach((p, i) => (p.grad = toTensor(grads[i]!)))
        optimizer.step()
        return params.flatMap(
          (p, i) => difference(`step ${step + 1}, parameter ${i}`, p, expected[i]!) ?? [],
        )
      })
      expect(wrong).toEqual([])
    })
})

describe('schedules', () => {
  for (const { name, options, rates } of fixture.schedules)
    test(`${name} ${JSON.stringify(options)}`, () => {
      const optimizer = new SGD([new Parameter(zeros([1]))], { lr: 0.1 })
      expectRates(optimizer, new schedules[name]!(optimizer, options), rates)
    })

  test('SequentialLR: rising, then a cosine', () => {
    const optimizer = new SGD([new Parameter(zeros([1]))], { lr: 0.1 })
    const rise = new LinearLR(optimizer, { startFactor: 0.2, totalIters: 4 })
    const fall = new CosineAnnealingLR(optimizer, { tMax: 5 })
    const options = { schedules: [rise, fall], milestones: [4] }
    expectRates(optimizer, new SequentialLR(optimizer, options), fixture.warmup)
  })
})

function expectRates(optimizer: Optimizer, schedule: Schedule, rates: readonly number[]): void {
  rates.forEach((rate, step) => {
    expect(optimizer.lr, `step ${step}`).toBeCloseTo(rate, 12)
    schedule.step()
  })
}

describe('clipGradNorm', () => {
  for (const { maxNorm, normType, grads, norm, clipped } of fixture.clipping)
    test(`to ${maxNorm}, p ${normType}`, () => {
      const params = grads.map((g) => {
        const p = new Parameter(zeros(g.shape))
        p.grad = toTensor(g)
        return p
      })
      const total = clipGradNorm(params, maxNorm, { normType: Number(normType) })
      expect(total.itemSync()).toBeCloseTo(norm, 5)
      const wrong = params.flatMap(
        (p, i) => difference(`gradient ${i}`, p.grad!, clipped[i]!) ?? [],
      )
      expect(wrong).toEqual([])
    })
})
