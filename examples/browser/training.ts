/** @file The training loop of the page: PyTorch's way, telling how it goes. */
import { noGrad, tidy, type Tensor } from 'tandem'
import { DataLoader } from 'tandem/data'
import type * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'
import type { MNIST } from 'tandem/vision'
import type { EpochReport, Guess, Report } from './protocol.ts'

/** Images per step. */
const batchSize = 64
/** Milliseconds between two reports: ten a second look continuous. */
const reportEvery = 100
/** Milliseconds between two looks at the digits shown. */
const guessEvery = 500

/** Digits to learn from, to be judged by, and to show. */
export interface Digits {
  readonly train: MNIST
  readonly test: MNIST
  /** [count, 1, 28, 28] */
  readonly shown: Tensor
}

/**
 * Trains a network and yields what to tell the page. The loader lets messages in between batches, so
 * whoever reads the reports may stop reading at any of them.
 */
export async function* train(
  network: nn.Layer,
  { train, test, shown }: Digits,
  epochs: number,
): AsyncGenerator<Report> {
  const optimizer = new optim.Adam(network.parameters(), { lr: 1e-3 })
  const batches = new DataLoader(train, { batchSize, shuffle: true })
  const parameters = network.parameters().reduce((sum, { size }) => sum + size, 0)
  yield { kind: 'started', stepsPerEpoch: batches.length, parameters }

  let lastGuess = 0
  for (let epoch = 1; epoch <= epochs; epoch++) {
    const start = performance.now()
    let lastReport = start
    let steps = 0
    let lossSum = 0
    let losses: number[] = []
    const progress = (): Report => {
      lastReport = performance.now()
      const imagesPerSecond = (1000 * steps * batchSize) / (lastReport - start)
      const { reserved: memory } = shown.backend.memoryStats()
      const report: Report = { kind: 'progress', losses, imagesPerSecond, memory }
      losses = []
      return report
    }
    network.train()
    for await (const [x, y] of batches) {
      optimizer.zeroGrad()
      const loss = network.forward(x).crossEntropy(y)
      loss.backward()
      optimizer.step()

      losses.push(await loss.item())
      lossSum += losses.at(-1)!
      steps++
      if (performance.now() - lastReport < reportEvery) continue
      yield progress()
      if (performance.now() - lastGuess > guessEvery) {
        yield { kind: 'guesses', guesses: await guess(network, shown) }
        lastGuess = performance.now()
      }
    }
    if (losses.length > 0) yield progress()
    const trainLoss = lossSum / steps
    const { loss: testLoss, accuracy: testAccuracy } = await evaluate(network, test)
    const seconds = (performance.now() - start) / 1000
    yield { kind: 'epoch', epoch, trainLoss, testLoss, testAccuracy, seconds } satisfies EpochReport
    yield { kind: 'guesses', guesses: await guess(network, shown) }
  }
}

/** Mean loss over a data set, and the part of it that is read right. */
async function evaluate(
  network: nn.Layer,
  data: MNIST,
): Promise<{ loss: number; accuracy: number }> {
  network.eval()
  let lossSum = 0
  let right = 0
  for await (const [x, y] of new DataLoader(data, { batchSize: 500 })) {
    const [loss, hits] = noGrad(() => {
      const logits = network.forward(x)
      return [logits.crossEntropy(y, { reduction: 'sum' }), logits.argmax({ axis: 1 }).eq(y).sum()]
    })
    lossSum += await loss!.item()
    right += await hits!.item()
  }
  return { loss: lossSum / data.length, accuracy: right / data.length }
}

/** The network's probabilities for each image, [count, 10]. */
export async function probabilities(network: nn.Layer, images: Tensor): Promise<number[][]> {
  const wasTraining = network.training
  network.eval()
  const result = tidy(() => noGrad(() => network.forward(images).softmax({ axis: 1 })))
  network.train(wasTraining)
  return (await result.toArray()) as number[][]
}

async function guess(network: nn.Layer, images: Tensor): Promise<Guess[]> {
  return (await probabilities(network, images)).map((row) => {
    const confidence = Math.max(...row)
    return { digit: row.indexOf(confidence), confidence }
  })
}
