/** @file What lowering may ask about a target: numbers and properties, never its name. */
import type { ScalarType } from '../core/dtype.ts'
import type { Tile } from '../ir/group.ts'
import type { MemoryType } from '../ir/loops.ts'
import type { ScalarOp } from '../ir/scalar-op.ts'

export interface TargetTraits {
  /** Bytes of a vector register: 16 for wasm and SSE, 32 for AVX2, 64 for AVX-512. */
  readonly vectorBytes: number
  /** The register tiles that a matrix product may use: rows times vectors of sums. */
  readonly tiles: readonly Tile[]
  /** Steps along the depth of a product that are written out in one round of its inner loop. */
  readonly tileUnroll: number
  /** Whether a product reads rows of A where they lie; if not, they are packed like everything else. */
  readonly rowsInPlace: boolean
  /** Cache sizes that blocking is made for, in bytes. */
  readonly l1Bytes: number
  readonly l2Bytes: number
  /** How the last, partial vector of a loop runs: one lane at a time, or under a mask. */
  readonly tail: 'scalar' | 'mask'
  /** Whether the target spells this row itself; if not, it is decomposed. */
  spells(op: ScalarOp, type: ScalarType, lanes: number): boolean
  /** Whether vectors of this many lanes can be loaded from and stored to this memory type. */
  vectorMemory(memory: MemoryType, lanes: number): boolean
}
