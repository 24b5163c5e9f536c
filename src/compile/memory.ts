/** @file What memory a graph would take as a program: found by planning it, without compiling a kernel. */
import { withConfig } from '../util/config.ts'
import { extentOf, fuse, walkedBy } from './fuse.ts'
import type { CallNode, Graph } from './graph.ts'
import { planMemory, type MemoryPlan } from './homes.ts'
import { scheduleGraph, type Schedule } from './schedule.ts'
import type { Trace } from './trace.ts'

export interface PlannedMemory {
  readonly schedule: Schedule
  readonly homes: MemoryPlan['homes']
  /** Of each call, the points that its kernels walk, those of sums included: what it costs. */
  readonly points: ReadonlyMap<CallNode, number>
  /** The arena, and what is new at each run and takes nobody's place. */
  readonly bytes: number
}

/** Schedules, fuses and places a graph as a program would. */
export function plannedMemory(graph: Graph, trace: Pick<Trace, 'states' | 'grads'>): PlannedMemory {
  const unfused = withConfig({ debug: 0 }, () => scheduleGraph(graph))
  const schedule = withConfig({ debug: 0 }, () => fuse(graph, unfused))
  const { homes, arenaBytes } = planMemory(graph, trace, schedule)
  const fresh = homes.map((home, i) =>
    home.kind === 'fresh' && home.takesOver === undefined ? schedule.buffers[i]!.bytes : 0,
  )
  const points = new Map<CallNode, number>()
  for (const kernel of unfused.kernels)
    if ('step' in kernel) {
      const { node, step } = kernel
      points.set(node, (points.get(node) ?? 0) + extentOf(walkedBy(step.group)))
    }
  return { schedule, homes, points, bytes: fresh.reduce((a, b) => a + b, arenaBytes) }
}
