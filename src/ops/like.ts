/** @file Filled tensors with the shape, dtype and device of another. */
import type { DType } from '../core/dtype.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions } from '../util/errors.ts'
import { full } from './create.ts'
import { checkTensor } from './define.ts'

export interface LikeOptions {
  /** Default: that of the tensor. */
  readonly dtype?: DType
  /** Name of the backend; default that of the tensor. */
  readonly device?: string
}

/**
 * One repeated value, in the shape, dtype and device of a tensor. PyTorch's `full_like`.
 *
 * @example
 * fullLike(tensor([1, 2]), 7) // -> tensor([7, 7], float32, cpu)
 */
export function fullLike(x: Tensor, value: number, options: LikeOptions = {}): Tensor {
  return like('fullLike', x, value, options)
}

/**
 * Zeros in the shape, dtype and device of a tensor. PyTorch's `zeros_like`.
 *
 * @example
 * zerosLike(tensor([1, 2])) // -> tensor([0, 0], float32, cpu)
 */
export function zerosLike(x: Tensor, options: LikeOptions = {}): Tensor {
  return like('zerosLike', x, 0, options)
}

/**
 * Ones in the shape, dtype and device of a tensor. PyTorch's `ones_like`.
 *
 * @example
 * onesLike(tensor([1, 2]), { dtype: 'int32' }) // -> tensor([1, 1], int32, cpu)
 */
export function onesLike(x: Tensor, options: LikeOptions = {}): Tensor {
  return like('onesLike', x, 1, options)
}

function like(where: string, x: Tensor, value: number, options: LikeOptions): Tensor {
  checkTensor(where, 'x', x)
  checkOptions(where, options, ['dtype', 'device'])
  const { dtype = x.dtype, device = x.device } = options
  return full(x.shape, value, { dtype, device })
}
