/** @file Dot products of bfloat16 and of bytes: the rows, products of awkward sizes, and what code is made of them. */
import { describe, expect, test } from 'vitest'
import { KernelBuilder } from '../../src/codegen/kernel-builder.ts'
import { lowerGroup } from '../../src/codegen/lower.ts'
import { X86Assembler } from '../../src/asm/x86.ts'
import type { DType, TypedArray } from '../../src/core/dtype.ts'
import { bfloatToNumber, numberToBfloat } from '../../src/core/float16.ts'
import { layoutOf } from '../../src/core/layout.ts'
import { ExprBuilder } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'
import { scalarOp } from '../../src/ir/scalar-op.ts'
import { allocate } from '../../src/target/x86/allocate.ts'
import { Selector } from '../../src/target/x86/emit.ts'
import { encode } from '../../src/target/x86/encode.ts'
import { x86Traits, type X86Features } from '../../src/target/x86/traits.ts'
import { agreesInLoops, agreesOnWasm, agreesOnX86 } from './agree.ts'
import { product } from './contractions.ts'
import { runInterpreted } from './run-group.ts'
import { randomizer } from './random-contraction.ts'

const random = randomizer(7)
const arrays: Partial<Record<DType, (n: number) => TypedArray>> = {
  bfloat16: (n) => Uint16Array.from({ length: n }, () => numberToBfloat(random() - 0.5)),
  int8: (n) => Int8Array.from({ length: n }, () => Math.floor(256 * random()) - 128),
  uint8: (n) => Uint8Array.from({ length: n }, () => Math.floor(256 * random())),
}
const bytes = ['int8', 'uint8'] as const
const pairs: readonly (readonly [DType, DType])[] = [
  ['bfloat16', 'bfloat16'],
  ...bytes.flatMap((a) => bytes.map((b) => [a, b] as const)),
]

describe('the rows', () => {
  // What an expression of two words and a sum comes to.
  const evaluate = (op: 'dotBf16' | 'dotU8S8', isDecomposed: boolean, words: number[]) => {
    const s = new ExprBuilder()
    const type = op === 'dotBf16' ? 'f32' : 'i32'
    const [a, b] = [s.const('i32', words[0]!), s.const('i32', words[1]!)]
    const sum = s.const(type, words[2]!)
    const value = isDecomposed ? scalarOp(op).decompose!(s, a, b, sum) : s[op](a, b, sum)
    const index = { offset: 0, terms: [] }
    const group: Group = {
      name: op,
      axes: [],
      buffers: [{ dtype: type === 'f32' ? 'float32' : 'int32', access: 'write' }],
      stores: [{ buffer: 0, index, value }],
      checks: [],
      params: [],
      sizeCount: 0,
    }
    const buffer = type === 'f32' ? new Float32Array(1) : new Int32Array(1)
    return Number(runInterpreted(group, { buffers: [buffer] }).buffers[0]![0])
  }

  test('bfloat16: two products', () => {
    const word = (low: number, high: number) => numberToBfloat(low) | (numberToBfloat(high) << 16)
    for (const isDecomposed of [false, true]) {
      const at = (...words: number[]) => evaluate('dotBf16', isDecomposed, words)
      expect(at(word(1.5, -2), word(4, 0.5), 10)).toBe(15)
      expect(at(word(0, 3), word(7, -1), -1)).toBe(-4)
      expect(at(word(Infinity, 1), word(1, 1), 0)).toBe(Infinity)
      expect(at(word(NaN, 1), word(1, 1), 0)).toBeNaN()
    }
  })

  test('bytes: unsigned by signed, exact and modulo 2^32', () => {
    for (const isDecomposed of [false, true]) {
      const at = (...words: number[]) => evaluate('dotU8S8', isDecomposed, words)
      expect(at(-1, 0x7f7f7f7f, 5)).toBe(4 * 255 * 127 + 5)
      expect(at(-1, 0x80808080 | 0, 0)).toBe(4 * 255 * -128)
      expect(at(0x04030201, 0xff01ff02 | 0, 0)).toBe(2 - 2 + 3 - 4)
      expect(at(1, 1, 2 ** 31 - 1)).toBe(-(2 ** 31))
    }
  })
})

test.each(['dotBf16', 'dotU8S8'] as const)('%s in lanes, its sum used again', (op) => {
  const s = new ExprBuilder()
  const dtype = op === 'dotBf16' ? 'float32' : 'int32'
  const count = 53
  const axis = s.axis(count)
  const index = { offset: 0, terms: [{ index: s.at(axis), stride: 1 }] }
  const [a, b, c] = [s.load(0, 'int32', index), s.load(1, 'int32', index), s.load(2, dtype, index)]
  const buffers = [arrays.bfloat16!(2 * count), arrays.bfloat16!(2 * count)].map(
    (pairs): TypedArray => new Int32Array(pairs.buffer),
  )
  buffers.push(op === 'dotBf16' ? new Float32Array(count).fill(0.5) : new Int32Array(count).fill(9))
  buffers.push(op === 'dotBf16' ? new Float32Array(count) : new Int32Array(count))
  const group: Group = {
    name: op,
    axes: [axis],
    buffers: [
      { dtype: 'int32', access: 'read' },
      { dtype: 'int32', access: 'read' },
      { dtype, access: 'read' },
      { dtype, access: 'write' },
    ],
    stores: [{ buffer: 3, index, value: s.sub(s[op](a, b, c), s.mul(c, s[op](b, a, c))) }],
    checks: [],
    params: [],
    sizeCount: 0,
  }
  agreesInLoops(s, group, { buffers }, op === 'dotBf16' ? 1e-6 : 0)
  agreesOnWasm(s, group, { buffers }, op === 'dotBf16' ? 1e-6 : 0)
})

