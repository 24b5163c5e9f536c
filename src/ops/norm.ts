/** @file Normalisation layers as functions: layer, RMS, batch, group and instance norm. */
import { isFloat } from '../core/dtype.ts'
import { formatShape, sameShape, sizeOf, type Shape } from '../core/shape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, DTypeError, ShapeError, ValueError } from '../util/errors.ts'
import { batchNormWithStatistics } from './batch-norm.ts'
import { checkTensor } from './define.ts'
import { normalize } from './normalize.ts'

export interface LayerNormOptions {
  /** Sizes of the last axes, over which to normalise (a number for one); default: the last axis, or the shape of `weight`. */
  readonly normalizedShape?: number | Shape
  /** Scale of each element, of the normalised shape. */
  readonly weight?: Tensor
  /** Shift of each element, of the normalised shape. */
  readonly bias?: Tensor
  /** Added to the variance; default 1e-5. */
  readonly eps?: number
}

/**
 * Brings the elements along the last axes to mean 0 and variance 1, then scales and shifts them (Ba,
 * Kiros & Hinton 2016). Shape and dtype of `x`. Throws a ShapeError when sizes do not fit, a
 * DTypeError unless `x` holds floats.
 *
 * @example
 * layerNorm(tensor([[1, 2, 3], [4, 4, 4]])) // -> tensor([[-1.2247, 0.0000, 1.2247], [0.0000, 0.0000, 0.0000]], float32, cpu)
 */
export function layerNorm(x: Tensor, options: LayerNormOptions = {}): Tensor {
  const known = ['normalizedShape', 'weight', 'bias', 'eps']
  checkNorm('layerNorm', x, options, known)
  const { weight, bias, eps = 1e-5 } = options
  const axes = trailingAxes('layerNorm', x, options.normalizedShape, weight ?? bias)
  checkParameters(
    'layerNorm',
    { weight, bias },
    axes.map((a) => x.shape[a]!),
  )
  return normalize('layerNorm', x, { axes, parameterAxes: axes, weight, bias, eps }).output
}

export interface RmsNormOptions {
  /** Sizes of the last axes, over which to normalise (a number for one); default: the last axis, or the shape of `weight`. */
  readonly normalizedShape?: number | Shape
  /** Scale of each element, of the normalised shape. */
  readonly weight?: Tensor
  /** Added to the mean square; default 1e-6. */
  readonly eps?: number
}

/**
 * Divides the elements along the last axes by their root mean square, then scales them (Zhang &
 * Sennrich 2019). Shape and dtype of `x`. Throws as `layerNorm` does.
 *
 * @example
 * rmsNorm(tensor([[3, 4], [0, 2]])) // -> tensor([[0.8485, 1.1314], [0.0000, 1.4142]], float32, cpu)
 */
export function rmsNorm(x: Tensor, options: RmsNormOptions = {}): Tensor {
  checkNorm('rmsNorm', x, options, ['normalizedShape', 'weight', 'eps'])
  const { weight, eps = 1e-6 } = options
  const axes = trailingAxes('rmsNorm', x, options.normalizedShape, weight)
  checkParameters(
    'rmsNorm',
    { weight },
    axes.map((a) => x.shape[a]!),
  )
  return normalize('rmsNorm', x, { axes, parameterAxes: axes, weight, bias: undefined, eps }).output
}

export interface BatchNormOptions {
  /** Scale of each channel, [channels]. */
  readonly weight?: Tensor
  /** Shift of each channel, [channels]. */
  readonly bias?: Tensor
  /** Mean of each channel to use when not training, [channels]. */
  readonly mean?: Tensor
  /** Variance of each channel to use when not training, [channels]. */
  readonly variance?: Tensor
  /** Whether to normalise by the batch's own mean and variance; default: unless both are given. */
  readonly training?: boolean
  /** Added to the variance; default 1e-5. */
  readonly eps?: number
}

/**
 * Normalises each channel (axis 1) of [N, channels, ...], by the mean and variance of the batch when
 * training, else by those given; then scales and shifts it (Ioffe & Szegedy 2015). Shape and dtype of
 * `x`. Running averages are the business of the layer. Throws a ShapeError when sizes do not fit, a
 * ValueError when there are no statistics or a single value per channel to train on.
 *
 * @example
 * const x = tensor([[1, 10], [3, 30]])
 * batchNorm(x, { training: true }) // -> tensor([[-1, -1], [ 1, 1]], float32, cpu)
 * batchNorm(x, { mean: tensor([1, 10]), variance: tensor([4, 4]), eps: 0 }) // -> tensor([[ 0, 0], [ 1, 10]], float32, cpu)
 */
export function batchNorm(x: Tensor, options: BatchNormOptions = {}): Tensor {
  checkNorm('batchNorm', x, options, ['weight', 'bias', 'mean', 'variance', 'training', 'eps'])
  checkChannels('batchNorm', x, options)
  const { weight, bias, mean, variance, eps = 1e-5 } = options
  const known = mean !== undefined && variance !== undefined
  const training = options.training ?? !known
  if (training) return batchNormWithStatistics(x, { weight, bias, eps }).output
  if (!known)
    throw new ValueError(
      'batchNorm: no mean and variance to normalise by. Pass both, or training: true for those of the batch',
    )
  const perChannel = x.shape.map((n, i) => (i === 1 ? n : 1))
  const deviation = variance.add(eps).sqrt()
  const scale = weight === undefined ? deviation.reciprocal() : weight.div(deviation)
  const shift = bias === undefined ? mean.mul(scale).neg() : bias.sub(mean.mul(scale))
  const output = x.mul(scale.reshape(perChannel)).add(shift.reshape(perChannel))
  return output.cast(x.dtype)
}

