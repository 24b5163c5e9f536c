/** @file How WebAssembly spells each row of the scalar-op table, for scalars and for registers of lanes. */
import type { FunctionAssembler } from '../../asm/wasm.ts'
import type { ScalarType } from '../../core/dtype.ts'
import type { ScalarOp } from '../../ir/scalar-op.ts'

type WasmOp = Parameters<FunctionAssembler['op']>[0]

/** The value types that registers of lanes hold; a bool register is a mask as wide as what it was compared from. */
export type LaneType = 'f32x4' | 'i32x4' | 'f64x2' | 'i64x2'

type Row = Partial<Record<ScalarType, WasmOp>>

const each = (suffix: string, types: readonly ScalarType[], signed = ''): Row =>
  Object.fromEntries(
    types.map((t) => {
      const isInt = t === 'i32' || t === 'i64' || t === 'bool'
      return [t, `${t === 'bool' ? 'i32' : t}.${suffix}${isInt ? signed : ''}`]
    }),
  ) as Row

const floats = ['f32', 'f64'] as const
const ints = ['i32', 'i64'] as const
const numbers = [...floats, ...ints] as const
const every = [...numbers, 'bool'] as const

/** Rows that are one scalar instruction, by the type of their last argument. */
export const scalarSpelling: Partial<Record<ScalarOp, Row>> = {
  add: each('add', numbers),
  sub: each('sub', numbers),
  mul: each('mul', numbers),
  div: each('div', floats),
  min: each('min', floats),
  max: each('max', floats),
  neg: each('neg', floats),
  abs: each('abs', floats),
  sqrt: each('sqrt', floats),
  floor: each('floor', floats),
  ceil: each('ceil', floats),
  trunc: each('trunc', floats),
  round: each('nearest', floats),
  eq: each('eq', every),
  ne: each('ne', every),
  lt: each('lt', every, '_s'),
  le: each('le', every, '_s'),
  and: each('and', [...ints, 'bool']),
  or: each('or', [...ints, 'bool']),
  xor: each('xor', [...ints, 'bool']),
  shl: each('shl', ints),
  shr: each('shr_s', ints),
  ushr: each('shr_u', ints),
}

/** Rows that are one vector instruction on a register. */
export const vectorSpelling: Partial<Record<ScalarOp, Partial<Record<LaneType, WasmOp>>>> = {
  add: { f32x4: 'f32x4.add', f64x2: 'f64x2.add', i32x4: 'i32x4.add', i64x2: 'i64x2.add' },
  sub: { f32x4: 'f32x4.sub', f64x2: 'f64x2.sub', i32x4: 'i32x4.sub', i64x2: 'i64x2.sub' },
  mul: { f32x4: 'f32x4.mul', f64x2: 'f64x2.mul', i32x4: 'i32x4.mul', i64x2: 'i64x2.mul' },
  div: { f32x4: 'f32x4.div', f64x2: 'f64x2.div' },
  min: { f32x4: 'f32x4.min', f64x2: 'f64x2.min', i32x4: 'i32x4.min_s' },
  max: { f32x4: 'f32x4.max', f64x2: 'f64x2.max', i32x4: 'i32x4.max_s' },
  neg: { f32x4: 'f32x4.neg', f64x2: 'f64x2.neg', i32x4: 'i32x4.neg', i64x2: 'i64x2.neg' },
  abs: { f32x4: 'f32x4.abs', f64x2: 'f64x2.abs', i32x4: 'i32x4.abs', i64x2: 'i64x2.abs' },
  sqrt: { f32x4: 'f32x4.sqrt', f64x2: 'f64x2.sqrt' },
  floor: { f32x4: 'f32x4.floor', f64x2: 'f64x2.floor' },
  ceil: { f32x4: 'f32x4.ceil', f64x2: 'f64x2.ceil' },
  trunc: { f32x4: 'f32x4.trunc', f64x2: 'f64x2.trunc' },
  round: { f32x4: 'f32x4.nearest', f64x2: 'f64x2.nearest' },
  eq: { f32x4: 'f32x4.eq', f64x2: 'f64x2.eq', i32x4: 'i32x4.eq', i64x2: 'i64x2.eq' },
  ne: { f32x4: 'f32x4.ne', f64x2: 'f64x2.ne', i32x4: 'i32x4.ne', i64x2: 'i64x2.ne' },
  lt: { f32x4: 'f32x4.lt', f64x2: 'f64x2.lt', i32x4: 'i32x4.lt_s', i64x2: 'i64x2.lt_s' },
  le: { f32x4: 'f32x4.le', f64x2: 'f64x2.le', i32x4: 'i32x4.le_s', i64x2: 'i64x2.le_s' },
  and: { i32x4: 'v128.and', i64x2: 'v128.and' },
  or: { i32x4: 'v128.or', i64x2: 'v128.or' },
  xor: { i32x4: 'v128.xor', i64x2: 'v128.xor' },
  not: { i32x4: 'v128.not', i64x2: 'v128.not' },
}

/** Shifts take their count as a scalar, the same for every lane. */
export const shiftSpelling: Partial<Record<ScalarOp, Partial<Record<LaneType, WasmOp>>>> = {
  shl: { i32x4: 'i32x4.shl', i64x2: 'i64x2.shl' },
  shr: { i32x4: 'i32x4.shr_s', i64x2: 'i64x2.shr_s' },
  ushr: { i32x4: 'i32x4.shr_u', i64x2: 'i64x2.shr_u' },
}

/** Rows that are a register-to-register sequence of a few instructions, written in emit.ts. */
export const vectorSequences: ReadonlySet<ScalarOp> = new Set(['select', 'convert', 'bitcast'])

/** Value conversions of scalars, "from>to"; those to bool compare with zero. */
export const convertSpelling: Readonly<Record<string, readonly WasmOp[]>> = {
  'f32>f64': ['f64.promote_f32'],
  'f64>f32': ['f32.demote_f64'],
  'f32>i32': ['i32.trunc_sat_f32_s'],
  'f64>i32': ['i32.trunc_sat_f64_s'],
  'f32>i64': ['i64.trunc_sat_f32_s'],
  'f64>i64': ['i64.trunc_sat_f64_s'],
  'i32>f32': ['f32.convert_i32_s'],
  'i32>f64': ['f64.convert_i32_s'],
  'i64>f32': ['f32.convert_i64_s'],
  'i64>f64': ['f64.convert_i64_s'],
  'i32>i64': ['i64.extend_i32_s'],
  'i64>i32': ['i32.wrap_i64'],
  'bool>i32': [],
  'bool>i64': ['i64.extend_i32_u'],
  'bool>f32': ['f32.convert_i32_s'],
  'bool>f64': ['f64.convert_i32_s'],
}

export const bitcastSpelling: Readonly<Record<string, WasmOp>> = {
  'f32>i32': 'i32.reinterpret_f32',
  'i32>f32': 'f32.reinterpret_i32',
  'f64>i64': 'i64.reinterpret_f64',
  'i64>f64': 'f64.reinterpret_i64',
}