/** out = a x b of these dtypes, sizes in slots. */
function smallProduct(a: DType, b: DType, options: { transposeA: boolean; transposeB: boolean }) {
  const s = new ExprBuilder()
  return { s, group: product(s, { ...options, dtypes: [a, b] }) }
}

describe.each(pairs)('products of %s and %s', (a, b) => {
  test.each([
    [1, 1, 1],
    [3, 3, 2],
    [3, 40, 5],
    [40, 3, 7],
    [5, 16, 64],
    [10, 17, 1],
    [17, 33, 131],
    [12, 64, 0],
    [13, 21, 30],
  ])('%i x %i x %i, every transposition', (m, n, k) => {
    for (const transposeA of [false, true])
      for (const transposeB of [false, true]) {
        const { s, group } = smallProduct(a, b, { transposeA, transposeB })
        const isFloat = a === 'bfloat16'
        const out = isFloat ? new Float32Array(m * n) : new Int32Array(m * n)
        const run = { buffers: [arrays[a]!(m * k), arrays[b]!(k * n), out], sizes: [m, n, k] }
        agreesOnX86(s, group, run, isFloat ? 1e-5 : 0)
        agreesOnWasm(s, group, run, isFloat ? 1e-5 : 0)
        const isSmall = m * n * k < 5000 && transposeA !== transposeB
        if (isSmall) agreesInLoops(s, group, run, isFloat ? 1e-5 : 0)
      }
  })

  test('extreme values', () => {
    const { s, group } = smallProduct(a, b, { transposeA: false, transposeB: true })
    const extreme = (dtype: DType, n: number): TypedArray => {
      const made = arrays[dtype]!(n)
      const range = { int8: [-128, 127], uint8: [0, 255] }[dtype as 'int8' | 'uint8']
      if (range) for (let i = 0; i < n; i++) made[i] = range[random() < 0.5 ? 0 : 1]!
      return made
    }
    const out = a === 'bfloat16' ? new Float32Array(11 * 18) : new Int32Array(11 * 18)
    const run = { buffers: [extreme(a, 11 * 203), extreme(b, 18 * 203), out], sizes: [11, 18, 203] }
    agreesOnX86(s, group, run, a === 'bfloat16' ? 1e-5 : 0)
  })
})

test('a bfloat16 result is rounded once, from a float32 sum', () => {
  const k = new KernelBuilder('matmul', operands(['bfloat16', 'bfloat16', 'bfloat16'], 20, 24, 129))
  multiplyInto(k, 20, 24, 129)
  const { s, group } = k.finish()
  const buffers = [arrays.bfloat16!(20 * 129), arrays.bfloat16!(129 * 24), new Uint16Array(480)]
  agreesOnX86(s, group, { buffers }, 2 ** -7)
  const [x, y] = buffers as [Uint16Array, Uint16Array]
  let sum = 0
  for (let i = 0; i < 129; i++) sum += bfloatToNumber(x[i]!) * bfloatToNumber(y[i * 24]!)
  const first = runInterpreted(group, { buffers }).buffers[2]![0]!
  expect(Math.abs(bfloatToNumber(Number(first)) - sum)).toBeLessThan(2 ** -7 * (1 + Math.abs(sum)))
})

describe('code for 64 x 64 x 64', () => {
  const all: X86Features = {
    avx512: true,
    bf16: true,
    vnni: true,
    l1Bytes: 32768,
    l2Bytes: 1 << 20,
  }
  const listing = (dtypes: readonly DType[], features: X86Features): string => {
    const k = new KernelBuilder('matmul', operands(dtypes, 64, 64, 64))
    multiplyInto(k, 64, 64, 64)
    const { s, group } = k.finish()
    const kernel = lowerGroup(s, group, x86Traits(features))
    const asm = new X86Assembler({ listing: true })
    const program = new Selector(kernel, features, asm).run()
    const registers = features.avx512 ? 32 : 16
    encode(program, allocate(program, registers, features.avx512 ? 64 : 32), features, asm)
    asm.finish()
    return asm.listing()
  }
  const count = (text: string, name: string) => text.split(name).length - 1

  test('bfloat16 takes vdpbf16ps where there is one', () => {
    const dtypes = ['bfloat16', 'bfloat16', 'bfloat16'] as const
    expect(count(listing(dtypes, all), 'vdpbf16ps')).toBeGreaterThan(50)
    const without = listing(dtypes, { ...all, bf16: false })
    expect(count(without, 'vdpbf16ps')).toBe(0)
    expect(count(without, 'vfmadd231ps')).toBeGreaterThan(50)
  })

  test.each(pairs.slice(1))('%s by %s takes vpdpbusd where there is one', (a, b) => {
    expect(count(listing([a, b, 'int32'], all), 'vpdpbusd')).toBeGreaterThan(50)
    expect(count(listing([a, b, 'int32'], { ...all, vnni: false }), 'vpdpbusd')).toBe(0)
  })
})

function operands(dtypes: readonly DType[], m: number, n: number, k: number) {
  const shapes = [
    [m, k],
    [k, n],
    [m, n],
  ]
  return dtypes.map((dtype, i) => ({ dtype, layout: layoutOf(shapes[i]!) }))
}

function multiplyInto(builder: KernelBuilder, m: number, n: number, k: number): void {
  const [i, j] = builder.axes([m, n])
  const [inner] = builder.inner([k])
  const value = builder.s.mul(builder.load(0, [i!, inner!]), builder.load(1, [inner!, j!]))
  builder.store(2, [i!, j!], builder.reduce('add', [inner!], value))
}
