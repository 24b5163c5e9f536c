/** @file Convolutions and transposed convolutions. */
import { formatShape, sameShape } from '../core/shape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ShapeError, ValueError } from '../util/errors.ts'
import { conv, convInputGrad } from './conv-ops.ts'
import { checkTensor } from './define.ts'
import { batched, countWindows, perAxis, spanOf, type PerAxis } from './window.ts'

export interface ConvOptions {
  /** Added to each channel of the result, [channels]. */
  readonly bias?: Tensor
  /** Step of the window; default 1. */
  readonly stride?: PerAxis
  /** Zeros on both sides; 'same' keeps the size (stride 1 only), 'valid' is 0. Default 0. */
  readonly padding?: PerAxis | 'same' | 'valid'
  /** Distance between taps of the kernel; default 1. */
  readonly dilation?: PerAxis
  /** Into how many independent parts the channels are split; default 1. */
  readonly groups?: number
}

/**
 * Convolution over one axis (a cross-correlation, as everywhere in deep learning): x [batch, inChannels,
 * length] and weight [outChannels, inChannels / groups, kernel] -> [batch, outChannels, length']; the
 * batch axis may be missing. Dtypes promote. PyTorch's `conv1d`, `bias` being an option. Throws a
 * ShapeError when channels do not fit or the window is larger than the padded input, and a ValueError
 * for options that make no sense.
 *
 * @example
 * conv1d(tensor([[[1, 2, 3, 4]]]), tensor([[[1, -1]]])) // -> tensor([[[-1, -1, -1]]], float32, cpu)
 */
export function conv1d(x: Tensor, weight: Tensor, options: ConvOptions = {}): Tensor {
  return convolve('conv1d', 1, x, weight, options)
}

/**
 * Convolution over two axes: x [batch, inChannels, height, width] and weight [outChannels, inChannels /
 * groups, kernel height, kernel width] -> [batch, outChannels, height', width']; the batch axis may be
 * missing. With `groups` equal to the channels it is depthwise. PyTorch's `conv2d`, `bias` being an
 * option. Windows of 3 x 3 over many channels of float32 are computed by Winograd's algorithm, which rounds
 * differently; `configure({ winograd: false })` adds plainly. Throws as `conv1d` does.
 *
 * @example
 * const edges = tensor([[[[1, -1]]]])
 * conv2d(tensor([[[[1, 2], [3, 7]]]]), edges) // -> tensor([[[[-1], [-4]]]], float32, cpu)
 * conv2d(zeros([8, 3, 28, 28]), zeros([16, 3, 3, 3]), { padding: 'same' }).shape // -> [8, 16, 28, 28]
 */
export function conv2d(x: Tensor, weight: Tensor, options: ConvOptions = {}): Tensor {
  return convolve('conv2d', 2, x, weight, options)
}

/**
 * Convolution over three axes: as `conv2d`, with a depth before the height. PyTorch's `conv3d`.
 *
 * @example
 * conv3d(ones([1, 1, 2, 2, 2]), ones([1, 1, 2, 2, 2])).sum() // -> tensor(8, float32, cpu)
 */
export function conv3d(x: Tensor, weight: Tensor, options: ConvOptions = {}): Tensor {
  return convolve('conv3d', 3, x, weight, options)
}

function convolve(
  where: string,
  axes: number,
  x: Tensor,
  weight: Tensor,
  options: ConvOptions,
): Tensor {
  checkOptions(where, options, ['bias', 'stride', 'padding', 'dilation', 'groups'])
  checkWeight(where, axes, x, weight)
  const { bias, groups = 1 } = options
  const stride = perAxis(where, 'stride', options.stride ?? 1, axes, 1)
  const dilation = perAxis(where, 'dilation', options.dilation ?? 1, axes, 1)
  const [outChannels, perGroup, ...kernel] = weight.shape as [number, number, ...number[]]
  checkGroups(where, groups, 'outChannels', outChannels)
  const { before, after } = paddingOf(where, options.padding ?? 0, stride, dilation, kernel)
  return batched(where, x, axes, (batch) => {
    const [, inChannels, ...sizes] = batch.shape as [number, number, ...number[]]
    if (inChannels !== perGroup * groups)
      throw new ShapeError(
        `${where}: x ${formatShape(x.shape)} has ${inChannels} channels, weight ${formatShape(weight.shape)}${groups === 1 ? '' : ` in ${groups} groups`} wants ${perGroup * groups}. Expected weight [outChannels, inChannels / groups, ...]`,
      )
    checkBias(where, bias, outChannels)
    const counts = countWindows(where, sizes, kernel, { stride, before, after, dilation })
    return conv(batch, weight, bias, { stride, before, dilation, groups }, counts)
  })
}

function paddingOf(
  where: string,
  padding: PerAxis | 'same' | 'valid',
  stride: readonly number[],
  dilation: readonly number[],
  kernel: readonly number[],
): { before: readonly number[]; after: readonly number[] } {
  if (padding === 'same') {
    if (stride.some((s) => s !== 1))
      throw new ValueError(
        `${where}: padding 'same' with stride ${formatShape(stride)}. The size stays the same only with stride 1; give the padding in numbers`,
      )
    // As PyTorch: the odd one comes after.
    const total = kernel.map((n, i) => spanOf(n, dilation[i]!) - 1)
    const before = total.map((n) => Math.floor(n / 2))
    return { before, after: total.map((n, i) => n - before[i]!) }
  }
  if (typeof padding === 'string' && padding !== 'valid')
    throw new ValueError(
      `${where}: unknown padding '${String(padding)}'. Expected a number, a list of numbers, 'same' or 'valid'`,
    )
  const before = perAxis(where, 'padding', padding === 'valid' ? 0 : padding, kernel.length, 0)
  return { before, after: before }
}

