/** @file NumPy's .npy files: one array, data only. */
import { dtypes, type DType } from '../core/dtype.ts'
import { sizeOf } from '../core/shape.ts'
import { fromBytes } from '../ops/create.ts'
import { checkTensor } from '../ops/define.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, DTypeError, FormatError, UnsupportedError } from '../util/errors.ts'
import { checkPath, files } from './files.ts'

/** NumPy's names of the dtypes it knows too; '<' is little-endian, '|' has no order of bytes. */
const descriptions: Partial<Record<DType, string>> = {
  float32: '<f4',
  float64: '<f8',
  float16: '<f2',
  int8: '|i1',
  uint8: '|u1',
  int32: '<i4',
  int64: '<i8',
  bool: '|b1',
}

const magic = '\x93NUMPY'

/**
 * A tensor as the bytes of a .npy file (NumPy's format 1.0). Throws a DTypeError for bfloat16, which
 * NumPy lacks.
 *
 * @example
 * fromNpy(await toNpy(tensor([[1, 2]]))) // -> tensor([[1, 2]], float32, cpu)
 */
export async function toNpy(x: Tensor): Promise<Uint8Array<ArrayBuffer>> {
  checkTensor('toNpy', 'x', x)
  const descr = descriptions[x.dtype]
  if (descr === undefined)
    throw new DTypeError(`toNpy: NumPy has no ${x.dtype}. Cast it first: x.cast('float32')`)
  const shape = x.ndim === 1 ? `${x.size},` : x.shape.join(', ')
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape}), }`
  const begin = Math.ceil((10 + text.length + 1) / 64) * 64
  const source = x.detach().contiguous()
  const { bytes } = dtypes[x.dtype]
  const data = await x.backend.readAsync(source.storage, source.offset * bytes, x.size * bytes)
  const file = new Uint8Array(begin + data.length)
  const header = `${magic}\x01\x00\x00\x00${text.padEnd(begin - 11)}\n`
  for (let i = 0; i < begin; i++) file[i] = header.charCodeAt(i)
  new DataView(file.buffer).setUint16(8, begin - 10, true)
  file.set(data, begin)
  return file
}

/**
 * The tensor in the bytes of a .npy file, checked completely first. Pickled objects are refused, never
 * executed. Throws a FormatError for damaged files, an UnsupportedError for element types Tandem lacks.
 *
 * @example
 * fromNpy(new Uint8Array(3))
 * // FormatError: npy: the first bytes are not those of a .npy file. Expected \x93NUMPY
 */
export function fromNpy(
  bytes: Uint8Array,
  options: { readonly source?: string; readonly device?: string } = {},
): Tensor {
  checkOptions('fromNpy', options, ['source', 'device'])
  const name = options.source === undefined ? 'npy' : `npy: ${options.source}`
  const { begin, text } = readHeader(bytes, name)
  const { descr, isFortran, shape } = readDescription(text, name)
  const { dtype, isSwapped } = readDType(descr, name)
  const data = bytes.slice(begin)
  const itemSize = dtypes[dtype].bytes
  const expected = sizeOf(shape) * itemSize
  if (data.length !== expected)
    throw new FormatError(
      `${name}: ${data.length} bytes of data. Expected ${expected} for ${dtype} [${shape.join(', ')}]; ${data.length < expected ? 'was the file cut short?' : 'the file is damaged'}`,
    )
  if (dtype === 'bool') data.forEach((byte, i) => (data[i] = byte === 0 ? 0 : 1))
  if (isSwapped)
    for (let i = 0; i < data.length; i += itemSize) data.subarray(i, i + itemSize).reverse()
  const stored = isFortran ? shape.toReversed() : shape
  const x = fromBytes(data, stored, dtype, options.device)
  return isFortran && shape.length > 1 ? x.permute(shape.map((_, i) => shape.length - 1 - i)) : x
}

/**
 * Writes a tensor to a .npy file, in one step.
 *
 * @example no-run
 * await saveNpy(x, 'x.npy') // numpy.load('x.npy')
 */
export async function saveNpy(x: Tensor, path: string): Promise<void> {
  checkPath('saveNpy', path)
  const { writeAtomically } = await files('saveNpy', 'await toNpy(x)')
  await writeAtomically(path, await toNpy(x))
}

/**
 * The tensor in a .npy file, as numpy.save wrote it.
 *
 * @example no-run
 * const x = await loadNpy('x.npy')
 */
export async function loadNpy(
  path: string,
  options: { readonly device?: string } = {},
): Promise<Tensor> {
  checkPath('loadNpy', path)
  checkOptions('loadNpy', options, ['device'])
  const { readBytes } = await files('loadNpy', 'fromNpy(bytes)')
  return fromNpy(await readBytes('loadNpy', path), { source: path, ...options })
}

/** The header's text, and where the data begins. */
function readHeader(bytes: Uint8Array, name: string): { begin: number; text: string } {
  const start = String.fromCharCode(...bytes.subarray(0, 6))
  if (start !== magic)
    throw new FormatError(
      `${name}: the first bytes are not those of a .npy file. Expected \\x93NUMPY${start.startsWith('PK') ? '; this is an archive (.npz?): unpack it first' : ''}`,
    )
  const cut = () => new FormatError(`${name}: the header is incomplete; was the file cut short?`)
  if (bytes.length < 12) throw cut()
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  // Version 1 has two bytes of length, 2 and 3 have four.
  const isLong = bytes[6]! > 1
  const from = isLong ? 12 : 10
  const begin = from + (isLong ? view.getUint32(8, true) : view.getUint16(8, true))
  if (begin > bytes.length) throw cut()
  return { begin, text: new TextDecoder().decode(bytes.subarray(from, begin)) }
}

/** The header is a Python dict; only the form that NumPy writes is understood, and nothing is evaluated. */
function readDescription(
  text: string,
  name: string,
): { descr: string; isFortran: boolean; shape: number[] } {
  const descr = /'descr': *'([^']+)'/.exec(text)?.[1]
  const order = /'fortran_order': *(True|False)/.exec(text)?.[1]
  const shape = /'shape': *\(((?:\d+, *)*\d*)\)/.exec(text)?.[1]
  if (descr === undefined || order === undefined || shape === undefined)
    throw new FormatError(
      `${name}: the header is ${JSON.stringify(text.slice(0, 100).trim())}. Expected descr, fortran_order and shape of a plain array`,
    )
  const sizes = shape.split(',').flatMap((n) => (n.trim() === '' ? [] : [Number(n)]))
  return { descr, isFortran: order === 'True', shape: sizes }
}

function readDType(descr: string, name: string): { dtype: DType; isSwapped: boolean } {
  const kind = descr.slice(1)
  const found = Object.entries(descriptions).find(([, known]) => known.slice(1) === kind)
  if (found === undefined || !'<>|='.includes(descr[0]!))
    throw new UnsupportedError(
      `${name}: the element type ${descr} is not supported. Convert the array to one of ${Object.keys(descriptions).join(', ')}`,
    )
  return { dtype: found[0] as DType, isSwapped: descr.startsWith('>') }
}
