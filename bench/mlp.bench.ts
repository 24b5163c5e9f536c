/** @file Training steps of a 784-128-10 perceptron: batch 64, cross-entropy, Adam at 1e-3. */

import type { Case } from './harness.ts'
import { jaxMlp, tfjsMlp } from './mlp-peers.ts'
import { JAX, TFJS } from './peers.ts'
import { threadsText } from './settings.ts'
import { tandemSteps, torchSteps, trainingCases } from './steps.ts'
import { TORCH } from './torch.ts'

export const cases: Case[] = [
  {
    name: `784-128-10, batch 64, Adam, eager, ${threadsText()}`,
    unit: 'steps/s',
    better: 'higher',
    work: trainingCases.mlp.steps,
    contenders: {
      tandem: tandemSteps('mlp'),
      [TORCH]: torchSteps('mlp'),
      [TFJS]: tfjsMlp,
      [JAX]: jaxMlp,
    },
  },
]
