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
  const all = program.inOrder()
  const fixed = all.filter((r) => r.assigned >= 0)
  const whole = { g: general, v: range(0, vectorCount), k: range(1, 8) }
  const free = (count: RegisterClass, without: readonly number[]) =>
    whole[count].filter((r) => !without.includes(r) && !(count === 'g' && program.reserved.has(r)))
  const first = { g: free('g', []), v: free('v', []), k: free('k', []) }
  if (!scan(all, fixed, first, true)) return { spills: false, slotBytes: 0 }
  for (const r of all) if (!fixed.includes(r)) r.assigned = -1
  const rest = {
    g: free('g', scratch.general),
    v: free('v', scratch.vectors(vectorCount)),
    k: free('k', scratch.masks),
  }
  scan(all, fixed, rest, false)
  return { spills: true, slotBytes: giveSlots(all, vectorBytes) }
}

/** One class of registers during a pass: what each register holds, and until when. */
class File {
  readonly #numbers: readonly number[]
  readonly #holders: (Register | undefined)[] = new Array<undefined>(32).fill(undefined)
  readonly #ends = new Int32Array(32).fill(-1)
  /** When what a register holds began, to tell older from younger. */
  readonly #began = new Int32Array(32).fill(-1)
  readonly #densities = new Float64Array(32)

  constructor(numbers: readonly number[]) {
    this.#numbers = numbers
  }

  /** A register that is free from `r.start` on: the one wished for or the best one, -1 if there is none. */
  free(r: Register): number {
    const numbers = this.#numbers
    const ends = this.#ends
    const wish = r.hint === undefined ? -1 : r.hint.assigned
    if (wish >= 0 && ends[wish]! < r.start && numbers.includes(wish)) return wish
    for (let i = 0; i < numbers.length; i++) if (ends[numbers[i]!]! < r.start) return numbers[i]!
    return -1
  }

  hold(at: number, r: Register, began: number): void {
    this.#holders[at] = r
    this.#ends[at] = r.end
    this.#began[at] = began
    this.#densities[at] = density(r)
  }

  /** What is used least for the time it takes: `r` or one that holds a register; the oldest of equals. */
  least(r: Register, isFixed: (r: Register) => boolean): Register {
    let least = r
    let lowest = density(r)
    let oldest = -1
    for (let at = 0; at < 32; at++) {
      if (this.#ends[at]! < r.start) continue
      const its = this.#densities[at]!
      if (its > lowest || (its === lowest && this.#began[at]! >= oldest)) continue
      const other = this.#holders[at]!
      if (isFixed(other)) continue
      least = other
      lowest = its
      oldest = this.#began[at]!
    }
    return least
  }
}

/** One pass; says whether something without a register needs one to pass through. With `tries` it then stops. */
function scan(
  all: readonly Register[],
  fixed: readonly Register[],
  numbers: Record<RegisterClass, readonly number[]>,
  tries: boolean,
): boolean {
  const files = { g: new File(numbers.g), v: new File(numbers.v), k: new File(numbers.k) }
  let needsScratch = false
  for (const r of fixed) files[r.class].hold(r.assigned, r, 0)
  const isFixed = (r: Register) => r.class === 'g' && fixed.includes(r)
  for (let i = 0; i < all.length; i++) {
    const r = all[i]!
    if (isFixed(r)) continue
    const file = files[r.class]
    let chosen = file.free(r)
    if (chosen < 0) {
      const least = file.least(r, isFixed)
      chosen = least.assigned
      least.assigned = -1
      if (!(least.constant && least.isFoldable)) {
        if (tries) return true
        needsScratch = true
      }
      if (least === r) continue
    }
    r.assigned = chosen
    file.hold(chosen, r, i + 1)
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
