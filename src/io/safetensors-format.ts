/** @file The safetensors container, bytes in and bytes out: validated completely before anything is handed over. */
import { type DType, allDTypes, checkDType, dtypes } from '../core/dtype.ts'
import { FormatError, ShapeError, UnsupportedError, ValueError } from '../util/errors.ts'
import { jsonKeys } from './json-keys.ts'

/** One tensor of a safetensors file: C order, little-endian bytes, `bytes.length` = elements x item size. */
export interface SafetensorsEntry {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly bytes: Uint8Array
}

/** What {@link parseSafetensors} gives; both collections keep the order of the header. */
export interface SafetensorsContent {
  /** `bytes` are views into the parsed file, at any alignment: copy them before the file goes. */
  readonly tensors: Map<string, { dtype: DType; shape: number[]; bytes: Uint8Array }>
  /** An object without a prototype, so that no key can collide with an inherited one. */
  readonly metadata: Record<string, string>
}

/** Longest header the format allows, in bytes. */
const MAX_HEADER = 100_000_000

const ours = new Map(allDTypes.map((dtype) => [dtypes[dtype].safetensors, dtype]))

/** Element types the format knows and Tandem has no dtype for. */
const foreign = new Set(
  'U16 I16 U32 U64 C64 F4 F6_E2M3 F6_E3M2 F8_E4M3 F8_E5M2 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ'.split(
    ' ',
  ),
)

/** First bytes of what is most often mistaken for a safetensors file, and what to do about it. */
const lookalikes: readonly (readonly [prefix: string, hint: string])[] = [
  ['PK\x03\x04', 'This is a ZIP archive (a PyTorch .pt file?): save the weights as safetensors'],
  ['version https://git-lfs', 'This is a Git LFS pointer, not the file: run `git lfs pull`'],
  ['<', 'This is a web page: the download address is wrong or needs a login'],
  ['\x1f\x8b', 'This is a gzip file: decompress it first'],
  ['\x80\x02', 'This is a Python pickle: save the weights as safetensors'],
]

/**
 * Reads a whole safetensors file and checks all of it: header length, JSON, duplicate keys, dtypes,
 * shapes, and that the tensors' bytes tile the rest of the file without hole or overlap. Nothing in
 * the file is executed, and nothing is returned unless everything holds.
 *
 * @param source names the file in error messages.
 * @throws FormatError when the file is truncated, corrupt or something else;
 *   UnsupportedError when a tensor has an element type Tandem lacks (F8, U16, ...).
 * @example
 * const bias = { dtype: 'uint8', shape: [2], bytes: Uint8Array.of(7, 8) } as const
 * const { tensors } = parseSafetensors(serializeSafetensors([['bias', bias]]))
 * tensors.get('bias')?.shape // -> [2]
 * parseSafetensors(new Uint8Array(3), 'digits.safetensors')
 * // FormatError: safetensors: digits.safetensors: the file has 3 bytes. Expected at least 8
 */
export function parseSafetensors(bytes: Uint8Array, source?: string): SafetensorsContent {
  const fail: Fail = (what, ErrorClass = FormatError) => {
    throw new ErrorClass(`safetensors${source === undefined ? '' : `: ${source}`}: ${what}`)
  }
  const text = readHeaderText(bytes, fail)
  const header = parseHeader(text, fail)
  const { keys, duplicate } = jsonKeys(text)
  if (duplicate !== undefined)
    fail(
      `the header has the key ${quote(duplicate)} twice. Expected each once; the file is damaged`,
    )
  const dataStart = 8 + readHeaderLength(bytes)
  // Not bytes.subarray: of a Buffer that makes Buffers, whose slice() does not copy.
  const data = new Uint8Array(bytes.buffer, bytes.byteOffset + dataStart, bytes.length - dataStart)
  const metadata = readMetadata(own(header, '__metadata__'), fail)
  const infos = keys
    .filter((name) => name !== '__metadata__')
    .map((name) => readInfo(name, own(header, name), fail))
  checkTiling(infos, data.length, fail)
  const tensors: SafetensorsContent['tensors'] = new Map()
  for (const { name, dtype, shape, begin, end } of infos) {
    const view = data.subarray(begin, end)
    if (dtype === 'bool') checkBool(name, view, fail)
    tensors.set(name, { dtype, shape, bytes: view })
  }
  return { tensors, metadata }
}

