/** @file What lowering needs to know about WebAssembly with 128-bit vectors. */
import type { TargetTraits } from '../../codegen/target-traits.ts'
import { scalarOp } from '../../ir/scalar-op.ts'
import { shiftSpelling, vectorSequences, vectorSpelling } from './spelling.ts'

/** Traits of the target; `relaxedSimd` where the engine has fused multiply-add and friends. */
export function wasmTraits(options: { relaxedSimd: boolean }): TargetTraits {
  return {
    vectorBytes: 16,
    // 16 registers, one of them the engine's own. V8 makes all loads of a basic block before the arithmetic,
    // so that 8 sums, 2 vectors of B, 4 factors of A and a product are live at once; written out by us,
    // several steps would spill, while V8's own unrolling keeps one basic block per step.
    tiles: [{ rows: 4, vectors: 2 }],
    tileUnroll: 1,
    rowsInPlace: true,
    l1Bytes: 32 * 1024,
    l2Bytes: 512 * 1024,
    tail: 'scalar',
    spells(op, type, lanes) {
      if (op === 'fma')
        return options.relaxedSimd && lanes > 1 && (type === 'f32' || type === 'f64')
      if (lanes === 1) return scalarOp(op).decompose === undefined
      if (type === 'bool') return ['and', 'or', 'xor', 'not', 'select', 'convert'].includes(op)
      if (vectorSequences.has(op)) return op === 'convert' ? type === 'f32' || type === 'i32' : true
      const lane = laneTypes[type]
      return vectorSpelling[op]?.[lane] !== undefined || shiftSpelling[op]?.[lane] !== undefined
    },
    vectorMemory(memory, lanes) {
      if (lanes === 2) return memory === 'f64' || memory === 'i64'
      return memory !== 'f64' && memory !== 'i64'
    },
  }
}

const laneTypes = { f32: 'f32x4', f64: 'f64x2', i32: 'i32x4', i64: 'i64x2' } as const
