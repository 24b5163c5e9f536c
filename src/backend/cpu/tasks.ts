/** @file The work of kernels that run at the same time, cut into tasks for the threads. */
import { config } from '../../util/config.ts'
import { chunkCost, type Split } from './executable.ts'

/** Iterations of one of the kernels. */
export interface Piece {
  /** Which of them. */
  readonly kernel: number
  readonly begin: number
  readonly end: number
  /** In instructions, roughly. */
  readonly cost: number
}

/** A task: what a thread does before it takes the next. */
export type Task = readonly Piece[]

/**
 * Note [Tasks]: each kernel is cut as it would be alone, and small ones stay whole. The dearest pieces come
 * first, so that what is left at the end, when some threads have nothing more to do, is small; the cheapest are put
 * together, until a task is worth being taken. With one thread there is one task, in the kernels' order.
 */
export function tasksOf(splits: readonly Split[]): Task[] {
  const pieces = splits.flatMap((split, kernel) => piecesOf(split, kernel))
  const smallest = config.shareAll ? 0 : chunkCost
  const tasks: Piece[][] = []
  let room = 0
  for (const piece of pieces.toSorted((a, b) => b.cost - a.cost)) {
    room -= piece.cost
    const last = tasks.at(-1)
    if (last !== undefined && room >= 0) last.push(piece)
    else {
      tasks.push([piece])
      room = smallest - piece.cost
    }
  }
  return tasks
}

function piecesOf({ count, grain, cost }: Split, kernel: number): Piece[] {
  // One without iterations is called all the same, as it is alone.
  if (count <= grain) return [{ kernel, begin: 0, end: count, cost }]
  return Array.from({ length: Math.ceil(count / grain) }, (_, i) => {
    const [begin, end] = [i * grain, Math.min((i + 1) * grain, count)]
    return { kernel, begin, end, cost: (cost * (end - begin)) / count }
  })
}
