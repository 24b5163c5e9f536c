/** @file The choices a random case is made of: drawn from a seed, recorded, and replayed to make smaller cases. */

/** Numbers from 0 to 1, the same for the same seed. */
export function generator(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b1) | 1
  const next = () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
  for (let i = 0; i < 8; i++) next()
  return next
}

/**
 * A source of choices. Whoever draws arranges that 0 stands for what is simplest: a case is made
 * smaller by replaying its choices with some left out or lowered; where they run out, 0 is drawn.
 */
export class Choices {
  /** What was drawn so far. */
  readonly taken: number[] = []
  readonly #draw: (n: number) => number

  private constructor(draw: (n: number) => number) {
    this.#draw = draw
  }

  static seeded(seed: number): Choices {
    const random = generator(seed)
    return new Choices((n) => Math.floor(random() * n))
  }

  static replayed(choices: readonly number[]): Choices {
    let at = 0
    return new Choices((n) => Math.min(choices[at++] ?? 0, n - 1))
  }

  /** A whole number from 0 to n - 1. */
  below(n: number): number {
    const chosen = n <= 1 ? 0 : this.#draw(n)
    if (n > 1) this.taken.push(chosen)
    return chosen
  }

  chance(probability: number): boolean {
    return this.below(1000) >= 1000 * (1 - probability)
  }

  /** One of several, the first being the simplest. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!
  }

  /** In a random order; the given one is the simplest. */
  shuffle<T>(items: readonly T[]): T[] {
    const rest = [...items]
    return items.map(() => rest.splice(this.below(rest.length), 1)[0]!)
  }
}

/** Makes a failing list of choices smaller as long as `fails` says that it still fails. */
export function shrinkChoices(
  choices: readonly number[],
  fails: (choices: readonly number[]) => boolean,
): number[] {
  let best = [...choices]
  const attempt = (candidate: number[]): boolean => {
    if (!fails(candidate)) return false
    best = candidate
    return true
  }
  for (let before = -1; before !== cost(best);) {
    before = cost(best)
    for (let size = Math.max(1, best.length >> 1); size >= 1; size >>= 1)
      for (let at = 0; at < best.length;) {
        const [left, middle, right] = [
          best.slice(0, at),
          best.slice(at, at + size),
          best.slice(at + size),
        ]
        if (attempt([...left, ...right])) continue
        if (middle.some((x) => x > 0)) attempt([...left, ...middle.fill(0), ...right])
        at += size
      }
    for (let at = 0; at < best.length; at++) {
      const value = best[at]!
      for (const smaller of [0, value >> 1, value - 1]) {
        if (smaller >= 0 && smaller < value && attempt(best.with(at, smaller))) break
      }
    }
  }
  return best
}

const cost = (choices: readonly number[]): number =>
  choices.reduce((sum, x) => sum + Math.log2(2 + x), 0)
