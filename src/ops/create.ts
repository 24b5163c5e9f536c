/** @file Making tensors: from values, filled, and in sequence. */
import { getBackend, type Backend } from '../backend/backend.ts'
import { defaultBackendName } from '../backend/registry.ts'
import { checkDType, dtypes, type DType, type TypedArray } from '../core/dtype.ts'
import { layoutOf } from '../core/layout.ts'
import { checkShape, formatShape, sizeOf, type Shape } from '../core/shape.ts'
import { engine } from '../tensor/engine.ts'
import { encodeElements, encodeOne, isRaw } from '../tensor/elements.ts'
import { noteBlock } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { tracing } from '../tensor/tracing.ts'
import type { NestedArray } from '../tensor/types.ts'
import { config } from '../util/config.ts'
import { checkOptions, DTypeError, ShapeError, ValueError } from '../util/errors.ts'

export interface TensorOptions {
  /** Default: float32 for numbers, bool for booleans, the array's own type for typed arrays. */
  readonly dtype?: DType
  /** Name of the backend; default the one set by `setBackend`. */
  readonly device?: string
}

/**
 * Chooses the backend new tensors live on: 'cpu' (machine code; the default where it runs), 'wasm' (the
 * default elsewhere), 'reference' (a slow interpreter) or 'null' (compiles, never runs). Throws a
 * DeviceError for an unknown name, and for a backend that cannot run here.
 *
 * @example
 * await setBackend('wasm')
 * ones([2]).device // -> 'wasm'
 */
export async function setBackend(name: string): Promise<void> {
  getBackend(name)
  config.backend = name
  await Promise.resolve()
}

/**
 * The backend new tensors live on, or the one of the name given. Throws a DeviceError for an unknown name.
 *
 * @example
 * currentBackend().name // -> 'cpu'
 */
export function currentBackend(device?: string): Backend {
  return getBackend(device ?? config.backend ?? defaultBackendName())
}

export type TensorLike = NestedArray<number | bigint | boolean> | TypedArray | Tensor

/**
 * A tensor from a number, nested arrays or a typed array (which is copied). Numbers, whole or not,
 * become float32 unless `dtype` says otherwise. Throws a ShapeError when rows differ in length.
 *
 * @example
 * tensor([[1, 2], [3, 4]]) // -> tensor([[1, 2], [3, 4]], float32, cpu)
 * tensor([1, 2], { dtype: 'int32' }) // -> tensor([1, 2], int32, cpu)
 */
export function tensor(data: TensorLike, options: TensorOptions = {}): Tensor {
  checkOptions('tensor', options, ['dtype', 'device'])
  if (data instanceof Tensor) {
    const moved = options.device === undefined ? data : data.to(options.device)
    return (options.dtype === undefined ? moved : moved.cast(options.dtype)).detach()
  }
  if (ArrayBuffer.isView(data)) return fromTypedArray(data as TypedArray, [data.length], options)
  const shape = shapeOf(data)
  const flat: (number | bigint | boolean)[] = []
  flattenInto(data, shape, 0, flat)
  const dtype =
    options.dtype ??
    (flat.length > 0 && flat.every((v) => typeof v === 'boolean') ? 'bool' : 'float32')
  checkDType('tensor', dtype)
  return fromBytes(encodeElements(dtype, flat), shape, dtype, options.device)
}

/**
 * A tensor of a shape from a typed array of its elements in row-major order; the data is copied.
 * Throws a ShapeError when the count does not fit.
 *
 * @example
 * fromTypedArray(new Float32Array([1, 2, 3, 4]), [2, 2]) // -> tensor([[1, 2], [3, 4]], float32, cpu)
 */
