/** @file The body of one WebAssembly function, instruction by instruction. */
import { assert } from '../util/errors.ts'
import { ByteWriter } from './wasm-bytes.ts'
import {
  WASM_LANE_OPS,
  WASM_MEMORY_LANE_OPS,
  WASM_MEMORY_OPS,
  WASM_OPS,
  WASM_VALUE_TYPES,
} from './wasm-opcodes.ts'
import type {
  WasmLaneOp,
  WasmMemoryLaneOp,
  WasmMemoryOp,
  WasmOp,
  WasmValueType,
} from './wasm-opcodes.ts'

const NO_RESULT = 0x40
const END = 0x0b

/** Writes the instructions of one function; made by `ModuleBuilder.function`. Calls chain. */
export class FunctionAssembler {
  readonly #code = new ByteWriter()
  readonly #locals: WasmValueType[] = []
  readonly #parameterCount: number
  /** Blocks still open, the function body not counted. */
  #depth = 0

  constructor(parameterCount: number) {
    this.#parameterCount = parameterCount
  }

  /** Declares a local (zero at entry) and returns its index, counted after the parameters. */
  local(type: WasmValueType): number {
    return this.#parameterCount + this.#locals.push(type) - 1
  }

  /** Any instruction without immediates, by its spec name. */
  op(name: WasmOp): this {
    return this.#opcode(WASM_OPS[name])
  }

  localGet(index: number): this {
    return this.#local(0x20, index)
  }

  localSet(index: number): this {
    return this.#local(0x21, index)
  }

  localTee(index: number): this {
    return this.#local(0x22, index)
  }

  i32Const(value: number): this {
    this.#code.u8(0x41)
    this.#code.s32(value)
    return this
  }

  i64Const(value: bigint): this {
    this.#code.u8(0x42)
    this.#code.s64(value)
    return this
  }

  /** A number rounded to float32; NaN becomes the canonical one. */
  f32Const(value: number): this {
    this.#code.u8(0x43)
    this.#code.f32(value)
    return this
  }

  /** A float64; NaN becomes the canonical one. */
  f64Const(value: number): this {
    this.#code.u8(0x44)
    this.#code.f64(value)
    return this
  }

  /** A vector given as its 16 bytes in memory order. */
  v128Const(bytes: Uint8Array): this {
    assert(bytes.length === 16, `wasm: v128.const takes 16 bytes, received ${bytes.length}`)
    this.#opcode(0xfd_000c).#code.bytes(bytes)
    return this
  }

  /** A load or store at `address + offset`; `align` in bytes is a hint, the access size by default. */
  memory(name: WasmMemoryOp, offset: number, align?: number): this {
    const [opcode, log2Bytes] = WASM_MEMORY_OPS[name]
    let log2Align: number = log2Bytes
    if (align !== undefined) {
      log2Align = 31 - Math.clz32(align)
      assert(
        1 << log2Align === align && log2Align <= log2Bytes,
        `wasm: ${name} cannot have alignment ${align}`,
      )
    }
    return this.#opcode(opcode).#memoryArgument(log2Align, offset)
  }

  /** A load or store of one lane of a vector. */
  memoryLane(name: WasmMemoryLaneOp, offset: number, lane: number): this {
    const [opcode, log2Bytes] = WASM_MEMORY_LANE_OPS[name]
    return this.#opcode(opcode)
      .#memoryArgument(log2Bytes, offset)
      .#lane(name, lane, 16 >> log2Bytes)
  }

  /** Reads or replaces one lane of a vector. */
  lane(name: WasmLaneOp, lane: number): this {
    const [opcode, lanes] = WASM_LANE_OPS[name]
    return this.#opcode(opcode).#lane(name, lane, lanes)
  }

  /** `i8x16.shuffle`: 16 byte indices, 0-15 into the first operand and 16-31 into the second. */
  shuffle(lanes: readonly number[]): this {
    assert(lanes.length === 16, `wasm: i8x16.shuffle takes 16 indices, received ${lanes.length}`)
    this.#opcode(0xfd_000d)
    for (const lane of lanes) this.#lane('i8x16.shuffle', lane, 32)
    return this
  }

