/** @file Layers that normalise each example by itself. */
import type { Shape } from '../core/shape.ts'
import { ones, zeros } from '../ops/create.ts'
import { owned, Parameter } from '../tensor/cell.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ValueError } from '../util/errors.ts'
import { checkPositive, checkSize, checkWindow } from './checks.ts'
import { Module } from './module.ts'
import { keepsNothing } from './passing.ts'
import type { Placement } from './placement.ts'

export interface RMSNormOptions extends Placement {
  /** Added to the mean square; default 1e-6. */
  readonly eps?: number
  /** Whether there is a learned scale; default true. */
  readonly elementwiseAffine?: boolean
}

export interface LayerNormOptions extends Placement {
  /** Added to the variance; default 1e-5. */
  readonly eps?: number
  /** Whether there are a learned scale and shift; default true. */
  readonly elementwiseAffine?: boolean
  /** False for a scale without shift; default true. */
  readonly bias?: boolean
}

/**
 * Brings the elements along the last axes, whose sizes are `normalizedShape`, to mean 0 and variance 1,
 * then scales and shifts them (Ba et al., 2016). Shape of the input. Throws a ValueError for sizes that
 * are not positive.
 *
 * @example
 * const layer = new nn.LayerNorm(2)
 * layer // -> LayerNorm([2], eps=0.00001, elementwiseAffine=true)
 * layer.forward(tensor([[1, 3]])) // -> tensor([[-1, 1]], float32, cpu, grad of layerNorm)
 */
export class LayerNorm extends Module {
  readonly normalizedShape: Shape
  readonly eps: number
  weight: Parameter | undefined
  bias: Parameter | undefined

  constructor(normalizedShape: number | Shape, options: LayerNormOptions = {}) {
    super()
    checkOptions('LayerNorm', options, ['eps', 'elementwiseAffine', 'bias', 'dtype', 'device'])
    const { eps = 1e-5, elementwiseAffine = true, bias = true, ...placement } = options
    this.normalizedShape = checkShapeOf('LayerNorm', normalizedShape)
    this.eps = checkPositive('LayerNorm', 'eps', eps)
    if (!elementwiseAffine) return
    this.weight = owned(Parameter, ones(this.normalizedShape, placement))
    if (bias) this.bias = owned(Parameter, zeros(this.normalizedShape, placement))
  }

  forward(x: Tensor): Tensor {
    const { normalizedShape, eps, weight, bias } = this
    return x.layerNorm({ normalizedShape, eps, ...(weight && { weight }), ...(bias && { bias }) })
  }

  override extraRepr(): string {
    return `[${this.normalizedShape.join(', ')}], eps=${this.eps}, elementwiseAffine=${this.weight !== undefined}`
  }
}

/**
 * Divides the elements along the last axes, whose sizes are `normalizedShape`, by their root mean
 * square, then scales them (Zhang and Sennrich, 2019). Shape of the input. Throws a ValueError for sizes
 * that are not positive.
 *
 * @example
 * new nn.RMSNorm(2).forward(tensor([[3, 4]])) // -> tensor([[0.8485, 1.1314]], float32, cpu, grad of rmsNorm)
 */
export class RMSNorm extends Module {
  readonly normalizedShape: Shape
  readonly eps: number
  weight: Parameter | undefined

  constructor(normalizedShape: number | Shape, options: RMSNormOptions = {}) {
    super()
    checkOptions('RMSNorm', options, ['eps', 'elementwiseAffine', 'dtype', 'device'])
    const { eps = 1e-6, elementwiseAffine = true, ...placement } = options
    this.normalizedShape = checkShapeOf('RMSNorm', normalizedShape)
    this.eps = checkPositive('RMSNorm', 'eps', eps)
    if (elementwiseAffine) this.weight = owned(Parameter, ones(this.normalizedShape, placement))
  }

  forward(x: Tensor): Tensor {
    const { normalizedShape, eps, weight } = this
    return x.rmsNorm({ normalizedShape, eps, ...(weight && { weight }) })
  }

  override extraRepr(): string {
    return `[${this.normalizedShape.join(', ')}], eps=${this.eps}, elementwiseAffine=${this.weight !== undefined}`
  }
}

export interface GroupNormOptions extends Placement {
  /** Added to the variance; default 1e-5. */
  readonly eps?: number
  /** Whether each channel has a learned scale and shift; default true. */
  readonly affine?: boolean
}

/**
 * Normalises the channels (axis 1) of each example of [batch, channels, ...] in groups, then scales and
 * shifts each channel (Wu and He, 2018). Throws a ValueError unless the channels divide into the groups.
 *
 * @example
 * new nn.GroupNorm(2, 4).forward(tensor([[1, 3, 10, 30]])) // -> tensor([[-1, 1, -1, 1]], float32, cpu, grad of reshape)
 */
export class GroupNorm extends Module {
  readonly numGroups: number
  readonly numChannels: number
  readonly eps: number
  weight: Parameter | undefined
  bias: Parameter | undefined

  constructor(numGroups: number, numChannels: number, options: GroupNormOptions = {}) {
    super()
    checkOptions('GroupNorm', options, ['eps', 'affine', 'dtype', 'device'])
    const { eps = 1e-5, affine = true, ...placement } = options
    this.numGroups = checkSize('GroupNorm', 'numGroups', numGroups)
    this.numChannels = checkSize('GroupNorm', 'numChannels', numChannels)
    this.eps = checkPositive('GroupNorm', 'eps', eps)
    if (numChannels % numGroups !== 0)
      throw new ValueError(
        `GroupNorm: ${numChannels} channels do not divide into ${numGroups} groups. Expected numGroups to divide numChannels`,
      )
    if (!affine) return
    this.weight = owned(Parameter, ones([numChannels], placement))
    this.bias = owned(Parameter, zeros([numChannels], placement))
  }

  forward(x: Tensor): Tensor {
    const { numGroups: groups, eps, weight, bias } = this
    return x.groupNorm({ groups, eps, ...(weight && { weight }), ...(bias && { bias }) })
  }

  override extraRepr(): string {
    return `${this.numGroups}, ${this.numChannels}, eps=${this.eps}, affine=${this.weight !== undefined}`
  }
}

function checkShapeOf(where: string, shape: number | Shape): Shape {
  return checkWindow(where, 'normalizedShape', shape, typeof shape === 'number' ? 1 : shape.length)
}

keepsNothing(GroupNorm, LayerNorm, RMSNorm)
