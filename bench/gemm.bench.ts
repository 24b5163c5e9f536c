/** @file Square float32 matrix products, operands and result in memory, one thread. */

import type { Case, Contender } from './harness.ts'
import type { TfTensor } from './peer-types.ts'
import { JAX, loadJax, loadTfjs, TFJS } from './peers.ts'
import { loadTandem, type Tensor } from './tandem.ts'

export const cases: Case[] = [64, 256, 512, 1024].map((n) => ({
  name: `f32 ${n}x${n}x${n} 1 thread`,
  unit: 'GFLOP/s',
  better: 'higher',
  work: 2 * n ** 3,
  contenders: {
    tandem: () => tandemMatmul(n),
    [TFJS]: () => tfjsMatmul(n),
    [JAX]: () => jaxMatmul(n),
  },
}))

async function tandemMatmul(n: number): Promise<Contender> {
  const { randn } = await loadTandem()
  const a = randn([n, n])
  const b = randn([n, n])
  let product: Tensor
  return {
    run() {
      product = a.matmul(b)
    },
    async finish() {
      await product.slice(0, 0).item()
    },
  }
}

async function tfjsMatmul(n: number): Promise<Contender> {
  const tf = await loadTfjs()
  const a = tf.tensor(randomValues(n * n), [n, n])
  const b = tf.tensor(randomValues(n * n), [n, n])
  let product: TfTensor | undefined
  return {
    run() {
      product?.dispose()
      product = tf.matMul(a, b)
    },
    finish() {
      const corner = product!.slice([0, 0], [1, 1])
      corner.dataSync()
      corner.dispose()
    },
    close() {
      for (const tensor of [a, b, product]) tensor?.dispose()
    },
  }
}

/** jax-js is lazy: a product that nobody waits for is never computed. Its `jit` is its fastest way. */
async function jaxMatmul(n: number): Promise<Contender> {
  const jax = await loadJax()
  const matmul = jax.jit(jax.numpy.matmul)
  const [a, b] = await jax.blockUntilReady([
    jax.numpy.array(randomValues(n * n)).reshape([n, n]),
    jax.numpy.array(randomValues(n * n)).reshape([n, n]),
  ])
  return {
    async run() {
      const product = matmul(a!.ref, b!.ref)
      await product.blockUntilReady()
      product.dispose()
    },
    close() {
      a!.dispose()
      b!.dispose()
      matmul.dispose()
    },
  }
}

function randomValues(count: number): Float32Array {
  return Float32Array.from({ length: count }, () => Math.random() - 0.5)
}
