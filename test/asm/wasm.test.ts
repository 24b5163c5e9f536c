import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteWriter } from '../../src/asm/wasm-bytes.ts'
import {
  WASM_LANE_OPS,
  WASM_MEMORY_LANE_OPS,
  WASM_MEMORY_OPS,
  WASM_OPS,
} from '../../src/asm/wasm-opcodes.ts'
import { ModuleBuilder } from '../../src/asm/wasm.ts'
import type {
  FunctionAssembler,
  WasmLaneOp,
  WasmMemoryLaneOp,
  WasmMemoryOp,
  WasmOp,
  WasmValueType,
} from '../../src/asm/wasm.ts'

type Numbers = (...values: number[]) => number

const keys = <K extends string>(table: Record<K, unknown>) => Object.keys(table) as K[]

function build(
  params: WasmValueType[],
  results: WasmValueType[],
  emit: (f: FunctionAssembler) => void,
  memory = false,
) {
  const module = new ModuleBuilder()
  if (memory) module.importMemory('env', 'memory')
  module.function('f', params, results, emit)
  return module.finish()
}

function instantiate(bytes: Uint8Array<ArrayBuffer>, imports: WebAssembly.Imports = {}) {
  return new WebAssembly.Instance(new WebAssembly.Module(bytes), imports).exports as Record<
    string,
    Numbers
  >
}

function run(
  params: WasmValueType[],
  result: WasmValueType,
  emit: (f: FunctionAssembler) => void,
): Numbers {
  return instantiate(build(params, [result], emit)).f!
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const lanes = (values: number[]) => new Uint8Array(Float32Array.from(values).buffer)

function encode(write: (w: ByteWriter) => void): number[] {
  const writer = new ByteWriter(1)
  write(writer)
  return [...writer.written()]
}

function decodeLeb(bytes: number[], signed: boolean): bigint {
  let value = 0n
  bytes.forEach((byte, i) => {
    expect(byte >> 7).toBe(i === bytes.length - 1 ? 0 : 1)
    value |= BigInt(byte & 0x7f) << BigInt(7 * i)
  })
  return signed ? BigInt.asIntN(7 * bytes.length, value) : value
}

describe('LEB128', () => {
  it('writes known byte strings', () => {
    expect(encode((w) => w.u32(624485))).toEqual([0xe5, 0x8e, 0x26])
    expect(encode((w) => w.u32(0xffffffff))).toEqual([0xff, 0xff, 0xff, 0xff, 0x0f])
    expect(encode((w) => w.s32(-123456))).toEqual([0xc0, 0xbb, 0x78])
    expect(encode((w) => w.s32(63))).toEqual([0x3f])
    expect(encode((w) => w.s32(64))).toEqual([0xc0, 0x00])
    expect(encode((w) => w.s32(-64))).toEqual([0x40])
    expect(encode((w) => w.s32(-65))).toEqual([0xbf, 0x7f])
    expect(encode((w) => w.s32(0xffffffff))).toEqual([0x7f])
    expect(encode((w) => w.s32(-(2 ** 31)))).toEqual([0x80, 0x80, 0x80, 0x80, 0x78])
    expect(encode((w) => w.s64(-(2n ** 63n)))).toEqual([...Array<number>(9).fill(0x80), 0x7f])
    expect(encode((w) => w.s64(2n ** 64n - 1n))).toEqual([0x7f])
  })

  it('decodes to what was encoded, in the fewest bytes', () => {
    const minimal = (value: bigint, signed: boolean) => {
      let n = 1
      const low = (bits: number) =>
        signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value)
      while (low(7 * n) !== value) n++
      return n
    }
    const check = (bytes: number[], value: bigint, signed: boolean) => {
      expect(decodeLeb(bytes, signed)).toBe(value)
      expect(bytes.length).toBe(minimal(value, signed))
    }
    // Draws the width first, so that small values are as common as large ones.
    const sized = (bits: number) =>
      fc.integer({ min: 0, max: bits }).chain((n) => fc.bigInt(-(2n ** BigInt(n)), 2n ** BigInt(n)))
    fc.assert(
      fc.property(sized(31), sized(63), (small, large) => {
        const i32 = BigInt.asIntN(32, small)
        const u32 = BigInt.asUintN(32, small)
        const i64 = BigInt.asIntN(64, large)
        check(
          encode((w) => w.u32(Number(u32))),
          u32,
          false,
        )
        check(
          encode((w) => w.s32(Number(i32))),
          i32,
          true,
        )
        check(
          encode((w) => w.s64(i64)),
          i64,
          true,
        )
      }),
      { numRuns: 2000 },
    )
  })

  it('refuses numbers out of range', () => {
    for (const value of [-1, 2 ** 32, 0.5, NaN])
      expect(() => encode((w) => w.u32(value))).toThrow(/unsigned 32-bit/)
    for (const value of [-(2 ** 31) - 1, 2 ** 32, 0.5, NaN])
      expect(() => encode((w) => w.s32(value))).toThrow(/32-bit/)
    for (const value of [-(2n ** 63n) - 1n, 2n ** 64n])
      expect(() => encode((w) => w.s64(value))).toThrow(/64-bit/)
  })
})