export function fromTypedArray(
  data: TypedArray,
  shape: Shape,
  options: TensorOptions = {},
): Tensor {
  checkShape('fromTypedArray', shape)
  if (sizeOf(shape) !== data.length)
    throw new ShapeError(
      `fromTypedArray: ${data.length} elements for shape ${formatShape(shape)}, which has ${sizeOf(shape)}. Mend the shape or the data`,
    )
  const dtype = checkDType('fromTypedArray', options.dtype ?? dtypeOfArray(data))
  const bytes = isRaw(dtype, data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : encodeElements(dtype, data)
  return fromBytes(bytes, shape, dtype, options.device)
}

/**
 * A tensor of a shape and dtype over a copy of raw little-endian element bytes, as files hold them.
 *
 * @example
 * fromBytes(new Uint8Array([1, 0, 0, 0]), [1], 'int32') // -> tensor([1], int32, cpu)
 */
export function fromBytes(bytes: Uint8Array, shape: Shape, dtype: DType, device?: string): Tensor {
  const backend = currentBackend(device)
  const storage = backend.allocate(Math.max(bytes.byteLength, 1))
  noteBlock(backend, storage)
  backend.write(storage, bytes)
  return new Tensor(storage, layoutOf(shape), 0, dtype, backend)
}

/** Elements up to this many are written by JavaScript; where kernels are compiled, one fills larger tensors. */
const smallFill = 2 ** 16

/**
 * A tensor of one repeated value.
 *
 * @example
 * full([2, 2], 7) // -> tensor([[7, 7], [7, 7]], float32, cpu)
 */
export function full(shape: Shape, value: number, options: TensorOptions = {}): Tensor {
  // Sizes in a trace may stand for others.
  checkShape('full', shape, tracing && Infinity)
  checkOptions('full', options, ['dtype', 'device'])
  const { dtype = 'float32', device } = options
  const one = encodeOne(checkDType('full', dtype), value)
  const size = sizeOf(shape)
  if (size === 1) return fromBytes(one, shape, dtype, device)
  const backend = currentBackend(device)
  const isFast = size > smallFill && backend.traits !== undefined
  if (isFast || (tracing !== undefined && size > 1)) {
    const { storage } = fromBytes(one, [], dtype, device)
    const layout = layoutOf(
      shape,
      shape.map(() => 0),
    )
    const repeated = new Tensor(storage, layout, 0, dtype, backend)
    // A program takes the number from one element, for as many as there will be.
    return tracing === undefined ? engine().contiguous(repeated) : repeated
  }
  const bytes = new Uint8Array(size * one.length)
  if (value !== 0 || Object.is(value, -0)) {
    const typed = new dtypes[dtype].array(bytes.buffer)
    typed.fill(new dtypes[dtype].array(one.buffer)[0] as never)
  }
  return fromBytes(bytes, shape, dtype, device)
}

/**
 * A tensor of zeros.
 *
 * @example
 * zeros([2]) // -> tensor([0, 0], float32, cpu)
 */
export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 0, options)
}

/**
 * A tensor of ones.
 *
 * @example
 * ones([2]) // -> tensor([1, 1], float32, cpu)
 */
export function ones(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 1, options)
}

function dtypeOfArray(data: TypedArray): DType {
  if (data instanceof Float32Array) return 'float32'
  if (data instanceof Float64Array) return 'float64'
  if (data instanceof Int32Array) return 'int32'
  if (data instanceof Int8Array) return 'int8'
  if (data instanceof Uint8Array) return 'uint8'
  if (data instanceof BigInt64Array) return 'int64'
  throw new DTypeError(
    `tensor: no dtype fits a ${(data as object).constructor.name}. Pass one of Float32Array, Float64Array, Int8Array, Uint8Array, Int32Array, BigInt64Array, or name a dtype`,
  )
}

function shapeOf(data: NestedArray<number | bigint | boolean>): number[] {
  const shape: number[] = []
  let level: unknown = data
  while (Array.isArray(level)) {
    shape.push(level.length)
    level = level[0]
  }
  return shape
}

function flattenInto(
  data: unknown,
  shape: Shape,
  axis: number,
  out: (number | bigint | boolean)[],
): void {
  if (axis === shape.length) {
    if (typeof data !== 'number' && typeof data !== 'bigint' && typeof data !== 'boolean')
      throw Array.isArray(data)
        ? new ShapeError(
            'tensor: the nested arrays differ in depth. Expected numbers at the same depth everywhere',
          )
        : new ValueError(
            `tensor: expected numbers or booleans, received ${data === null ? 'null' : typeof data}`,
          )
    out.push(data)
    return
  }
  if (!Array.isArray(data) || data.length !== shape[axis])
    throw new ShapeError(
      `tensor: rows differ in length along axis ${axis}: expected ${shape[axis]}, received ${Array.isArray(data) ? data.length : 'a number'}. Pad or cut the rows to one length`,
    )
  for (const part of data) flattenInto(part, shape, axis + 1, out)
}
