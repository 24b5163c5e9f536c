/** @file The dtype table and the promotion rules: facts about element types, without data. */
import { DTypeError } from '../util/errors.ts'

/** Element type of a tensor. float16 and bfloat16 are storage types: arithmetic on them is float32. */
export type DType =
  'float32' | 'float64' | 'float16' | 'bfloat16' | 'int8' | 'uint8' | 'int32' | 'int64' | 'bool'

/** The type a value has inside a kernel, once loaded. */
export type ScalarType = 'f32' | 'f64' | 'i32' | 'i64' | 'bool'

/** What `tensor.data()` gives: float16 and bfloat16 are widened to Float32Array, bool is 0 or 1. */
export type TypedArray =
  | Float32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>
  | Int8Array<ArrayBuffer>
  | Uint8Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | BigInt64Array<ArrayBuffer>

export type DTypeKind = 'bool' | 'int' | 'float'

export interface DTypeInfo {
  /** A dense number, usable as a table index or cache key. */
  readonly code: number
  readonly kind: DTypeKind
  readonly bytes: number
  /** The type of the value inside a kernel. */
  readonly compute: ScalarType
  /** Order within its kind: the larger one wins a promotion. */
  readonly rank: number
  /** The typed array over the raw storage. */
  readonly array: new (buffer: ArrayBuffer, byteOffset?: number, length?: number) => TypedArray
  /** Name in a safetensors header. */
  readonly safetensors: string
}

export const dtypes = {
  bool: row(0, 'bool', 1, 'bool', 0, Uint8Array, 'BOOL'),
  uint8: row(1, 'int', 1, 'i32', 0, Uint8Array, 'U8'),
  int8: row(2, 'int', 1, 'i32', 1, Int8Array, 'I8'),
  int32: row(3, 'int', 4, 'i32', 2, Int32Array, 'I32'),
  int64: row(4, 'int', 8, 'i64', 3, BigInt64Array, 'I64'),
  float16: row(5, 'float', 2, 'f32', 0, Uint16Array, 'F16'),
  bfloat16: row(6, 'float', 2, 'f32', 0, Uint16Array, 'BF16'),
  float32: row(7, 'float', 4, 'f32', 1, Float32Array, 'F32'),
  float64: row(8, 'float', 8, 'f64', 2, Float64Array, 'F64'),
} satisfies Record<DType, DTypeInfo>

export const allDTypes = Object.keys(dtypes) as DType[]

/** True for the four floating-point dtypes. */
export const isFloat = (dtype: DType): boolean => dtypes[dtype].kind === 'float'

/** Throws a DTypeError unless `dtype` names a dtype. */
export function checkDType(where: string, dtype: unknown): DType {
  if (typeof dtype === 'string' && Object.hasOwn(dtypes, dtype)) return dtype as DType
  throw new DTypeError(
    `${where}: unknown dtype ${JSON.stringify(dtype)}. Expected one of ${allDTypes.join(', ')}`,
  )
}

/**
 * The dtype that holds values of both, as PyTorch defines it: floats beat integers beat bool; within
 * a kind the wider one wins. Two types neither of which holds the other meet in the next wider one
 * (float16 and bfloat16 in float32; uint8 and int8 in int32, Tandem having no int16).
 */
export function promote(a: DType, b: DType): DType {
  if (a === b) return a
  const x = dtypes[a]
  const y = dtypes[b]
  if (x.kind !== y.kind) return kindOrder[x.kind] > kindOrder[y.kind] ? a : b
  if (x.kind === 'float' && x.rank === y.rank) return 'float32'
  if (x.kind === 'int' && x.bytes === 1 && y.bytes === 1) return 'int32'
  return x.rank > y.rank ? a : b
}

/** An operand as promotion sees it: a number has no dtype of its own and a 0-d tensor a weak one. */
export type PromotionOperand = { readonly dtype: DType; readonly ndim: number } | number | boolean

/**
 * The common dtype of several operands (PyTorch's `result_type`). Tensors with axes decide; a 0-d
 * tensor or a number matters only when its kind is higher than theirs. A whole number counts as an
 * integer, any other as a float; the default integer is int32, the default float float32.
 */
export function resultType(operands: readonly PromotionOperand[]): DType {
  let strong: DType | undefined
  let zeroDim: DType | undefined
  let weak: DType | undefined
  for (const operand of operands) {
    if (typeof operand === 'object') {
      if (operand.ndim > 0) strong = merge(strong, operand.dtype)
      else zeroDim = merge(zeroDim, operand.dtype)
    } else weak = merge(weak, weakDType(operand))
  }
  return overrule(overrule(strong, zeroDim), weak) ?? 'float32'
}

/** The dtype a plain JavaScript value stands for when nothing else decides. */
export function weakDType(value: number | boolean): DType {
  if (typeof value === 'boolean') return 'bool'
  return Number.isInteger(value) ? 'int32' : 'float32'
}

const kindOrder = { bool: 0, int: 1, float: 2 } satisfies Record<DTypeKind, number>

function merge(a: DType | undefined, b: DType): DType {
  return a === undefined ? b : promote(a, b)
}

function overrule(strong: DType | undefined, weak: DType | undefined): DType | undefined {
  if (strong === undefined || weak === undefined) return strong ?? weak
  return kindOrder[dtypes[weak].kind] > kindOrder[dtypes[strong].kind] ? weak : strong
}

function row(
  code: number,
  kind: DTypeKind,
  bytes: number,
  compute: ScalarType,
  rank: number,
  array: DTypeInfo['array'],
  safetensors: string,
): DTypeInfo {
  return { code, kind, bytes, compute, rank, array, safetensors }
}
