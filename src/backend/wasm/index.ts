/** @file The wasm backend: kernels as WebAssembly SIMD functions over one linear memory. Runs everywhere. */
import type { ExprBuilder } from '../../ir/expr.ts'
import type { Group } from '../../ir/group.ts'
import { bytesOf } from '../../target/wasm/memory-access.ts'
import { compileWasm } from '../../target/wasm/compile.ts'
import { argumentLayout } from '../../target/wasm/emit.ts'
import { wasmTraits } from '../../target/wasm/traits.ts'
import { supportsRelaxedSimd } from '../../target/wasm/features.ts'
import type { Backend, Block, Executable, MemoryStats } from '../backend.ts'
import { WasmMemory, type WasmBlock } from './memory.ts'

/** The argument block of the running kernel lies here. */
const argumentsAt = 1024
/** The outcome of a kernel's checks. */
const statusAt = 512

export class WasmBackend implements Backend {
  readonly name = 'wasm'
  readonly synchronous = true
  readonly #memory = new WasmMemory()
  readonly #traits = wasmTraits({ relaxedSimd: supportsRelaxedSimd() })
  /** Packing space, shared by all kernels: one runs at a time. */
  #scratch: WasmBlock | undefined

  allocate(bytes: number): Block {
    return this.#memory.allocate(bytes)
  }
  free(block: Block): void {
    this.#memory.free(block as WasmBlock)
  }
  pin(block: Block): void {
    this.#memory.pin(block as WasmBlock)
  }
  unpin(block: Block): void {
    this.#memory.unpin(block as WasmBlock)
  }
  write(block: Block, bytes: Uint8Array): void {
    this.#memory.clock++
    const address = this.#memory.touch(block as WasmBlock)
    this.#memory.u8.set(bytes, address)
  }
  read(block: Block, from: number, length: number): Uint8Array<ArrayBuffer> {
    this.#memory.clock++
    const address = this.#memory.touch(block as WasmBlock)
    return this.#memory.u8.slice(address + from, address + from + length)
  }
  readAsync(block: Block, from: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    return Promise.resolve(this.read(block, from, length))
  }
  memoryStats(): MemoryStats {
    return this.#memory.stats()
  }

  compile(s: ExprBuilder, group: Group): Executable {
    const { kernel, bytes } = compileWasm(s, group, this.#traits)
    const module = new WebAssembly.Module(bytes)
    const instance = new WebAssembly.Instance(module, { env: { memory: this.#memory.memory } })
    const run = instance.exports['run'] as (argumentBlock: number) => void
    const { sizesAt, paramsAt } = argumentLayout(kernel)
    const shifts = kernel.buffers.map((b) => Math.log2(bytesOf[b.memory]))
    const checked = group.checks.length > 0
    const memory = this.#memory
    const count = group.buffers.length
    const bufferSlot = argumentsAt >> 2
    const sizeSlot = (argumentsAt + sizesAt) >> 2
    const paramSlot = (argumentsAt + paramsAt) >> 3
    const { scratchBytes } = kernel
    const scratchSlot = bufferSlot + kernel.buffers.length - 1
    return {
      name: kernel.name,
      launch: (blocks, offsets, sizes, params) => {
        memory.clock++
        if (scratchBytes > 0) this.#reserveScratch(scratchBytes)
        for (let i = 0; i < count; i++) memory.touch(blocks[i] as WasmBlock)
        const { i32, f64 } = memory
        for (let i = 0; i < count; i++)
          i32[bufferSlot + i] = (blocks[i] as WasmBlock).address + (offsets[i]! << shifts[i]!)
        for (let i = 0; i < sizes.length; i++) i32[sizeSlot + i] = sizes[i]!
        for (let i = 0; i < params.length; i++) f64[paramSlot + i] = params[i]!
        if (checked) i32[bufferSlot + count] = statusAt
        if (scratchBytes > 0) i32[scratchSlot] = memory.touch(this.#scratch!)
        run(argumentsAt)
        return !checked || i32[statusAt >> 2] !== 0
      },
    }
  }

  #reserveScratch(bytes: number): void {
    if (this.#scratch !== undefined && this.#scratch.bytes >= bytes) return
    if (this.#scratch !== undefined) this.#memory.free(this.#scratch)
    this.#scratch = this.#memory.allocate(bytes)
    this.#memory.pin(this.#scratch)
  }
}
