/** @file Pooling layers. */
import type { AvgPoolOptions, MaxPoolOptions } from '../ops/pool.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ValueError } from '../util/errors.ts'
import { checkWindow, formatWindow, type WindowSize } from './checks.ts'
import { Module } from './module.ts'
import { keepsNothing } from './passing.ts'

/** Options of the max pooling layers. */
export type MaxPoolLayerOptions = Omit<MaxPoolOptions, 'kernelSize'>
/** Options of the average pooling layers. */
export type AvgPoolLayerOptions = Omit<AvgPoolOptions, 'kernelSize'>

/** What poolings over any number of axes share: the checked options of the op. */
abstract class PoolOver<O extends MaxPoolLayerOptions & AvgPoolLayerOptions> extends Module {
  readonly options: O & { readonly kernelSize: readonly number[] }

  constructor(axes: number, kernelSize: WindowSize, options: O, known: readonly string[]) {
    super()
    const name = new.target.name
    checkOptions(name, options, ['stride', 'padding', 'ceilMode', ...known])
    const size = checkWindow(name, 'kernelSize', kernelSize, axes)
    const stride = checkWindow(name, 'stride', options.stride ?? size, axes)
    const padding = checkWindow(name, 'padding', options.padding ?? 0, axes, 0)
    if (padding.some((n, i) => n > size[i]! / 2))
      throw new ValueError(
        `${name}: padding ${formatWindow(padding)} is more than half of the window ${formatWindow(size)}. Expected at most half`,
      )
    this.options = { ...options, kernelSize: size, stride, padding }
  }

  override extraRepr(): string {
    const { kernelSize, stride, padding, ...rest } = this.options
    return Object.entries({ kernelSize, stride, padding, ...rest })
      .map(([key, value]) =>
        Array.isArray(value)
          ? `${key}=${formatWindow(value as number[])}`
          : `${key}=${String(value)}`,
      )
      .join(', ')
  }
}

/**
 * Largest element of each window: [batch, channels, length] -> [batch, channels, length']. The stride
 * is the window unless given. Throws a ValueError for sizes that make no sense.
 *
 * @example
 * new nn.MaxPool1d(2).forward(tensor([[[1, 5, 2, 3]]])) // -> tensor([[[5, 3]]], float32, cpu)
 */
export class MaxPool1d extends PoolOver<MaxPoolLayerOptions> {
  constructor(kernelSize: WindowSize, options: MaxPoolLayerOptions = {}) {
    super(1, kernelSize, options, ['dilation'])
  }
  forward(x: Tensor): Tensor {
    return x.maxPool1d(this.options)
  }
}

/**
 * Largest element of each window: [batch, channels, height, width] -> [batch, channels, height',
 * width']. The stride is the window unless given. Throws a ValueError for sizes that make no sense.
 *
 * @example
 * const layer = new nn.MaxPool2d(2)
 * layer // -> MaxPool2d(kernelSize=2, stride=2, padding=0)
 * layer.forward(tensor([[[[1, 5], [7, 3]]]])) // -> tensor([[[[7]]]], float32, cpu)
 */
export class MaxPool2d extends PoolOver<MaxPoolLayerOptions> {
  constructor(kernelSize: WindowSize, options: MaxPoolLayerOptions = {}) {
    super(2, kernelSize, options, ['dilation'])
  }
  forward(x: Tensor): Tensor {
    return x.maxPool2d(this.options)
  }
}

/**
 * Average of each window: [batch, channels, length] -> [batch, channels, length']. The stride is the
 * window unless given. Throws a ValueError for sizes that make no sense.
 *
 * @example
 * new nn.AvgPool1d(2).forward(tensor([[[1, 5, 2, 4]]])) // -> tensor([[[3, 3]]], float32, cpu)
 */
export class AvgPool1d extends PoolOver<AvgPoolLayerOptions> {
  constructor(kernelSize: WindowSize, options: AvgPoolLayerOptions = {}) {
    super(1, kernelSize, options, ['countIncludePad'])
  }
  forward(x: Tensor): Tensor {
    return x.avgPool1d(this.options)
  }
}

/**
 * Average of each window: [batch, channels, height, width] -> [batch, channels, height', width']. The
 * stride is the window unless given. Throws a ValueError for sizes that make no sense.
 *
 * @example
 * new nn.AvgPool2d(2).forward(tensor([[[[1, 5], [7, 3]]]])) // -> tensor([[[[4]]]], float32, cpu)
 */
export class AvgPool2d extends PoolOver<AvgPoolLayerOptions> {
  constructor(kernelSize: WindowSize, options: AvgPoolLayerOptions = {}) {
    super(2, kernelSize, options, ['countIncludePad'])
  }
  forward(x: Tensor): Tensor {
    return x.avgPool2d(this.options)
  }
}

/**
 * Averages images down (or up) to a given size, whatever theirs is: [batch, channels, height, width] ->
 * [batch, channels, ...outputSize]. Throws a ValueError for sizes that are not positive.
 *
 * @example
 * new nn.AdaptiveAvgPool2d(1).forward(tensor([[[[1, 5], [7, 3]]]])) // -> tensor([[[[4]]]], float32, cpu)
 */
export class AdaptiveAvgPool2d extends Module {
  readonly outputSize: readonly number[]

  constructor(outputSize: WindowSize) {
    super()
    this.outputSize = checkWindow('AdaptiveAvgPool2d', 'outputSize', outputSize, 2)
  }
  forward(x: Tensor): Tensor {
    return x.adaptiveAvgPool2d(this.outputSize)
  }
  override extraRepr(): string {
    return `outputSize=${formatWindow(this.outputSize)}`
  }
}

keepsNothing(AdaptiveAvgPool2d, AvgPool1d, AvgPool2d, MaxPool1d, MaxPool2d)