/**
 * Writes tensors as one safetensors file. The header lists them in the order given; their bytes are
 * laid out widest element type first, so that each tensor starts at a multiple of its item size.
 *
 * @param metadata free-form strings kept in the header's `__metadata__`.
 * @throws ShapeError when bytes and shape disagree; DTypeError for an unknown dtype; ValueError for
 *   a name that is used twice, reserved or not valid Unicode, and for metadata that is not text.
 * @example
 * const bytes = Uint8Array.of(0, 0, 128, 63) // 1.0 as little-endian float32
 * const file = serializeSafetensors([['scale', { dtype: 'float32', shape: [], bytes }]], { format: 'tandem' })
 * file.length // -> 108
 */
export function serializeSafetensors(
  entries: Iterable<readonly [name: string, entry: SafetensorsEntry]>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  const list = [...entries]
  const names = new Set<string>()
  for (const [name, entry] of list) {
    checkEntry(name, entry)
    if (names.has(name))
      throw new ValueError(
        `safetensors: the name ${quote(name)} is used twice. Expected a different name per tensor`,
      )
    names.add(name)
  }
  const itemSize = ([, entry]: (typeof list)[number]) => dtypes[entry.dtype].bytes
  const layout = [...list].sort((a, b) => itemSize(b) - itemSize(a))
  const begins = new Map<string, number>()
  let total = 0
  for (const [name, entry] of layout) {
    begins.set(name, total)
    total += entry.bytes.length
  }
  const rows = list.map(([name, { dtype, shape, bytes }]) => {
    const begin = begins.get(name)!
    const info = {
      dtype: dtypes[dtype].safetensors,
      shape,
      data_offsets: [begin, begin + bytes.length],
    }
    return `${JSON.stringify(name)}:${JSON.stringify(info)}`
  })
  if (metadata !== undefined) rows.unshift(`"__metadata__":${metadataText(metadata)}`)
  const header = new TextEncoder().encode(`{${rows.join(',')}}`)
  const headerLength = Math.ceil(header.length / 8) * 8
  if (headerLength > MAX_HEADER)
    throw new ValueError(
      `safetensors: the header would have ${headerLength} bytes. Expected at most ${MAX_HEADER}; write several files`,
    )
  const file = new Uint8Array(8 + headerLength + total).fill(0x20, 8, 8 + headerLength)
  new DataView(file.buffer).setUint32(0, headerLength, true)
  file.set(header, 8)
  for (const [name, entry] of layout) file.set(entry.bytes, 8 + headerLength + begins.get(name)!)
  return file
}

type Fail = (what: string, ErrorClass?: typeof FormatError | typeof UnsupportedError) => never

interface TensorInfo {
  name: string
  dtype: DType
  shape: number[]
  begin: number
  end: number
}

/** The header's length in bytes; above 2^53 not exact, which no longer matters. */
function readHeaderLength(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8)
  return view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32
}

function readHeaderText(bytes: Uint8Array, fail: Fail): string {
  const start = String.fromCharCode(...bytes.subarray(0, 24))
  const hint = lookalikes.find(([prefix]) => start.startsWith(prefix))?.[1]
  if (hint !== undefined && bytes[8] !== 0x7b) fail(`not a safetensors file. ${hint}`)
  if (bytes.length < 8)
    fail(`the file has ${bytes.length} bytes. Expected at least 8; was it cut short?`)
  const length = readHeaderLength(bytes)
  if (length > MAX_HEADER)
    fail(
      `the header claims ${length} bytes. Expected at most ${MAX_HEADER}; is this a safetensors file?`,
    )
  if (8 + length > bytes.length)
    fail(
      `the header claims ${length} bytes, the file has ${bytes.length - 8} after its first 8; was it cut short?`,
    )
  if (length < 2 || bytes[8] !== 0x7b)
    fail(`the header does not start with '{'. Expected a JSON object; is this a safetensors file?`)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(8, 8 + length))
  } catch {
    return fail('the header is not valid UTF-8; the file is damaged')
  }
}

function parseHeader(text: string, fail: Fail): object {
  try {
    // The text starts with '{', so what parses is an object.
    return JSON.parse(text) as object
  } catch (error) {
    return fail(`the header is not valid JSON (${(error as Error).message}); the file is damaged`)
  }
}

function readMetadata(value: unknown, fail: Fail): Record<string, string> {
  const metadata = Object.create(null) as Record<string, string>
  if (value === undefined) return metadata
  if (!isPlainObject(value))
    return fail(`__metadata__ is not an object. Expected text for each key`)
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') fail(`__metadata__ ${quote(key)} is not text: ${quote(text)}`)
    metadata[key] = text as string
  }
  return metadata
}

