/** @file Walks a range in vectors while a chain of contractions is lowered. */
import type { Value } from '../ir/loops.ts'
import type { Range } from './contract-access.ts'
import type { Emitter } from './emitter.ts'
import type { TargetTraits } from './target-traits.ts'

/** The widths of a loop of so many lanes: all of them, those of one register, single ones where there are no masks. */
export function widthsOf(lanes: number, { vectorBytes, tail }: TargetTraits): number[] {
  const native = vectorBytes / 8
  const narrow = lanes % (2 * native) === 0 ? 2 * native : native
  const widths = lanes > narrow ? [lanes, narrow] : [lanes]
  return tail === 'scalar' && lanes > 1 ? [...widths, 1] : widths
}

/** Every position of a range once: whole vectors, then single lanes or one vector under a mask. */
export function alongLanes(
  b: Emitter,
  { begin, end }: Range,
  lanes: number,
  traits: TargetTraits,
  body: (position: Value, lanes: number, mask: Value | undefined) => void,
): void {
  const widths = widthsOf(lanes, traits)
  let at = begin
  for (const width of widths) {
    const stop = width === 1 ? end : b.add(at, b.roundDown(b.sub(end, at), width))
    b.loop(at, stop, width, (i) => body(i, width, undefined))
    at = stop
  }
  const width = widths[widths.length - 1]!
  if (width === 1) return
  b.loop(at, end, width, (i) => {
    const mask = b.lanesBelow(b.sub(end, i), width)
    b.tailMask = mask
    body(i, width, mask)
    b.tailMask = undefined
  })
}
