/** @file Places buffers that live for a part of a run into one piece of memory. */

/** When a buffer is alive: from the first kernel that touches it to the last. */
export interface Lifetime {
  readonly bytes: number
  readonly from: number
  readonly to: number
}

export interface ArenaPlan {
  /** Where each buffer begins, in bytes. */
  readonly offsets: readonly number[]
  readonly bytes: number
}

/**
 * Gives each buffer a place so that none overlaps another that is alive at the same time: the largest
 * first, each in the lowest gap that holds it (greedy by size; Pisarchyk and Lee, 2020).
 */
export function planArena(lifetimes: readonly Lifetime[]): ArenaPlan {
  const order = lifetimes.map((_, i) => i).sort((a, b) => lifetimes[b]!.bytes - lifetimes[a]!.bytes)
  const offsets = new Array<number>(lifetimes.length).fill(0)
  const placed: number[] = []
  let total = 0
  for (const i of order) {
    const { bytes, from, to } = lifetimes[i]!
    const size = roundUp(bytes)
    let at = 0
    // Those placed are in the order of their offsets.
    for (const j of placed) {
      const other = lifetimes[j]!
      if (other.to < from || other.from > to) continue
      if (offsets[j]! - at >= size) break
      at = Math.max(at, offsets[j]! + roundUp(other.bytes))
    }
    offsets[i] = at
    total = Math.max(total, at + size)
    const position = placed.findIndex((j) => offsets[j]! > at)
    placed.splice(position < 0 ? placed.length : position, 0, i)
  }
  return { offsets, bytes: total }
}

/** Buffers begin at cache lines. */
const roundUp = (bytes: number): number => Math.ceil(bytes / 64) * 64
