/** @file The WebAssembly byte encoder: instructions in, one binary module out; no IR, no engine. */
import { assert } from '../util/errors.ts'
import { ByteWriter } from './wasm-bytes.ts'
import { FunctionAssembler } from './wasm-function.ts'
import { WASM_VALUE_TYPES } from './wasm-opcodes.ts'
import type { WasmValueType } from './wasm-opcodes.ts'

export { FunctionAssembler }
export type {
  WasmLaneOp,
  WasmMemoryLaneOp,
  WasmMemoryOp,
  WasmOp,
  WasmValueType,
} from './wasm-opcodes.ts'

/** Limits of an imported memory, in pages of 64 KiB. */
export interface MemoryImportOptions {
  /** Shared between threads; needs `maximumPages`. */
  shared?: boolean
  /** Fewest pages the memory must have; 1 unless told. */
  minimumPages?: number
  /** Most pages the memory may declare; no bound unless told. */
  maximumPages?: number
}

const SECTION = { custom: 0, type: 1, import: 2, function: 3, export: 7, code: 10 }
const KIND = { function: 0, memory: 2 }
const FUNCTION_NAMES = 1

/**
 * Collects imports and functions and writes them as one WebAssembly module. With `debugNames` the
 * module also carries function names for stack traces and disassembly.
 *
 * @example
 * const module = new ModuleBuilder()
 * module.function('twice', ['f32'], ['f32'], (f) => f.localGet(0).localGet(0).op('f32.add'))
 * const { instance } = await WebAssembly.instantiate(module.finish())
 * instance.exports.twice(21) // 42
 */
export class ModuleBuilder {
  readonly #debugNames: boolean
  readonly #types = new ByteWriter()
  readonly #typeIndices = new Map<string, number>()
  readonly #imports = new ByteWriter()
  #importCount = 0
  readonly #importedFunctions: string[] = []
  readonly #functions: { name: string; type: number; code: FunctionAssembler }[] = []

  constructor(options: { debugNames?: boolean } = {}) {
    this.#debugNames = options.debugNames ?? false
  }

  /** Declares the memory the module works in. */
  importMemory(module: string, name: string, options: MemoryImportOptions = {}): void {
    const { shared = false, minimumPages = 1, maximumPages } = options
    assert(!shared || maximumPages !== undefined, 'wasm: a shared memory needs maximumPages')
    this.#import(module, name, KIND.memory)
    this.#imports.u8((shared ? 2 : 0) | (maximumPages === undefined ? 0 : 1))
    this.#imports.u32(minimumPages)
    if (maximumPages !== undefined) this.#imports.u32(maximumPages)
  }

  /** Declares a function to import, before any own function, and returns its index. */
  importFunction(
    module: string,
    name: string,
    params: readonly WasmValueType[],
    results: readonly WasmValueType[],
  ): number {
    assert(this.#functions.length === 0, 'wasm: import functions before adding the first one')
    this.#import(module, name, KIND.function)
    this.#imports.u32(this.#type(params, results))
    return this.#importedFunctions.push(`${module}.${name}`) - 1
  }

  /** Adds a function whose body `emit` writes, exports it as `name` and returns its index. */
  function(
    name: string,
    params: readonly WasmValueType[],
    results: readonly WasmValueType[],
    emit: (f: FunctionAssembler) => void,
  ): number {
    const code = new FunctionAssembler(params.length)
    const type = this.#type(params, results)
    // Takes its place before `emit` runs, so that the index holds even if `emit` adds a function.
    const index = this.#importedFunctions.length + this.#functions.push({ name, type, code }) - 1
    emit(code)
    return index
  }

  /** The module's bytes. */
  finish(): Uint8Array<ArrayBuffer> {
    const firstIndex = this.#importedFunctions.length
    const declarations = new ByteWriter()
    const exports = new ByteWriter()
    const bodies = new ByteWriter(4096)
    this.#functions.forEach(({ name, type, code }, i) => {
      declarations.u32(type)
      exports.string(name)
      exports.u8(KIND.function)
      exports.u32(firstIndex + i)
      code.writeTo(bodies)
    })
    const output = new ByteWriter(bodies.length + 1024)
    output.bytes([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]) // '\0asm', version 1
    writeVector(output, SECTION.type, this.#typeIndices.size, this.#types)
    writeVector(output, SECTION.import, this.#importCount, this.#imports)
    writeVector(output, SECTION.function, this.#functions.length, declarations)
    writeVector(output, SECTION.export, this.#functions.length, exports)
    writeVector(output, SECTION.code, this.#functions.length, bodies)
    if (this.#debugNames) this.#writeNames(output)
    return output.written().slice()
  }

  #import(module: string, name: string, kind: number): void {
    this.#importCount++
    this.#imports.string(module)
    this.#imports.string(name)
    this.#imports.u8(kind)
  }

  #type(params: readonly WasmValueType[], results: readonly WasmValueType[]): number {
    const key = `${params.join()}>${results.join()}`
    const known = this.#typeIndices.get(key)
    if (known !== undefined) return known
    this.#types.u8(0x60)
    for (const list of [params, results]) {
      this.#types.u32(list.length)
      for (const type of list) this.#types.u8(WASM_VALUE_TYPES[type])
    }
    this.#typeIndices.set(key, this.#typeIndices.size)
    return this.#typeIndices.size - 1
  }

  #writeNames(output: ByteWriter): void {
    const names = [...this.#importedFunctions, ...this.#functions.map(({ name }) => name)]
    const map = new ByteWriter()
    map.u32(names.length)
    names.forEach((name, i) => {
      map.u32(i)
      map.string(name)
    })
    const section = new ByteWriter()
    section.string('name')
    section.u8(FUNCTION_NAMES)
    section.u32(map.length)
    section.bytes(map.written())
    output.u8(SECTION.custom)
    output.u32(section.length)
    output.bytes(section.written())
  }
}

/** Writes a section that is a vector of entries; an empty one is left out. */
function writeVector(output: ByteWriter, id: number, count: number, entries: ByteWriter): void {
  if (count === 0) return
  const head = new ByteWriter(8)
  head.u32(count)
  output.u8(id)
  output.u32(head.length + entries.length)
  output.bytes(head.written())
  output.bytes(entries.written())
}
