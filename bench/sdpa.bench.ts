/** @file Scaled dot-product attention by itself, forward and with its gradients: heads of 64 features, short and long. */

import type { Case, Contender, Setup } from './harness.ts'
import { threadsText } from './settings.ts'
import { loadTandem, tandemContender, tensorOf, type Tandem, type Tensor } from './tandem.ts'
import { TORCH, torchContender } from './torch.ts'
import { sampleOf } from './values.ts'

interface Attention {
  /** [batch, heads, length, features] */
  readonly shape: readonly [number, number, number, number]
  readonly causal: boolean
  readonly gradients: boolean
}

const SHAPES: readonly Attention['shape'][] = [
  [8, 6, 256, 64],
  [1, 8, 2048, 64],
]

export const cases: Case[] = [false, true].flatMap((gradients) =>
  SHAPES.flatMap((shape) =>
    [true, false].map((causal): Case => {
      const attention = { shape, causal, gradients }
      return {
        name: `attention ${shape.join('x')}${causal ? ' causal' : ''}${gradients ? ' and gradients' : ''} ${threadsText()}`,
        unit: 'ms',
        better: 'lower',
        work: 1,
        group: gradients ? 'gradients' : 'forward',
        contenders: {
          tandem: setup(attention, (q, k, v) => q.scaledDotProductAttention(k, v, options(causal))),
          'tandem, op by op': setup(attention, (q, k, v, tandem) =>
            composed(tandem, q, k, v, causal),
          ),
          [TORCH]: torchContender('sdpa', { ...attention }),
        },
      }
    }),
  ),
)

const options = (isCausal: boolean) => ({ isCausal })

/** As one would write it: all scores lie in memory. */
function composed({ full }: Tandem, q: Tensor, k: Tensor, v: Tensor, causal: boolean): Tensor {
  const [length, features] = q.shape.slice(-2) as [number, number]
  const scores = q.mul(1 / Math.sqrt(features)).matmul(k.transpose())
  if (!causal) return scores.softmax().matmul(v)
  const hidden = full([length, length], -Infinity).triu({ diagonal: 1 })
  return scores.add(hidden).softmax().matmul(v)
}

function setup(
  { shape, gradients }: Attention,
  attend: (q: Tensor, k: Tensor, v: Tensor, tandem: Tandem) => Tensor,
): Setup {
  return async (): Promise<Contender> => {
    const tandem = await loadTandem()
    const [q, k, v, g] = [1, 2, 3, 4].map((seed) => tensorOf(tandem, shape, seed)) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ]
    if (!gradients) return tandemContender(() => attend(q, k, v, tandem))
    const leaves = [q, k, v].map((x) => x.requireGrad()) as [Tensor, Tensor, Tensor]
    return {
      run() {
        for (const x of leaves) x.grad = undefined
        attend(...leaves, tandem).backward({ gradient: g })
      },
      async finish() {
        await q.grad!.slice(0, 0, 0, 0).item()
      },
      async sample() {
        return sampleOf((await q.grad!.data()) as Float32Array)
      },
    }
  }
}