export interface GroupNormOptions {
  /** Number of groups the channels are divided into. */
  readonly groups: number
  /** Scale of each channel, [channels]. */
  readonly weight?: Tensor
  /** Shift of each channel, [channels]. */
  readonly bias?: Tensor
  /** Added to the variance; default 1e-5. */
  readonly eps?: number
}

/**
 * Normalises the channels (axis 1) of each example of [N, channels, ...] in groups, then scales and
 * shifts each channel (Wu & He 2018). Shape and dtype of `x`. Throws a ShapeError unless the channels
 * divide into the groups.
 *
 * @example
 * groupNorm(tensor([[1, 3, 10, 30]]), { groups: 2 }) // -> tensor([[-1, 1, -1, 1]], float32, cpu)
 */
export function groupNorm(x: Tensor, options: GroupNormOptions): Tensor {
  checkNorm('groupNorm', x, options, ['groups', 'weight', 'bias', 'eps'])
  checkChannels('groupNorm', x, options)
  const { groups } = options
  const channels = x.shape[1]!
  if (!Number.isInteger(groups) || groups < 1 || channels % groups !== 0)
    throw new ShapeError(
      `groupNorm: ${channels} channels do not divide into ${String(groups)} groups. Expected a divisor of ${channels}`,
    )
  return byGroups(x, groups, options)
}

export interface InstanceNormOptions {
  /** Scale of each channel, [channels]. */
  readonly weight?: Tensor
  /** Shift of each channel, [channels]. */
  readonly bias?: Tensor
  /** Added to the variance; default 1e-5. */
  readonly eps?: number
}

/**
 * Normalises each channel (axis 1) of each example of [N, channels, ...] by itself, then scales and
 * shifts it (Ulyanov, Vedaldi & Lempitsky 2016). Shape and dtype of `x`. Throws a ShapeError when
 * there is nothing beside the channels to normalise over.
 *
 * @example
 * instanceNorm(tensor([[[1, 3], [10, 30]]])) // -> tensor([[[-1, 1], [-1, 1]]], float32, cpu)
 */
export function instanceNorm(x: Tensor, options: InstanceNormOptions = {}): Tensor {
  checkNorm('instanceNorm', x, options, ['weight', 'bias', 'eps'])
  checkChannels('instanceNorm', x, options)
  if (x.ndim < 3)
    throw new ShapeError(
      `instanceNorm: expected [N, channels, ...] with at least 3 axes, received ${formatShape(x.shape)}. Each channel needs elements to normalise over`,
    )
  return byGroups(x, x.shape[1]!, options)
}

function byGroups(x: Tensor, groups: number, options: InstanceNormOptions): Tensor {
  const { weight, bias, eps = 1e-5 } = options
  const [examples, channels, ...rest] = x.shape
  const split = [groups, channels! / groups]
  const { output } = normalize('groupNorm', x.reshape([examples!, ...split, ...rest]), {
    axes: Array.from({ length: x.ndim - 1 }, (_, i) => i + 2),
    parameterAxes: [1, 2],
    weight: weight?.reshape(split),
    bias: bias?.reshape(split),
    eps,
  })
  return output.reshape(x.shape)
}

// -- checks

function checkNorm(
  where: string,
  x: Tensor,
  options: { readonly eps?: number },
  known: readonly string[],
): void {
  checkTensor(where, 'x', x)
  checkOptions(where, options, known)
  if (!isFloat(x.dtype))
    throw new DTypeError(`${where}: x is ${x.dtype}. Expected floats; cast it: x.cast('float32')`)
  const { eps = 0 } = options
  if (!(eps >= 0))
    throw new ValueError(`${where}: eps must be >= 0, received ${String(eps)}. 1e-5 is usual`)
}

function trailingAxes(
  where: string,
  x: Tensor,
  normalizedShape: number | Shape | undefined,
  parameter: Tensor | undefined,
): number[] {
  const wanted =
    normalizedShape === undefined
      ? (parameter?.shape ?? x.shape.slice(-1))
      : typeof normalizedShape === 'number'
        ? [normalizedShape]
        : normalizedShape
  if (wanted.length === 0 || !sameShape(x.shape.slice(-wanted.length), wanted))
    throw new ShapeError(
      `${where}: x ${formatShape(x.shape)} does not end in the normalised shape ${formatShape(wanted)}. Expected the sizes of its last axes`,
    )
  return wanted.map((_, i) => x.ndim - wanted.length + i)
}

function checkParameters(
  where: string,
  parameters: Readonly<Record<string, Tensor | undefined>>,
  shape: Shape,
): void {
  for (const [name, parameter] of Object.entries(parameters)) {
    if (parameter === undefined) continue
    checkTensor(where, name, parameter)
    if (!sameShape(parameter.shape, shape))
      throw new ShapeError(
        `${where}: ${name} has shape ${formatShape(parameter.shape)}. Expected ${formatShape(shape)}`,
      )
  }
}

function checkChannels(where: string, x: Tensor, options: BatchNormOptions): void {
  if (x.ndim < 2)
    throw new ShapeError(
      `${where}: expected [N, channels, ...], received ${formatShape(x.shape)}. Add axes with unsqueeze`,
    )
  const { weight, bias, mean, variance } = options
  checkParameters(where, { weight, bias, mean, variance }, [x.shape[1]!])
  if (options.training === true && sizeOf(x.shape) === x.shape[1])
    throw new ValueError(
      `${where}: one value per channel in ${formatShape(x.shape)}: its variance is 0. Train on more than one example`,
    )
}
