/** @file Optimizers, schedules and gradient clipping against PyTorch: the same gradients, step by step. */
import { describe, expect, test } from 'vitest'
import { Parameter } from 'tandem/nn'
import { Adagrad, Adam, AdamW, RMSprop, SGD } from 'tandem/optim'
import { difference, readFixture, toTensor, type Recorded } from './fixture.ts'

const constructors = { SGD, Adam, AdamW, RMSprop, Adagrad }

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
}

const { optimizers } = readFixture<Fixture>('optim')

describe('optimizers', () => {
  for (const { name, options, start, steps } of optimizers)
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
