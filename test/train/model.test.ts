/** @file Model: the same bits as the loop by hand, and Keras' rules for splits, modes and histories. */
import { describe, expect, test, vi } from 'vitest'
import {
  allClose,
  currentBackend,
  manualSeed,
  ones,
  randn,
  tensor,
  withConfig,
  type Tensor,
} from 'tandem'
import { DataLoader, IterableDataset, TensorDataset } from 'tandem/data'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'
import { Accuracy, Model, type Callback } from 'tandem/train'

const quiet = { verbose: 0 } as const
const classify = {
  optimizer: 'adam',
  loss: 'sparseCategoricalCrossentropy',
  metrics: ['accuracy'],
} as const

function network() {
  return new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Linear(8, 3))
}

function data(count = 50): [x: Tensor, y: Tensor] {
  const x = randn([count, 4])
  return [x, x.slice(null, [0, 3]).argmax({ axis: 1 })]
}

describe('the same as the loop by hand', () => {
  test('losses and accuracies agree to the last bit', async () => {
    manualSeed(7)
    const [x, y] = data()

    manualSeed(1)
    const byHand = network()
    const optimizer = new optim.Adam(byHand.parameters())
    const loader = new DataLoader(new TensorDataset(x, y), { batchSize: 8, shuffle: true })
    const expected: { loss: number[]; accuracy: number[] } = { loss: [], accuracy: [] }
    for (let epoch = 0; epoch < 3; epoch++) {
      let [total, right] = [0, 0]
      for await (const [input, label] of loader as AsyncIterable<[Tensor, Tensor]>) {
        optimizer.zeroGrad()
        const output = byHand.forward(input)
        const loss = output.crossEntropy(label)
        loss.backward()
        optimizer.step()
        total += (await loss.item()) * label.size
        right += output.argmax({ axis: 1 }).eq(label).sum().itemSync()
      }
      expected.loss.push(total / 50)
      expected.accuracy.push(right / 50)
    }

    manualSeed(1)
    const model = new Model(network()).compile(classify)
    const { history, epochs } = await model.fit(x, y, { epochs: 3, batchSize: 8, ...quiet })
    expect(history).toEqual(expected)
    expect(epochs).toEqual([0, 1, 2])
    expect(stateOf(model.module)).toEqual(stateOf(byHand))
  })

  test('a dataset, a loader and tensors are the same data', async () => {
    const [x, y] = data()
    const runs = []
    for (const form of ['tensors', 'dataset', 'loader'] as const) {
      manualSeed(1)
      const model = new Model(network()).compile(classify)
      const options = { epochs: 2, ...quiet }
      const dataset = new TensorDataset(x, y)
      const { history } =
        form === 'tensors'
          ? await model.fit(x, y, { batchSize: 8, seed: 3, ...options })
          : form === 'dataset'
            ? await model.fit(dataset, { batchSize: 8, seed: 3, ...options })
            : await model.fit(
                new DataLoader(dataset, { batchSize: 8, shuffle: true, seed: 3 }),
                options,
              )
      runs.push(history)
    }
    expect(runs[1]).toEqual(runs[0])
    expect(runs[2]).toEqual(runs[0])
  })

  test('training in two parts is training in one', async () => {
    const [x, y] = data()
    const train = async (...parts: { epochs: number; initialEpoch?: number }[]) => {
      manualSeed(1)
      const model = new Model(network()).compile(classify)
      for (const part of parts) await model.fit(x, y, { batchSize: 8, ...part, ...quiet })
      return stateOf(model.module)
    }
    const whole = await train({ epochs: 4 })
    expect(await train({ epochs: 2 }, { epochs: 4, initialEpoch: 2 })).toEqual(whole)
    expect(await train({ epochs: 2 }, { epochs: 2 })).toEqual(whole)
  })
})

