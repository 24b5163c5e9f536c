/** @file The wasm backend: kernels as WebAssembly SIMD functions over one linear memory. Runs everywhere. */
import type { ExprBuilder } from '../../ir/expr.ts'
import type { Group } from '../../ir/group.ts'
import { compileWasm } from '../../target/wasm/compile.ts'
import { wasmTraits } from '../../target/wasm/traits.ts'
import { supportsRelaxedSimd } from '../../target/wasm/features.ts'
import type {
  Backend,
  Block,
  Executable,
  MemoryStats,
  ProgramExecutable,
  ProgramStep,
} from '../backend.ts'
import { WasmExecutable, type Launcher } from './executable.ts'
import { WasmMemory, type WasmBlock } from './memory.ts'
import { WasmProgram } from './program.ts'

export class WasmBackend implements Backend, Launcher {
  readonly name = 'wasm'
  readonly synchronous = true
  readonly memory = new WasmMemory()
  readonly traits = wasmTraits({ relaxedSimd: supportsRelaxedSimd() })
  /** Packing space, shared by all kernels: one runs at a time. */
  #scratch: WasmBlock | undefined

  allocate(bytes: number): Block {
    return this.memory.allocate(bytes)
  }
  free(block: Block): void {
    this.memory.free(block as WasmBlock)
  }
  pin(block: Block): void {
    this.memory.pin(block as WasmBlock)
  }
  unpin(block: Block): void {
    this.memory.unpin(block as WasmBlock)
  }
  write(block: Block, bytes: Uint8Array): void {
    this.memory.clock++
    const address = this.memory.touch(block as WasmBlock)
    this.memory.u8.set(bytes, address)
  }
  read(block: Block, from: number, length: number): Uint8Array<ArrayBuffer> {
    this.memory.clock++
    const address = this.memory.touch(block as WasmBlock)
    return this.memory.u8.slice(address + from, address + from + length)
  }
  readAsync(block: Block, from: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    return Promise.resolve(this.read(block, from, length))
  }
  memoryStats(): MemoryStats {
    return this.memory.stats()
  }

  compile(s: ExprBuilder, group: Group): Executable {
    const { kernel, bytes } = compileWasm(s, group, this.traits)
    const isChecked = group.checks.length > 0
    return new WasmExecutable(this, kernel, bytes, group.buffers.length, isChecked)
  }

  program(steps: readonly ProgramStep[], bytes: readonly number[]): ProgramExecutable {
    return new WasmProgram(this, steps, bytes.length)
  }

  scratchAt(bytes: number): number {
    if (this.#scratch === undefined || this.#scratch.bytes < bytes) {
      if (this.#scratch !== undefined) this.memory.free(this.#scratch)
      this.#scratch = this.memory.allocate(bytes)
      this.memory.pin(this.#scratch)
    }
    return this.memory.touch(this.#scratch)
  }
}
