/** @file Free ranges of an address space: quick lists for small sizes, best fit with merging for large ones. */

const line = 64
/** Sizes below this are kept on quick lists, one per multiple of a cache line. */
const quickLimit = 8192

/** Hands out ranges whose lengths are multiples of 64 bytes. Address 0 means "no room". */
export class FreeList {
  readonly #quick: number[][] = Array.from({ length: quickLimit / line }, () => [])
  /** Large free ranges: start to end and back. */
  readonly #starts = new Map<number, number>()
  readonly #ends = new Map<number, number>()
  /** Large free ranges by size class (floor of log2), as sets of starts. */
  readonly #classes: Set<number>[] = Array.from({ length: 33 }, () => new Set())
  /** Everything from here on was never handed out. */
  #top: number
  #limit: number

  constructor(start: number) {
    this.#top = start
    this.#limit = start
  }

  /** The address space now ends at `limit`. */
  extend(limit: number): void {
    this.#limit = limit
  }

  take(bytes: number): number {
    if (bytes < quickLimit) {
      const address = this.#quick[bytes / line]!.pop()
      return address ?? this.#takeRange(bytes)
    }
    return this.#takeRange(bytes)
  }

  give(address: number, bytes: number): void {
    if (bytes < quickLimit) this.#quick[bytes / line]!.push(address)
    else this.#giveRange(address, address + bytes)
  }

  #takeRange(bytes: number): number {
    for (let c = classOf(bytes); c < this.#classes.length; c++) {
      for (const start of this.#classes[c]!) {
        const end = this.#starts.get(start)!
        if (end - start < bytes) continue
        this.#remove(start, end)
        if (end - start > bytes) this.#insert(start + bytes, end)
        return start
      }
    }
    if (this.#top + bytes > this.#limit) return 0
    const address = this.#top
    this.#top += bytes
    return address
  }

  #giveRange(start: number, end: number): void {
    const after = this.#starts.get(end)
    if (after !== undefined) {
      this.#remove(end, after)
      end = after
    }
    const before = this.#ends.get(start)
    if (before !== undefined) {
      this.#remove(before, start)
      start = before
    }
    if (end === this.#top) this.#top = start
    else this.#insert(start, end)
  }

  #insert(start: number, end: number): void {
    this.#starts.set(start, end)
    this.#ends.set(end, start)
    this.#classes[classOf(end - start)]!.add(start)
  }

  #remove(start: number, end: number): void {
    this.#starts.delete(start)
    this.#ends.delete(end)
    this.#classes[classOf(end - start)]!.delete(start)
  }
}

function classOf(bytes: number): number {
  return 31 - Math.clz32(bytes)
}