describe('validation', () => {
  test('the split is the last part, cut off before shuffling', async () => {
    const [x, y] = data(20)
    const model = new Model(network()).compile(classify)
    const { history } = await model.fit(x, y, { validationSplit: 0.25, epochs: 2, ...quiet })
    const held = await model.evaluate(x.slice([15, 20]), y.slice([15, 20]))
    expect(history['valLoss']![1]).toBe(held.loss)
    expect(history['valAccuracy']![1]).toBe(held['accuracy'])
    expect(Object.keys(history)).toEqual(['loss', 'accuracy', 'valLoss', 'valAccuracy'])
  })

  test.each(['pair', 'dataset', 'loader'])('validation data as a %s', async (form) => {
    const [x, y] = data(20)
    const dataset = new TensorDataset(x, y)
    const validationData =
      form === 'pair' ? ([x, y] as const) : form === 'dataset' ? dataset : new DataLoader(dataset)
    const model = new Model(network()).compile(classify)
    const { history } = await model.fit(x, y, { validationData, ...quiet })
    expect(history['valLoss']![0]).toBeCloseTo((await model.evaluate(x, y)).loss, 6)
  })

  test('batches of different sizes weigh by their size', async () => {
    const [x, y] = data(50)
    const model = new Model(network()).compile(classify)
    const whole = await model.evaluate(x, y, { batchSize: 50 })
    const parts = await model.evaluate(x, y, { batchSize: 8 })
    expect(parts.loss).toBeCloseTo(whole.loss, 6)
    expect(parts['accuracy']).toBe(whole['accuracy'])
  })
})

describe('modes', () => {
  test('training trains, evaluation does not, and everything is put back', async () => {
    class Watch extends nn.Module {
      seen: boolean[] = []
      forward(x: Tensor) {
        this.seen.push(this.training)
        return x
      }
    }
    const [x, y] = data(4)
    const frozen = new Watch().eval()
    const model = new Model(new nn.Sequential(new nn.Linear(4, 3), frozen)).compile(classify)
    await model.fit(x, y, { validationData: [x, y], ...quiet })
    await model.predict(x)
    expect(frozen.seen).toEqual([true, false, false])
    expect([model.module.training, frozen.training]).toEqual([true, false])
  })

  test('evaluate and predict leave no gradients', async () => {
    const [x, y] = data(4)
    const model = new Model(network()).compile(classify)
    await model.evaluate(x, y)
    expect((await model.predict(x)).requiresGrad).toBe(false)
    expect(model.module.parameters().every((p) => p.grad === undefined)).toBe(true)
  })
})

describe('one batch', () => {
  test('trainOnBatch is one step of fit; testOnBatch and predict look only', async () => {
    const [x, y] = data(6)
    manualSeed(1)
    const one = new Model(network()).compile(classify)
    manualSeed(1)
    const two = new Model(network()).compile(classify)
    const before = await two.testOnBatch(x, y)
    const step = await one.trainOnBatch(x, y)
    expect(step).toEqual(before)
    const { history } = await two.fit(x, y, { batchSize: 6, shuffle: false, ...quiet })
    expect(history['loss']).toEqual([step.loss])
    expect(stateOf(one.module)).toEqual(stateOf(two.module))
  })

  test('predict joins batches', async () => {
    const [x] = data(10)
    const model = new Model(network())
    const whole = model.module.forward(x).toArraySync()
    const joined = await model.predict(x, { batchSize: 3 })
    // The sums of a smaller batch may be taken in another order.
    expect(allClose(joined, tensor(whole as number[][])).itemSync()).toBe(1)
    expect((await model.predict(x)).toArraySync()).toEqual(whole)
  })
})

