/** @file Loads Tandem the way a user does, through its public entry points. */

// By path, as this folder's own package.json hides the library's name from the compiler.
import type * as root from '../src/index.ts'
import type * as nn from '../src/nn/index.ts'
import type * as optim from '../src/optim/index.ts'
import { NotInstalled, type Contender } from './harness.ts'
import { fillParameters, type Layer } from './models.ts'
import { sampleOf, sizeOf, values } from './values.ts'

export type Tensor = root.Tensor

export type Tandem = typeof root & { nn: typeof nn; optim: typeof optim }

/** The library on the chosen backend, with reproducible random numbers. */
export async function loadTandem(): Promise<Tandem> {
  const [root, nn, optim] = await Promise.all(['tandem', 'tandem/nn', 'tandem/optim'].map(load))
  const tandem = { ...root, nn, optim } as Tandem
  tandem.manualSeed(1)
  return tandem
}

/** A tensor of the numbers that all contenders get. */
export function tensorOf(tandem: Tandem, shape: readonly number[], seed: number): Tensor {
  return tandem.fromTypedArray(values(sizeOf(shape), seed), shape)
}

/**
 * A contender that computes one tensor again and again, as eager programs do: results are forgotten,
 * not disposed of by hand, unless `frees`: then each is when the next one is there, which is when Python frees it.
 * Each batch ends by reading one element.
 */
export function tandemContender(compute: () => Tensor, { frees = false } = {}): Contender {
  let result: Tensor | undefined
  return {
    run() {
      const next = compute()
      if (frees) result?.dispose()
      result = next
    },
    async finish() {
      await firstElement(result!).item()
    },
    async sample() {
      return sampleOf((await result!.data()) as Float32Array)
    },
  }
}

export interface Training {
  readonly model: Layer
  readonly optimizer: optim.Optimizer
  readonly x: Tensor
  readonly y: Tensor
  /** Steps in one run. */
  readonly steps: number
}

/** Steps whose losses all contenders must agree on. */
const LOSSES = 3

/** A contender that trains on one batch again and again, as everybody writes it; `compile` may speed a step up. */
export async function tandemTraining(
  tandem: Tandem,
  training: Training,
  compile: (step: () => Tensor) => () => Tensor = (step) => step,
): Promise<Contender> {
  fillParameters(tandem, training.model)
  const step = compile(() => trainingStep(training))
  const losses: number[] = []
  for (let i = 0; i < LOSSES; i++) losses.push(await step().item())
  let loss: Tensor
  return {
    run() {
      for (let i = 0; i < training.steps; i++) loss = step()
    },
    async finish() {
      const value = await loss.item()
      if (!Number.isFinite(value)) throw new Error(`tandem: the loss is ${value}`)
    },
    sample: () => losses,
  }
}

/** One step: the loss, its gradients, the update. */
export function trainingStep({ model, optimizer, x, y }: Training): Tensor {
  optimizer.zeroGrad()
  const loss = model.forward(x).crossEntropy(y)
  loss.backward()
  optimizer.step()
  return loss
}

function firstElement(x: Tensor): Tensor {
  return x.slice(...x.shape.map(() => 0))
}

async function load(name: string): Promise<object> {
  try {
    return (await import(name)) as object
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new NotInstalled('not built; npm run build')
  }
}
