/** @file What lowering needs to know about x86-64 with AVX2 or AVX-512. */
import type { TargetTraits } from '../../codegen/target-traits.ts'
import type { ScalarType } from '../../core/dtype.ts'
import type { Tile } from '../../ir/group.ts'
import { scalarOp, type ScalarOp } from '../../ir/scalar-op.ts'

/** The instruction sets that code is made for, and the caches it is blocked for. */
export interface X86Features {
  readonly avx512: boolean
  /** Dot products of bfloat16 pairs (AVX512_BF16) and of bytes (AVX512_VNNI). */
  readonly bf16: boolean
  readonly vnni: boolean
  readonly l1Bytes: number
  readonly l2Bytes: number
}

/** Traits of the target with these features. */
export function x86Traits(features: X86Features): TargetTraits {
  const { avx512, l1Bytes, l2Bytes } = features
  return {
    vectorBytes: avx512 ? 64 : 32,
    tiles: avx512 ? tiles512 : tiles256,
    tileUnroll: 4,
    // A dozen addresses are more than there are registers for.
    rowsInPlace: false,
    l1Bytes,
    l2Bytes,
    tail: avx512 ? 'mask' : 'scalar',
    spells(op, type, lanes) {
      if (op === 'fma') return type === 'f32' || type === 'f64'
      if (op === 'ldexp') return avx512
      if (op === 'dotBf16') return features.bf16 && lanes > 1
      if (op === 'dotU8S8') return features.vnni && lanes > 1
      if (scalarOp(op).decompose !== undefined) return false
      if (lanes === 1) return true
      return avx512 ? !noVector512(op, type) : !noVector256(op, type)
    },
    vectorMemory(memory, lanes) {
      const isWide = memory === 'f64' || memory === 'i64'
      return isWide === (lanes === (avx512 ? 8 : 4))
    },
  }
}

/** Tiles whose sums, with the vectors of B and a factor of A, fit the registers; no shorter than `least`. */
function tilesFor(registers: number, least: number): Tile[] {
  return [1, 2, 3, 4].flatMap((vectors) => {
    const most = Math.min(16, Math.floor((registers - vectors - 1) / vectors))
    const rows = Array.from({ length: Math.max(0, most - least + 1) }, (_, i) => least + i)
    return rows.map((count) => ({ rows: count, vectors }))
  })
}
// The allocator keeps two of the 32 for values on the stack: with more sums, one of them would live there.
const tiles512 = tilesFor(30, 3)
const tiles256 = tilesFor(16, 3)

// Integers are divided one by one, and there is no arithmetic on bools.
const noVector512 = (op: ScalarOp, type: ScalarType): boolean =>
  type === 'bool' ? !boolRows.has(op) : isInteger(type) && (op === 'div' || op === 'rem')

const noVector256 = (op: ScalarOp, type: ScalarType): boolean => {
  if (type === 'bool') return !boolRows.has(op)
  if (isInteger(type) && (op === 'div' || op === 'rem')) return true
  if (op === 'convert') return type === 'f64' || type === 'i64'
  return type === 'i64' && missingWide.has(op)
}

const isInteger = (type: ScalarType): boolean => type === 'i32' || type === 'i64'
const boolRows: ReadonlySet<ScalarOp> = new Set(['and', 'or', 'xor', 'not', 'select', 'convert'])
/** What AVX2 has for 32-bit lanes only. */
const missingWide: ReadonlySet<ScalarOp> = new Set(['mul', 'min', 'max', 'abs', 'shr'])
