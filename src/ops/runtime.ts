/** @file What a backend uses of the machine: memory and threads. */
import { madeBackends, type MemoryStats } from '../backend/backend.ts'
import { config } from '../util/config.ts'
import { ValueError } from '../util/errors.ts'
import { currentBackend } from './create.ts'

/**
 * Bytes that the tensors of a backend take: `current` now, `peak` at most so far, `reserved` together with
 * what is kept for later. Tensors that were dropped count until the garbage collector has found them.
 * Throws a DeviceError for an unknown backend.
 *
 * @example
 * const t = zeros([1000])
 * memoryStats().current >= t.size * 4 // -> true
 */
export function memoryStats(device?: string): MemoryStats {
  return currentBackend(device).memoryStats()
}

/**
 * Sets how many threads share the work of a kernel on the `cpu` backend; results do not depend on it.
 * Threads beyond the caller's start when first needed. Throws a ValueError unless it is a whole number from 1 on.
 *
 * @example
 * setNumThreads(1)
 * getNumThreads() // -> 1
 */
export function setNumThreads(count: number): void {
  if (!Number.isInteger(count) || count < 1)
    throw new ValueError(
      `setNumThreads: expected a whole number from 1 on, received ${count}. One thread per core is the default`,
    )
  config.numThreads = count
  for (const backend of madeBackends())
    if (backend.numThreads !== undefined) backend.numThreads = count
}

/**
 * How many threads share the work of a kernel; 1 on backends that have no threads.
 * Throws a DeviceError for an unknown backend.
 *
 * @example
 * getNumThreads('reference') // -> 1
 */
export function getNumThreads(device?: string): number {
  return currentBackend(device).numThreads ?? 1
}
