/** @file ONNX Runtime as a contender: models written here, run by its prebuilt library for Node. */

import type { Contender, Setup } from './harness.ts'
import { onnxModel, type OnnxGraph } from './onnx-model.ts'
import { loadPeer, ORT } from './peers.ts'
import { settings } from './settings.ts'
import { sampleOf, sizeOf } from './values.ts'

export { ORT }

interface OrtTensor {
  readonly data: Float32Array
}

interface OrtSession {
  run(
    feeds: Record<string, OrtTensor>,
    fetches: Record<string, OrtTensor>,
  ): Promise<Record<string, OrtTensor>>
  release(): Promise<void>
}

interface OrtModule {
  Tensor: new (type: 'float32', data: Float32Array, shape: readonly number[]) => OrtTensor
  InferenceSession: {
    create(model: Uint8Array, options: Record<string, unknown>): Promise<OrtSession>
  }
}

/** Longer than its waiting threads spin before they sleep. */
const SPIN_MILLISECONDS = 60

/** How long the two levels of optimisation are tried against each other. */
const TRIAL_MILLISECONDS = 60

/**
 * A contender that runs a graph with one output on inputs that stay where they are. The output goes to
 * memory that is there already, and the faster of the levels 'all' (which may rearrange the memory of
 * convolutions, at a cost on the way in and out) and 'extended' is taken.
 */
export function ortContender(graph: () => OnnxGraph, data: (name: string) => Float32Array): Setup {
  return async () => {
    const ort = loadPeer<OrtModule>('onnxruntime-node')
    const { inputs, outputs, ...rest } = graph()
    const model = onnxModel({ inputs, outputs, ...rest })
    const [{ name, shape }] = outputs as [{ name: string; shape: readonly number[] }]
    const feeds = Object.fromEntries(
      inputs.map((x) => [x.name, new ort.Tensor('float32', data(x.name), x.shape)]),
    )
    const result = new Float32Array(sizeOf(shape))
    const fetches = { [name]: new ort.Tensor('float32', result, shape) }
    const start = (graphOptimizationLevel: string) =>
      ort.InferenceSession.create(model, {
        executionProviders: ['cpu'],
        graphOptimizationLevel,
        intraOpNumThreads: settings.threads,
        interOpNumThreads: 1,
        logSeverityLevel: 3,
      })
    const session = await faster(await start('all'), await start('extended'), (candidate) =>
      candidate.run(feeds, fetches),
    )
    return {
      async run() {
        await session.run(feeds, fetches)
      },
      sample: () => sampleOf(result),
      ...(settings.threads > 1 && { settle: SPIN_MILLISECONDS }),
      close: () => void session.release(),
    } satisfies Contender
  }
}

/** The session whose best run is shorter; the other one is released. */
async function faster(
  a: OrtSession,
  b: OrtSession,
  run: (session: OrtSession) => Promise<unknown>,
): Promise<OrtSession> {
  const bestOf = async (session: OrtSession) => {
    await run(session)
    let best = Infinity
    const end = performance.now() + TRIAL_MILLISECONDS
    for (;;) {
      const begin = performance.now()
      await run(session)
      const now = performance.now()
      best = Math.min(best, now - begin)
      if (now > end) return best
    }
  }
  const [winner, loser] = (await bestOf(a)) <= (await bestOf(b)) ? [a, b] : [b, a]
  await loser.release()
  return winner
}
