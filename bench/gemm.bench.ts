/** @file Float32 matrix products, operands and result in memory: square, of a transformer, and of one row. */

import { fmaPeak } from './fma-peak.ts'
import type { Case, Contender, Setup } from './harness.ts'
import { ORT, ortContender } from './ort.ts'
import type { TfTensor } from './peer-types.ts'
import { JAX, loadJax, loadTfjs, TFJS, tfjsContender, tfTensorOf } from './peers.ts'
import { settings, threadsText } from './settings.ts'
import { loadTandem, tandemContender, tensorOf } from './tandem.ts'
import { TORCH, torchContender } from './torch.ts'
import { sampleOf, sizeOf, values } from './values.ts'

/** [m, k] times [k, n]; a transposed operand lies in memory as [k, m] or [n, k]. */
interface Product {
  readonly m: number
  readonly k: number
  readonly n: number
  readonly transposeA?: boolean
  readonly transposeB?: boolean
  readonly group: string
}

const square = (n: number): Product => ({ m: n, k: n, n, group: 'square' })
const group = 'transformer'

const PRODUCTS: readonly Product[] = [
  ...[64, 256, 512, 1024].map(square),
  // A dense layer on 2048 tokens, and the gradients of its weight and of its input.
  { m: 2048, k: 384, n: 1536, group },
  { m: 384, k: 2048, n: 1536, transposeA: true, group },
  { m: 2048, k: 1536, n: 384, transposeB: true, group },
  { m: 1, k: 384, n: 1536, group: 'one row' },
  { m: 1, k: 1024, n: 1024, group: 'one row' },
]

export const cases: Case[] = PRODUCTS.map((product) => ({
  name: nameOf(product),
  unit: 'GFLOP/s',
  better: 'higher',
  work: 2 * product.m * product.k * product.n,
  group: product.group,
  contenders: {
    tandem: tandemMatmul(product),
    [TORCH]: torchContender('gemm', argumentsOf(product)),
    [ORT]: ortMatmul(product),
    [TFJS]: tfjsMatmul(product),
    [JAX]: jaxMatmul(product),
  },
}))

/** The bound that the results are put in relation to. */
export const peak = (): Promise<number | string> => fmaPeak(settings.threads)

function nameOf({ m, k, n, transposeA, transposeB }: Product): string {
  const form = transposeA ? ' A^T B' : transposeB ? ' A B^T' : ''
  return `f32 ${m}x${k}x${n}${form} ${threadsText()}`
}

function argumentsOf({ m, k, n, transposeA = false, transposeB = false }: Product) {
  return { m, k, n, transposeA, transposeB }
}

/** The shapes as they lie in memory. */
function shapesOf({ m, k, n, transposeA, transposeB }: Product): [number[], number[]] {
  return [transposeA ? [k, m] : [m, k], transposeB ? [n, k] : [k, n]]
}

function tandemMatmul(product: Product): Setup {
  return async () => {
    const tandem = await loadTandem()
    const [a, b] = shapesOf(product).map((shape, i) => tensorOf(tandem, shape, i + 1))
    const left = product.transposeA ? a!.transpose() : a!
    const right = product.transposeB ? b!.transpose() : b!
    return tandemContender(() => left.matmul(right))
  }
}

/** Both operands are inputs, as for everybody: constants would be rearranged beforehand. */
function ortMatmul(product: Product): Setup {
  const { m, n, transposeA, transposeB } = product
  const shapes = shapesOf(product)
  const inputs = ['a', 'b'].map((name, i) => ({ name, shape: shapes[i]! }))
  const gemm = {
    op: 'Gemm',
    attributes: { transA: Number(transposeA ?? false), transB: Number(transposeB ?? false) },
  }
  const node = transposeA || transposeB ? gemm : { op: 'MatMul' }
  return ortContender(
    () => ({
      nodes: [{ ...node, inputs: ['a', 'b'], outputs: ['c'] }],
      inputs,
      outputs: [{ name: 'c', shape: [m, n] }],
    }),
    (name) => (name === 'a' ? values(sizeOf(shapes[0]), 1) : values(sizeOf(shapes[1]), 2)),
  )
}

/** Its product of a transposed operand is far slower than transposing first, so that is what is done. */
function tfjsMatmul(product: Product): Setup {
  return async () => {
    const tf = await loadTfjs()
    const [a, b] = shapesOf(product).map((shape, i) => tfTensorOf(tf, shape, i + 1))
    const straight = (x: TfTensor, isTransposed = false) =>
      isTransposed ? tf.transpose(x, [1, 0]) : x
    return tfjsContender(() => {
      const [left, right] = [straight(a!, product.transposeA), straight(b!, product.transposeB)]
      const result = tf.matMul(left, right)
      if (left !== a) left.dispose()
      if (right !== b) right.dispose()
      return result
    }, [a!, b!])
  }
}

/** jax-js is lazy: a product that nobody waits for is never computed. Its `jit` is its fastest way. */
function jaxMatmul(product: Product): Setup {
  return async (): Promise<Contender> => {
    const jax = await loadJax()
    const matmul = jax.jit((a, b) =>
      jax.numpy.matmul(
        product.transposeA ? a.transpose() : a,
        product.transposeB ? b.transpose() : b,
      ),
    ) as typeof jax.numpy.matmul & { dispose(): void }
    const [a, b] = await jax.blockUntilReady(
      shapesOf(product).map((shape, i) =>
        jax.numpy.array(values(sizeOf(shape), i + 1)).reshape(shape),
      ),
    )
    return {
      async run() {
        const result = matmul(a!.ref, b!.ref)
        await result.blockUntilReady()
        result.dispose()
      },
      sample: () => sampleOf(matmul(a!.ref, b!.ref).dataSync()),
      close() {
        a!.dispose()
        b!.dispose()
        matmul.dispose()
      },
    }
  }
}
