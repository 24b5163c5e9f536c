/** @file Callbacks and the progress bar: what they do to a run, and what a person sees. */
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { manualSeed, tensor } from 'tandem'
import * as nn from 'tandem/nn'
import {
  CSVLogger,
  EarlyStopping,
  LearningRateScheduler,
  Model,
  ModelCheckpoint,
  ProgressBar,
  TerminateOnNaN,
  type Callback,
  type Logs,
  type Run,
} from 'tandem/train'
import { loadModel } from 'tandem/io'

let folder = ''
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tandem-train-'))))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const x = tensor([[0], [1], [2], [3]])
const y = tensor([[1], [3], [5], [7]])
function line() {
  manualSeed(0)
  return new Model(new nn.Linear(1, 1)).compile({ optimizer: 'sgd', loss: 'meanSquaredError' })
}
const fit = (model: Model, ...callbacks: Callback[]) =>
  model.fit(x, y, { epochs: 6, batchSize: 2, verbose: 0, callbacks })

/** Runs a callback over made-up values; gives the epochs that were reached. */
async function replay(callback: Callback, values: readonly number[], name = 'valLoss') {
  const run: Run = { model: line() as unknown as Model, epochs: 99, steps: 1, stopTraining: false }
  await callback.onTrainBegin?.(run)
  let epoch = 0
  for (; epoch < values.length && !run.stopTraining; epoch++) {
    run.model.module.parameters()[1]!.assign(tensor([epoch]))
    await callback.onEpochEnd?.(epoch, { [name]: values[epoch]! }, run)
  }
  await callback.onTrainEnd?.(run)
  return { epochs: epoch, bias: run.model.module.parameters()[1]!.itemSync() }
}

describe('EarlyStopping', () => {
  test('puts up with as many bad epochs as Keras does', async () => {
    const values = [3, 2, 2.5, 2.4, 2.3, 2.2]
    expect((await replay(new EarlyStopping(), values)).epochs).toBe(3)
    expect((await replay(new EarlyStopping({ patience: 2 }), values)).epochs).toBe(4)
    expect((await replay(new EarlyStopping({ patience: 9 }), values)).epochs).toBe(6)
  })

  test('knows which way is better, and how much', async () => {
    const rising = [0.1, 0.2, 0.3]
    const accuracy = new EarlyStopping({ monitor: 'accuracy' })
    expect((await replay(accuracy, rising, 'accuracy')).epochs).toBe(3)
    expect((await replay(new EarlyStopping({ mode: 'max' }), rising)).epochs).toBe(3)
    expect((await replay(new EarlyStopping(), rising)).epochs).toBe(2)
    expect((await replay(new EarlyStopping({ minDelta: 0.5 }), [3, 2.8, 2.7])).epochs).toBe(2)
  })

  test('goes back to the best epoch', async () => {
    const early = new EarlyStopping({ patience: 2, restoreBestWeights: true })
    expect(await replay(early, [3, 1, 2, 2])).toEqual({ epochs: 4, bias: 1 })
    expect(early.stoppedEpoch).toBe(3)
  })

  test('says what it misses', async () => {
    await expect(fit(line(), new EarlyStopping())).rejects.toThrow(
      /EarlyStopping: there is no 'valLoss' among loss\. Give fit validationData/,
    )
    expect(() => new EarlyStopping({ patience: -1 })).toThrow(/patience is -1/)
    expect(() => new EarlyStopping({ mode: 'up' as never })).toThrow(/Expected auto, min or max/)
  })
})

test('ModelCheckpoint keeps the epochs it should, ready to load', async () => {
  const model = line()
  const path = join(folder, '{epoch}-{loss}.safetensors')
  await fit(model, new ModelCheckpoint(path, { monitor: 'loss', saveBestOnly: true }))
  const names = readdirSync(folder)
    .filter((name) => name.endsWith('.safetensors'))
    .toSorted()
  expect(names.length).toBe(6)
  expect(names[0]).toMatch(/^1-\d+\.\d{4}\.safetensors$/)
  const fresh = new nn.Linear(1, 1)
  await loadModel(fresh, join(folder, names.at(-1)!))
  expect(fresh.weight.itemSync()).toBe((model.module as nn.Linear).weight.itemSync())
})

test('LearningRateScheduler sets the rate of each epoch', async () => {
  const rates: number[] = []
  const note: Callback = {
    onBatchEnd: (_batch, _logs, run) => void rates.push(run.model.optimizer.lr),
  }
  await fit(line(), new LearningRateScheduler((epoch) => 0.01 / (epoch + 1)), note)
  expect(rates[0]).toBe(0.01)
  expect(rates.at(-1)).toBeCloseTo(0.01 / 6)
})

test('TerminateOnNaN ends a run that went wrong', async () => {
  const model = line()
  model.optimizer.lr = 1e20
  const { epochs } = await fit(model, new TerminateOnNaN())
  expect(epochs.length).toBeLessThan(3)
})

test('CSVLogger writes a line per epoch', async () => {
  const { history } = await fit(line(), new CSVLogger(join(folder, 'run.csv')))
  const lines = readFileSync(join(folder, 'run.csv'), 'utf8').trimEnd().split('\n')
  expect(lines).toEqual(['epoch,loss', ...history['loss']!.map((loss, i) => `${i},${loss}`)])
})

describe('ProgressBar', () => {
  const show = (live: boolean, run: Partial<Run>, epochs: (readonly Logs[])[]) => {
    let text = ''
    const bar = new ProgressBar({ live, write: (part) => (text += part) })
    const whole = { epochs: epochs.length, steps: undefined, stopTraining: false, ...run } as Run
    epochs.forEach((batches, epoch) => {
      bar.onEpochBegin(epoch, whole)
      batches.forEach((logs, i) => bar.onBatchEnd(i, logs, whole))
      bar.onEpochEnd(epoch, batches.at(-1)!, whole)
    })
    return text.replaceAll(/\d+(\.\d+)?(us|ms|s)(?=\W|$)/g, '#$2')
  }

  test('a live bar stays in its line', () => {
    const text = show(true, { steps: 2 }, [[{ loss: 1 }, { loss: 0.5 }]])
    const frames = text.split('\r')
    expect(frames[0]).toBe('Epoch 1/1\n')
    expect(frames[1]).toMatch(/^1\/2 ━{10}╌{10} #s #\w+\/step - loss: 1\.0000$/)
    expect(frames.at(-1)).toMatch(/^2\/2 ━{20} #s #\w+\/step - loss: 0\.5000 *\n$/)
  })

  test('elsewhere a line per epoch; small values keep their digits', () => {
    expect(show(false, { steps: 1 }, [[{ loss: 1e-5, accuracy: 1 }], [{ loss: 2 }]])).toBe(
      'Epoch 1/2 - #s - loss: 1.0000e-5 - accuracy: 1.0000\nEpoch 2/2 - #s - loss: 2.0000\n',
    )
  })

  test('counts where the number of batches is not known', () => {
    expect(show(true, {}, [[{ loss: 1 }, { loss: 1 }]])).toMatch(/\r2 #s/)
  })
})
