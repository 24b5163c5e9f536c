/** @file Batch norm with running statistics. */
import { dtypes } from '../core/dtype.ts'
import { formatShape } from '../core/shape.ts'
import { batchNormWithStatistics } from '../ops/batch-norm.ts'
import { ones, zeros } from '../ops/create.ts'
import { defineOp } from '../ops/define.ts'
import { Buffer, owned, Parameter, updateCells } from '../tensor/cell.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { liveNumbers } from '../tensor/tracing.ts'
import { checkOptions, ShapeError, ValueError } from '../util/errors.ts'
import { checkPositive, checkProbability, checkSize } from './checks.ts'
import { Module } from './module.ts'
import { keepsNothing } from './passing.ts'
import type { Placement } from './placement.ts'

export interface BatchNormOptions extends Placement {
  /** Added to the variance; default 1e-5. */
  readonly eps?: number
  /** Share of the newest batch in the running statistics; null for the plain average of all. Default 0.1. */
  readonly momentum?: number | null
  /** Whether there are a learned scale and shift; default true. */
  readonly affine?: boolean
  /** Whether running statistics are kept, for use in evaluation; default true. */
  readonly trackRunningStats?: boolean
}

// running = (1 - share) running + share scale value; share is a number or a 0-d tensor.
const averageOp = defineOp({
  name: 'runningAverage',
  kind: 'update',
  onnx: undefined,
  infer: ([running]) => [{ shape: running!.shape, dtype: running!.dtype }],
  lower({ inputs, outputs, kernel, out }) {
    const k = kernel()
    const axes = k.axes(outputs[0]!.layout.shape)
    const type = dtypes[outputs[0]!.dtype].compute
    let params = 0
    const [running, value, share, scale] = inputs.map((x, i) =>
      k.s.convert(x.scalar === undefined ? k.load(i, axes) : k.param(params++), type),
    )
    const kept = k.s.mul(k.s.sub(k.s.like(share!, 1), share!), running!)
    k.store(out(), axes, k.s.add(kept, k.s.mul(k.s.mul(share!, scale!), value!)))
    return [k.finish()]
  },
})

const incrementOp = defineOp({
  name: 'increment',
  kind: 'update',
  onnx: undefined,
  infer: ([count]) => [{ shape: count!.shape, dtype: count!.dtype }],
  lower({ kernel, out }) {
    const k = kernel()
    k.store(out(), [], k.s.add(k.load(0, []), 1))
    return [k.finish()]
  },
})

/** What batch norms over any number of axes share. */
abstract class BatchNormOver extends Module {
  readonly numFeatures: number
  readonly eps: number
  readonly momentum: number | null
  weight: Parameter | undefined
  bias: Parameter | undefined
  runningMean: Buffer | undefined
  runningVar: Buffer | undefined
  numBatchesTracked: Buffer | undefined

  constructor(numFeatures: number, options: BatchNormOptions = {}) {
    super()
    const name = new.target.name
    const known = ['eps', 'momentum', 'affine', 'trackRunningStats', 'dtype', 'device']
    checkOptions(name, options, known)
    const {
      eps = 1e-5,
      momentum = 0.1,
      affine = true,
      trackRunningStats = true,
      ...placement
    } = options
    this.numFeatures = checkSize(name, 'numFeatures', numFeatures)
    this.eps = checkPositive(name, 'eps', eps)
    this.momentum = momentum === null ? null : checkProbability(name, 'momentum', momentum)
    if (affine) {
      this.weight = owned(Parameter, ones([numFeatures], placement))
      this.bias = owned(Parameter, zeros([numFeatures], placement))
    }
    if (trackRunningStats) {
      this.runningMean = owned(Buffer, zeros([numFeatures], placement))
      this.runningVar = owned(Buffer, ones([numFeatures], placement))
      // int32, not PyTorch's int64, which WebGPU does not know.
      this.numBatchesTracked = owned(Buffer, zeros([], { ...placement, dtype: 'int32' }))
    }
  }

  /** The numbers of axes that the input may have. */
  protected abstract readonly ranks: readonly number[]

  forward(x: Tensor): Tensor {
    this.#check(x)
    const { weight, bias, eps, runningMean, runningVar } = this
    if (!this.training && runningMean !== undefined && runningVar !== undefined)
      return x.batchNorm({
        ...(weight && { weight }),
        ...(bias && { bias }),
        mean: runningMean,
        variance: runningVar,
        eps,
        training: false,
      })
    const { output, mean, variance } = batchNormWithStatistics(x, { weight, bias, eps })
    if (this.training) this.#track(mean, variance, x.size / this.numFeatures)
    return output
  }

  #track(mean: Tensor, variance: Tensor, count: number): void {
    const { runningMean, runningVar, numBatchesTracked, momentum } = this
    if (!runningMean || !runningVar || !numBatchesTracked) return
    updateCells(incrementOp, [numBatchesTracked], [])
    const share = momentum ?? numBatchesTracked.cast(runningMean.dtype).reciprocal()
    updateCells(averageOp, [runningMean], [mean, share, 1])
    // The running variance is the unbiased one.
    const [unbiased] = liveNumbers(1, ([n]) => [n! / (n! - 1)], [count])
    updateCells(averageOp, [runningVar], [variance, share, unbiased!])
  }

  #check(x: Tensor): void {
    const name = this.constructor.name
    const { numFeatures, ranks } = this
    if (!ranks.includes(x.ndim) || x.shape[1] !== numFeatures)
      throw new ShapeError(
        `${name}: expected ${ranks.map((n) => patternOf(n, numFeatures)).join(' or ')}, received ${formatShape(x.shape)}`,
      )
    if (this.training && x.size <= numFeatures)
      throw new ValueError(
        `${name}: a single value per channel has no variance to train on: ${formatShape(x.shape)}. Use larger batches, or eval()`,
      )
  }

  override extraRepr(): string {
    return `${this.numFeatures}, eps=${this.eps}, momentum=${this.momentum}, affine=${this.weight !== undefined}, trackRunningStats=${this.runningMean !== undefined}`
  }
}

const patternOf = (rank: number, channels: number) =>
  `[batch, ${channels}${['', ', length', ', height, width'][rank - 2]}]`

/**
 * Brings each channel of [batch, channels] or [batch, channels, length] to mean 0 and variance 1 over
 * the batch, then scales and shifts it (Ioffe and Szegedy, 2015). Keeps running statistics while
 * training and uses them in evaluation. Throws a ShapeError for other shapes, and a ValueError when
 * training on a single value per channel.
 *
 * @example
 * const layer = new nn.BatchNorm1d(2)
 * layer.forward(tensor([[1, 10], [3, 30]])) // -> tensor([[-1, -1], [ 1,  1]], float32, cpu, grad of batchNorm)
 * layer.runningMean // -> tensor([0.2, 2.0], float32, cpu)
 */
export class BatchNorm1d extends BatchNormOver {
  protected get ranks(): readonly number[] {
    return [2, 3]
  }
}

/**
 * As `BatchNorm1d`, for images: [batch, channels, height, width].
 *
 * @example
 * new nn.BatchNorm2d(3).forward(zeros([2, 3, 4, 4])).shape // -> [2, 3, 4, 4]
 */
export class BatchNorm2d extends BatchNormOver {
  protected get ranks(): readonly number[] {
    return [4]
  }
}

keepsNothing(BatchNorm1d, BatchNorm2d)
