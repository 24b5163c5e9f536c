/** @file Tensors as a dataset: item i is row i of each. */
import type { Tensor } from '../tensor/tensor.ts'
import { formatShape } from '../core/shape.ts'
import { fromTypedArray } from '../ops/create.ts'
import { checkTensor } from '../ops/define.ts'
import { ShapeError, ValueError } from '../util/errors.ts'
import type { Collated } from './collate.ts'
import { checkIndex, type Dataset } from './dataset.ts'

/**
 * Tensors whose first axes run in step, as PyTorch's TensorDataset: item i is the list of their rows
 * i. A batch is gathered by one kernel per tensor; neighbouring rows are not even copied.
 *
 * Throws a ShapeError when the first axes differ in size.
 *
 * @example
 * const x = tensor([[1, 2], [3, 4]])
 * const y = tensor([0, 1], { dtype: 'int32' })
 * new TensorDataset(x, y).get(1) // -> [tensor([3, 4], float32, cpu), tensor(1, int32, cpu)]
 */
export class TensorDataset<T extends readonly Tensor[]> implements Dataset<T> {
  readonly tensors: T
  readonly length: number

  constructor(...tensors: T) {
    const first = tensors[0]
    if (first === undefined)
      throw new ValueError('TensorDataset: no tensors. Expected at least one')
    for (const t of tensors) {
      checkTensor('TensorDataset', 't', t)
      if (t.ndim === 0 || t.shape[0] !== first.shape[0])
        throw new ShapeError(
          `TensorDataset: the tensors differ in length: ${tensors.map((each) => formatShape(each.shape)).join(' and ')}. Expected the same first size`,
        )
    }
    this.tensors = tensors
    this.length = first.shape[0]!
  }

  get(index: number): T {
    checkIndex('TensorDataset', index, this.length)
    return this.tensors.map((t) => t.slice(index)) as readonly Tensor[] as T
  }

  /** Rows of each tensor: a view where they follow each other, else gathered by a kernel. */
  getBatch(indices: Int32Array): Collated<T> {
    const first = indices[0] ?? 0
    const end = first + indices.length
    if (indices.every((index, i) => index === first + i) && first >= 0 && end <= this.length)
      return this.tensors.map((t) => t.slice([first, end])) as readonly Tensor[] as Collated<T>
    const positions = Int32Array.from(indices)
    return this.tensors.map((t) =>
      t.indexSelect(0, fromTypedArray(positions, [positions.length], { device: t.device })),
    ) as readonly Tensor[] as Collated<T>
  }
}
