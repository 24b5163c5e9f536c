/** @file Means over the batches of an epoch, without making the device wait. */
import type { Tensor } from '../tensor/tensor.ts'

/** A share of a mean: the sum (or the mean) of some values, one element, and how many they are. */
export type Part =
  | { readonly total: Tensor; readonly count: Tensor | number }
  | { readonly mean: Tensor; readonly count: number }

/** Unread parts are read when there are this many, so that their memory can go. */
const patience = 64

/**
 * Means by name. Values are read at once where that is cheap; where reading takes time, they stay on
 * the device until somebody asks (`settle`). Sums are kept in float64.
 */
export class Averages {
  readonly #sums = new Map<string, { total: number; count: number }>()
  readonly #unread: (readonly [name: string, part: Part])[] = []

  /** Adds a part to a mean. A promise is given back when it is time to wait for the device. */
  add(parts: Readonly<Record<string, Part>>): Promise<void> | undefined {
    for (const [name, part] of Object.entries(parts)) {
      const [value, count] = valuesOf(part)
      if (!value.backend.synchronous) this.#unread.push([name, part])
      else this.#note(name, part, value.itemSync(), count?.itemSync())
    }
    return this.#unread.length >= patience ? this.settle() : undefined
  }

  /** Reads what was not read yet. */
  async settle(): Promise<void> {
    for (const [name, part] of this.#unread.splice(0)) {
      const [value, count] = valuesOf(part)
      this.#note(name, part, await value.item(), await count?.item())
    }
  }

  /** The means of what was read so far, in the order in which they were first added. */
  values(): Record<string, number> {
    return Object.fromEntries(
      [...this.#sums].map(([name, { total, count }]) => [name, count === 0 ? 0 : total / count]),
    )
  }

  #note(name: string, part: Part, value: number, readCount: number | undefined): void {
    const count = readCount ?? (part.count as number)
    const total = 'mean' in part ? value * count : value
    const sum = this.#sums.get(name)
    if (sum === undefined) this.#sums.set(name, { total, count })
    else {
      sum.total += total
      sum.count += count
    }
  }
}

/** The tensors of a part that have to be read. */
function valuesOf(part: Part): [value: Tensor, count: Tensor | undefined] {
  const value = 'mean' in part ? part.mean : part.total
  return [value, typeof part.count === 'number' ? undefined : part.count]
}
