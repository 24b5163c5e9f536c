/** @file Raw bytes to JavaScript numbers and back, for every dtype. */
import { dtypes, type DType, type TypedArray } from '../core/dtype.ts'
import { bfloatToNumber, halfToNumber, numberToBfloat, numberToHalf } from '../core/float16.ts'

/** The typed array over raw element bytes; 16-bit floats are widened. Takes ownership of the bytes. */
export function decodeElements(dtype: DType, raw: Uint8Array<ArrayBuffer>): TypedArray {
  const { array, bytes } = dtypes[dtype]
  const typed = new array(raw.buffer, raw.byteOffset, raw.byteLength / bytes)
  if (dtype === 'float16') return Float32Array.from(typed as Uint16Array, halfToNumber)
  if (dtype === 'bfloat16') return Float32Array.from(typed as Uint16Array, bfloatToNumber)
  return typed
}

/** Element bytes from numbers: floats are rounded, integers wrapped, bool is "not zero". */
export function encodeElements(
  dtype: DType,
  values: ArrayLike<number | bigint | boolean>,
): Uint8Array<ArrayBuffer> {
  const { array, bytes } = dtypes[dtype]
  const buffer = new ArrayBuffer(values.length * bytes)
  const typed = new array(buffer) as { [i: number]: number | bigint }
  const convert = encoders[dtype]
  for (let i = 0; i < values.length; i++) typed[i] = convert(values[i]!)
  return new Uint8Array(buffer)
}

/** The bytes of one number; they hold until the next call. */
export function encodeOne(dtype: DType, value: number): Uint8Array<ArrayBuffer> {
  const { typed, bytes } = (single[dtype] ??= singleOf(dtype))
  typed[0] = encoders[dtype](value)
  return bytes
}

interface Single {
  readonly typed: { [i: number]: number | bigint }
  readonly bytes: Uint8Array<ArrayBuffer>
}

const single: Partial<Record<DType, Single>> = {}

function singleOf(dtype: DType): Single {
  const { array, bytes } = dtypes[dtype]
  const buffer = new ArrayBuffer(bytes)
  return { typed: new array(buffer), bytes: new Uint8Array(buffer) }
}

/** Whether a typed array already holds elements of this dtype bit for bit. */
export function isRaw(dtype: DType, values: ArrayBufferView): boolean {
  return values instanceof dtypes[dtype].array && dtype !== 'bool' && !dtype.endsWith('float16')
}

const plain = (v: number | bigint | boolean) => Number(v)

const encoders: Record<DType, (v: number | bigint | boolean) => number | bigint> = {
  float32: plain,
  float64: plain,
  float16: (v) => numberToHalf(Number(v)),
  bfloat16: (v) => numberToBfloat(Number(v)),
  int8: plain,
  uint8: plain,
  int32: plain,
  int64: (v) => BigInt(typeof v === 'number' ? Math.trunc(v) : v),
  bool: (v) => (Number(v) !== 0 ? 1 : 0),
}
