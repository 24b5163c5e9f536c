/** @file Loads and stores of single values and of lanes for every memory type, widening to and narrowing from 32-bit values. */
import type { VectorOp } from '../../asm/x86.ts'
import type { MemoryType, Place, Value } from '../../ir/loops.ts'
import type { Selector } from './emit.ts'
import type { Register } from './machine.ts'

export const bytesOf: Record<MemoryType, 1 | 2 | 4 | 8> = {
  f32: 4,
  f64: 8,
  i32: 4,
  i64: 8,
  i8: 1,
  u8: 1,
  u16: 2,
}

/** Loads one element. */
export function loadSingle(m: Selector, place: Place, to: Register): void {
  const p = m.program
  const from = m.address(place)
  switch (place.memory) {
    case 'f32':
      return p.vector('vmovss', 128, [to, from])
    case 'f64':
      return p.vector('vmovsd', 128, [to, from])
    case 'i32':
      return p.int('load', 32, 'makes', [to, from])
    case 'i64':
      return p.int('load', 64, 'makes', [to, from])
    case 'i8':
      return p.int('movsx8', 32, 'makes', [to, from])
    case 'u8':
      return p.int('movzx8', 32, 'makes', [to, from])
    case 'u16':
      return p.int('movzx16', 32, 'makes', [to, from])
  }
}

/** Stores one element. */
export function storeSingle(m: Selector, place: Place, value: Value): void {
  const p = m.program
  const from = m.any(value)
  const to = m.address(place)
  switch (place.memory) {
    case 'f32':
      return p.vector('vmovss', 128, [to, from])
    case 'f64':
      return p.vector('vmovsd', 128, [to, from])
    case 'i32':
      return p.int('store', 32, 'reads', [to, from])
    case 'i64':
      return p.int('store', 64, 'reads', [to, from])
    case 'i8':
    case 'u8':
      return p.int('store8', 32, 'reads', [to, from])
    case 'u16':
      return p.int('store16', 32, 'reads', [to, from])
  }
}

interface Lanes {
  readonly load: VectorOp
  readonly store: VectorOp
}

// Moves of floats with AVX2 alone; with AVX-512 the width of a lane is that of the mask.
const lanes: Record<MemoryType, Lanes> = {
  f32: { load: 'vmovups', store: 'vmovups' },
  f64: { load: 'vmovupd', store: 'vmovupd' },
  i32: { load: 'vmovups', store: 'vmovups' },
  i64: { load: 'vmovupd', store: 'vmovupd' },
  i8: { load: 'vpmovsxbd', store: 'vpmovdb' },
  u8: { load: 'vpmovzxbd', store: 'vpmovdb' },
  u16: { load: 'vpmovzxwd', store: 'vpmovdw' },
}

const perRegister = (m: Selector, memory: MemoryType): number => {
  const bytes = bytesOf[memory]
  return (m.vectorBits / (bytes === 8 ? 64 : 32)) * bytes
}

/** Loads register `r` of consecutive lanes; those that the mask switches off read nothing and are 0. */
export function loadLanes(
  m: Selector,
  place: Place,
  r: number,
  to: Register,
  mask: Register | undefined,
): void {
  const from = m.address(place, r * perRegister(m, place.memory))
  const { load } = lanes[place.memory]
  m.program.vector(load, m.vectorBits, [to, from], mask ? { mask, zeroing: true } : {})
}

/** Stores register `r` of consecutive lanes. */
export function storeLanes(
  m: Selector,
  place: Place,
  r: number,
  from: Register,
  mask: Register | undefined,
): void {
  const to = m.address(place, r * perRegister(m, place.memory))
  const { store } = lanes[place.memory]
  const isNarrow = bytesOf[place.memory] < 4
  if (isNarrow && !m.features.avx512) return storeNarrow(m, to, from, bytesOf[place.memory])
  m.program.vector(store, m.vectorBits, [to, from], mask ? { mask } : {}, 'reads')
}

// The low bits of 8 lanes, packed in two steps or one.
function storeNarrow(
  m: Selector,
  to: ReturnType<Selector['address']>,
  from: Register,
  bytes: number,
): void {
  const p = m.program
  const [low, upper, words] = [p.register('v'), p.register('v'), p.register('v')]
  p.vector('vpand', 256, [low, from, m.constant('i32', bytes === 1 ? 0xff : 0xffff)])
  p.vector('vextracti128', 256, [upper, low], { imm: 1 })
  p.vector('vpackusdw', 128, [words, low, upper])
  if (bytes === 2) return p.vector('vmovdqu', 128, [to, words])
  const packed = p.register('v')
  p.vector('vpackuswb', 128, [packed, words, words])
  p.vector('vmovq', 128, [to, packed])
}

/** Loads one element per lane, at the index of that lane. */
export function gatherLanes(
  m: Selector,
  place: Place,
  index: Register,
  to: Register,
  mask: Register | undefined,
): void {
  const bytes = bytesOf[place.memory]
  if (bytes < 4) return gatherNarrow(m, place, index, to, mask)
  const p = m.program
  const isWide = bytes === 8
  p.int('zero', 128, 'makes', [to])
  // The instruction switches its mask off as it goes.
  const rest = m.boolRegister()
  if (m.features.avx512) {
    if (mask) p.copy(rest, mask)
    else p.int('ones', 64, 'makes', [rest])
    const op = isWide ? 'vgatherdpd.k' : 'vgatherdps.k'
    return p.vector(op, m.vectorBits, [to, m.gatherAddress(place, index)], { mask: rest })
  }
  p.int('ones', 256, 'makes', [rest])
  // Three registers at once, two of which may be read from the stack.
  rest.weight = Infinity
  const op = isWide ? 'vgatherdpd' : 'vgatherdps'
  p.vector(op, m.vectorBits, [to, m.gatherAddress(place, index), rest], {}, 'changes')
}

// There are no gathers of bytes: the indices go through the stack, and so do the elements. Lanes that
// are switched off read the first element, and drop it.
function gatherNarrow(
  m: Selector,
  place: Place,
  index: Register,
  to: Register,
  mask: Register | undefined,
): void {
  const p = m.program
  let safe = index
  if (mask) {
    safe = p.register('v')
    p.vector('vmovdqu32', m.vectorBits, [safe, index], { mask, zeroing: true })
  }
  p.stackBytes = 64
  p.int('stackStore', m.vectorBits, 'reads', [safe])
  for (let lane = 0; lane < m.vectorBits / 32; lane++) {
    const at = p.register('g')
    p.int('stackRead', 64, 'makes', [at], undefined, 4 * lane)
    const element = p.register('g')
    const from = m.gatherAddress(place, at)
    const load = place.memory === 'i8' ? 'movsx8' : place.memory === 'u8' ? 'movzx8' : 'movzx16'
    p.int(load, 32, 'makes', [element, from])
    p.int('stackWrite', 32, 'reads', [element], undefined, 4 * lane)
  }
  if (!mask) return p.int('stackLoad', m.vectorBits, 'makes', [to])
  const all = p.register('v')
  p.int('stackLoad', m.vectorBits, 'makes', [all])
  p.vector('vmovdqu32', m.vectorBits, [to, all], { mask, zeroing: true })
}
