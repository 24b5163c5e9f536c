/** @file Transposed convolution layers. */
import type { ConvTransposeOptions as OpOptions } from '../ops/conv.ts'
import type { Parameter } from '../tensor/cell.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ValueError } from '../util/errors.ts'
import { checkSize, checkWindow, formatWindow, type WindowSize } from './checks.ts'
import { Module } from './module.ts'
import { keepsNothing } from './passing.ts'
import { uniformParameter, type Placement } from './placement.ts'

export interface ConvTransposeOptions extends Placement {
  /** Distance between the windows that elements spread to; default 1. */
  readonly stride?: WindowSize
  /** Elements cut off on both sides; default 0. */
  readonly padding?: WindowSize
  /** Elements more at the end, less than stride or dilation; default 0. */
  readonly outputPadding?: WindowSize
  /** Distance between the elements of the kernel; default 1. */
  readonly dilation?: WindowSize
  /** Into how many independent parts the channels are split; default 1. */
  readonly groups?: number
  /** Whether a bias is added; default true. */
  readonly bias?: boolean
}

const windows = ['stride', 'padding', 'outputPadding', 'dilation'] as const

/** What transposed convolutions over any number of axes share. */
abstract class ConvTransposeOver extends Module {
  readonly inChannels: number
  readonly outChannels: number
  readonly kernelSize: readonly number[]
  readonly options: Required<Omit<OpOptions, 'bias'>>
  weight: Parameter
  bias: Parameter | undefined

  protected constructor(
    axes: number,
    inChannels: number,
    outChannels: number,
    kernelSize: WindowSize,
    options: ConvTransposeOptions,
  ) {
    super()
    const name = new.target.name
    checkOptions(name, options, [...windows, 'groups', 'bias', 'dtype', 'device'])
    const { stride = 1, padding = 0, outputPadding = 0, dilation = 1, ...rest } = options
    const { groups = 1, bias = true, ...placement } = rest
    this.inChannels = checkSize(name, 'inChannels', inChannels)
    this.outChannels = checkSize(name, 'outChannels', outChannels)
    this.kernelSize = checkWindow(name, 'kernelSize', kernelSize, axes)
    this.options = {
      stride: checkWindow(name, 'stride', stride, axes),
      padding: checkWindow(name, 'padding', padding, axes, 0),
      outputPadding: checkWindow(name, 'outputPadding', outputPadding, axes, 0),
      dilation: checkWindow(name, 'dilation', dilation, axes),
      groups: checkSize(name, 'groups', groups),
    }
    if (inChannels % groups !== 0 || outChannels % groups !== 0)
      throw new ValueError(
        `${name}: groups ${groups} must divide inChannels ${inChannels} and outChannels ${outChannels}`,
      )
    const shape = [inChannels, outChannels / groups, ...this.kernelSize]
    const bound = 1 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b, 1))
    this.weight = uniformParameter(shape, bound, placement)
    this.bias = bias ? uniformParameter([outChannels], bound, placement) : undefined
  }

  /** What the op is told beside the weight. */
  protected get settings(): OpOptions {
    return { ...this.options, ...(this.bias && { bias: this.bias }) }
  }

  override extraRepr(): string {
    const { inChannels, outChannels, kernelSize, options, bias } = this
    const stride = formatWindow(options.stride as number[])
    return `${inChannels}, ${outChannels}, kernelSize=${formatWindow(kernelSize)}, stride=${stride}${bias === undefined ? ', bias=false' : ''}`
  }
}

/**
 * Transposed convolution over one axis: [batch, inChannels, length] -> [batch, outChannels, length'];
 * see `convTranspose1d`. weight is [inChannels, outChannels / groups, kernelSize], drawn as in PyTorch.
 * Throws a ValueError for sizes that make no sense.
 *
 * @example
 * new nn.ConvTranspose1d(2, 4, 2, { stride: 2 }).forward(zeros([1, 2, 5])).shape // -> [1, 4, 10]
 */
export class ConvTranspose1d extends ConvTransposeOver {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: WindowSize,
    options: ConvTransposeOptions = {},
  ) {
    super(1, inChannels, outChannels, kernelSize, options)
  }

  forward(x: Tensor): Tensor {
    return x.convTranspose1d(this.weight, this.settings)
  }
}

/**
 * Transposed convolution over two axes: [batch, inChannels, height, width] -> [batch, outChannels,
 * height', width']; see `convTranspose2d`. weight is [inChannels, outChannels / groups, kernel height,
 * kernel width], drawn as in PyTorch. Throws a ValueError for sizes that make no sense.
 *
 * @example
 * new nn.ConvTranspose2d(8, 4, 2, { stride: 2 }).forward(zeros([1, 8, 7, 7])).shape // -> [1, 4, 14, 14]
 */
export class ConvTranspose2d extends ConvTransposeOver {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: WindowSize,
    options: ConvTransposeOptions = {},
  ) {
    super(2, inChannels, outChannels, kernelSize, options)
  }

  forward(x: Tensor): Tensor {
    return x.convTranspose2d(this.weight, this.settings)
  }
}

keepsNothing(ConvTranspose1d, ConvTranspose2d)