describe('module layout', () => {
  it('writes an empty module', () => {
    expect(hex(new ModuleBuilder().finish())).toBe('0061736d01000000')
  })

  it('writes one function', () => {
    const bytes = build(['i32', 'i32'], ['i32'], (f) => f.localGet(0).localGet(1).op('i32.add'))
    expect(hex(bytes)).toBe(
      '0061736d01000000' + // magic, version
        '0107' +
        '01' +
        '60027f7f017f' + // type: (i32, i32) -> i32
        '0302' +
        '0100' + // function 0 has type 0
        '0705' +
        '01' +
        '016600' +
        '00' + // export 'f'
        '0a09' +
        '01' +
        '07' +
        '00' +
        '200020016a' +
        '0b', // code
    )
  })

  it('writes the memory import and groups locals', () => {
    const module = new ModuleBuilder()
    module.importMemory('env', 'memory', { shared: true, maximumPages: 65536 })
    module.function('f', [], [], (f) => {
      expect([f.local('f32'), f.local('f32'), f.local('v128')]).toEqual([0, 1, 2])
    })
    expect(hex(module.finish())).toContain(
      '0212' + '01' + '03656e76066d656d6f72790203' + '01' + '808004',
    )
    expect(hex(module.finish())).toContain('0a08' + '01' + '06' + '02' + '027d' + '017b' + '0b')
    expect(WebAssembly.validate(module.finish())).toBe(true)
  })

  it('shares equal types', () => {
    const module = new ModuleBuilder()
    module.importFunction('env', 'g', ['f32'], ['f32'])
    module.function('a', ['f32'], ['f32'], (f) => f.localGet(0))
    module.function('b', ['f32'], [], () => {})
    expect(hex(module.finish())).toContain('010a' + '02' + '60017d017d' + '60017d00')
  })

  it('encodes prefixed opcodes, NaN and memory arguments as the spec does', () => {
    const body = (emit: (f: FunctionAssembler) => void) => {
      const writer = new ByteWriter()
      const module = new ModuleBuilder()
      module.importMemory('env', 'memory')
      module.function('f', [], [], (f) => {
        emit(f)
        f.writeTo(writer)
      })
      return hex(writer.written().slice(2, -1))
    }
    expect(body((f) => f.op('f32x4.mul'))).toBe('fde601')
    expect(body((f) => f.op('f32x4.relaxed_madd'))).toBe('fd8502')
    expect(body((f) => f.op('i32.trunc_sat_f64_u'))).toBe('fc03')
    expect(body((f) => f.memoryCopy().memoryFill())).toBe('fc0a0000' + 'fc0b00')
    expect(body((f) => f.f32Const(NaN).f64Const(NaN))).toBe('430000c07f' + '44000000000000f87f')
    expect(body((f) => f.f32Const(-0).f64Const(1))).toBe('4300000080' + '44000000000000f03f')
    expect(body((f) => f.memory('v128.load', 1024))).toBe('fd0004' + '8008')
    expect(body((f) => f.memory('f64.load', 1, 2))).toBe('2b01' + '01')
    expect(body((f) => f.memoryLane('v128.store32_lane', 4, 3))).toBe('fd5a0204' + '03')
    expect(body((f) => f.lane('f32x4.extract_lane', 2))).toBe('fd1f02')
  })

  it('names functions when asked', () => {
    const module = new ModuleBuilder({ debugNames: true })
    module.importFunction('env', 'log', [], [])
    module.function('kernel', [], [], (f) => f.op('unreachable'))
    const bytes = module.finish()
    const [section] = WebAssembly.Module.customSections(new WebAssembly.Module(bytes), 'name')
    expect(hex(new Uint8Array(section!))).toBe(
      '0112' + '02' + '0007' + hex(Buffer.from('env.log')) + '0106' + hex(Buffer.from('kernel')),
    )
    expect(() => instantiate(bytes, { env: { log: () => {} } }).kernel!()).toThrow(/unreachable/)
  })

  it('refuses what cannot be encoded', () => {
    const emit = (body: (f: FunctionAssembler) => void) => () => build([], [], body)
    expect(emit((f) => f.block())).toThrow(/1 blocks are not closed/)
    expect(emit((f) => f.end())).toThrow(/without an open block/)
    expect(emit((f) => f.br(1))).toThrow(/branch over 1/)
    expect(emit((f) => f.localGet(0))).toThrow(/local 0 of 0/)
    expect(emit((f) => f.memory('f32.load', 0, 8))).toThrow(/alignment 8/)
    expect(emit((f) => f.memory('f32.load', 0, 3))).toThrow(/alignment 3/)
    expect(emit((f) => f.lane('f32x4.extract_lane', 4))).toThrow(/no lane 4/)
    expect(emit((f) => f.memoryLane('v128.load64_lane', 0, 2))).toThrow(/no lane 2/)
    expect(emit((f) => f.shuffle([0]))).toThrow(/16 indices/)
    expect(emit((f) => f.v128Const(new Uint8Array(4)))).toThrow(/16 bytes/)
    expect(() => new ModuleBuilder().importMemory('env', 'm', { shared: true })).toThrow(/maximum/)
  })
})

