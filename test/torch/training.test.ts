/** @file Whole training runs against PyTorch: layers, losses and optimizers together, step by step. */
import { expect, test } from 'vitest'
import { arange, noGrad, tensor, type Tensor } from 'tandem'
import * as nn from 'tandem/nn'
import { AdamW, SGD, type Optimizer } from 'tandem/optim'
import { readFixture, toTensor } from './fixture.ts'

class Tokens extends nn.Module {
  embedding = new nn.Embedding(11, 8)
  layer = new nn.TransformerEncoderLayer(8, 2, { dimFeedforward: 16, dropout: 0 })
  head = new nn.Linear(8, 11)
  forward(x: Tensor): Tensor {
    const hidden = this.layer.forward(this.embedding.forward(x), { isCausal: true })
    return this.head.forward(hidden).flatten({ endAxis: 1 })
  }
}

const makers = {
  images: () => {
    const model = new nn.Sequential(
      new nn.Conv2d(1, 4, 3, { padding: 1 }),
      new nn.BatchNorm2d(4),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Flatten(),
      new nn.Linear(64, 10),
    )
    const x = toTensor({ shape: [16, 1, 8, 8], seed: 1 })
    return { model, x, y: arange(16, { dtype: 'int32' }).mul(7).remainder(10) }
  },
  tokens: () => {
    const token = (i: number) => (((i * 5) % 11) + Math.floor(i / 9)) % 11
    const rows = Array.from({ length: 4 }, (_, r) =>
      Array.from({ length: 7 }, (_, c) => token(7 * r + c)),
    )
    const take = (from: number, to: number) =>
      tensor(
        rows.map((row) => row.slice(from, to)),
        { dtype: 'int32' },
      )
    return { model: new Tokens(), x: take(0, 6), y: take(1, 7).flatten() }
  },
}

const optimizers: Record<string, (params: nn.Parameter[]) => Optimizer> = {
  SGD: (params) => new SGD(params, { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 }),
  AdamW: (params) => new AdamW(params, { lr: 0.01 }),
}

for (const [name, losses] of Object.entries(readFixture<Record<string, number[]>>('training')))
  test(name, () => {
    const [task, optimizerName] = name.split(', ') as [keyof typeof makers, string]
    const { model, x, y } = makers[task]()
    noGrad(() =>
      model
        .parameters()
        .forEach((p, i) => p.assign(toTensor({ shape: p.shape, seed: i + 20 }).div(2))),
    )
    const optimizer = optimizers[optimizerName]!(model.parameters())
    const lossOf = new nn.CrossEntropyLoss()
    const found = losses.map(() => {
      optimizer.zeroGrad()
      const loss = lossOf.forward(model.forward(x), y)
      loss.backward()
      optimizer.step()
      return loss.itemSync()
    })
    losses.forEach((loss, step) => {
      expect(
        Math.abs(found[step]! - loss),
        `step ${step}: ${found[step]}, PyTorch ${loss}`,
      ).toBeLessThan(1e-5 * loss)
    })
  })
