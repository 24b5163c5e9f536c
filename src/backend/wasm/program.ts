/** @file Many kernels as one call: a module of their functions, over argument blocks that lie side by side. */
import { ModuleBuilder } from '../../asm/wasm.ts'
import { AddressTable, type AddressUse, type NumberUse } from '../argument-table.ts'
import type { Block, ProgramExecutable, ProgramStep } from '../backend.ts'
import type { Launcher, WasmExecutable } from './executable.ts'
import type { WasmBlock, WasmMemory } from './memory.ts'

/** A step, and where its argument block begins among all of them. The status word lies before it. */
interface Placed {
  readonly executable: WasmExecutable
  readonly step: ProgramStep
  readonly at: number
}

/**
 * The argument blocks are a piece of linear memory like any other: moved out of the way when the program has
 * not run for long (Note [Eviction]), and brought back, as the buffers are, to other addresses perhaps.
 */
export class WasmProgram implements ProgramExecutable {
  readonly #launcher: Launcher
  readonly #run: (argumentBlocks: number) => number
  readonly #arguments: WasmBlock
  /** Slots count from the beginning of the argument blocks. */
  readonly #table: AddressTable
  readonly #numbers: readonly NumberUse[]
  readonly #scratchBytes: number
  /** The argument blocks and the packing space stand behind the program's buffers in the table. */
  readonly #own: { readonly arguments: number; readonly scratch: number }

  constructor(launcher: Launcher, steps: readonly ProgramStep[], bufferCount: number) {
    this.#launcher = launcher
    const { placed, end } = place(steps)
    this.#own = { arguments: bufferCount, scratch: bufferCount + 1 }
    this.#scratchBytes = Math.max(0, ...placed.map(({ executable }) => executable.scratchBytes))
    const { memory } = launcher
    this.#run = link(memory, placed)
    this.#arguments = memory.allocate(Math.max(end, 8))
    const from = this.#arguments.address
    const uses: AddressUse[] = []
    const numbers: NumberUse[] = []
    for (const { executable, step, at } of placed) {
      const { layout, status, scratch } = executable
      const use = (buffer: number, k: number, offset: number) =>
        uses.push({ buffer, slot: (at >> 2) + k, offset })
      step.buffers.forEach((buffer, k) => use(buffer, k, step.offsets[k]! * step.elementBytes[k]!))
      if (status !== undefined) use(this.#own.arguments, status, at - statusBytes)
      if (scratch !== undefined) use(this.#own.scratch, scratch, 0)
      memory.i32.set(step.sizes, (from + at + layout.sizesAt) >> 2)
      step.params.forEach((x, k) => {
        const slot = ((at + layout.paramsAt) >> 3) + k
        if (typeof x === 'number') memory.f64[(from >> 3) + slot] = x
        else numbers.push({ slot, number: x.slot })
      })
    }
    this.#table = new AddressTable(bufferCount + 2, uses)
    this.#numbers = numbers
  }

  run(
    blocks: readonly Block[],
    bases: readonly number[],
    numbers: readonly number[],
  ): number | undefined {
    const { memory } = this.#launcher
    const own = this.#own
    memory.clock++
    const table = this.#table
    const from = memory.touch(this.#arguments)
    const scratch = this.#scratchBytes > 0 ? this.#launcher.scratchAt(this.#scratchBytes) : 0
    // Bringing one back may enlarge the memory; its views are good from then on.
    for (const i of table.buffers) if (i < own.arguments) memory.touch(blocks[i] as WasmBlock)
    const slots = memory.i32.subarray(from >> 2)
    for (const i of table.buffers)
      if (i < own.arguments) table.set(slots, i, (blocks[i] as WasmBlock).address + bases[i]!)
    table.set(slots, own.arguments, from)
    table.set(slots, own.scratch, scratch)
    for (const { slot, number } of this.#numbers) memory.f64[(from >> 3) + slot] = numbers[number]!
    const failed = this.#run(from)
    return failed < 0 ? undefined : failed
  }

  release(): void {
    this.#launcher.memory.free(this.#arguments)
  }
}

/** Room for a status word that keeps scalars at multiples of 8. */
const statusBytes = 8

function place(steps: readonly ProgramStep[]): { readonly placed: Placed[]; readonly end: number } {
  let end = 0
  const placed = steps.map((step) => {
    const executable = step.executable as WasmExecutable
    const at = end + statusBytes
    end = at + Math.ceil(executable.layout.bytes / 8) * 8
    return { executable, step, at }
  })
  return { placed, end }
}

/** `run(argument blocks)`: the index of the first step with a check that did not hold, or -1. */
function link(
  { memory }: WasmMemory,
  placed: readonly Placed[],
): (argumentBlocks: number) => number {
  const module = new ModuleBuilder()
  module.importMemory('env', 'memory')
  const kernels: Record<string, WasmExecutable['run']> = {}
  const indices = new Map<WasmExecutable, number>()
  for (const { executable } of placed) {
    if (indices.has(executable)) continue
    const name = `k${indices.size}`
    kernels[name] = executable.run
    indices.set(executable, module.importFunction('kernels', name, ['i32'], []))
  }
  module.function('run', ['i32'], ['i32'], (f) => {
    placed.forEach(({ executable, at }, i) => {
      f.localGet(0).i32Const(at).op('i32.add').call(indices.get(executable)!)
      if (executable.status === undefined) return
      f.localGet(0)
        .memory('i32.load', at - statusBytes)
        .op('i32.eqz')
      f.if().i32Const(i).return().end()
    })
    f.i32Const(-1)
  })
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.finish()), {
    env: { memory },
    kernels,
  })
  return instance.exports['run'] as (argumentBlocks: number) => number
}
