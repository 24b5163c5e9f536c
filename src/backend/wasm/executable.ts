/** @file A compiled kernel on the wasm backend: writes the argument block and calls the function. */
import type { Kernel } from '../../ir/loops.ts'
import { argumentLayout, type ArgumentLayout } from '../../target/wasm/emit.ts'
import { bytesOf } from '../../target/wasm/memory-access.ts'
import type { Block, Executable } from '../backend.ts'
import type { WasmBlock, WasmMemory } from './memory.ts'

/** What an executable needs of its backend. */
export interface Launcher {
  readonly memory: WasmMemory
  /** The address of packing space with this many bytes. */
  scratchAt(bytes: number): number
}

/** The argument block of a kernel that is launched by itself lies here. */
const argumentsAt = 1024
/** The outcome of its checks. */
const statusAt = 512

export class WasmExecutable implements Executable {
  readonly name: string
  /** Takes the address of an argument block. */
  readonly run: (argumentBlock: number) => void
  readonly layout: ArgumentLayout
  /** Which of the buffers in the argument block is the status word, of a checked kernel. */
  readonly status: number | undefined
  /** Which is packing space, of a kernel that needs any, and how much it needs. */
  readonly scratch: number | undefined
  readonly scratchBytes: number
  readonly #launcher: Launcher
  readonly #shifts: readonly number[]

  constructor(
    launcher: Launcher,
    kernel: Kernel,
    bytes: Uint8Array<ArrayBuffer>,
    operands: number,
    isChecked: boolean,
  ) {
    const { name, buffers, scratchBytes } = kernel
    this.name = name
    this.#launcher = launcher
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      env: { memory: launcher.memory.memory },
    })
    this.run = instance.exports['run'] as (argumentBlock: number) => void
    this.layout = argumentLayout(kernel)
    this.#shifts = buffers.slice(0, operands).map((b) => Math.log2(bytesOf[b.memory]))
    this.status = isChecked ? operands : undefined
    this.scratch = scratchBytes > 0 ? buffers.length - 1 : undefined
    this.scratchBytes = scratchBytes
  }

  launch(
    blocks: readonly Block[],
    offsets: readonly number[],
    sizes: readonly number[],
    params: readonly number[],
  ): boolean {
    const { memory } = this.#launcher
    const { status, scratch } = this
    const shifts = this.#shifts
    const count = shifts.length
    memory.clock++
    const scratchAt = scratch === undefined ? 0 : this.#launcher.scratchAt(this.scratchBytes)
    for (let i = 0; i < count; i++) memory.touch(blocks[i] as WasmBlock)
    const { i32, f64 } = memory
    const bufferSlot = argumentsAt >> 2
    for (let i = 0; i < count; i++)
      i32[bufferSlot + i] = (blocks[i] as WasmBlock).address + (offsets[i]! << shifts[i]!)
    const sizeSlot = (argumentsAt + this.layout.sizesAt) >> 2
    for (let i = 0; i < sizes.length; i++) i32[sizeSlot + i] = sizes[i]!
    const paramSlot = (argumentsAt + this.layout.paramsAt) >> 3
    for (let i = 0; i < params.length; i++) f64[paramSlot + i] = params[i]!
    if (status !== undefined) i32[bufferSlot + status] = statusAt
    if (scratch !== undefined) i32[bufferSlot + scratch] = scratchAt
    this.run(argumentsAt)
    return status === undefined || i32[statusAt >> 2] !== 0
  }
}
