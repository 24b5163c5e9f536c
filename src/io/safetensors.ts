/** @file Tensors and modules to safetensors and back: bytes anywhere, files outside browsers. */
import { dtypes } from '../core/dtype.ts'
import { Module } from '../nn/module.ts'
import type { LoadOptions, LoadReport } from '../nn/load.ts'
import { fromBytes } from '../ops/create.ts'
import { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ValueError } from '../util/errors.ts'
import { checkPath, files } from './files.ts'
import {
  parseSafetensors,
  serializeSafetensors,
  type SafetensorsEntry,
} from './safetensors-format.ts'

export interface SafetensorsOptions {
  /** Text to keep in the file's header. */
  readonly metadata?: Readonly<Record<string, string>>
}

export interface FromSafetensorsOptions {
  /** Names the bytes in error messages. */
  readonly source?: string
  /** Backend of the tensors; default the one set by `setBackend`. */
  readonly device?: string
}

/** What a safetensors file holds. */
export interface LoadedTensors {
  readonly tensors: Record<string, Tensor>
  readonly metadata: Record<string, string>
}

/**
 * The state of a module, or tensors by name, as the bytes of a safetensors file. PyTorch reads it
 * under the same names.
 *
 * @example
 * const bytes = await toSafetensors({ scale: tensor([1, 2]) }, { metadata: { note: 'hello' } })
 * fromSafetensors(bytes).tensors.scale // -> tensor([1, 2], float32, cpu)
 */
export async function toSafetensors(
  state: Module | Readonly<Record<string, Tensor>>,
  options: SafetensorsOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  checkOptions('toSafetensors', options, ['metadata'])
  const tensors = state instanceof Module ? state.stateDict() : state
  if (typeof tensors !== 'object' || tensors === null)
    throw new ValueError(
      `toSafetensors: expected a module or an object of tensors, received ${typeof tensors}`,
    )
  const entries: [string, SafetensorsEntry][] = []
  for (const [name, t] of Object.entries(tensors)) {
    if (!(t instanceof Tensor))
      throw new ValueError(
        `toSafetensors: '${name}' is of type ${typeof t}. Expected tensors only; numbers go into tensor(${String(t)}) or into metadata`,
      )
    const source = t.detach().contiguous()
    const { bytes } = dtypes[t.dtype]
    const raw = t.backend.readAsync(source.storage, source.offset * bytes, t.size * bytes)
    entries.push([name, { dtype: t.dtype, shape: t.shape, bytes: await raw }])
  }
  // 'pt' says that names and layouts are PyTorch's; Hugging Face's readers ask for it.
  return serializeSafetensors(entries, { format: 'pt', ...options.metadata })
}

/**
 * The tensors and the metadata of a safetensors file. All of it is checked before the first tensor is
 * made; nothing in it is executed. Throws a FormatError when the bytes are damaged or something else.
 *
 * @example
 * const { tensors } = fromSafetensors(await toSafetensors({ a: tensor([1]), b: tensor([true]) }))
 * Object.keys(tensors) // -> ['a', 'b']
 * tensors.b // -> tensor([true], bool, cpu)
 */
export function fromSafetensors(
  bytes: Uint8Array,
  options: FromSafetensorsOptions = {},
): LoadedTensors {
  checkOptions('fromSafetensors', options, ['source', 'device'])
  const content = parseSafetensors(bytes, options.source)
  const tensors = Object.create(null) as Record<string, Tensor>
  for (const [name, entry] of content.tensors)
    tensors[name] = fromBytes(entry.bytes, entry.shape, entry.dtype, options.device)
  return { tensors, metadata: content.metadata }
}

/**
 * Writes the state of a module, or tensors by name, to a safetensors file; a file that was there is
 * replaced in one step. Throws an UnsupportedError in a browser (see `toSafetensors`).
 *
 * @example no-run
 * await save(model, 'digits.safetensors')
 */
export async function save(
  state: Module | Readonly<Record<string, Tensor>>,
  path: string,
  options: SafetensorsOptions = {},
): Promise<void> {
  checkPath('save', path)
  checkOptions('save', options, ['metadata'])
  const { writeAtomically } = await files('save', 'await toSafetensors(model)')
  await writeAtomically(path, await toSafetensors(state, options))
}

/**
 * Loads the values of a safetensors file into a module. The whole file is checked, and whether all of
 * it fits, before anything changes. Throws a FormatError for a damaged file; a ValueError when there
 * is no file, or when names (unless `strict` is false), shapes or dtypes differ.
 *
 * @example no-run
 * const model = new Net()
 * await load(model, 'digits.safetensors')
 */
export async function load(
  module: Module,
  path: string,
  options: LoadOptions = {},
): Promise<LoadReport> {
  if (!(module instanceof Module))
    throw new ValueError(
      `load: expected a module first, received ${typeof module}. Write load(new Net(), '${String(path)}'); tensors alone come from loadTensors`,
    )
  checkOptions('load', options, ['strict'])
  const { tensors } = await loadTensors(path)
  return module.loadStateDict(tensors, options)
}

/**
 * The tensors and the metadata of a safetensors file.
 *
 * @example no-run
 * const { tensors, metadata } = await loadTensors('digits.safetensors')
 */
export async function loadTensors(
  path: string,
  options: { readonly device?: string } = {},
): Promise<LoadedTensors> {
  checkPath('load', path)
  checkOptions('loadTensors', options, ['device'])
  const { readBytes } = await files('load', 'fromSafetensors(bytes)')
  return fromSafetensors(await readBytes('load', path), { source: path, ...options })
}
