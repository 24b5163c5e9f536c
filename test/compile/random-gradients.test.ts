/** @file Random functions have the same gradients eagerly, with a compiled forward, and compiled as a whole. */
import { expect, test } from 'vitest'
import * as nn from 'tandem/nn'
import { compile, Generator, manualSeed, randn, zeros, type Tensor } from 'tandem'
import { columns, randomFunction, rows } from './random-functions.ts'

const seeds = 80

test(`${seeds} functions`, { timeout: 240_000 }, () => {
  for (let seed = 1; seed <= seeds; seed++) {
    const run = (way: 'eager' | 'forward' | 'whole') => {
      manualSeed(seed)
      const generator = new Generator(seed)
      const parameters = [0, 1].map(() => new nn.Parameter(randn([columns, columns]).mul(0.4)))
      const f = randomFunction(seed, parameters, generator)
      const forward = way === 'forward' ? compile(f) : f
      const eager = (x: Tensor) => {
        const y = forward(x)
        if (y.requiresGrad) y.pow(2).sum().backward()
        return y.detach()
      }
      const step = way === 'whole' ? compile(eager) : eager
      return [0, 1].map(() => {
        const x = randn([rows, columns]).requireGrad()
        const y = step(x)
        const gradients = [x, ...parameters].map((t) => t.grad ?? zeros(t.shape))
        return [y, ...gradients].map((t) => t.dataSync() as Float32Array)
      })
    }
    const expected = run('eager').flat()
    for (const way of ['forward', 'whole'] as const)
      run(way)
        .flat()
        .forEach((values, i) =>
          values.forEach((x, k) => {
            const wanted = expected[i]![k]!
            if (Math.abs(x - wanted) <= 1e-5 * (1 + Math.abs(wanted))) return
            expect.fail(`seed ${seed}, ${way}: tensor ${i} has ${x} for ${wanted}`)
          }),
        )
  }
})
