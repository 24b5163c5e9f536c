/** @file Whether two kernels store to different elements of the same buffer. */
import { rootsOf, visitAll } from '../ir/group.ts'
import type { ScheduledKernel } from './schedule.ts'

/** Elements at `offset` and any sum of steps on from there: each stride up to `count - 1` times. */
export interface Lattice {
  readonly offset: number
  readonly terms: readonly { readonly stride: number; readonly count: number }[]
}

/** What a kernel touches of a buffer, where it only stores there, once, and at places that its axes say. */
export function storedLattice(
  { step: { group }, operands }: ScheduledKernel,
  buffer: number,
): Lattice | undefined {
  const [store, ...others] = group.stores.filter((x) => operands[x.buffer]!.buffer === buffer)
  if (store === undefined || others.length > 0 || store.accumulate) return undefined
  let isRead = false
  visitAll(rootsOf(group), (e) => {
    if (e.kind === 'load' && operands[e.buffer]!.buffer === buffer) isRead = true
  })
  if (isRead) return undefined
  const terms: Lattice['terms'][number][] = []
  for (const { index, stride } of store.index.terms) {
    if (index.kind !== 'axis' || typeof index.axis.extent !== 'number') return undefined
    if (typeof stride !== 'number' || stride < 0) return undefined
    terms.push({ stride, count: index.axis.extent })
  }
  const { offset } = store.index
  return typeof offset === 'number'
    ? { offset: offset + operands[store.buffer]!.offset, terms }
    : undefined
}

/**
 * Whether no element is in both, as far as this shows: modulo one of the strides, the rows of each lie in a
 * stretch of their own. So it is with the parts of a concatenation, and with elements of an image that differ in
 * the remainder of their position.
 */
export function areDisjoint(a: Lattice, b: Lattice): boolean {
  const strides = new Set([...a.terms, ...b.terms].map(({ stride }) => stride))
  // Without a modulus, what they span.
  return [Infinity, ...strides].some((modulus) => {
    const [x, y] = [stretchOf(a, modulus), stretchOf(b, modulus)]
    return x !== undefined && y !== undefined && (x.last < y.first || y.last < x.first)
  })
}

/** Between which remainders the elements lie; undefined where these wrap around. */
function stretchOf(
  { offset, terms }: Lattice,
  modulus: number,
): { readonly first: number; readonly last: number } | undefined {
  if (modulus === 0) return undefined
  const first = modulus === Infinity ? offset : offset % modulus
  let last = first
  for (const { stride, count } of terms)
    if (modulus === Infinity || stride % modulus !== 0) last += stride * (count - 1)
  return last < modulus ? { first, last } : undefined
}
