/** @file Large buffers that wait for reuse: the latest first, the oldest dropped when there are too many. */
import type { Slab } from './block.ts'

interface Waiting {
  readonly slab: Slab
  /** When it came, as a count. */
  readonly since: number
}

export class LargePool {
  readonly #limit: number
  readonly #sizes = new Map<number, Waiting[]>()
  #clock = 0
  /** Bytes that wait. */
  bytes = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  /** The latest one of exactly this size: its pages are the likeliest to be in a cache. */
  take(bytes: number): Slab | undefined {
    const waiting = this.#sizes.get(bytes)?.pop()
    if (waiting === undefined) return undefined
    this.bytes -= bytes
    return waiting.slab
  }

  give(slab: Slab): void {
    if (slab.bytes > this.#limit) return
    const list = this.#sizes.get(slab.bytes)
    const waiting = { slab, since: this.#clock++ }
    if (list === undefined) this.#sizes.set(slab.bytes, [waiting])
    else list.push(waiting)
    this.bytes += slab.bytes
    while (this.bytes > this.#limit) this.#dropOldest()
  }

  clear(): void {
    this.#sizes.clear()
    this.bytes = 0
  }

  #dropOldest(): void {
    let oldest: Waiting[] | undefined
    for (const list of this.#sizes.values())
      if (list.length > 0 && (oldest === undefined || list[0]!.since < oldest[0]!.since))
        oldest = list
    this.bytes -= oldest!.shift()!.slab.bytes
  }
}
