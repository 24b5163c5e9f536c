/** @file The training step of the perceptron as the JavaScript peers have it: tfjs' `fit`, jax-js' `jit`. */

import type { Contender } from './harness.ts'
import type { JaxArray } from './peer-types.ts'
import { loadJax, loadTfjs } from './peers.ts'
import { trainingCases } from './steps.ts'
import { labels, sizeOf } from './values.ts'

const BATCH = 64
const SIZES = [784, 128, 10] as const
const RATE = 1e-3
/** Training steps in one run; an epoch of tfjs' `fit`. */
const STEPS = trainingCases.mlp.steps

export async function tfjsMlp(): Promise<Contender> {
  const tf = await loadTfjs()
  const model = tf.sequential()
  model.add(tf.layers.dense({ inputShape: [SIZES[0]], units: SIZES[1], activation: 'relu' }))
  model.add(tf.layers.dense({ units: SIZES[2], activation: 'softmax' }))
  model.compile({ optimizer: tf.train.adam(RATE), loss: 'sparseCategoricalCrossentropy' })
  const samples = BATCH * STEPS
  const x = tf.tensor(randomValues(samples * SIZES[0], 1), [samples, SIZES[0]])
  const y = tf.tensor(Float32Array.from(labels(samples, SIZES[2])), [samples, 1])
  const options = { epochs: 1, batchSize: BATCH, shuffle: false, verbose: 0, yieldEvery: 'never' }
  return {
    async run() {
      await model.fit(x, y, options)
    },
    close() {
      x.dispose()
      y.dispose()
      model.dispose()
    },
  }
}

/** The whole step in one `jit`, its fastest way; Adam is written out, as the library has none. */
export async function jaxMlp(): Promise<Contender> {
  const jax = await loadJax()
  const { numpy: np, nn } = jax
  const lossOf = ([w1, b1, w2, b2]: JaxArray[], x: JaxArray, y: JaxArray) => {
    const hidden = nn.relu(np.matmul(x, w1!).add(b1!)) // [64, 128]
    const logits = np.matmul(hidden, w2!).add(b2!) // [64, 10]
    return nn.logSoftmax(logits).mul(y).sum().div(-BATCH)
  }
  const step = jax.jit((state: JaxState, rate: JaxArray, x: JaxArray, y: JaxArray) => {
    const before = state.params.map((p) => p.ref)
    const [loss, grads] = jax.valueAndGrad(lossOf)(before, x, y)
    const m = state.m.map((old, i) => old.mul(0.9).add(grads[i]!.ref.mul(0.1)))
    const v = state.v.map((old, i) => old.mul(0.999).add(np.square(grads[i]!).mul(0.001)))
    const params = state.params.map((p, i) =>
      p.sub(m[i]!.ref.mul(rate.ref).div(np.sqrt(v[i]!.ref).add(1e-7))),
    )
    rate.dispose()
    return { state: { params, m, v }, loss }
  })

  const shapes = [[SIZES[0], SIZES[1]], [SIZES[1]], [SIZES[1], SIZES[2]], [SIZES[2]]]
  const weights = (shape: number[]) =>
    np.array(randomValues(sizeOf(shape), shape.length > 1 ? 0.05 : 0)).reshape(shape)
  const zeros = () => shapes.map((shape) => np.zeros(shape))
  const x = np.array(randomValues(BATCH * SIZES[0], 1)).reshape([BATCH, SIZES[0]])
  const y = np.array(oneHot(labels(BATCH, SIZES[2]))).reshape([BATCH, SIZES[2]])
  let state: JaxState = { params: shapes.map(weights), m: zeros(), v: zeros() }
  let t = 0
  return {
    async run() {
      for (let i = 0; i < STEPS; i++) {
        t++
        const rate = np.array((RATE * Math.sqrt(1 - 0.999 ** t)) / (1 - 0.9 ** t))
        const next = step(state, rate, x.ref, y.ref)
        next.loss.dispose()
        state = next.state
      }
      await jax.blockUntilReady(state)
    },
    close() {
      for (const array of [...state.params, ...state.m, ...state.v, x, y]) array.dispose()
      step.dispose()
    },
  }
}

interface JaxState {
  params: JaxArray[]
  m: JaxArray[]
  v: JaxArray[]
}

function oneHot(classes: Int32Array): Float32Array {
  return Float32Array.from({ length: classes.length * SIZES[2] }, (_, i) =>
    classes[Math.floor(i / SIZES[2])] === i % SIZES[2] ? 1 : 0,
  )
}

function randomValues(count: number, scale: number): Float32Array {
  return Float32Array.from({ length: count }, () => (Math.random() - 0.5) * 2 * scale)
}
