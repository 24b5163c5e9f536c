/** @file The encoder layer of a transformer. */
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions } from '../util/errors.ts'
import { MultiheadAttention, type AttentionCallOptions } from './attention.ts'
import { checkChoice, checkSize } from './checks.ts'
import { Dropout } from './dropout.ts'
import { Linear } from './linear.ts'
import { Module } from './module.ts'
import { LayerNorm } from './norm.ts'
import type { Placement } from './placement.ts'

export interface TransformerEncoderLayerOptions extends Placement {
  /** Width of the hidden layer; default 2048. */
  readonly dimFeedforward?: number
  /** Probability of all dropouts; default 0.1. */
  readonly dropout?: number
  /** Between the two dense layers; default 'relu'. */
  readonly activation?: 'relu' | 'gelu'
  /** Normalise before attention and dense layers rather than after; default false. */
  readonly normFirst?: boolean
  /** Whether inputs are [batch, sequence, features] rather than [sequence, batch, features]; default true. */
  readonly batchFirst?: boolean
  /** Added to the variances; default 1e-5. */
  readonly layerNormEps?: number
}

/**
 * Self-attention, then two dense layers, each with a residual connection and a layer norm (Vaswani et
 * al., 2017): [batch, sequence, dModel] -> the same shape. PyTorch's names of parameters; batchFirst is
 * true unless given. Throws a ValueError unless numHeads divides dModel.
 *
 * @example
 * const layer = new nn.TransformerEncoderLayer(8, 2, { dimFeedforward: 16, normFirst: true })
 * layer.forward(randn([4, 5, 8]), { isCausal: true }).shape // -> [4, 5, 8]
 */
export class TransformerEncoderLayer extends Module {
  readonly normFirst: boolean
  readonly activation: 'relu' | 'gelu'
  selfAttn: MultiheadAttention
  linear1: Linear
  dropout: Dropout
  linear2: Linear
  norm1: LayerNorm
  norm2: LayerNorm
  dropout1: Dropout
  dropout2: Dropout

  constructor(dModel: number, numHeads: number, options: TransformerEncoderLayerOptions = {}) {
    super()
    const name = 'TransformerEncoderLayer'
    checkOptions(name, options, [
      'dimFeedforward',
      'dropout',
      'activation',
      'normFirst',
      'batchFirst',
      'layerNormEps',
      'dtype',
      'device',
    ])
    const {
      dimFeedforward = 2048,
      dropout = 0.1,
      activation = 'relu',
      normFirst = false,
      batchFirst = true,
      layerNormEps = 1e-5,
      ...placement
    } = options
    checkSize(name, 'dModel', dModel)
    checkSize(name, 'dimFeedforward', dimFeedforward)
    this.activation = checkChoice(name, 'activation', activation, ['relu', 'gelu'])
    this.normFirst = normFirst
    this.selfAttn = new MultiheadAttention(dModel, numHeads, { dropout, batchFirst, ...placement })
    this.linear1 = new Linear(dModel, dimFeedforward, placement)
    this.dropout = new Dropout(dropout)
    this.linear2 = new Linear(dimFeedforward, dModel, placement)
    this.norm1 = new LayerNorm(dModel, { eps: layerNormEps, ...placement })
    this.norm2 = new LayerNorm(dModel, { eps: layerNormEps, ...placement })
    this.dropout1 = new Dropout(dropout)
    this.dropout2 = new Dropout(dropout)
  }

  forward(x: Tensor, options: AttentionCallOptions = {}): Tensor {
    if (this.normFirst) {
      const y = x.add(this.#attend(this.norm1.forward(x), options))
      return y.add(this.#feed(this.norm2.forward(y)))
    }
    const y = this.norm1.forward(x.add(this.#attend(x, options)))
    return this.norm2.forward(y.add(this.#feed(y)))
  }

  #attend(x: Tensor, options: AttentionCallOptions): Tensor {
    return this.dropout1.forward(this.selfAttn.forward(x, x, x, options))
  }

  #feed(x: Tensor): Tensor {
    const hidden = this.linear1.forward(x)
    const active = this.activation === 'relu' ? hidden.relu() : hidden.gelu()
    return this.dropout2.forward(this.linear2.forward(this.dropout.forward(active)))
  }

  override extraRepr(): string {
    return `activation=${this.activation}, normFirst=${this.normFirst}`
  }
}
