/** @file What one eager operation costs on next to no data: the sum of two vectors of 100 floats. */

import type { Case, Contender, Setup } from './harness.ts'
import type { TfTensor } from './peer-types.ts'
import { JAX, loadJax, loadTfjs, TFJS, tfTensorOf } from './peers.ts'
import { loadTandem, tensorOf, type Tensor } from './tandem.ts'
import { TORCH, torchContender } from './torch.ts'
import { sampleOf, values } from './values.ts'

const LENGTH = 100
/** Sums in one run. */
const REPEATS = 100

export const cases: Case[] = [
  {
    name: `eager add, ${LENGTH} floats`,
    unit: 'ns',
    better: 'lower',
    work: REPEATS,
    contenders: {
      tandem: tandemAdd(false),
      [TORCH]: torchAdd(false),
      [TFJS]: tfjsAdd,
      [JAX]: jaxAdd,
    },
  },
  {
    name: `eager add, ${LENGTH} floats, recorded for gradients`,
    unit: 'ns',
    better: 'lower',
    work: REPEATS,
    contenders: { tandem: tandemAdd(true), [TORCH]: torchAdd(true) },
  },
]

function tandemAdd(records: boolean): Setup {
  return async (): Promise<Contender> => {
    const tandem = await loadTandem()
    const a = tensorOf(tandem, [LENGTH], 1).requireGrad(records)
    const b = tensorOf(tandem, [LENGTH], 2)
    let sum: Tensor
    return {
      run() {
        for (let i = 0; i < REPEATS; i++) sum = a.add(b)
      },
      async finish() {
        await sum.sum().item()
      },
      async sample() {
        return sampleOf((await sum.data()) as Float32Array)
      },
    }
  }
}

function torchAdd(records: boolean): Setup {
  return torchContender('overhead', { length: LENGTH, repeats: REPEATS, records })
}

async function tfjsAdd(): Promise<Contender> {
  const tf = await loadTfjs()
  const a = tfTensorOf(tf, [LENGTH], 1)
  const b = tfTensorOf(tf, [LENGTH], 2)
  let sum: TfTensor | undefined
  return {
    run() {
      for (let i = 0; i < REPEATS; i++) {
        sum?.dispose()
        sum = tf.add(a, b)
      }
    },
    finish() {
      sum!.dataSync()
    },
    sample: () => sampleOf(sum!.dataSync()),
    close() {
      for (const tensor of [a, b, sum]) tensor?.dispose()
    },
  }
}

/** jax-js is lazy: every sum has to be read, or it is never computed. */
async function jaxAdd(): Promise<Contender> {
  const jax = await loadJax()
  const [a, b] = await jax.blockUntilReady(
    [1, 2].map((seed) => jax.numpy.array(values(LENGTH, seed))),
  )
  return {
    run() {
      for (let i = 0; i < REPEATS; i++) a!.ref.add(b!.ref).dataSync()
    },
    sample: () => sampleOf(a!.ref.add(b!.ref).dataSync()),
    close() {
      a!.dispose()
      b!.dispose()
    },
  }
}
