/** @file The hook by which launches are watched. Who watches stands in src/compile. */
import type { Block, Executable } from './backend.ts'

/** Launches kernels in the place of whoever wants them launched. */
export interface Profiler {
  launch(executable: Executable, ...args: Parameters<Executable['launch']>): boolean
  /** Hears of a program that runs now, kernel by kernel, in how many regions it runs when nobody watches. */
  program?(kernels: number, regions: number): void
}

/** The profiler in force. Programs that are one call go kernel by kernel while there is one. */
export let profiling: Profiler | undefined

/** Puts a profiler into force, or none, and gives the one before. */
export function setProfiler(profiler: Profiler | undefined): Profiler | undefined {
  const before = profiling
  profiling = profiler
  return before
}

/** Launches a kernel, watched if somebody watches. */
export function launchKernel(
  executable: Executable,
  blocks: readonly Block[],
  offsets: readonly number[],
  sizes: readonly number[],
  params: readonly number[],
): boolean {
  return profiling === undefined
    ? executable.launch(blocks, offsets, sizes, params)
    : profiling.launch(executable, blocks, offsets, sizes, params)
}