describe('every opcode validates with the signature its name implies', () => {
  const hasRelaxed = WebAssembly.validate(
    build(['v128', 'v128'], ['v128'], (f) => f.localGet(0).localGet(1).op('i8x16.relaxed_swizzle')),
  )

  for (const name of keys(WASM_OPS)) {
    const skip = name.includes('.relaxed_') && !hasRelaxed
    it.skipIf(skip)(skip ? `${name} (no relaxed-simd here)` : name, () => {
      const [params, results] = signature(name)
      const bytes = build(params, results, (f) => {
        params.forEach((_, i) => f.localGet(i))
        f.op(name)
      })
      expect(WebAssembly.validate(bytes)).toBe(true)
      // A wrong opcode of equal signature would pass above; a wrong signature must not.
      const wrong = build(params, [...results, 'i32'], (f) => {
        params.forEach((_, i) => f.localGet(i))
        f.op(name)
      })
      if (name !== 'unreachable' && name !== 'return')
        expect(WebAssembly.validate(wrong)).toBe(false)
    })
  }

  it.each(keys(WASM_MEMORY_OPS))('%s', (name: WasmMemoryOp) => {
    const type = name.split('.')[0] as WasmValueType
    const store = name.includes('.store')
    const log2Bytes = WASM_MEMORY_OPS[name][1]
    const bytes = build(
      ['i32', type],
      store ? [] : [type],
      (f) => {
        f.localGet(0)
        if (store) f.localGet(1)
        f.memory(name, 300)
      },
      true,
    )
    expect(WebAssembly.validate(bytes)).toBe(true)
    // The engine refuses an alignment above the natural one, which proves the table's column.
    const at = Buffer.from(bytes).lastIndexOf(Buffer.from([log2Bytes, 0xac, 0x02]))
    bytes[at]!++
    expect(WebAssembly.validate(bytes)).toBe(false)
  })

  it.each(keys(WASM_MEMORY_LANE_OPS))('%s', (name: WasmMemoryLaneOp) => {
    const lane = (16 >> WASM_MEMORY_LANE_OPS[name][1]) - 1
    const bytes = build(
      ['i32', 'v128'],
      name.includes('.store') ? [] : ['v128'],
      (f) => f.localGet(0).localGet(1).memoryLane(name, 8, lane),
      true,
    )
    expect(WebAssembly.validate(bytes)).toBe(true)
    bytes[bytes.length - 2]! = lane + 1
    expect(WebAssembly.validate(bytes)).toBe(false)
  })

  it.each(keys(WASM_LANE_OPS))('%s', (name: WasmLaneOp) => {
    const lane = WASM_LANE_OPS[name][1] - 1
    const scalar = scalarOf(name.split('.')[0]!)
    const replace = name.includes('replace')
    const bytes = build(['v128', scalar], [replace ? 'v128' : scalar], (f) => {
      f.localGet(0)
      if (replace) f.localGet(1)
      f.lane(name, lane)
    })
    expect(WebAssembly.validate(bytes)).toBe(true)
    bytes[bytes.length - 2]! = lane + 1
    expect(WebAssembly.validate(bytes)).toBe(false)
  })
})

