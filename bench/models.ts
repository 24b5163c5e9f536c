/** @file The models that several benchmarks run; `peers/torch_cases.py` has the same in PyTorch. */

import type { Tandem, Tensor } from './tandem.ts'
import { sizeOf, values } from './values.ts'

export type Layer = InstanceType<Tandem['nn']['Module']> & { forward(x: Tensor): Tensor }

/** Dense layers of these widths, ReLU between them. */
export function makeMlp({ nn }: Tandem, sizes: readonly [number, number, number]): Layer {
  const [inputs, hidden, outputs] = sizes
  return new nn.Sequential(
    new nn.Linear(inputs, hidden),
    new nn.ReLU(),
    new nn.Linear(hidden, outputs),
  )
}

/** The convolutional network of `npm start`: [batch, 1, 28, 28] -> [batch, 10]. */
export function makeCnn({ nn }: Tandem): Layer {
  return new nn.Sequential(
    new nn.Conv2d(1, 8, 3, { padding: 1 }),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(8, 32, 3, { padding: 1 }),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Linear(32 * 7 * 7, 10),
  )
}

/** Widths of the stages of ResNet-18; each but the first halves height and width. */
const STAGES = [64, 128, 256, 512]

/** ResNet-18 as it is used on CIFAR, with a 3x3 stem and no pooling after it: [batch, 3, 32, 32] -> [batch, 10]. */
export function makeResnet18({ nn }: Tandem, blocksPerStage = 2): Layer {
  const conv = (from: number, to: number, kernel: number, stride: number) =>
    new nn.Conv2d(from, to, kernel, { stride, padding: (kernel - 1) / 2, bias: false })

  class BasicBlock extends nn.Module {
    conv1
    norm1
    conv2
    norm2
    shortcut

    constructor(from: number, to: number, stride: number) {
      super()
      this.conv1 = conv(from, to, 3, stride)
      this.norm1 = new nn.BatchNorm2d(to)
      this.conv2 = conv(to, to, 3, 1)
      this.norm2 = new nn.BatchNorm2d(to)
      this.shortcut =
        stride === 1 && from === to
          ? new nn.Identity()
          : new nn.Sequential(conv(from, to, 1, stride), new nn.BatchNorm2d(to))
    }

    forward(x: Tensor): Tensor {
      const inner = this.norm1.forward(this.conv1.forward(x)).relu()
      return this.norm2.forward(this.conv2.forward(inner)).add(this.shortcut.forward(x)).relu()
    }
  }

  const blocks = STAGES.flatMap((width, stage) =>
    Array.from({ length: blocksPerStage }, (_, i) => {
      const isFirst = i === 0 && stage > 0
      return new BasicBlock(isFirst ? width / 2 : width, width, isFirst ? 2 : 1)
    }),
  )
  return new nn.Sequential(
    conv(3, STAGES[0]!, 3, 1),
    new nn.BatchNorm2d(STAGES[0]!),
    new nn.ReLU(),
    ...blocks,
    new nn.AdaptiveAvgPool2d(1),
    new nn.Flatten(),
    new nn.Linear(STAGES.at(-1)!, 10),
  )
}

export interface GptShape {
  readonly batch: number
  readonly tokens: number
  readonly vocabulary: number
  readonly layers: number
  readonly width: number
  readonly heads: number
}

/** Embeddings of tokens and positions, causal blocks, and a score per token of the vocabulary. */
export function makeGpt({ nn, tensor }: Tandem, shape: GptShape): Layer {
  const { tokens, vocabulary, layers, width, heads } = shape
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

export interface BertShape {
  readonly batch: number
  readonly tokens: number
  readonly layers: number
  readonly width: number
  readonly heads: number
}

/** The layers of BERT after its embeddings (Devlin et al., 2018): [batch, tokens, width] -> the same shape. */
export function makeBert({ nn }: Tandem, { layers, width, heads }: BertShape): Layer {
  const options = {
    dimFeedforward: 4 * width,
    dropout: 0,
    activation: 'gelu',
    layerNormEps: 1e-12,
  } as const
  const encoder = Array.from(
    { length: layers },
    () => new nn.TransformerEncoderLayer(width, heads, options),
  )
  return new nn.Sequential(...encoder)
}

/**
 * Gives a model the parameters that it has in every library: those with several axes by number, divided by
 * the root of their inputs; biases are zeros. What norms scale by stays one.
 */
export function fillParameters({ fromTypedArray, zerosLike }: Tandem, model: Layer): void {
  let seed = 0
  for (const [name, parameter] of model.namedParameters()) {
    if (parameter.ndim > 1)
      parameter.assign(fromTypedArray(weights(parameter.shape, ++seed), parameter.shape))
    else if (/bias$/i.test(name)) parameter.assign(zerosLike(parameter))
  }
}

/** The numbers of the weight that is the `seed`th of its model. */
export function weights(shape: readonly number[], seed: number): Float32Array<ArrayBuffer> {
  const scale = Math.sqrt(shape[0]! / sizeOf(shape))
  return values(sizeOf(shape), seed).map((x) => x * scale)
}
