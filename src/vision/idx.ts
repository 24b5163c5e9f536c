/** @file The idx format of the original MNIST files, and the gzip they come in: bytes in, arrays out. */
import { type DType, type TypedArray, dtypes } from '../core/dtype.ts'
import { FormatError, UnsupportedError } from '../util/errors.ts'

/** An idx file's content; `data` owns its memory and is in C order and this machine's endianness. */
export interface IdxArray {
  readonly dtype: 'uint8' | 'int8' | 'int32' | 'float32' | 'float64'
  readonly shape: number[]
  readonly data: TypedArray
}

/** Third byte of the file -> element type. 0x0B, a 16-bit integer, has no dtype here. */
const elementTypes = new Map<number, IdxArray['dtype']>([
  [0x08, 'uint8'],
  [0x09, 'int8'],
  [0x0c, 'int32'],
  [0x0d, 'float32'],
  [0x0e, 'float64'],
])

const isLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1

/**
 * Reads an idx file: two zero bytes, element type, number of axes, big-endian sizes, big-endian data.
 *
 * @param source names the file in error messages.
 * @throws FormatError when the file is truncated, too long, still gzipped or something else;
 *   UnsupportedError for 16-bit integers.
 * @example
 * const { dtype, shape, data } = parseIdx(Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 2, 7, 9))
 * dtype // -> 'uint8'
 * shape // -> [2]
 */
export function parseIdx(bytes: Uint8Array, source?: string): IdxArray {
  const name = label('idx', source)
  if (isGzip(bytes))
    throw new FormatError(
      `${name}: the file is still gzipped. Decompress it first: await gunzip(bytes)`,
    )
  if (bytes.length < 4)
    throw new FormatError(
      `${name}: the file has ${bytes.length} bytes. Expected a header of at least 8; was it cut short?`,
    )
  const [zero, zero2, code, ndim] = bytes as unknown as [number, number, number, number]
  if (code === 0x0b && zero === 0 && zero2 === 0)
    throw new UnsupportedError(
      `${name}: 16-bit integers (type 0x0B) are not supported. Convert the file to 32-bit (0x0C)`,
    )
  const dtype = elementTypes.get(code)
  if (zero !== 0 || zero2 !== 0 || dtype === undefined || ndim === 0)
    throw new FormatError(
      `${name}: the first bytes are ${hex(bytes.subarray(0, 4))}. Expected 00 00, an element type (08 09 0C 0D 0E) and the number of axes; is this an idx file?`,
    )
  const headerLength = 4 + 4 * ndim
  if (bytes.length < headerLength)
    throw new FormatError(
      `${name}: the file has ${bytes.length} bytes. Expected ${headerLength} for the header of ${ndim} axes; was it cut short?`,
    )
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const shape = Array.from({ length: ndim }, (_, axis) => view.getUint32(4 + 4 * axis))
  const itemSize = dtypes[dtype].bytes
  const dataLength = shape.reduce((count, size) => count * size, itemSize)
  if (bytes.length !== headerLength + dataLength)
    throw new FormatError(
      `${name}: the file has ${bytes.length} bytes. Expected ${headerLength + dataLength} for ${dtype} [${shapeText(shape)}]; ${bytes.length < headerLength + dataLength ? 'was it cut short?' : 'it is too long'}`,
    )
  const copy = new Uint8Array(dataLength)
  copy.set(bytes.subarray(headerLength))
  if (isLittleEndian && itemSize > 1) reverseItems(copy, itemSize)
  return { dtype, shape, data: new dtypes[dtype satisfies DType].array(copy.buffer) }
}

/**
 * Decompresses gzip, here and in browsers, checking its checksum.
 *
 * @param options.source names the file in error messages.
 * @param options.maxBytes refuses to grow beyond this many bytes; a small file can claim to hold
 *   very many. Default 1 GiB.
 * @throws FormatError when the bytes are not gzip, are damaged or cut short, or exceed `maxBytes`.
 * @example
 * const packed = new Blob(['hello']).stream().pipeThrough(new CompressionStream('gzip'))
 * const bytes = new Uint8Array(await new Response(packed).arrayBuffer())
 * new TextDecoder().decode(await gunzip(bytes)) // -> 'hello'
 */
export async function gunzip(
  bytes: Uint8Array,
  { source, maxBytes = 2 ** 30 }: { source?: string; maxBytes?: number } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const name = label('gunzip', source)
  if (!isGzip(bytes))
    throw new FormatError(
      `${name}: the first bytes are ${hex(bytes.subarray(0, 2)) || 'missing'}. Expected 1F 8B; is this a gzip file?`,
    )
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>])
    .stream()
    .pipeThrough(new DecompressionStream('gzip'))
  const reader = stream.getReader()
  const chunks: Uint8Array[] = []
  let length = 0
  while (length <= maxBytes) {
    const { done, value } = await reader.read().catch((error: unknown) => {
      throw new FormatError(
        `${name}: the gzip data is damaged or cut short (${(error as Error).message}). Fetch the file again`,
      )
    })
    if (done) return concatenate(chunks, length)
    chunks.push(value)
    length += value.length
  }
  await reader.cancel().catch(() => undefined)
  throw new FormatError(
    `${name}: it holds more than ${maxBytes} bytes. Expected fewer; raise maxBytes?`,
  )
}

/**
 * Decompresses `bytes` when they are gzip, and hands anything else back as it is.
 *
 * @throws FormatError as {@link gunzip} does.
 * @example
 * const bytes = await maybeGunzip(Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 1, 5)) // as it is: not gzip
 * parseIdx(bytes).shape // -> [1]
 */
export async function maybeGunzip(
  bytes: Uint8Array,
  options: { source?: string; maxBytes?: number } = {},
): Promise<Uint8Array> {
  return isGzip(bytes) ? gunzip(bytes, options) : bytes
}

function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b
}

function reverseItems(bytes: Uint8Array, itemSize: number): void {
  for (let i = 0; i < bytes.length; i += itemSize) bytes.subarray(i, i + itemSize).reverse()
}

function concatenate(chunks: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(length)
  let position = 0
  for (const chunk of chunks) {
    whole.set(chunk, position)
    position += chunk.length
  }
  return whole
}

function label(operation: string, source: string | undefined): string {
  return source === undefined ? operation : `${operation}: ${source}`
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).toUpperCase().padStart(2, '0')).join(' ')
}

function shapeText(shape: readonly number[]): string {
  return shape.length > 8 ? `${shape.slice(0, 8).join(', ')}, ...` : shape.join(', ')
}