describe('execution', () => {
  const binary: [op: WasmOp, a: number, b: number, want: number][] = [
    ['i32.add', 2147483647, 1, -2147483648],
    ['i32.sub', 3, 5, -2],
    ['i32.mul', -7, 6, -42],
    ['i32.div_s', -7, 2, -3],
    ['i32.div_u', -2, 2, 2147483647],
    ['i32.rem_s', -7, 3, -1],
    ['i32.rem_u', -1, 10, 5],
    ['i32.and', 12, 10, 8],
    ['i32.or', 12, 10, 14],
    ['i32.xor', 12, 10, 6],
    ['i32.shl', 3, 4, 48],
    ['i32.shr_s', -16, 2, -4],
    ['i32.shr_u', -16, 28, 15],
    ['i32.rotl', 0x40000001, 2, 5],
    ['i32.rotr', 5, 1, -2147483646],
    ['i32.eq', 4, 4, 1],
    ['i32.ne', 4, 4, 0],
    ['i32.lt_s', -1, 1, 1],
    ['i32.lt_u', -1, 1, 0],
    ['i32.gt_s', -1, 1, 0],
    ['i32.gt_u', -1, 1, 1],
    ['i32.le_s', 1, 1, 1],
    ['i32.le_u', -1, 1, 0],
    ['i32.ge_s', -1, 1, 0],
    ['i32.ge_u', -1, 1, 1],
    ...(['f32', 'f64'] as const).flatMap((t): [WasmOp, number, number, number][] => [
      [`${t}.add`, 1.5, 2.25, 3.75],
      [`${t}.sub`, 1.5, 2.25, -0.75],
      [`${t}.mul`, 1.5, 2.5, 3.75],
      [`${t}.div`, 3, -2, -1.5],
      [`${t}.min`, 3, -2, -2],
      [`${t}.max`, 3, -2, 3],
      [`${t}.copysign`, 3, -2, -3],
      [`${t}.eq`, 1, NaN, 0],
      [`${t}.ne`, 1, NaN, 1],
      [`${t}.lt`, 1, 2, 1],
      [`${t}.gt`, 1, 2, 0],
      [`${t}.le`, 2, 2, 1],
      [`${t}.ge`, 1, 2, 0],
    ]),
  ]
  it.each(binary)('%s(%d, %d) = %d', (op, a, b, want) => {
    const [params, results] = signature(op)
    expect(run(params, results[0]!, (f) => f.localGet(0).localGet(1).op(op))(a, b)).toBe(want)
  })

  const unary: [op: WasmOp, a: number, want: number][] = [
    ['i32.clz', 1, 31],
    ['i32.ctz', 8, 3],
    ['i32.popcnt', 255, 8],
    ['i32.eqz', 0, 1],
    ['i32.extend8_s', 0xff, -1],
    ['i32.extend16_s', 0x8000, -32768],
    ['i32.trunc_f32_s', -2.7, -2],
    ['i32.trunc_sat_f32_s', 1e20, 2147483647],
    ['i32.trunc_sat_f32_u', -5, 0],
    ['i32.trunc_sat_f64_s', -1e20, -2147483648],
    ['i32.trunc_sat_f64_u', 1e20, -1],
    ['f32.convert_i32_s', -1, -1],
    ['f32.convert_i32_u', -1, 4294967296],
    ['f64.convert_i32_u', -1, 4294967295],
    ['f32.demote_f64', 0.1, Math.fround(0.1)],
    ['i32.reinterpret_f32', 1, 0x3f800000],
    ['f32.reinterpret_i32', 0x40490fdb, Math.fround(Math.PI)],
    ...(['f32', 'f64'] as const).flatMap((t): [WasmOp, number, number][] => [
      [`${t}.abs`, -2.5, 2.5],
      [`${t}.neg`, 2.5, -2.5],
      [`${t}.ceil`, 2.25, 3],
      [`${t}.floor`, -2.25, -3],
      [`${t}.trunc`, -2.75, -2],
      [`${t}.nearest`, 2.5, 2],
      [`${t}.sqrt`, 9, 3],
    ]),
  ]
  it.each(unary)('%s(%d) = %d', (op, a, want) => {
    const [params, results] = signature(op)
    expect(run(params, results[0]!, (f) => f.localGet(0).op(op))(a)).toBe(want)
  })

  const vector: [op: WasmOp, want: number[]][] = [
    ['f32x4.add', [6, 8, 10, 12.5]],
    ['f32x4.sub', [-4, -4, -4, -3.5]],
    ['f32x4.mul', [5, 12, 21, 36]],
    ['f32x4.div', [0.2, 2 / 6, 3 / 7, 0.5625]],
    ['f32x4.min', [1, 2, 3, 4.5]],
    ['f32x4.max', [5, 6, 7, 8]],
    ['f32x4.pmin', [1, 2, 3, 4.5]],
    ['f32x4.pmax', [5, 6, 7, 8]],
  ]
  it.each(vector)('%s', (op, want) => {
    want.forEach((value, lane) => {
      const f = run([], 'f32', (f) =>
        f
          .v128Const(lanes([1, 2, 3, 4.5]))
          .v128Const(lanes([5, 6, 7, 8]))
          .op(op)
          .lane('f32x4.extract_lane', lane),
      )
      expect(f()).toBe(Math.fround(value))
    })
  })

  it('reads constants back', () => {
    for (const value of [0, 63, 64, -64, -65, 127, 128, 2147483647, -2147483648])
      expect(run([], 'i32', (f) => f.i32Const(value))()).toBe(value)
    for (const value of [0n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 1234567890123n])
      expect(run([], 'i64', (f) => f.i64Const(value))()).toBe(value)
    for (const value of [0, -0, 0.1, NaN, Infinity, -Infinity, 5e-324]) {
      expect(run([], 'f64', (f) => f.f64Const(value))()).toBe(value)
      expect(run([], 'f32', (f) => f.f32Const(value))()).toBe(Math.fround(value))
    }
  })

  it('shuffles, splats and replaces lanes', () => {
    // Interleaves the low halves: [a0, b0, a1, b1], then a1 becomes x.
    const interleave = [0, 4, 1, 5].flatMap((i) => [0, 1, 2, 3].map((byte) => 4 * i + byte))
    const lane = (i: number) =>
      run(['f32'], 'f32', (f) =>
        f
          .v128Const(lanes([1, 2, 3, 4]))
          .v128Const(lanes([5, 6, 7, 8]))
          .shuffle(interleave)
          .localGet(0)
          .lane('f32x4.replace_lane', 2)
          .lane('f32x4.extract_lane', i),
      )(-1)
    expect([0, 1, 2, 3].map(lane)).toEqual([1, 5, -1, 6])
    const f = run(['f32'], 'f32', (f) =>
      f.localGet(0).op('f32x4.splat').lane('f32x4.extract_lane', 3),
    )
    expect(f(2.5)).toBe(2.5)
  })

  it('loops over memory with a tail', () => {
    const memory = new WebAssembly.Memory({ initial: 1 })
    const module = new ModuleBuilder()
    module.importMemory('env', 'memory')
    // y[i] = a * x[i] + y[i] for 4 floats a turn; x at byte 0, y at byte 256.
    module.function('axpy', ['i32', 'f32'], [], (f) => {
      const address = f.local('i32')
      const factor = f.local('v128')
      f.localGet(1).op('f32x4.splat').localSet(factor)
      f.block().loop()
      f.localGet(address).localGet(0).op('i32.ge_u').brIf(1)
      f.localGet(address)
      f.localGet(address).memory('v128.load', 0).localGet(factor).op('f32x4.mul')
      f.localGet(address).memory('v128.load', 256, 4).op('f32x4.add')
      f.memory('v128.store', 256)
      f.localGet(address).i32Const(16).op('i32.add').localSet(address)
      f.br(0).end().end()
    })
    const { axpy } = instantiate(module.finish(), { env: { memory } })
    const x = new Float32Array(memory.buffer, 0, 8)
    const y = new Float32Array(memory.buffer, 256, 12)
    x.forEach((_, i) => (x[i] = i))
    y.fill(1)
    axpy!(32, 0.5)
    expect([...y]).toEqual([1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 1, 1, 1, 1])
  })

  it('loads, stores, copies and fills', () => {
    const memory = new WebAssembly.Memory({ initial: 1 })
    const module = new ModuleBuilder()
    module.importMemory('env', 'memory')
    module.function('splat', ['i32'], [], (f) =>
      f.localGet(0).localGet(0).memory('v128.load32_splat', 4).memory('v128.store', 16),
    )
    module.function('lane', ['i32'], [], (f) =>
      f
        .localGet(0)
        .localGet(0)
        .v128Const(lanes([1, 2, 3, 4]))
        .memoryLane('v128.load32_lane', 4, 1)
        .memoryLane('v128.store32_lane', 32, 1),
    )
    module.function('widen', ['i32'], ['i32'], (f) =>
      f.localGet(0).memory('v128.load8x8_s', 0).lane('i16x8.extract_lane_s', 3),
    )
    module.function('copy', ['i32', 'i32', 'i32'], [], (f) =>
      f.localGet(0).localGet(1).localGet(2).memoryCopy(),
    )
    module.function('fill', ['i32', 'i32', 'i32'], [], (f) =>
      f.localGet(0).localGet(1).localGet(2).memoryFill(),
    )
    module.function('signed', ['i32'], ['i32'], (f) => f.localGet(0).memory('i32.load8_s', 0))
    const exports = instantiate(module.finish(), { env: { memory } })
    const floats = new Float32Array(memory.buffer)
    const bytes = new Uint8Array(memory.buffer)
    floats[1] = 7.5
    exports.splat!(0)
    expect([...floats.subarray(4, 8)]).toEqual([7.5, 7.5, 7.5, 7.5])
    exports.lane!(0)
    expect(floats[8]).toBe(7.5)
    bytes[3] = 0xfe
    expect(exports.widen!(0)).toBe(-2)
    expect(exports.signed!(3)).toBe(-2)
    exports.copy!(64, 4, 4)
    expect(floats[16]).toBe(7.5)
    exports.fill!(100, 0xab, 3)
    expect([...bytes.subarray(99, 104)]).toEqual([0, 0xab, 0xab, 0xab, 0])
  })

  it('branches, selects and calls', () => {
    const module = new ModuleBuilder()
    const scale = module.importFunction('env', 'scale', ['f64'], ['f64'])
    const factorial = module.function('factorial', ['f64'], ['f64'], (f) =>
      f
        .localGet(0)
        .f64Const(2)
        .op('f64.lt')
        .if('f64')
        .f64Const(1)
        .else()
        .localGet(0)
        .localGet(0)
        .f64Const(1)
        .op('f64.sub')
        .call(scale + 1)
        .op('f64.mul')
        .end(),
    )
    expect(factorial).toBe(scale + 1)
    module.function('scaled', ['f64'], ['f64'], (f) =>
      f.localGet(0).call(factorial).call(scale).return(),
    )
    module.function('larger', ['f64', 'f64'], ['f64'], (f) =>
      f.localGet(0).localGet(1).localGet(0).localGet(1).op('f64.gt').select(),
    )
    const exports = instantiate(module.finish(), { env: { scale: (x: number) => 10 * x } })
    expect(exports.factorial!(6)).toBe(720)
    expect(exports.scaled!(6)).toBe(7200)
    expect(exports.larger!(3, 4)).toBe(4)
    expect(exports.larger!(5, 4)).toBe(5)
  })

  it('selects vectors', () => {
    const f = run(['i32'], 'f32', (f) =>
      f
        .v128Const(lanes([1, 1, 1, 1]))
        .v128Const(lanes([2, 2, 2, 2]))
        .localGet(0)
        .select()
        .lane('f32x4.extract_lane', 0),
    )
    expect([f(1), f(0)]).toEqual([1, 2])
  })
})