  block(result?: WasmValueType): this {
    return this.#open(0x02, result)
  }

  loop(result?: WasmValueType): this {
    return this.#open(0x03, result)
  }

  if(result?: WasmValueType): this {
    return this.#open(0x04, result)
  }

  else(): this {
    assert(this.#depth > 0, 'wasm: else outside an if')
    this.#code.u8(0x05)
    return this
  }

  /** Closes the innermost block, loop or if; the function body itself closes on its own. */
  end(): this {
    assert(this.#depth-- > 0, 'wasm: end without an open block')
    this.#code.u8(END)
    return this
  }

  /** Jumps out of `depth` + 1 blocks, or to the start if the last of them is a loop. */
  br(depth: number): this {
    return this.#branch(0x0c, depth)
  }

  /** Like `br`, if the i32 on the stack is not zero. */
  brIf(depth: number): this {
    return this.#branch(0x0d, depth)
  }

  /** Calls the function with this index, which may be one that is added later. */
  call(index: number): this {
    this.#code.u8(0x10)
    this.#code.u32(index)
    return this
  }

  return(): this {
    return this.op('return')
  }

  drop(): this {
    return this.op('drop')
  }

  /** From (a, b, condition): a if the condition is not zero, else b. */
  select(): this {
    return this.op('select')
  }

  /** From (address, byte value, count). */
  memoryFill(): this {
    this.#opcode(0xfc_000b).#code.u8(0)
    return this
  }

  /** From (destination, source, count); the ranges may overlap. */
  memoryCopy(): this {
    this.#opcode(0xfc_000a).#code.bytes([0, 0])
    return this
  }

  /** Appends the finished body (locals, instructions, end) with its size in front. */
  writeTo(target: ByteWriter): void {
    assert(this.#depth === 0, `wasm: ${this.#depth} blocks are not closed`)
    const locals = new ByteWriter(16)
    const runs = runLengths(this.#locals)
    locals.u32(runs.length)
    for (const [type, count] of runs) {
      locals.u32(count)
      locals.u8(WASM_VALUE_TYPES[type])
    }
    target.u32(locals.length + this.#code.length + 1)
    target.bytes(locals.written())
    target.bytes(this.#code.written())
    target.u8(END)
  }

  #opcode(opcode: number): this {
    if (opcode <= 0xff) this.#code.u8(opcode)
    else {
      this.#code.u8(opcode >>> 16)
      this.#code.u32(opcode & 0xffff)
    }
    return this
  }

  #local(opcode: number, index: number): this {
    const count = this.#parameterCount + this.#locals.length
    assert(index < count, `wasm: local ${index} of ${count}`)
    this.#code.u8(opcode)
    this.#code.u32(index)
    return this
  }

  #memoryArgument(log2Align: number, offset: number): this {
    this.#code.u8(log2Align)
    this.#code.u32(offset)
    return this
  }

  #lane(name: string, lane: number, lanes: number): this {
    assert(lane >= 0 && lane < lanes && Number.isInteger(lane), `wasm: ${name} has no lane ${lane}`)
    this.#code.u8(lane)
    return this
  }

  #open(opcode: number, result: WasmValueType | undefined): this {
    this.#depth++
    this.#code.u8(opcode)
    this.#code.u8(result === undefined ? NO_RESULT : WASM_VALUE_TYPES[result])
    return this
  }

  #branch(opcode: number, depth: number): this {
    assert(depth <= this.#depth, `wasm: branch over ${depth} blocks, ${this.#depth} are open`)
    this.#code.u8(opcode)
    this.#code.u32(depth)
    return this
  }
}

function runLengths<T>(values: readonly T[]): [value: T, count: number][] {
  const runs: [T, number][] = []
  for (const value of values) {
    const last = runs.at(-1)
    if (last?.[0] === value) last[1]++
    else runs.push([value, 1])
  }
  return runs
}
