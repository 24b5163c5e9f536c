/** @file The table of vectors behind words and other discrete things. */
import { embedding } from '../ops/index-rows.ts'
import { fromTypedArray } from '../ops/create.ts'
import { randn } from '../ops/random.ts'
import { owned, Parameter } from '../tensor/cell.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ValueError } from '../util/errors.ts'
import { checkSize } from './checks.ts'
import { Module } from './module.ts'
import { keepsNothing } from './passing.ts'
import type { Placement } from './placement.ts'

export interface EmbeddingLayerOptions extends Placement {
  /** The row that stands for padding: zeros, and without gradient. Negative counts from the end. Default none. */
  readonly paddingIndex?: number
}

/**
 * A vector per position of a table: integers of any shape [...] -> [..., embeddingDim]. weight is
 * [numEmbeddings, embeddingDim], drawn from the standard normal distribution. Throws a ValueError for
 * sizes that are not positive, and when a position lies outside the table.
 *
 * @example
 * const layer = new nn.Embedding(10, 3, { paddingIndex: 0 })
 * layer.forward(tensor([[1, 2], [3, 0]], { dtype: 'int32' })).shape // -> [2, 2, 3]
 */
export class Embedding extends Module {
  readonly numEmbeddings: number
  readonly embeddingDim: number
  readonly paddingIndex: number | undefined
  weight: Parameter

  constructor(numEmbeddings: number, embeddingDim: number, options: EmbeddingLayerOptions = {}) {
    super()
    checkOptions('Embedding', options, ['paddingIndex', 'dtype', 'device'])
    this.numEmbeddings = checkSize('Embedding', 'numEmbeddings', numEmbeddings)
    this.embeddingDim = checkSize('Embedding', 'embeddingDim', embeddingDim)
    const { paddingIndex, ...placement } = options
    this.paddingIndex = rowOf(paddingIndex, numEmbeddings)
    const value = randn([numEmbeddings, embeddingDim], placement)
    this.weight = owned(
      Parameter,
      this.paddingIndex === undefined ? value : withoutRow(value, this.paddingIndex),
    )
  }

  forward(index: Tensor): Tensor {
    const { weight, paddingIndex } = this
    return embedding(weight, index, paddingIndex === undefined ? {} : { paddingIndex })
  }

  override extraRepr(): string {
    const padding = this.paddingIndex === undefined ? '' : `, paddingIndex=${this.paddingIndex}`
    return `${this.numEmbeddings}, ${this.embeddingDim}${padding}`
  }
}

function rowOf(index: number | undefined, rows: number): number | undefined {
  if (index === undefined) return undefined
  if (!Number.isInteger(index) || index < -rows || index >= rows)
    throw new ValueError(
      `Embedding: paddingIndex ${index} is outside the table. Expected ${-rows} to ${rows - 1}`,
    )
  return index < 0 ? index + rows : index
}

function withoutRow(table: Tensor, row: number): Tensor {
  const { shape, device } = table
  const isPadding = Uint8Array.from({ length: shape[0]! }, (_, i) => Number(i === row))
  return table.maskedFill(fromTypedArray(isPadding, [shape[0]!, 1], { dtype: 'bool', device }), 0)
}

keepsNothing(Embedding)
