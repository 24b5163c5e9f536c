/** @file Gives virtual registers machine registers: linear scan, the least used giving way. */
import type { MachineProgram, Register, RegisterClass } from './machine.ts'

/** The registers of each class, best first, and those kept free for what lives on the stack. */
export interface RegisterFile {
  readonly general: readonly number[]
  readonly vectors: readonly number[]
  readonly masks: readonly number[]
}

/** Registers kept free where something has to live on the stack: it passes through these. */
export const scratch = {
  general: [10, 11],
  masks: [7, 6],
  vectors: (count: number): readonly number[] => [count - 1, count - 2],
} as const

// Those the caller saves first; rsp (4) is not for values.
const general = [0, 1, 2, 6, 7, 8, 9, 10, 11, 3, 5, 12, 13, 14, 15]

export interface Allocation {
  /** Whether something lives on the stack, so that the scratch registers are in use. */
  readonly spills: boolean
  /** Bytes of stack for what does. */
  readonly slotBytes: number
}

/** Assigns every register of the program. `vectorCount` is 16 or 32, `vectorBytes` the size of one. */
export function allocate(
  program: MachineProgram,
  vectorCount: number,
  vectorBytes: number,
): Allocation {
  const all = program.registers
    .filter((r) => r.end >= 0)
    .toSorted((a, b) => a.start - b.start || a.end - b.end)
  const fixed = new Set(all.filter((r) => r.assigned >= 0))
  const whole = { g: general, v: range(0, vectorCount), k: range(1, 8) }
  const free = (count: RegisterClass, without: readonly number[]) =>
    whole[count].filter((r) => !without.includes(r) && !(count === 'g' && program.reserved.has(r)))
  const first = { g: free('g', []), v: free('v', []), k: free('k', []) }
  if (!scan(all, fixed, first)) return { spills: false, slotBytes: 0 }
  for (const r of all) if (!fixed.has(r)) r.assigned = -1
  const rest = {
    g: free('g', scratch.general),
    v: free('v', scratch.vectors(vectorCount)),
    k: free('k', scratch.masks),
  }
  scan(all, fixed, rest)
  return { spills: true, slotBytes: giveSlots(all, vectorBytes) }
}

/** One pass; says whether something without a register needs one to pass through. */
function scan(
  all: readonly Register[],
  fixed: ReadonlySet<Register>,
  files: Record<RegisterClass, readonly number[]>,
): boolean {
  const active: Record<RegisterClass, Register[]> = { g: [], v: [], k: [] }
  const holder: Record<RegisterClass, (Register | undefined)[]> = { g: [], v: [], k: [] }
  let needsScratch = false
  for (const r of fixed) {
    active[r.class].push(r)
    holder[r.class][r.assigned] = r
  }
  const lose = (r: Register) => {
    r.assigned = -1
    if (!(r.constant && r.isFoldable)) needsScratch = true
  }
  for (const r of all) {
    if (fixed.has(r)) continue
    const file = files[r.class]
    const held = holder[r.class]
    const list = active[r.class]
    // Those whose time is over give their registers back.
    let kept = 0
    for (const other of list) {
      if (other.end < r.start) held[other.assigned] = undefined
      else list[kept++] = other
    }
    list.length = kept
    const wish = r.hint?.assigned ?? -1
    let chosen = wish >= 0 && file.includes(wish) && held[wish] === undefined ? wish : -1
    if (chosen < 0) chosen = file.find((x) => held[x] === undefined) ?? -1
    if (chosen < 0) {
      // The one that is used least for the time it takes gives way.
      let least = r
      for (const other of list)
        if (!fixed.has(other) && density(other) < density(least)) least = other
      if (least === r) {
        lose(r)
        continue
      }
      chosen = least.assigned
      lose(least)
      list.splice(list.indexOf(least), 1)
    }
    r.assigned = chosen
    held[chosen] = r
    list.push(r)
  }
  return needsScratch
}

// A constant costs nothing to leave out: it is read where it lies.
const density = (r: Register): number =>
  (r.weight * (r.constant ? 0.25 : 1)) / (r.end - r.start + 2)

function giveSlots(all: readonly Register[], vectorBytes: number): number {
  let bytes = 0
  for (const r of all) {
    if (r.assigned >= 0 || r.constant) continue
    const size = r.class === 'v' ? vectorBytes : 8
    bytes = Math.ceil(bytes / size) * size
    r.slot = bytes
    bytes += size
  }
  return bytes
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, i) => from + i)
