/** @file The kernels of a program, compiled and made one call, and kept for as long as the program is. */
import type { Backend, Executable, ProgramExecutable, ProgramStep } from '../backend/backend.ts'
import { launchEach } from '../backend/launch-each.ts'
import { profiling } from '../backend/profiling.ts'
import { dtypes } from '../core/dtype.ts'
import {
  areCompiled,
  holdKernel,
  letGoKernel,
  preparedKernel,
  prepareKernels,
} from '../tensor/plan.ts'
import { assert } from '../util/errors.ts'
import type { Schedule, Scheduled, ScheduledKernel } from './schedule.ts'

/** Knows nothing of the program, so that it can be released when the collector has taken that. */
export class ProgramKernels {
  readonly #executable: ProgramExecutable
  readonly #steps: readonly ProgramStep[]
  readonly #backend: Backend
  readonly #held: Executable[] = []
  #isReleased = false

  /** `joined`: those of the kernels that run at the same time as the one before them. */
  constructor(
    backend: Backend,
    kernels: readonly ScheduledKernel[],
    joined: ReadonlySet<Scheduled>,
    buffers: Schedule['buffers'],
  ) {
    this.#backend = backend
    const prepared = prepareKernels(kernels)
    const keys = prepared.map(({ key }) => key)
    const shelf = areCompiled(backend, keys) ? undefined : backend.shelf?.(keys)
    this.#steps = kernels.map((kernel, i) => {
      const { step, operands, params } = kernel
      const { executable, sizes } = preparedKernel(backend, prepared[i]!, shelf)
      // At once, as the next one to be compiled may push others out.
      holdKernel(backend, executable)
      this.#held.push(executable)
      return {
        executable,
        sizes,
        params,
        buffers: operands.map((x) => x.buffer),
        offsets: operands.map((x) => x.offset),
        elementBytes: step.group.buffers.map(({ dtype }) => dtypes[dtype].bytes),
        joins: joined.has(kernel),
      }
    })
    const bytes = buffers.map((x) => x.bytes)
    this.#executable = backend.program?.(this.#steps, bytes) ?? launchEach(this.#steps)
    shelf?.save()
  }

  /** As `ProgramExecutable.run`. */
  run(...run: Parameters<ProgramExecutable['run']>): number | undefined {
    assert(!this.#isReleased, 'a program that was released is run')
    if (profiling === undefined) return this.#executable.run(...run)
    // Who watches sees every kernel.
    const steps = this.#steps
    profiling.program?.(steps.length, steps.filter(({ joins }) => joins !== true).length)
    return launchEach(steps).run(...run)
  }

  /** Lets the kernels go; nobody runs the program any more. A second time does nothing. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#executable.release?.()
    for (const kernel of this.#held) letGoKernel(this.#backend, kernel)
  }
}
