/** @file Model compiles its steps: the same losses as operation by operation, one program per form of a batch. */
import { expect, test } from 'vitest'
import { manualSeed, rand, randint, TraceError, type Tensor } from 'tandem'
import * as nn from 'tandem/nn'
import { Model } from 'tandem/train'

class Net extends nn.Module {
  readonly conv = new nn.Conv2d(1, 4, 3)
  readonly norm = new nn.BatchNorm2d(4)
  readonly drop = new nn.Dropout(0.3)
  readonly out = new nn.Linear(4 * 36, 3)
  calls = 0
  forward(x: Tensor): Tensor {
    this.calls++
    const hidden = this.norm.forward(this.conv.forward(x)).relu()
    return this.out.forward(this.drop.forward(hidden).flatten({ startAxis: 1 }))
  }
}

async function run(runEagerly: boolean) {
  manualSeed(3)
  const net = new Net()
  const [x, y] = [rand([50, 1, 8, 8]), randint(0, 3, [50])]
  const model = new Model(net)
  model.compile({
    optimizer: { name: 'adam', lr: 1e-2 },
    loss: 'sparseCategoricalCrossentropy',
    metrics: ['accuracy'],
    runEagerly,
  })
  const { history } = await model.fit(x, y, { epochs: 3, batchSize: 16, seed: 1, verbose: 0 })
  const result = await model.evaluate(x, y)
  const state = Object.values(net.stateDict()).map((t) => [...t.dataSync()])
  const predicted = (await model.predict(x)).dataSync()
  return { history, result, state, predicted, calls: net.calls }
}

test('compiled and operation by operation agree: training to the last bit', async () => {
  const { calls, predicted, result, ...compiled } = await run(false)
  const { calls: eagerCalls, predicted: wanted, result: measured, ...eager } = await run(true)
  expect(compiled).toEqual(eager)
  // In evaluation batch norm is folded into the convolution, which rounds elsewhere.
  predicted.forEach((x, i) => expect(Number(x)).toBeCloseTo(Number(wanted[i]), 5))
  expect(result.loss).toBeCloseTo(measured.loss, 5)
  expect(result['accuracy']).toBe(measured['accuracy'])
  // Training, evaluation and prediction, each once for all sizes of a batch.
  expect(calls).toBe(3)
  expect(eagerCalls).toBe(3 * 4 + 2 + 2)
})

test('a module that looks at elements is told how to run', async () => {
  class Peeking extends nn.Module {
    readonly inner = new nn.Linear(2, 2)
    forward(x: Tensor): Tensor {
      return x.sum().itemSync() > 0 ? this.inner.forward(x) : x
    }
  }
  const [x, y] = [rand([4, 2]), rand([4, 2])]
  const options = { optimizer: 'sgd', loss: 'meanSquaredError' } as const
  const model = new Model(new Peeking()).compile(options)
  const failed = await model.fit(x, y, { verbose: 0 }).catch((error: unknown) => error)
  expect(failed).toBeInstanceOf(TraceError)
  expect((failed as Error).message).toMatch(/compiled\.test\.ts.*runEagerly: true/s)
  const eager = new Model(new Peeking()).compile({ ...options, runEagerly: true })
  expect((await eager.fit(x, y, { verbose: 0 })).history.loss).toHaveLength(1)
})
