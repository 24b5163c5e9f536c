/** @file Multi-head attention. */
import { zeros } from '../ops/create.ts'
import { linear } from '../ops/linear.ts'
import { where } from '../ops/select.ts'
import { owned, Parameter } from '../tensor/cell.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { formatShape } from '../core/shape.ts'
import { checkOptions, ShapeError, ValueError } from '../util/errors.ts'
import { checkProbability, checkSize } from './checks.ts'
import * as init from './init.ts'
import { Linear } from './linear.ts'
import { Module } from './module.ts'
import type { Placement } from './placement.ts'

export interface MultiheadAttentionOptions extends Placement {
  /** Probability of dropping an attention weight while training; default 0. */
  readonly dropout?: number
  /** Whether the projections have biases; default true. */
  readonly bias?: boolean
  /** Whether inputs are [batch, sequence, features] rather than [sequence, batch, features]; default true. */
  readonly batchFirst?: boolean
}

export interface AttentionCallOptions {
  /** Which query may look at which key: [L, S], [batch, L, S] or [batch, heads, L, S]; bool (true: may look) or floats added to the scores. */
  readonly mask?: Tensor
  /** [batch, S] bool: true where a key is only padding. */
  readonly keyPaddingMask?: Tensor
  /** Query i looks at keys 0 to i only; default false. */
  readonly isCausal?: boolean
}

/**
 * Several attentions side by side, each over its share of the features (Vaswani et al., 2017): query
 * [batch, L, embedDim], key and value [batch, S, embedDim] -> [batch, L, embedDim]. Without key and
 * value it is self-attention. Parameters are packed as in PyTorch: inProjWeight [3 embedDim, embedDim]
 * and inProjBias for query, key and value, and outProj; batchFirst is true unless given, and bool masks
 * say what may be seen. Throws a ValueError unless numHeads divides embedDim.
 *
 * @example
 * const attention = new nn.MultiheadAttention(8, 2)
 * Object.keys(attention.stateDict()) // -> ['inProjWeight', 'inProjBias', 'outProj.weight', 'outProj.bias']
 * attention.forward(randn([4, 5, 8])).shape // -> [4, 5, 8]
 * attention.forward(randn([4, 5, 8]), randn([4, 7, 8])).shape // -> [4, 5, 8]
 */
export class MultiheadAttention extends Module {
  readonly embedDim: number
  readonly numHeads: number
  readonly dropout: number
  readonly batchFirst: boolean
  inProjWeight: Parameter
  inProjBias: Parameter | undefined
  outProj: Linear

  constructor(embedDim: number, numHeads: number, options: MultiheadAttentionOptions = {}) {
    super()
    const name = 'MultiheadAttention'
    checkOptions(name, options, ['dropout', 'bias', 'batchFirst', 'dtype', 'device'])
    const { dropout = 0, bias = true, batchFirst = true, ...placement } = options
    this.embedDim = checkSize(name, 'embedDim', embedDim)
    this.numHeads = checkSize(name, 'numHeads', numHeads)
    if (embedDim % numHeads !== 0)
      throw new ValueError(
        `${name}: embedDim ${embedDim} does not divide into ${numHeads} heads. Expected numHeads to divide embedDim`,
      )
    this.dropout = checkProbability(name, 'dropout', dropout)
    this.batchFirst = batchFirst
    this.inProjWeight = owned(Parameter, zeros([3 * embedDim, embedDim], placement))
    init.xavierUniform(this.inProjWeight)
    if (bias) this.inProjBias = owned(Parameter, zeros([3 * embedDim], placement))
    this.outProj = new Linear(embedDim, embedDim, { bias, ...placement })
    if (this.outProj.bias) init.zeros(this.outProj.bias)
  }

  forward(
    query: Tensor,
    key: Tensor = query,
    value: Tensor = key,
    options: AttentionCallOptions = {},
  ): Tensor {
    checkOptions('MultiheadAttention', options, ['mask', 'keyPaddingMask', 'isCausal'])
    for (const x of [query, key, value]) this.#check(x)
    const [q, k, v] = this.#project(query, key, value) // each [batch, heads, sequence, features]
    const mask = combineMasks(options)
    const mixed = q.scaledDotProductAttention(k, v, {
      ...(mask && { mask }),
      isCausal: options.isCausal ?? false,
      dropout: this.training ? this.dropout : 0,
    })
    const joined = mixed
      .permute(this.batchFirst ? [0, 2, 1, 3] : [2, 0, 1, 3])
      .flatten({ startAxis: 2 })
    return this.outProj.forward(joined)
  }

  #check(x: Tensor): void {
    if (x.ndim === 3 && x.shape[2] === this.embedDim) return
    const order = this.batchFirst ? 'batch, sequence' : 'sequence, batch'
    throw new ShapeError(
      `MultiheadAttention: expected [${order}, ${this.embedDim}], received ${formatShape(x.shape)}`,
    )
  }

  #project(query: Tensor, key: Tensor, value: Tensor): readonly [Tensor, Tensor, Tensor] {
    const { inProjWeight, inProjBias, embedDim } = this
    if (query === key && key === value) {
      // One product for all three.
      const all = linear(query, inProjWeight, inProjBias)
      const [q, k, v] = all.split(embedDim, { axis: 2 })
      return [this.#split(q!), this.#split(k!), this.#split(v!)]
    }
    const project = (x: Tensor, i: number) => {
      const rows = [i * embedDim, (i + 1) * embedDim] as const
      return this.#split(linear(x, inProjWeight.slice(rows), inProjBias?.slice(rows)))
    }
    return [project(query, 0), project(key, 1), project(value, 2)]
  }

  /** [batch, sequence, embedDim] -> [batch, heads, sequence, embedDim / heads]. */
  #split(x: Tensor): Tensor {
    const [first, second] = x.shape as [number, number]
    const parts = x.reshape([first, second, this.numHeads, this.embedDim / this.numHeads])
    return parts.permute(this.batchFirst ? [0, 2, 1, 3] : [1, 2, 0, 3])
  }

  override extraRepr(): string {
    return `${this.embedDim}, numHeads=${this.numHeads}, dropout=${this.dropout}, batchFirst=${this.batchFirst}`
  }
}

/** One mask that broadcasts to [batch, heads, L, S]. */
function combineMasks({ mask, keyPaddingMask }: AttentionCallOptions): Tensor | undefined {
  const whole = mask?.ndim === 3 ? mask.unsqueeze(1) : mask
  if (keyPaddingMask === undefined) return whole
  if (keyPaddingMask.ndim !== 2 || keyPaddingMask.dtype !== 'bool')
    throw new ShapeError(
      `MultiheadAttention: keyPaddingMask must be bool [batch, keys], received ${keyPaddingMask.dtype} ${formatShape(keyPaddingMask.shape)}`,
    )
  const allowed = keyPaddingMask.logicalNot().unsqueeze(1).unsqueeze(1)
  if (whole === undefined) return allowed
  return whole.dtype === 'bool' ? whole.logicalAnd(allowed) : where(allowed, whole, -Infinity)
}
