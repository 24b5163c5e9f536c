/** @file The regions of a program: steps that run at the same time, where they lie in its memory, and how threads share them. */
import { assert } from '../../util/errors.ts'
import type { ProgramStep } from '../backend.ts'
import type { CpuExecutable, Split } from './executable.ts'
import { tasksOf, type Task } from './tasks.ts'
import { control } from './thread-code.ts'

/** A step, and the slot that its control block begins at. */
export interface Placed {
  readonly executable: CpuExecutable
  readonly step: ProgramStep
  readonly at: number
  /** Where its packing space begins, in bytes per thread. */
  readonly scratchBegin: number
}

/** Steps that run at the same time. */
export interface Region {
  readonly steps: readonly Placed[]
  /** Of its control block: that of its only step, or one for the tasks that its steps become. */
  readonly at: number
}

/** The regions of a program, where each part of it begins in its memory, and what packing space its threads need. */
export function placeRegions(steps: readonly ProgramStep[]): {
  readonly regions: readonly Region[]
  /** Bytes per thread. */
  readonly scratchBytes: number
  /** Slots that all control blocks take. */
  readonly end: number
} {
  let end = 0
  const take = (count: number) => {
    const at = end
    // Eight slots are a cache line.
    end = Math.ceil((at + count) / 8) * 8
    return at
  }
  let scratchBytes = 0
  const regions = joined(steps).map((members): Region => {
    // Threads have their pieces of it side by side, so kernels that run at the same time share it if these are as large.
    const begins = new Map<number, number>()
    let scratchEnd = 0
    const placed = members.map((step): Placed => {
      const executable = step.executable as CpuExecutable
      const { form, scratchBytes: own } = executable
      assert(
        members.length === 1 || form.status === undefined,
        `${executable.name}: a kernel with checks runs alone`,
      )
      if (!begins.has(own)) {
        begins.set(own, scratchEnd)
        scratchEnd += own
      }
      return { executable, step, at: take(form.end), scratchBegin: begins.get(own)! }
    })
    scratchBytes = Math.max(scratchBytes, scratchEnd)
    return { steps: placed, at: placed.length === 1 ? placed[0]!.at : take(control.args + 1) }
  })
  return { regions, scratchBytes, end }
}

/** The steps, those together that run at the same time. */
function joined(steps: readonly ProgramStep[]): ProgramStep[][] {
  const groups: ProgramStep[][] = []
  for (const step of steps) {
    const last = groups.at(-1)
    if (last !== undefined && step.joins === true) last.push(step)
    else groups.push([step])
  }
  return groups
}

export interface RegionSplit extends Split {
  /** None where it is a single kernel. */
  readonly tasks: readonly Task[]
}

/** How the threads that there are share a region. */
export function splitRegion({ steps }: Region): RegionSplit {
  const splits = steps.map(({ executable, step }) => executable.splitFor(step.sizes))
  const [only] = splits
  if (only !== undefined && splits.length === 1) return { ...only, tasks: [] }
  const tasks = tasksOf(splits)
  const cost = splits.reduce((sum, split) => sum + split.cost, 0)
  return { count: tasks.length, grain: 1, cost, tasks }
}
