/** @file The loop form: one kernel as a program of structured loops over scalar and vector values. */
import type { ScalarType } from '../core/dtype.ts'
import type { Combine } from './expr.ts'
import type { ScalarOp, ScalarValue } from './scalar-op.ts'

/** How an element lies in memory. Loads widen to, and stores narrow from, the compute type. */
export type MemoryType = 'f32' | 'f64' | 'i32' | 'i64' | 'i8' | 'u8' | 'u16'

/** A value computed once. `lanes` is 1 for a scalar; a vector may be wider than the target's registers. */
export interface Value {
  readonly id: number
  readonly type: ScalarType
  readonly lanes: number
  readonly def: Definition
}

/** A position in a buffer: index + offset, in elements. */
export interface Place {
  readonly buffer: number
  readonly memory: MemoryType
  readonly index: Value
  readonly offset: number
}

export type Definition =
  | { readonly kind: 'const'; readonly value: ScalarValue }
  /** Slot of the argument block. */
  | { readonly kind: 'size' | 'param'; readonly slot: number }
  /** The running index of the loop that owns it. */
  | { readonly kind: 'index' }
  /** Lanewise scalar operation. */
  | { readonly kind: 'op'; readonly op: ScalarOp; readonly args: readonly Value[] }
  | { readonly kind: 'splat'; readonly arg: Value }
  /** The vector 0, 1, 2 ... */
  | { readonly kind: 'iota' }
  /** True in the lanes below `count` (i32 scalar): the mask of a tail. */
  | { readonly kind: 'lanesBelow'; readonly count: Value }
  /** Combines the lanes of a vector into a scalar. */
  | { readonly kind: 'across'; readonly combine: Combine; readonly arg: Value }
  /** Consecutive elements (one for a scalar); lanes that a mask switches off read nothing and are 0. */
  | { readonly kind: 'load'; readonly place: Place; readonly mask: Value | undefined }
  /** One element per lane, at the index of that lane. */
  | { readonly kind: 'gather'; readonly place: Place; readonly mask: Value | undefined }
  /**
   * Column `row` of a matrix that lies in `rows`, one after the other, with as many columns as there are
   * rows: of a square block the transpose, of two rows every other element.
   */
  | { readonly kind: 'transposed'; readonly rows: readonly Value[]; readonly row: number }
  /** The present content of a variable. */
  | { readonly kind: 'read'; readonly variable: Variable }

/** A mutable cell: an accumulator. */
export interface Variable {
  readonly id: number
  readonly type: ScalarType
  readonly lanes: number
}

export type Statement =
  | { readonly kind: 'let'; readonly value: Value }
  | { readonly kind: 'set'; readonly variable: Variable; readonly value: Value }
  | {
      readonly kind: 'store'
      readonly place: Place
      readonly value: Value
      readonly mask: Value | undefined
    }
  /** A wish to have the line at this place in the second-level cache soon; it may lie outside of the buffer. */
  | { readonly kind: 'prefetch'; readonly place: Place }
  | {
      readonly kind: 'for'
      readonly index: Value
      readonly begin: Value
      readonly end: Value
      readonly step: number
      /** Iterations of a parallel loop may run in any order, on any thread. */
      readonly parallel: boolean
      /**
       * Set where the iterations of a parallel loop are taken in runs: the body then does all of
       * [index, runEnd) at once. However they are cut, the outcome is the same.
       */
      readonly runEnd: Value | undefined
      readonly body: readonly Statement[]
    }
  | { readonly kind: 'if'; readonly condition: Value; readonly then: readonly Statement[] }

/**
 * A kernel as a program. Its argument block holds the buffers' addresses, then the sizes, then the
 * scalars. Buffers beyond the group's are scratch space: `scratch` of them, with sizes in bytes.
 */
export interface Kernel {
  readonly name: string
  readonly buffers: readonly { readonly memory: MemoryType; readonly written: boolean }[]
  readonly sizeCount: number
  readonly params: readonly ScalarType[]
  readonly scratchBytes: number
  readonly body: readonly Statement[]
}
