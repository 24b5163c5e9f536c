/** @file Which kernels of a program run at the same time: those that follow each other and do not meet in memory. */
import { areDisjoint, storedLattice, type Lattice } from './disjoint.ts'
import type { Home } from './homes.ts'
import type { Schedule, ScheduledKernel } from './schedule.ts'
import type { State } from './trace.ts'

/**
 * Note [Joined kernels]: kernels that follow each other in the schedule are one region when none of them
 * touches what another one writes: threads share the work of all of them, and wait for each other once. Above
 * all these are an optimizer's updates, one for each parameter, which come last in a step. As one loop over
 * all elements would, they keep all threads busy, also with parameters that are too small to be shared.
 *
 * It is found out when memory is planned, and changes nothing about that: where a result was given the memory
 * of what ended just before, the two kernels meet there and are not joined. Nor is the order changed: gradients
 * that stay in `.grad` are there to the end anyway, and kernels moved away from those that they read
 * from, or those that read from them, would keep what lies between alive for longer.
 *
 * Returns the numbers of the kernels that join the one before them.
 */
export function joinedKernels(
  { kernels, buffers }: Schedule,
  homes: readonly Home[],
  states: readonly State[],
): ReadonlySet<number> {
  const joined = new Set<number>()
  let region: Region | undefined
  kernels.forEach((kernel, k) => {
    if (!('step' in kernel) || kernel.step.group.checks.length > 0) {
      region = undefined
      return
    }
    const touched = rangesOf(kernel, (buffer) => {
      return { ...placeOf(homes[buffer]!, buffer, states), bytes: buffers[buffer]!.bytes }
    })
    if (region !== undefined && !touched.some((range) => region!.meets(range))) joined.add(k)
    else region = new Region()
    for (const range of touched) region.add(range)
  })
  return joined
}

/** How many kernels there are, and how often threads wait for each other if that is less often. */
export function kernelsText(kernels: number, joined: ReadonlySet<number>): string {
  return joined.size === 0
    ? `${kernels} kernels`
    : `${kernels} kernels (${kernels - joined.size} regions)`
}

/** Memory that a kernel reads or writes: bytes of a space that does not overlap another one. */
interface Range {
  readonly space: Space
  readonly from: number
  readonly to: number
  readonly isWritten: boolean
  /** The only elements of the buffer that it touches, where they are known. */
  readonly stored: (Lattice & { readonly buffer: number }) | undefined
}

/** The arena, a state that may be written over in place, or else a buffer. */
type Space = 'arena' | State | number

class Region {
  readonly #ranges = new Map<Space, Range[]>()

  add(range: Range): void {
    const known = this.#ranges.get(range.space)
    if (known === undefined) this.#ranges.set(range.space, [range])
    else known.push(range)
  }

  /** Whether somebody writes there what this one touches, or touches what it writes. */
  meets(range: Range): boolean {
    return (this.#ranges.get(range.space) ?? []).some((other) => collide(range, other))
  }
}

function collide(a: Range, b: Range): boolean {
  if (!a.isWritten && !b.isWritten) return false
  if (a.to <= b.from || b.to <= a.from) return false
  const [x, y] = [a.stored, b.stored]
  return x === undefined || y === undefined || x.buffer !== y.buffer || !areDisjoint(x, y)
}

function rangesOf(
  kernel: ScheduledKernel,
  placeAt: (buffer: number) => { space: Space; begin: number; bytes: number },
): Range[] {
  const { operands, step } = kernel
  const isWritten = new Map<number, boolean>()
  operands.forEach(({ buffer }, i) => {
    const writes = step.group.buffers[i]!.access !== 'read'
    isWritten.set(buffer, writes || isWritten.get(buffer) === true)
  })
  return Array.from(isWritten, ([buffer, writes]): Range => {
    const { space, begin, bytes } = placeAt(buffer)
    const lattice = writes ? storedLattice(kernel, buffer) : undefined
    return {
      space,
      from: begin,
      to: begin + bytes,
      isWritten: writes,
      stored: lattice && { ...lattice, buffer },
    }
  })
}

function placeOf(
  home: Home,
  buffer: number,
  states: readonly State[],
): { readonly space: Space; readonly begin: number } {
  switch (home.kind) {
    case 'arena':
      return { space: 'arena', begin: home.offset }
    case 'state':
      return { space: states[home.slot]!, begin: 0 }
    case 'fresh':
      return { space: home.takesOver?.state ?? buffer, begin: 0 }
    default:
      return { space: buffer, begin: 0 }
  }
}