export interface ConvTransposeOptions {
  /** Added to each channel of the result, [channels]. */
  readonly bias?: Tensor
  /** Distance between the windows that elements of `x` spread to; default 1. */
  readonly stride?: PerAxis
  /** Elements cut off on both sides; default 0. */
  readonly padding?: PerAxis
  /** Elements more at the end, less than stride or dilation; default 0. */
  readonly outputPadding?: PerAxis
  /** Distance between taps of the kernel; default 1. */
  readonly dilation?: PerAxis
  /** Into how many independent parts the channels are split; default 1. */
  readonly groups?: number
}

/**
 * Transposed convolution over one axis: x [batch, inChannels, length] and weight [inChannels,
 * outChannels / groups, kernel] -> [batch, outChannels, length'] with length' = (length - 1) * stride - 2
 * * padding + dilation * (kernel - 1) + outputPadding + 1; the batch axis may be missing. The gradient of
 * `conv1d` in its input. PyTorch's `conv_transpose1d`. Throws as `conv1d` does.
 *
 * @example
 * const w = tensor([[[1, 1]]])
 * convTranspose1d(tensor([[[1, 2]]]), w, { stride: 2 }) // -> tensor([[[1, 1, 2, 2]]], float32, cpu)
 */
export function convTranspose1d(
  x: Tensor,
  weight: Tensor,
  options: ConvTransposeOptions = {},
): Tensor {
  return transposed('convTranspose1d', 1, x, weight, options)
}

/**
 * Transposed convolution over two axes: x [batch, inChannels, height, width] and weight [inChannels,
 * outChannels / groups, kernel height, kernel width]; sizes as `convTranspose1d`. PyTorch's
 * `conv_transpose2d`. Throws as `conv1d` does.
 *
 * @example
 * convTranspose2d(zeros([1, 8, 7, 7]), zeros([8, 4, 2, 2]), { stride: 2 }).shape // -> [1, 4, 14, 14]
 */
export function convTranspose2d(
  x: Tensor,
  weight: Tensor,
  options: ConvTransposeOptions = {},
): Tensor {
  return transposed('convTranspose2d', 2, x, weight, options)
}

function transposed(
  where: string,
  axes: number,
  x: Tensor,
  weight: Tensor,
  options: ConvTransposeOptions,
): Tensor {
  checkOptions(where, options, ['bias', 'stride', 'padding', 'outputPadding', 'dilation', 'groups'])
  checkWeight(where, axes, x, weight)
  const { bias, groups = 1 } = options
  const stride = perAxis(where, 'stride', options.stride ?? 1, axes, 1)
  const dilation = perAxis(where, 'dilation', options.dilation ?? 1, axes, 1)
  const before = perAxis(where, 'padding', options.padding ?? 0, axes, 0)
  const more = perAxis(where, 'outputPadding', options.outputPadding ?? 0, axes, 0)
  const [inChannels, perGroup, ...kernel] = weight.shape as [number, number, ...number[]]
  checkGroups(where, groups, 'inChannels', inChannels)
  if (more.some((n, i) => n >= Math.max(stride[i]!, dilation[i]!)))
    throw new ValueError(
      `${where}: outputPadding ${formatShape(more)} is not smaller than stride ${formatShape(stride)} or dilation ${formatShape(dilation)}. It only settles which of several sizes is meant`,
    )
  return batched(where, x, axes, (batch) => {
    const [, channels, ...counts] = batch.shape as [number, number, ...number[]]
    if (channels !== inChannels)
      throw new ShapeError(
        `${where}: x ${formatShape(x.shape)} has ${channels} channels, weight ${formatShape(weight.shape)} wants ${inChannels}. Expected weight [inChannels, outChannels / groups, ...]`,
      )
    checkBias(where, bias, perGroup * groups)
    const sizes = counts.map(
      (n, i) => (n - 1) * stride[i]! + spanOf(kernel[i]!, dilation[i]!) + more[i]! - 2 * before[i]!,
    )
    if (sizes.some((n) => n < 1))
      throw new ShapeError(
        `${where}: padding ${formatShape(before)} leaves nothing of x ${formatShape(x.shape)}: the sizes would be ${formatShape(sizes)}. Use less padding`,
      )
    const spread = convInputGrad(batch, weight, { stride, before, dilation, groups }, sizes)
    return bias === undefined ? spread : spread.add(bias.reshape([-1, ...sizes.map(() => 1)]))
  })
}

// -- checks

function checkWeight(where: string, axes: number, x: Tensor, weight: Tensor): void {
  checkTensor(where, 'x', x)
  checkTensor(where, 'weight', weight)
  if (weight.ndim !== axes + 2 || weight.size === 0)
    throw new ShapeError(
      `${where}: weight has shape ${formatShape(weight.shape)}. Expected ${axes + 2} axes, none empty: two of channels and ${axes} of the kernel`,
    )
}

function checkGroups(where: string, groups: number, name: string, channels: number): void {
  if (!Number.isSafeInteger(groups) || groups < 1)
    throw new ValueError(`${where}: groups is ${String(groups)}. Expected a whole number >= 1`)
  if (channels % groups !== 0)
    throw new ShapeError(
      `${where}: ${groups} groups do not divide ${channels} ${name}. Choose groups that divide both channels`,
    )
}

function checkBias(where: string, bias: Tensor | undefined, channels: number): void {
  if (bias === undefined) return
  checkTensor(where, 'bias', bias)
  if (!sameShape(bias.shape, [channels]))
    throw new ShapeError(
      `${where}: bias has shape ${formatShape(bias.shape)}. Expected [${channels}], one per channel of the result`,
    )
}