describe('losses and metrics', () => {
  const logits = tensor([
    [2, 0, 1],
    [0, 3, 1],
  ])
  const identity = () => new Model(new nn.Sequential(new nn.Identity(), new nn.Linear(1, 1)))
  const through = (last: nn.Module & { forward(x: Tensor): Tensor }) =>
    new Model(new nn.Sequential(last))
  const optimizer = () => new optim.SGD(identity().module.parameters(), { lr: 0 })

  test('labels as integers, floats and columns, one-hot targets, scores and probabilities agree', async () => {
    const labels = [0, 2]
    const hot = tensor([
      [1, 0, 0],
      [0, 0, 1],
    ])
    const losses: number[] = []
    const note = async (
      last: nn.Module & { forward(x: Tensor): Tensor },
      loss: string,
      y: Tensor,
    ) => {
      const model = through(last).compile({
        optimizer: optimizer(),
        loss: loss as 'sparseCategoricalCrossentropy',
        metrics: ['accuracy'],
      })
      const results = await model.evaluate(logits, y)
      expect(results['accuracy']).toBe(0.5)
      losses.push(results.loss)
    }
    await note(
      new nn.Identity(),
      'sparseCategoricalCrossentropy',
      tensor(labels, { dtype: 'int32' }),
    )
    await note(new nn.Identity(), 'sparseCategoricalCrossentropy', tensor(labels))
    await note(new nn.Identity(), 'sparseCategoricalCrossentropy', tensor([[0], [2]]))
    await note(new nn.Identity(), 'categoricalCrossentropy', hot)
    await note(new nn.Softmax({ axis: -1 }), 'sparseCategoricalCrossentropy', tensor(labels))
    await note(new nn.Softmax({ axis: -1 }), 'categoricalCrossentropy', hot)
    for (const loss of losses) expect(loss).toBeCloseTo(losses[0]!, 5)
  })

  test('binary: scores are cut at 0, probabilities at one half', async () => {
    const x = tensor([[-1], [0.2], [3]])
    const y = tensor([0, 1, 0])
    for (const last of [new nn.Identity(), new nn.Sigmoid()]) {
      const model = through(last).compile({
        optimizer: optimizer(),
        loss: 'binaryCrossentropy',
        metrics: ['accuracy', 'precision', 'recall'],
      })
      const results = await model.evaluate(x, y)
      expect(results['accuracy']).toBeCloseTo(2 / 3)
      expect(results['precision']).toBeCloseTo(1 / 2)
      expect(results['recall']).toBe(1)
      expect(results.loss).toBeCloseTo(1.32, 3)
    }
  })

  test('regression takes targets [N] for outputs [N, 1]', async () => {
    const model = through(new nn.Identity()).compile({
      optimizer: optimizer(),
      loss: 'meanSquaredError',
      metrics: ['meanAbsoluteError', 'meanSquaredError'],
    })
    const results = await model.evaluate(tensor([[1], [2]]), tensor([3, 2]))
    expect(results).toEqual({ loss: 2, meanAbsoluteError: 1, meanSquaredError: 2 })
  })

  test('functions and modules of your own', async () => {
    const model = through(new nn.Identity()).compile({
      optimizer: optimizer(),
      loss: (output, target) => output.sub(target).abs().max(),
      metrics: [
        function bias(output, target) {
          return output.sub(target).mean()
        },
        new Accuracy(),
      ],
    })
    const results = await model.evaluate(tensor([[1], [4]]), tensor([[1], [1]]))
    expect(results).toEqual({ loss: 3, bias: 1.5, accuracy: 1 })
  })
})

describe('steering', () => {
  test('callbacks are called in order and can stop', async () => {
    const [x, y] = data(4)
    const calls: string[] = []
    const note = (text: string) => void calls.push(text)
    const callback: Callback = {
      onTrainBegin: () => note('begin'),
      onEpochBegin: (epoch) => note(`epoch ${epoch}`),
      onBatchEnd: (batch, logs) => note(`batch ${batch} ${Object.keys(logs).join()}`),
      async onEpochEnd(epoch, logs, run) {
        await Promise.resolve()
        note(`end ${epoch} ${Object.keys(logs).join()} ${run.epochs} ${run.steps}`)
        if (epoch === 1) run.stopTraining = true
      },
      onTrainEnd: () => note('done'),
    }
    const model = new Model(network()).compile(classify)
    const { epochs } = await model.fit(x, y, {
      epochs: 9,
      batchSize: 2,
      validationData: [x, y],
      callbacks: [callback],
      ...quiet,
    })
    expect(epochs).toEqual([0, 1])
    const epoch = (i: number) => [
      `epoch ${i}`,
      'batch 0 loss,accuracy',
      'batch 1 loss,accuracy',
      `end ${i} loss,accuracy,valLoss,valAccuracy 9 2`,
    ]
    expect(calls).toEqual(['begin', ...epoch(0), ...epoch(1), 'done'])
  })

  test('a stream of unknown length', async () => {
    const [x, y] = data(4)
    const stream = new IterableDataset(function* () {
      for (let i = 0; i < 4; i++) yield [x.slice(i), y.slice(i)] as [Tensor, Tensor]
    })
    const model = new Model(network()).compile(classify)
    const { history } = await model.fit(stream, { batchSize: 2, epochs: 2, ...quiet })
    expect(history['loss']!.length).toBe(2)
    const batches = {
      async *[Symbol.asyncIterator]() {
        yield [x, y]
      },
    }
    expect((await model.evaluate(batches)).loss).toBeCloseTo((await model.evaluate(x, y)).loss, 6)
  })

  test('prints a line per epoch where there is no terminal, and nothing when told so', async () => {
    const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
    try {
      const [x, y] = data(4)
      const model = new Model(network()).compile(classify)
      await model.fit(x, y, quiet)
      expect(write).not.toHaveBeenCalled()
      await model.fit(x, y, { epochs: 2, verbose: 2 })
      expect(write.mock.calls.map(([text]) => String(text).replace(/\d+\.\d+/g, '#'))).toEqual([
        'Epoch 1/2 - #s - loss: # - accuracy: #\n',
        'Epoch 2/2 - #s - loss: # - accuracy: #\n',
      ])
    } finally {
      write.mockRestore()
    }
  })
})