function readInfo(name: string, value: unknown, fail: Fail): TensorInfo {
  const where = `tensor ${quote(name)}`
  if (!isPlainObject(value)) return fail(`${where}: expected dtype, shape and data_offsets`)
  const typeName = own(value, 'dtype')
  const shape = own(value, 'shape')
  const offsets = own(value, 'data_offsets')
  if (foreign.has(typeName as string))
    fail(
      `${where}: the element type ${String(typeName)} is not supported. Convert the file to one of ${[...ours.keys()].join(', ')}`,
      UnsupportedError,
    )
  const dtype = ours.get(typeName as string)
  if (dtype === undefined)
    return fail(
      `${where}: unknown dtype ${quote(typeName)}. Expected one of ${[...ours.keys()].join(', ')}`,
    )
  if (!isSizes(shape))
    return fail(`${where}: bad shape ${quote(shape)}. Expected a list of whole numbers >= 0`)
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!)
    return fail(
      `${where}: bad data_offsets ${quote(offsets)}. Expected [begin, end] with 0 <= begin <= end`,
    )
  const [begin, end] = offsets as [number, number]
  const expected = byteCount(dtype, shape)
  if (expected === undefined) return fail(`${where}: the shape ${quote(shape)} is too large`)
  if (end - begin !== expected)
    fail(
      `${where}: data_offsets hold ${end - begin} bytes. Expected ${expected} for ${dtype} ${quote(shape)}`,
    )
  return { name, dtype, shape, begin, end }
}

function checkTiling(infos: readonly TensorInfo[], dataLength: number, fail: Fail): void {
  const sorted = [...infos].sort((a, b) => a.begin - b.begin || a.end - b.end)
  let position = 0
  for (const { name, begin, end } of sorted) {
    if (end > dataLength)
      fail(
        `tensor ${quote(name)} ends at byte ${end} of the data, which has ${dataLength} bytes; was the file cut short?`,
      )
    if (begin !== position)
      fail(
        `tensor ${quote(name)} starts at byte ${begin} of the data. Expected ${position}: tensors must follow each other without ${begin < position ? 'overlap' : 'holes'}`,
      )
    position = end
  }
  if (position !== dataLength)
    fail(
      `${dataLength - position} bytes follow the last tensor. Expected the file to end with it; the file is damaged`,
    )
}

function checkBool(name: string, bytes: Uint8Array, fail: Fail): void {
  const bad = bytes.findIndex((byte) => byte > 1)
  if (bad >= 0)
    fail(`tensor ${quote(name)}: the bool at position ${bad} is ${bytes[bad]}. Expected 0 or 1`)
}

function checkEntry(name: string, { dtype, shape, bytes }: SafetensorsEntry): void {
  checkText('name', name)
  if (name === '__metadata__')
    throw new ValueError(
      `safetensors: '__metadata__' cannot name a tensor: the format reserves it. Pass text as metadata`,
    )
  const where = `safetensors: tensor ${quote(name)}`
  checkDType(where, dtype)
  const expected = isSizes(shape) ? byteCount(dtype, shape) : undefined
  if (expected === undefined)
    throw new ShapeError(`${where}: bad shape ${quote(shape)}. Expected whole numbers >= 0`)
  if (bytes.length !== expected)
    throw new ShapeError(
      `${where}: ${bytes.length} bytes. Expected ${expected} for ${dtype} ${quote(shape)}`,
    )
}

function metadataText(metadata: Readonly<Record<string, string>>): string {
  for (const [key, text] of Object.entries(metadata)) {
    checkText('metadata key', key)
    checkText(`metadata ${quote(key)}`, text)
  }
  return JSON.stringify(metadata)
}

/** Refuses what is not text and half surrogate pairs, which other readers refuse. */
function checkText(what: string, text: unknown): void {
  if (typeof text === 'string' && !/\p{Surrogate}/u.test(text)) return
  throw new ValueError(`safetensors: the ${what} ${quote(text)} is not valid Unicode text`)
}

/** Elements x item size, or undefined beyond 2^53. */
function byteCount(dtype: DType, shape: readonly number[]): number | undefined {
  let count = dtypes[dtype].bytes
  for (const size of shape) {
    count *= size
    if (!Number.isSafeInteger(count)) return undefined
  }
  return count
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0)
}

function isPlainObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function own(object: object, key: string): unknown {
  return Object.getOwnPropertyDescriptor(object, key)?.value
}

/** JSON of a value, short enough for a message. */
function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}
