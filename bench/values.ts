/** @file The same numbers for every contender, so that all can be seen to compute the same. */

/**
 * Element i is ((7919 i + 104729 seed) mod 1009 - 504) / 512, which is exact in float32.
 * `bench/peers/torch_peer.py` makes the same.
 */
export function values(count: number, seed: number): Float32Array<ArrayBuffer> {
  const result = new Float32Array(count)
  let state = (104729 * seed) % 1009
  for (let i = 0; i < count; i++) {
    result[i] = (state - 504) / 512
    state = (state + 7919) % 1009
  }
  return result
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1)
}

/** How many elements of a result are compared. */
const SAMPLES = 7

/** Elements of a result in row-major order, spread over it, which contenders must agree on. */
export function sampleOf(elements: ArrayLike<number>): number[] {
  return Array.from(
    { length: SAMPLES },
    (_, k) => elements[Math.floor((k * (elements.length - 1)) / (SAMPLES - 1))]!,
  )
}

/** Whether two samples are the same but for rounding, which is relative to the largest element. */
export function agrees(a: readonly number[], b: readonly number[]): boolean {
  const scale = Math.max(...a.map(Math.abs), ...b.map(Math.abs), 1e-6)
  return a.length === b.length && a.every((x, i) => Math.abs(x - b[i]!) <= 2e-3 * scale)
}

/** Class labels for training: 0 to `classes` - 1 in turn, mixed. */
export function labels(count: number, classes: number): Int32Array<ArrayBuffer> {
  return Int32Array.from({ length: count }, (_, i) => (i * 7) % classes)
}
