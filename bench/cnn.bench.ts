/** @file Training steps of the convolutional network of `npm start`: MNIST's images, batch 64, Adam. */

import type { Case } from './harness.ts'
import { threadsText } from './settings.ts'
import { tandemSteps, torchSteps, trainingCases } from './steps.ts'
import { TORCH } from './torch.ts'

// tfjs is no contender: its WebAssembly backend has no gradient of a convolution's weight.
export const cases: Case[] = [
  {
    name: `${trainingCases.cnn.name}, eager, ${threadsText()}`,
    unit: 'steps/s',
    better: 'higher',
    work: trainingCases.cnn.steps,
    contenders: { tandem: tandemSteps('cnn'), [TORCH]: torchSteps('cnn') },
  },
]