/** What an instruction takes and gives, read off its spec name. */
function signature(name: WasmOp): [params: WasmValueType[], results: WasmValueType[]] {
  const special: Partial<Record<WasmOp, [WasmValueType[], WasmValueType[]]>> = {
    unreachable: [[], []],
    nop: [[], []],
    return: [[], []],
    drop: [['f32'], []],
    select: [['f32', 'f32', 'i32'], ['f32']],
    'v128.not': [['v128'], ['v128']],
    'v128.bitselect': [['v128', 'v128', 'v128'], ['v128']],
  }
  if (special[name] !== undefined) return special[name]
  const [shape, operation] = name.split('.') as [string, string]
  if (shape === 'v128' || shape.includes('x')) return vectorSignature(shape, operation)
  const type = shape as WasmValueType
  const source = /_([if](?:32|64))(?:_[su])?$/.exec(operation)?.[1] as WasmValueType | undefined
  if (source !== undefined) return [[source], [type]]
  if (operation === 'eqz') return [[type], ['i32']]
  if (/^(eq|ne|lt|gt|le|ge)(_[su])?$/.test(operation)) return [[type, type], ['i32']]
  const unary = /^(clz|ctz|popcnt|abs|neg|ceil|floor|trunc|nearest|sqrt|extend\d+_s)$/
  return [unary.test(operation) ? [type] : [type, type], [type]]
}

function vectorSignature(shape: string, operation: string): [WasmValueType[], WasmValueType[]] {
  const v = 'v128'
  if (operation === 'splat') return [[scalarOf(shape)], [v]]
  if (/^(any_true|all_true|bitmask)$/.test(operation)) return [[v], ['i32']]
  if (/^sh[lr]/.test(operation)) return [[v, 'i32'], [v]]
  if (/^relaxed_(n?madd|laneselect|dot.*add_s)$/.test(operation)) return [[v, v, v], [v]]
  const unary =
    /^(abs|neg|popcnt|ceil|floor|trunc|nearest|sqrt|ext(end|add)_.*|(relaxed_)?trunc_.*|convert_.*|demote_.*|promote_.*)$/
  return [unary.test(operation) ? [v] : [v, v], [v]]
}

function scalarOf(shape: string): WasmValueType {
  const scalars: Record<string, WasmValueType> = { i64x2: 'i64', f32x4: 'f32', f64x2: 'f64' }
  return scalars[shape] ?? 'i32'
}
