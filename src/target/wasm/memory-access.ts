/** @file Loads and stores of lanes for every memory type, widening to and narrowing from 32-bit lanes. */
import type { FunctionAssembler } from '../../asm/wasm.ts'
import type { MemoryType } from '../../ir/loops.ts'

export const bytesOf: Record<MemoryType, number> = {
  f32: 4,
  f64: 8,
  i32: 4,
  i64: 8,
  i8: 1,
  u8: 1,
  u16: 2,
}

/** Loads one element; its address is on the stack. */
export const loadScalar: Record<MemoryType, (f: FunctionAssembler, offset: number) => void> = {
  f32: (f, o) => f.memory('f32.load', o),
  f64: (f, o) => f.memory('f64.load', o),
  i32: (f, o) => f.memory('i32.load', o),
  i64: (f, o) => f.memory('i64.load', o),
  i8: (f, o) => f.memory('i32.load8_s', o),
  u8: (f, o) => f.memory('i32.load8_u', o),
  u16: (f, o) => f.memory('i32.load16_u', o),
}

/** Loads one element into every lane of a register, where that is one instruction. */
export const loadSplat = {
  f32: 'v128.load32_splat',
  f64: 'v128.load64_splat',
  i32: 'v128.load32_splat',
  i64: 'v128.load64_splat',
  i8: undefined,
  u8: undefined,
  u16: undefined,
} as const satisfies Record<MemoryType, unknown>

/** Stores one element; address and value are on the stack. */
export const storeScalar: Record<MemoryType, (f: FunctionAssembler, offset: number) => void> = {
  f32: (f, o) => f.memory('f32.store', o),
  f64: (f, o) => f.memory('f64.store', o),
  i32: (f, o) => f.memory('i32.store', o),
  i64: (f, o) => f.memory('i64.store', o),
  i8: (f, o) => f.memory('i32.store8', o),
  u8: (f, o) => f.memory('i32.store8', o),
  u16: (f, o) => f.memory('i32.store16', o),
}

const whole = (f: FunctionAssembler, o: number) => f.memory('v128.load', o, 4)

/** Loads one register of lanes; its address is on the stack. */
export const loadVector: Record<MemoryType, (f: FunctionAssembler, offset: number) => void> = {
  f32: whole,
  f64: whole,
  i32: whole,
  i64: whole,
  i8: (f, o) =>
    f
      .memory('v128.load32_zero', o, 1)
      .op('i16x8.extend_low_i8x16_s')
      .op('i32x4.extend_low_i16x8_s'),
  u8: (f, o) =>
    f
      .memory('v128.load32_zero', o, 1)
      .op('i16x8.extend_low_i8x16_u')
      .op('i32x4.extend_low_i16x8_u'),
  u16: (f, o) => f.memory('v128.load16x4_u', o, 2),
}

const storeWhole = (f: FunctionAssembler, o: number) => f.memory('v128.store', o, 4)
/** Stores one register of lanes; address and value are on the stack. Narrow types keep their low bits. */
export const storeVector: Record<
  MemoryType,
  (f: FunctionAssembler, offset: number, spare: number) => void
> = {
  f32: storeWhole,
  f64: storeWhole,
  i32: storeWhole,
  i64: storeWhole,
  i8: (f, o, spare) => narrowBytes(f, o, spare),
  u8: (f, o, spare) => narrowBytes(f, o, spare),
  u16: (f, o, spare) => {
    lowBits(f, 0xffff).localTee(spare).localGet(spare).op('i16x8.narrow_i32x4_u')
    f.memoryLane('v128.store64_lane', o, 0)
  },
}

function narrowBytes(f: FunctionAssembler, offset: number, spare: number): void {
  lowBits(f, 0xff).localTee(spare).localGet(spare).op('i16x8.narrow_i32x4_u')
  f.localTee(spare).localGet(spare).op('i8x16.narrow_i16x8_u')
  f.memoryLane('v128.store32_lane', offset, 0)
}

function lowBits(f: FunctionAssembler, mask: number): FunctionAssembler {
  return f.i32Const(mask).op('i32x4.splat').op('v128.and')
}