describe('mistakes are named', () => {
  const [x, y] = data(4)
  const model = new Model(network()).compile(classify)

  test.each<[string, () => unknown, RegExp]>([
    ['not compiled', () => new Model(network()).fit(x, y), /fit: the model is not compiled/],
    ['no target', () => model.fit(x as never), /a target is missing/],
    ['plain numbers', () => model.fit([1, 2] as never, y), /x and y must be tensors/],
    [
      'unknown option',
      () => model.fit(x, y, { epoch: 3 } as never),
      /unknown option 'epoch'.*'epochs'/,
    ],
    [
      'Keras option',
      () => model.fit(x, y, { classWeight: {} } as never),
      /classWeight is not built; give/,
    ],
    ['verbose', () => model.fit(x, y, { verbose: 3 as never }), /verbose is 3/],
    ['epochs', () => model.fit(x, y, { epochs: 0.5 }), /epochs is 0\.5/],
    [
      'split',
      () => model.fit(x, y, { validationSplit: 1, ...quiet }),
      /Expected a fraction between/,
    ],
    [
      'empty split',
      () => model.fit(x.slice([0, 1]), y.slice([0, 1]), { validationSplit: 0.5 }),
      /leaves one part empty/,
    ],
    [
      'two validations',
      () => model.fit(x, y, { validationSplit: 0.5, validationData: [x, y] }),
      /exclude/,
    ],
    [
      'split of a loader',
      () => model.fit(new DataLoader([1]), { validationSplit: 0.5 }),
      /items by number/,
    ],
    [
      'batchSize for a loader',
      () => model.fit(new DataLoader([1]), { batchSize: 2 }),
      /in batches already/,
    ],
    [
      'one part',
      () => model.fit(new DataLoader([1, 2]), quiet),
      /a batch must be \[x, y\].*one tensor/,
    ],
    ['no data', () => model.fit([], quiet), /no batches/],
    [
      'loss',
      () => model.compile({ ...classify, loss: 'mse' as never }),
      /unknown loss 'mse'. Expected one of spars/,
    ],
    [
      'optimizer',
      () => model.compile({ ...classify, optimizer: 'adm' as never }),
      /unknown optimizer 'adm'/,
    ],
    [
      'metric',
      () => model.compile({ ...classify, metrics: ['acc' as never] }),
      /unknown metric 'acc'/,
    ],
    [
      'twice',
      () => model.compile({ ...classify, metrics: ['accuracy', 'accuracy'] }),
      /two values are called/,
    ],
    ['no module', () => new Model({} as never), /expected a module/],
  ])('%s', async (_, act, message) => {
    await expect(Promise.resolve().then(act)).rejects.toThrow(message)
  })
})

test('a device that cannot be read at once gives the same results', async () => {
  const run = async () => {
    manualSeed(1)
    const [x, y] = data(40)
    const model = new Model(network()).compile({
      ...classify,
      metrics: ['accuracy', 'recall'] as never,
    })
    const calls: number[] = []
    const callbacks: Callback[] = [
      { onBatchEnd: (_, logs) => void calls.push(Object.keys(logs).length) },
    ]
    const { history } = await model.fit(x, y, { batchSize: 1, epochs: 2, callbacks, ...quiet })
    return { history, calls }
  }
  const backend = currentBackend() as { synchronous: boolean }
  const expected = await withConfig({}, run)
  backend.synchronous = false
  try {
    expect((await run()).history).toEqual(expected.history)
  } finally {
    backend.synchronous = true
  }
})

function stateOf(module: nn.Module) {
  return Object.values(module.stateDict()).map((t) => t.toArraySync())
}

test('a module may keep what it made in an earlier step', async () => {
  class Cached extends nn.Module {
    layer = new nn.Linear(2, 1)
    #scale: Tensor | undefined
    forward(x: Tensor): Tensor {
      this.#scale ??= ones([2]).mul(2)
      return this.layer.forward(x.mul(this.#scale))
    }
  }
  const model = new Model(new Cached()).compile({ optimizer: 'sgd', loss: 'meanSquaredError' })
  model.summary([1, 2])
  const { history } = await model.fit(ones([8, 2]), ones([8, 1]), { epochs: 3, verbose: 0 })
  expect(history.loss).toHaveLength(3)
})
