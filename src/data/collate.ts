/** @file From a list of items to a batch. */
import { formatShape, sameShape } from '../core/shape.ts'
import type { TypedArray } from '../core/dtype.ts'
import { tensor } from '../ops/create.ts'
import { stack } from '../ops/join.ts'
import { Tensor } from '../tensor/tensor.ts'
import { ShapeError, ValueError } from '../util/errors.ts'

/** What `collate` makes of items of type T. */
export type Collated<T> = T extends Tensor | TypedArray | number | bigint | boolean
  ? Tensor
  : T extends string
    ? string[]
    : T extends readonly unknown[]
      ? { -readonly [K in keyof T]: Collated<T[K]> }
      : T extends object
        ? { -readonly [K in keyof T]: Collated<T[K]> }
        : T[]

/**
 * Makes a batch of items, as PyTorch's default_collate: tensors and typed arrays are stacked along a
 * new first axis, numbers become a float32 tensor and booleans a bool one, lists and objects are
 * collated position by position and key by key, and strings stay a list.
 *
 * Throws a ShapeError when tensors or lists differ in size, a ValueError for items of different kinds.
 *
 * @example
 * collate([[tensor([1, 2]), 0], [tensor([3, 4]), 1]])
 * // -> [tensor([[1, 2], [3, 4]], float32, cpu), tensor([0, 1], float32, cpu)]
 */
export function collate<T>(items: readonly T[]): Collated<T> {
  if (items.length === 0) throw new ValueError('collate: there are no items. Expected at least one')
  return collateValues(items) as Collated<T>
}

function collateValues(items: readonly unknown[]): unknown {
  const kind = kindOf(items[0])
  const odd = items.findIndex((item) => kindOf(item) !== kind)
  if (odd >= 0)
    throw new ValueError(
      `collate: item ${odd} of the batch is ${kindOf(items[odd])}, item 0 is ${kind}. Expected items of one kind; pass a collate function of your own`,
    )
  return collators[kind](items as never)
}

type Kind =
  | 'a tensor'
  | 'a typed array'
  | 'a number'
  | 'a boolean'
  | 'a list'
  | 'an object'
  | 'something else'

function kindOf(item: unknown): Kind {
  if (item instanceof Tensor) return 'a tensor'
  if (ArrayBuffer.isView(item)) return 'a typed array'
  if (typeof item === 'number' || typeof item === 'bigint') return 'a number'
  if (typeof item === 'boolean') return 'a boolean'
  if (Array.isArray(item)) return 'a list'
  if (typeof item !== 'object' || item === null) return 'something else'
  const prototype: unknown = Object.getPrototypeOf(item)
  return prototype === Object.prototype || prototype === null ? 'an object' : 'something else'
}

const collators: Record<Kind, (items: never) => unknown> = {
  'a tensor': (items: readonly Tensor[]) => stackTensors(items),
  'a typed array': (items: readonly TypedArray[]) => stackTensors(items.map((one) => tensor(one))),
  'a number': (items: readonly (number | bigint)[]) => tensor(items),
  'a boolean': (items: readonly boolean[]) => tensor(items),
  'a list': collateLists,
  'an object': collateObjects,
  'something else': (items: readonly unknown[]) => items,
}

function stackTensors(items: readonly Tensor[]): Tensor {
  const { shape } = items[0]!
  const odd = items.findIndex((item) => !sameShape(item.shape, shape))
  if (odd >= 0)
    throw new ShapeError(
      `collate: item ${odd} of the batch has shape ${formatShape(items[odd]!.shape)}, item 0 ${formatShape(shape)}. Expected one shape; pad the items, or pass a collate function of your own`,
    )
  return stack(items)
}

function collateLists(items: readonly (readonly unknown[])[]): unknown[] {
  const { length } = items[0]!
  const odd = items.findIndex((item) => item.length !== length)
  if (odd >= 0)
    throw new ShapeError(
      `collate: item ${odd} of the batch has ${items[odd]!.length} parts, item 0 has ${length}. Expected as many in each`,
    )
  return items[0]!.map((_, i) => collateValues(items.map((item) => item[i])))
}

function collateObjects(items: readonly Readonly<Record<string, unknown>>[]): object {
  const keys = Object.keys(items[0]!)
  return Object.fromEntries(keys.map((key) => [key, collateValues(items.map((item) => item[key]))]))
}
