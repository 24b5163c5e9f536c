/** @file Loads Tandem the way a user does, through its public entry points. */

import { NotInstalled } from './harness.ts'

export interface Tensor {
  add(other: Tensor): Tensor
  matmul(other: Tensor): Tensor
  sum(): Tensor
  slice(...ranges: number[]): Tensor
  item(): number | Promise<number>
  backward(): void
}

interface Module {
  forward(...inputs: Tensor[]): Tensor
  parameters(): unknown
}

/** The part of the public API that the benchmarks use. */
export interface Tandem {
  tensor: (values: unknown, options?: { dtype?: string }) => Tensor
  randn: (shape: number[]) => Tensor
  manualSeed: (seed: number) => void
  nn: {
    Linear: new (inFeatures: number, outFeatures: number) => Module
    ReLU: new () => Module
    Sequential: new (...layers: Module[]) => Module
    CrossEntropyLoss: new () => Module
  }
  optim: {
    Adam: new (
      parameters: unknown,
      options: { lr: number },
    ) => {
      zeroGrad(): void
      step(): void
    }
  }
}

/** The library on its default backend, with reproducible random numbers. */
export async function loadTandem(): Promise<Tandem> {
  const [root, nn, optim] = await Promise.all(['tandem', 'tandem/nn', 'tandem/optim'].map(load))
  const tandem = { ...root, nn, optim } as unknown as Tandem
  tandem.manualSeed(1)
  return tandem
}

async function load(name: string): Promise<object> {
  try {
    return (await import(name)) as object
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new NotInstalled('not built; npm run build')
  }
}
