/** @file Training steps of a small GPT: six blocks of width 384, six heads, 8 x 256 tokens, Adam. */

import type { Case, Contender } from './harness.ts'
import { settings, threadsText } from './settings.ts'
import { loadTandem, tandemTraining, type Tandem, type Tensor } from './tandem.ts'
import { TORCH, torchContender } from './torch.ts'
import { labels } from './values.ts'

/** Characters of a text, predicted one by one, as in Karpathy's nanoGPT on Shakespeare. */
const SHAPE = {
  batch: 8,
  tokens: 256,
  vocabulary: 65,
  layers: settings.quick ? 2 : 6,
  width: 384,
  heads: 6,
}
const RATE = 1e-3

export const cases: Case[] = [
  {
    name: `GPT ${SHAPE.layers} x ${SHAPE.width}, batch ${SHAPE.batch} x ${SHAPE.tokens}, Adam, eager, ${threadsText()}`,
    unit: 'ms',
    better: 'lower',
    work: 1,
    plan: { rounds: 9 },
    contenders: {
      tandem: tandemStep,
      [TORCH]: torchContender('attention', { ...SHAPE, rate: RATE, steps: 1 }),
    },
  },
]

async function tandemStep(): Promise<Contender> {
  const tandem = await loadTandem()
  const { batch, tokens, vocabulary } = SHAPE
  const model = makeModel(tandem)
  const x = tandem.tensor(labels(batch * tokens, vocabulary)).reshape([batch, tokens])
  return tandemTraining({
    model,
    optimizer: new tandem.optim.Adam(model.parameters(), { lr: RATE }),
    x,
    y: x.flatten(),
    steps: 1,
  })
}

/** Embeddings of tokens and positions, blocks, and a score per token of the vocabulary. */
function makeModel({ nn, tensor }: Tandem) {
  const { tokens, vocabulary, layers, width, heads } = SHAPE
  const places = tensor(Int32Array.from({ length: tokens }, (_, i) => i))

  class GPT extends nn.Module {
    token = new nn.Embedding(vocabulary, width)
    position = new nn.Embedding(tokens, width)
    blocks = new nn.ModuleList(
      Array.from(
        { length: layers },
        () =>
          new nn.TransformerEncoderLayer(width, heads, {
            dimFeedforward: 4 * width,
            dropout: 0,
            activation: 'gelu',
            normFirst: true,
          }),
      ),
    )
    norm = new nn.LayerNorm(width)
    head = new nn.Linear(width, vocabulary)

    /** [batch, tokens] -> [batch * tokens, vocabulary] */
    forward(x: Tensor): Tensor {
      let hidden = this.token.forward(x).add(this.position.forward(places)) // [batch, tokens, width]
      for (const block of this.blocks) hidden = block.forward(hidden, { isCausal: true })
      return this.head.forward(this.norm.forward(hidden)).reshape([-1, vocabulary])
    }
  }
  return new GPT()
}
