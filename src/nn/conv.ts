/** @file Convolution layers. */
import type { ConvOptions as OpOptions } from '../ops/conv.ts'
import type { Parameter } from '../tensor/cell.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ValueError } from '../util/errors.ts'
import { checkSize, checkWindow, formatWindow, type WindowSize } from './checks.ts'
import { Module } from './module.ts'
import { keepsNothing } from './passing.ts'
import { uniformParameter, type Placement } from './placement.ts'

export interface ConvOptions extends Placement {
  /** Step of the window; default 1. */
  readonly stride?: WindowSize
  /** Zeros added on both sides; 'same' keeps the size (stride 1 only), 'valid' is 0. Default 0. */
  readonly padding?: WindowSize | 'same' | 'valid'
  /** Distance between the elements of the kernel; default 1. */
  readonly dilation?: WindowSize
  /** Into how many independent parts the channels are split; default 1. */
  readonly groups?: number
  /** Whether a bias is added; default true. */
  readonly bias?: boolean
}

/** What convolutions over any number of axes share. */
abstract class ConvOver extends Module {
  readonly inChannels: number
  readonly outChannels: number
  readonly kernelSize: readonly number[]
  readonly stride: readonly number[]
  readonly padding: readonly number[] | 'same'
  readonly dilation: readonly number[]
  readonly groups: number
  weight: Parameter
  bias: Parameter | undefined

  protected constructor(
    axes: number,
    inChannels: number,
    outChannels: number,
    kernelSize: WindowSize,
    options: ConvOptions,
  ) {
    super()
    const name = new.target.name
    checkOptions(name, options, conventional)
    const { stride = 1, padding = 0, dilation = 1, groups = 1, bias = true, ...placement } = options
    this.inChannels = checkSize(name, 'inChannels', inChannels)
    this.outChannels = checkSize(name, 'outChannels', outChannels)
    this.kernelSize = checkWindow(name, 'kernelSize', kernelSize, axes)
    this.stride = checkWindow(name, 'stride', stride, axes)
    this.padding =
      padding === 'same'
        ? padding
        : checkWindow(name, 'padding', padding === 'valid' ? 0 : padding, axes, 0)
    if (padding === 'same' && this.stride.some((n) => n !== 1))
      throw new ValueError(
        `${name}: padding 'same' needs stride 1, received stride ${formatWindow(this.stride)}. Give the padding in numbers`,
      )
    this.dilation = checkWindow(name, 'dilation', dilation, axes)
    this.groups = checkSize(name, 'groups', groups)
    if (inChannels % groups !== 0 || outChannels % groups !== 0)
      throw new ValueError(
        `${name}: groups ${groups} must divide inChannels ${inChannels} and outChannels ${outChannels}`,
      )
    const shape = [outChannels, inChannels / groups, ...this.kernelSize]
    const fanIn = shape.slice(1).reduce((a, b) => a * b, 1)
    const bound = 1 / Math.sqrt(fanIn)
    this.weight = uniformParameter(shape, bound, placement)
    this.bias = bias ? uniformParameter([outChannels], bound, placement) : undefined
  }

  /** What the op is told beside the weight. */
  protected get settings(): OpOptions {
    const { stride, padding, dilation, groups, bias } = this
    return { stride, padding, dilation, groups, ...(bias && { bias }) }
  }

  override extraRepr(): string {
    const extras = [
      ...(this.padding === 'same' ? ["padding='same'"] : []),
      ...(this.padding !== 'same' && this.padding.some((n) => n !== 0)
        ? [`padding=${formatWindow(this.padding)}`]
        : []),
      ...(this.dilation.some((n) => n !== 1) ? [`dilation=${formatWindow(this.dilation)}`] : []),
      ...(this.groups === 1 ? [] : [`groups=${this.groups}`]),
      ...(this.bias === undefined ? ['bias=false'] : []),
    ]
    const base = `${this.inChannels}, ${this.outChannels}, kernelSize=${formatWindow(this.kernelSize)}, stride=${formatWindow(this.stride)}`
    return [base, ...extras].join(', ')
  }
}

const conventional = ['stride', 'padding', 'dilation', 'groups', 'bias', 'dtype', 'device'] as const

/**
 * Convolution over one axis: [batch, inChannels, length] -> [batch, outChannels, length']. weight is
 * [outChannels, inChannels / groups, kernelSize], drawn as in PyTorch. Throws a ValueError for sizes
 * that are not positive and groups that do not divide the channels.
 *
 * @example
 * new nn.Conv1d(2, 4, 3, { padding: 1 }).forward(zeros([1, 2, 10])).shape // -> [1, 4, 10]
 */
export class Conv1d extends ConvOver {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: WindowSize,
    options: ConvOptions = {},
  ) {
    super(1, inChannels, outChannels, kernelSize, options)
  }

  forward(x: Tensor): Tensor {
    return x.conv1d(this.weight, this.settings)
  }
}

/**
 * Convolution over two axes: [batch, inChannels, height, width] -> [batch, outChannels, height',
 * width']. weight is [outChannels, inChannels / groups, kernel height, kernel width], drawn as in
 * PyTorch. Throws a ValueError for sizes that are not positive and groups that do not divide the
 * channels.
 *
 * @example
 * const layer = new nn.Conv2d(1, 16, 3, { padding: 1, stride: 2 })
 * layer // -> Conv2d(1, 16, kernelSize=3, stride=2, padding=1)
 * layer.forward(zeros([8, 1, 28, 28])).shape // -> [8, 16, 14, 14]
 */
export class Conv2d extends ConvOver {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: WindowSize,
    options: ConvOptions = {},
  ) {
    super(2, inChannels, outChannels, kernelSize, options)
  }

  forward(x: Tensor): Tensor {
    return x.conv2d(this.weight, this.settings)
  }
}

keepsNothing(Conv1d, Conv2d)
