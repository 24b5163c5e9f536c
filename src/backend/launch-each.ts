/** @file A program on a backend that has no better way: its kernels are launched one by one. */
import type { Block, ProgramExecutable, ProgramStep } from './backend.ts'
import { launchKernel } from './profiling.ts'

/** Launches the steps in order. */
export function launchEach(steps: readonly ProgramStep[]): ProgramExecutable {
  return {
    run(blocks, bases, numbers) {
      const failed = steps.findIndex((step) => !launch(step, blocks, bases, numbers))
      return failed < 0 ? undefined : failed
    },
  }
}

function launch(
  { executable, buffers, offsets, elementBytes, sizes, params }: ProgramStep,
  blocks: readonly Block[],
  bases: readonly number[],
  numbers: readonly number[],
): boolean {
  return launchKernel(
    executable,
    buffers.map((buffer) => blocks[buffer]!),
    buffers.map((buffer, i) => bases[buffer]! / elementBytes[i]! + offsets[i]!),
    sizes,
    params.map((x) => (typeof x === 'number' ? x : numbers[x.slot]!)),
  )
}
