/** @file The training steps that are run compiled, by name: models, optimizers and data. */

import type { Setup } from './harness.ts'
import { makeCnn, makeGpt, makeMlp, makeResnet18 } from './models.ts'
import { settings } from './settings.ts'
import {
  loadTandem,
  tandemTraining,
  tensorOf,
  type Tandem,
  type Tensor,
  type Training,
} from './tandem.ts'
import { torchContender, torchMemory } from './torch.ts'
import { labels } from './values.ts'

export interface TrainingCase {
  readonly name: string
  /** Of PyTorch's case. */
  readonly bench: string
  readonly options: Record<string, unknown>
  /** Layouts of memory that PyTorch may use, of images. */
  readonly layouts?: readonly string[]
  /** Steps in one run. */
  readonly steps: number
  make(tandem: Tandem): Training
}

const BATCH = 64
const RATE = 1e-3
/** Small steps: what two layouts of memory round differently grows fast in ResNet-18, even within PyTorch. */
const MOMENTUM = { lr: RATE, momentum: 0.9 }
const SIZES = [784, 128, 10] as const
const BLOCKS = settings.quick ? 1 : 2
const GPT = {
  batch: 8,
  tokens: 256,
  vocabulary: 65,
  layers: settings.quick ? 2 : 6,
  width: 384,
  heads: 6,
}

export const trainingCases = {
  mlp: {
    name: `MLP ${SIZES.join('-')}, batch ${BATCH}, Adam`,
    bench: 'mlp',
    options: { batch: BATCH, sizes: SIZES, rate: RATE },
    steps: 16,
    make(tandem) {
      const model = makeMlp(tandem, SIZES)
      return {
        model,
        optimizer: new tandem.optim.Adam(model.parameters(), { lr: RATE }),
        x: tensorOf(tandem, [BATCH, SIZES[0]], 1),
        y: tandem.tensor(labels(BATCH, SIZES[2])),
        steps: this.steps,
      }
    },
  },
  cnn: {
    name: `MNIST CNN, batch ${BATCH}, Adam`,
    bench: 'cnn',
    options: { batch: BATCH, rate: RATE },
    steps: 4,
    make(tandem) {
      const model = makeCnn(tandem)
      return {
        model,
        optimizer: new tandem.optim.Adam(model.parameters(), { lr: RATE }),
        x: tensorOf(tandem, [BATCH, 1, 28, 28], 1),
        y: tandem.tensor(labels(BATCH, 10)),
        steps: this.steps,
      }
    },
  },
  resnet18: {
    name: `ResNet-18, CIFAR, batch ${BATCH}, SGD`,
    bench: 'resnet18',
    options: { batch: BATCH, blocks: BLOCKS, rate: MOMENTUM.lr, momentum: MOMENTUM.momentum },
    layouts: ['contiguous_format', 'channels_last'],
    steps: 1,
    make(tandem) {
      const model = makeResnet18(tandem, BLOCKS)
      return {
        model,
        optimizer: new tandem.optim.SGD(model.parameters(), MOMENTUM),
        x: tensorOf(tandem, [BATCH, 3, 32, 32], 1),
        y: tandem.tensor(labels(BATCH, 10)),
        steps: this.steps,
      }
    },
  },
  gpt: {
    name: `GPT ${GPT.layers} x ${GPT.width}, batch ${GPT.batch} x ${GPT.tokens}, Adam`,
    bench: 'attention',
    options: { ...GPT, rate: RATE },
    steps: 1,
    make(tandem) {
      const model = makeGpt(tandem, GPT)
      const tokens = tandem.tensor(labels(GPT.batch * GPT.tokens, GPT.vocabulary))
      return {
        model,
        optimizer: new tandem.optim.Adam(model.parameters(), { lr: RATE }),
        x: tokens.reshape([GPT.batch, GPT.tokens]),
        y: tokens,
        steps: this.steps,
      }
    },
  },
} satisfies Record<string, TrainingCase>

export type TrainingName = keyof typeof trainingCases

/** Tandem's contender. */
export function tandemSteps(name: TrainingName, isCompiled = false): Setup {
  return async () => {
    const tandem = await loadTandem()
    const compile = (step: () => Tensor) => (isCompiled ? tandem.compile(step, { name }) : step)
    return tandemTraining(tandem, trainingCases[name].make(tandem), compile)
  }
}

/** PyTorch's. */
export function torchSteps(name: TrainingName, isCompiled = false): Setup {
  const { bench, options, steps } = trainingCases[name]
  return torchContender(bench, { ...options, steps, ...(isCompiled && { compiled: true }) })
}

/** Bytes that PyTorch takes at most, above those it takes idle: eager, in the layout of memory that takes less. */
export function torchStepMemory(name: TrainingName): number | undefined {
  const { bench, options, steps, layouts } = trainingCases[name] as TrainingCase
  const tried = (layouts ?? [undefined]).map((layout) =>
    torchMemory(bench, { ...options, steps, ...(layout && { layouts: [layout] }) }),
  )
  return tried.some((bytes) => bytes === undefined) ? undefined : Math.min(...(tried as number[]))
}
