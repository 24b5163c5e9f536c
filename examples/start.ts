/** @file What `npm start` runs: train on digits, save, load into a fresh network, compare, and show. */
import {
  currentBackend,
  getNumThreads,
  manualSeed,
  noGrad,
  setBackend,
  TandemError,
  type Tensor,
} from 'tandem'
import { DataLoader } from 'tandem/data'
import { loadModel, saveModel } from 'tandem/io'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'
import { LearningRateScheduler, Model } from 'tandem/train'
import { renderImages, type MNIST } from 'tandem/vision'
import { mnist } from './common.ts'
import { help, readOptions, UsageError, type StartOptions } from './start-options.ts'

const networks = {
  mlp: () =>
    new nn.Sequential(
      new nn.Flatten(),
      new nn.Linear(784, 128),
      new nn.ReLU(),
      new nn.Linear(128, 10),
    ),
  cnn: () =>
    new nn.Sequential(
      new nn.Conv2d(1, 8, 3, { padding: 1 }),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Conv2d(8, 32, 3, { padding: 1 }),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Flatten(),
      new nn.Linear(32 * 7 * 7, 10),
    ),
}

async function main(options: StartOptions): Promise<void> {
  if (options.backend !== undefined) await setBackend(options.backend)
  const threads = getNumThreads()
  console.log(
    `Computing on ${currentBackend().name}, with ${threads} thread${threads > 1 ? 's' : ''}.`,
  )
  manualSeed(options.seed)
  const { train, test } = await mnist(options.data, { download: options.download })

  const network = networks[options.model]()
  console.log(`\n${network.summary([1, 1, 28, 28])}\n`)
  if (options.style === 'pytorch') await trainWithLoop(network, train, test, options)
  else await trainWithFit(network, train, test, options)

  await saveModel(network, options.save)
  const fresh = networks[options.model]()
  await loadModel(fresh, options.save)
  const guesses = await predict(network, test)
  const again = await predict(fresh, test)
  const differing = guesses.scores.findIndex((score, i) => !Object.is(score, again.scores[i]))
  if (differing >= 0)
    throw new Error(`the network loaded from ${options.save} predicts something else`)
  console.log(
    `\nSaved to ${options.save}, loaded into a fresh network: all ${test.length.toLocaleString('en-US')} predictions agree exactly.\n`,
  )
  console.log(await gallery(test, guesses.digits))
  console.log(`test accuracy ${guesses.accuracy.toFixed(4)}`)
}

/** Large steps first, small ones to settle. */
function learningRate(epoch: number, first: number): number {
  return first * 0.6 ** epoch
}

/** PyTorch's way. */
async function trainWithLoop(
  network: nn.Sequential,
  train: MNIST,
  test: MNIST,
  { batchSize, lr, epochs }: StartOptions,
): Promise<void> {
  const loader = new DataLoader(train, { batchSize, shuffle: true })
  const optimizer = new optim.Adam(network.parameters(), { lr })
  for (let epoch = 1; epoch <= epochs; epoch++) {
    const begin = performance.now()
    let [loss, right, seen] = [0, 0, 0]
    optimizer.lr = learningRate(epoch - 1, lr)
    for await (const [x, y] of loader) {
      optimizer.zeroGrad()
      const output = network.forward(x)
      const mean = output.crossEntropy(y)
      mean.backward()
      optimizer.step()
      loss += (await mean.item()) * y.size
      right += await noGrad(() => output.argmax({ axis: 1 }).eq(y).sum()).item()
      seen += y.size
      progress(`epoch ${epoch}/${epochs}  ${seen}/${train.length}  ${values(loss, right, seen)}`)
    }
    const { accuracy } = await predict(network, test)
    const time = `${((performance.now() - begin) / 1000).toFixed(1)} s`
    progress('')
    console.log(
      `epoch ${epoch}/${epochs}  ${time}  ${values(loss, right, seen)}  test accuracy ${accuracy.toFixed(4)}`,
    )
  }
}

/** Keras' way. */
async function trainWithFit(
  network: nn.Sequential,
  train: MNIST,
  test: MNIST,
  { batchSize, lr, epochs }: StartOptions,
): Promise<void> {
  const model = new Model(network).compile({
    optimizer: { name: 'adam', lr },
    loss: 'sparseCategoricalCrossentropy',
    metrics: ['accuracy'],
  })
  await model.fit(train, {
    epochs,
    batchSize,
    validationData: new DataLoader(test, { batchSize: 500 }),
    callbacks: [new LearningRateScheduler((epoch) => learningRate(epoch, lr))],
  })
}

interface Guesses {
  /** Every output of the network. */
  readonly scores: number[]
  readonly digits: number[]
  readonly accuracy: number
}

async function predict(network: nn.Sequential, test: MNIST): Promise<Guesses> {
  const scores: number[] = []
  const digits: number[] = []
  let right = 0
  for await (const [x, y] of new DataLoader(test, { batchSize: 500 })) {
    const output: Tensor = noGrad(() => network.eval().forward(x))
    const guess = output.argmax({ axis: 1 })
    for (const score of await output.data()) scores.push(Number(score))
    for (const digit of await guess.data()) digits.push(Number(digit))
    right += await guess.eq(y).sum().item()
  }
  network.train()
  return { scores, digits, accuracy: right / test.length }
}

/** The first digits of the test, and the first mistakes, as text. */
async function gallery(test: MNIST, guesses: readonly number[]): Promise<string> {
  const labels = Array.from(await test.labels.data(), Number)
  const columns = process.stdout.isTTY ? process.stdout.columns : 80
  const perLine = Math.min(6, Math.max(1, Math.floor((columns + 2) / 30)))
  const mistakes = labels.flatMap((label, i) => (label === guesses[i] ? [] : [i]))
  const shown = [...labels.keys()].slice(0, perLine).concat(mistakes.slice(0, perLine))
  const [images] = test.getBatch(Int32Array.from(shown))
  const depth = process.stdout.isTTY ? process.stdout.getColorDepth() : 1
  return renderImages((await images.data()) as Float32Array, {
    perLine,
    color: depth >= 24 ? true : depth >= 8 ? 256 : false,
    captions: shown.map((i) =>
      labels[i] === guesses[i] ? String(guesses[i]) : `read as ${guesses[i]}, is ${labels[i]}`,
    ),
  })
}

const values = (loss: number, right: number, seen: number) =>
  `loss ${(loss / seen).toFixed(4)}  accuracy ${(right / seen).toFixed(4)}`

let lastProgress = 0

/** A line that replaces itself, in a terminal; nothing elsewhere. An empty one clears it. */
function progress(line: string): void {
  if (!process.stdout.isTTY) return
  if (line !== '' && performance.now() - lastProgress < 80) return
  lastProgress = performance.now()
  process.stdout.write(`\r\x1b[K${line}`)
}

try {
  const options = readOptions(process.argv.slice(2))
  if (options === 'help') console.log(help)
  else await main(options)
} catch (error) {
  if (!(error instanceof UsageError) && !(error instanceof TandemError)) throw error
  console.error(`start: ${error.message}`)
  if (error instanceof UsageError) console.error('See npm start -- --help')
  process.exitCode = 2
}
