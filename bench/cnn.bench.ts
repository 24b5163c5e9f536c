/** @file Training steps of the convolutional network of `npm start`: MNIST's images, batch 64, Adam. */

import type { Case, Contender } from './harness.ts'
import { threadsText } from './settings.ts'
import { loadTandem, tandemTraining, tensorOf } from './tandem.ts'
import { TORCH, torchContender } from './torch.ts'
import { labels } from './values.ts'

const BATCH = 64
const RATE = 1e-3
/** Training steps in one run. */
const STEPS = 4

// tfjs is no contender: its WebAssembly backend has no gradient of a convolution's weight.
export const cases: Case[] = [
  {
    name: `MNIST CNN, batch ${BATCH}, Adam, eager, ${threadsText()}`,
    unit: 'steps/s',
    better: 'higher',
    work: STEPS,
    contenders: {
      tandem: tandemStep,
      [TORCH]: torchContender('cnn', { batch: BATCH, rate: RATE, steps: STEPS }),
    },
  },
]

async function tandemStep(): Promise<Contender> {
  const tandem = await loadTandem()
  const { nn, optim } = tandem
  const model = new nn.Sequential(
    new nn.Conv2d(1, 8, 3, { padding: 1 }),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(8, 32, 3, { padding: 1 }),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Linear(32 * 7 * 7, 10),
  )
  return tandemTraining({
    model,
    optimizer: new optim.Adam(model.parameters(), { lr: RATE }),
    x: tensorOf(tandem, [BATCH, 1, 28, 28], 1),
    y: tandem.tensor(labels(BATCH, 10)),
    steps: STEPS,
  })
}
