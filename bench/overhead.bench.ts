/** @file What one eager operation costs on next to no data: the sum of two vectors of 100 floats. */

import type { Case, Contender } from './harness.ts'
import type { TfTensor } from './peer-types.ts'
import { JAX, loadJax, loadTfjs, TFJS } from './peers.ts'
import { loadTandem, type Tensor } from './tandem.ts'

const LENGTH = 100
/** Sums in one run. */
const REPEATS = 100

export const cases: Case[] = [
  {
    name: `eager add, ${LENGTH} floats`,
    unit: 'ns',
    better: 'lower',
    work: REPEATS,
    contenders: { tandem: tandemAdd, [TFJS]: tfjsAdd, [JAX]: jaxAdd },
  },
]

async function tandemAdd(): Promise<Contender> {
  const { randn } = await loadTandem()
  const a = randn([LENGTH])
  const b = randn([LENGTH])
  let sum: Tensor
  return {
    run() {
      for (let i = 0; i < REPEATS; i++) sum = a.add(b)
    },
    async finish() {
      await sum.sum().item()
    },
  }
}

async function tfjsAdd(): Promise<Contender> {
  const tf = await loadTfjs()
  const a = tf.tensor(values(), [LENGTH])
  const b = tf.tensor(values(), [LENGTH])
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
    close() {
      for (const tensor of [a, b, sum]) tensor?.dispose()
    },
  }
}

/** jax-js is lazy: every sum has to be read, or it is never computed. */
async function jaxAdd(): Promise<Contender> {
  const jax = await loadJax()
  const [a, b] = await jax.blockUntilReady([jax.numpy.array(values()), jax.numpy.array(values())])
  return {
    run() {
      for (let i = 0; i < REPEATS; i++) a!.ref.add(b!.ref).dataSync()
    },
    close() {
      a!.dispose()
      b!.dispose()
    },
  }
}

function values(): Float32Array {
  return Float32Array.from({ length: LENGTH }, () => Math.random())
}
