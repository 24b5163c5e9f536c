/**
 * @file Training steps of a small GPT on characters of a text, as in Karpathy's nanoGPT on Shakespeare: six
 * blocks of width 384, six heads, 8 x 256 tokens, Adam.
 */

import type { Case } from './harness.ts'
import { threadsText } from './settings.ts'
import { tandemSteps, torchSteps, trainingCases } from './steps.ts'
import { TORCH } from './torch.ts'

export const cases: Case[] = [
  {
    name: `${trainingCases.gpt.name}, eager, ${threadsText()}`,
    unit: 'ms',
    better: 'lower',
    work: 1,
    plan: { rounds: 9 },
    contenders: { tandem: tandemSteps('gpt'), [TORCH]: torchSteps('gpt') },
  },
]
