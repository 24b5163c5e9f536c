/** @file How x86-64 spells the rows of the scalar-op table that are one instruction, for single values and for registers of lanes. */
import type { Condition } from '../../asm/x86.ts'
import { vectorRow, type VectorOp } from '../../asm/x86-vector-ops.ts'
import type { ScalarType } from '../../core/dtype.ts'
import type { ScalarOp } from '../../ir/scalar-op.ts'

/** The types that vector registers hold. */
export type LaneType = 'f32' | 'f64' | 'i32' | 'i64'

type PerLane = Partial<Record<LaneType, VectorOp>>

/** name + ps or pd, + ss or sd for single values. */
const packed = (name: string): PerLane =>
  ({ f32: `${name}ps`, f64: `${name}pd` }) as unknown as PerLane
const single = (name: string): PerLane =>
  ({ f32: `${name}ss`, f64: `${name}sd` }) as unknown as PerLane
const ints = (name: string): PerLane => ({ i32: `${name}d`, i64: `${name}q` }) as unknown as PerLane

/** Rows of two operands: to = a op b. */
export const vectorBinary: Partial<Record<ScalarOp, PerLane>> = {
  add: { ...packed('vadd'), ...ints('vpadd') },
  sub: { ...packed('vsub'), ...ints('vpsub') },
  mul: { ...packed('vmul'), ...ints('vpmull') },
  div: packed('vdiv'),
  ldexp: packed('vscalef'),
  min: ints('vpmins'),
  max: ints('vpmaxs'),
}
export const singleBinary: Partial<Record<ScalarOp, PerLane>> = {
  add: single('vadd'),
  sub: single('vsub'),
  mul: single('vmul'),
  div: single('vdiv'),
  ldexp: single('vscalef'),
}

/** Bitwise rows, with AVX-512 and without. */
export const logic = {
  evex: {
    and: ints('vpand'),
    or: ints('vpor'),
    xor: ints('vpxor'),
  },
  vex: {
    and: { i32: 'vpand', i64: 'vpand' },
    or: { i32: 'vpor', i64: 'vpor' },
    xor: { i32: 'vpxor', i64: 'vpxor' },
  },
} as const satisfies Record<string, Record<'and' | 'or' | 'xor', PerLane>>

/** The immediate of the rounding instructions: the mode, and no exception for what is inexact. */
export const roundingMode: Partial<Record<ScalarOp, number>> = {
  round: 8,
  floor: 9,
  ceil: 10,
  trunc: 11,
}

/** Predicates of floating comparisons; NaN compares false, but for "not equal". */
export const floatPredicate = { eq: 0, ne: 4, lt: 17, le: 18 } as const
/** Predicates of AVX-512's integer comparisons. */
export const intPredicate = { eq: 0, ne: 4, lt: 1, le: 2 } as const
/** Conditions after comparing general registers. */
export const intCondition = { eq: 'e', ne: 'ne', lt: 'l', le: 'le' } as const satisfies Record<
  string,
  Condition
>

/** Shifts of lanes: by a constant, and by a count per lane. */
export const shifts = {
  shl: { constant: ints('vpsll'), variable: ints('vpsllv') },
  shr: { constant: ints('vpsra'), variable: ints('vpsrav') },
  ushr: { constant: ints('vpsrl'), variable: ints('vpsrlv') },
} as const
/** Shifts of general registers: by a constant, and by a register. */
export const scalarShifts = {
  shl: ['shl', 'shlx'],
  shr: ['sar', 'sarx'],
  ushr: ['shr', 'shrx'],
} as const

export const isFloat = (type: ScalarType): type is 'f32' | 'f64' => type === 'f32' || type === 'f64'

/** Which operand of an instruction could be memory that is read; -1 for none. */
export function memoryOperand(op: VectorOp): number {
  const { rm, allowsMemory, vexMemory } = vectorRow(op)
  return allowsMemory && vexMemory && rm > 0 ? rm : -1
}
