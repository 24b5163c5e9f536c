/** @file Makes the tensors of a sample: reproducible elements, and the same elements under other layouts. */
import { fromTypedArray, type DType, type Tensor } from 'tandem'
import { dtypes } from '../../src/core/dtype.ts'
import { sizeOf } from '../../src/core/shape.ts'
import { PlainArray, plain } from './plain.ts'
import type { Input, InputSpec } from './row.ts'

/** Random numbers in [0, 1), the same for the same text: mulberry32 after a hash of the text. */
export function randomFor(text: string): () => number {
  let state = 2166136261
  for (const c of text) state = Math.imul(state ^ c.charCodeAt(0), 16777619)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

export const specOf = (input: Input): InputSpec =>
  Array.isArray(input) ? { shape: input as readonly number[] } : (input as InputSpec)

/** Elements of an input for a dtype. They may not be exact in the dtype: tensors round them. */
export function elementsFor(spec: InputSpec, dtype: DType, random: () => number): PlainArray {
  const { shape, values, distinct = false } = spec
  const size = sizeOf(shape)
  if (values !== undefined) {
    if (values.length !== size) throw new Error(`${values.length} values for shape [${shape}]`)
    return new PlainArray(shape, values)
  }
  const { kind } = dtypes[dtype]
  const isFloat = kind === 'float'
  const low = Math.max(spec.low ?? (isFloat ? -2 : -6), dtype === 'uint8' ? 0 : -Infinity)
  const high = isFloat ? (spec.high ?? 2) : Math.max(spec.high ?? 7, low + 1)
  if (kind === 'bool')
    return new PlainArray(
      shape,
      draw(size, () => Number(random() < 0.5)),
    )
  const at = (r: number) => (isFloat ? low + (high - low) * r : Math.floor(low + (high - low) * r))
  if (!distinct)
    return new PlainArray(
      shape,
      draw(size, () => at(random())),
    )
  const order = draw(size, random).map((r, i) => [r, i] as const)
  order.sort((a, b) => a[0] - b[0])
  return new PlainArray(
    shape,
    order.map(([, i]) => at((i + 0.25 + 0.5 * random()) / size)),
  )
}

const draw = (size: number, next: () => number) => Array.from({ length: size }, next)

/** A tensor of a plain array. */
export function toTensor(x: PlainArray, dtype: DType, device: string): Tensor {
  return fromTypedArray(Float64Array.from(x.data), x.shape, { dtype, device })
}

/** The elements a tensor has, as a plain array. */
export function toPlain(t: Tensor): PlainArray {
  return new PlainArray(t.shape, Array.from(t.dataSync() as ArrayLike<number | bigint>, Number))
}

/** Ways to lay out the same elements in memory, as views of other tensors. */
export const layouts: Record<string, (x: PlainArray, dtype: DType, device: string) => Tensor> = {
  transposed(x, dtype, device) {
    const shape = [...x.shape].reverse()
    const stored = plain(shape, (...index) => x.at(...index.reverse()))
    return toTensor(stored, dtype, device).permute(shape.map((_, i) => shape.length - 1 - i))
  },
  /** Every second element of a larger tensor, away from its edges. */
  sliced(x, dtype, device) {
    const between = dtypes[dtype].kind === 'float' ? NaN : 77
    const isOurs = (i: number) => i > 0 && i % 2 === 1
    const shape = [3, ...x.shape.map((n) => 2 * n + 1)]
    const stored = plain(shape, (first, ...index) =>
      first === 1 && index.every(isOurs) ? x.at(...index.map((i) => (i - 1) / 2)) : between,
    )
    const ranges = x.shape.map((n) => [1, 2 * n, 2] as const)
    return toTensor(stored, dtype, device).slice(1, ...ranges)
  },
  flipped(x, dtype, device) {
    const stored = plain(x.shape, (...index) => x.at(...index.map((i, a) => x.shape[a]! - 1 - i)))
    return toTensor(stored, dtype, device).flip()
  },
  /** Leading axis repeated without memory: elements are those of `repeated`. */
  expanded(x, dtype, device) {
    if (x.shape.length === 0 || x.shape[0] === 0) return toTensor(x, dtype, device)
    const first = plain([1, ...x.shape.slice(1)], (...index) => x.at(...index))
    return toTensor(first, dtype, device).expand(x.shape)
  },
}

/** The array whose slices along the leading axis all equal the first. */
export function repeated(x: PlainArray): PlainArray {
  return plain(x.shape, (first, ...rest) => (first === undefined ? x.at() : x.at(0, ...rest)))
}
