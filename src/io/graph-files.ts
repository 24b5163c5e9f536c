/** @file Saved graphs in files, in bytes and behind addresses: a folder, or one safetensors file. */
import type { DynamicAxes } from '../compile/dynamic-axes.ts'
import type { WeightSpec } from '../compile/graph-from-json.ts'
import { Module } from '../nn/module.ts'
import { currentBackend, fromBytes } from '../ops/create.ts'
import { checkOptions, FormatError, ValueError } from '../util/errors.ts'
import { checkPath, files } from './files.ts'
import { printDocument, readDocument } from './graph-document.ts'
import { traceSignatures, type GraphModel, type GraphSignature } from './graph-trace.ts'
import { LoadedGraph } from './loaded-graph.ts'
import { parseSafetensors, type SafetensorsContent } from './safetensors-format.ts'
import { toSafetensors } from './safetensors.ts'
import { isAddress, readSource } from './source.ts'

export interface SaveGraphOptions {
  /** The functions to save, by name. */
  readonly signatures: Readonly<Record<string, GraphSignature>>
  /**
   * Axes that may have any size in the saved graph: [0] of all inputs, or by input, { x: [0] } or
   * { x: { 0: 'batch' } }. Axes of one name have one size.
   */
  readonly dynamicAxes?: DynamicAxes
}

export interface LoadGraphOptions {
  /** Backend of the weights, and of functions without inputs; default the one set by `setBackend`. */
  readonly device?: string
}

/** Entries of the header of safetensors: the graph itself, or the checksum of the one beside it. */
const graphKey = 'tandem.graph'
const checksumKey = 'tandem.graph.checksum'

/**
 * Writes functions of a model as data: what they compute, and the weights they need. `loadGraph` runs them
 * where the model's source is not known. A path that ends in .safetensors becomes one file, any other
 * a folder with graph.json and weights.safetensors; what was there is replaced in one step. A module
 * is saved in evaluation mode. Throws an UnsupportedError for functions that train or change something.
 *
 * @example no-run
 * await saveGraph(model, 'digits.safetensors', { signatures: { predict: { inputs: { x: { shape: [1, 784] } } } } })
 */
export async function saveGraph(
  model: GraphModel,
  path: string,
  options: SaveGraphOptions,
): Promise<void> {
  checkPath('saveGraph', path)
  checkOptions('saveGraph', options, ['signatures', 'dynamicAxes'])
  const { writeAtomically } = await files('saveGraph', 'graphToBytes')
  const { signatures, dynamicAxes } = options ?? {}
  if (isFile(path)) return writeAtomically(path, await graphToBytes(model, signatures, dynamicAxes))
  const { text, weights } = printModel(model, signatures, dynamicAxes)
  const document = new TextEncoder().encode(text)
  const metadata = { [checksumKey]: checksum(document) }
  const bytes = await toSafetensors(weights, { metadata })
  // Between the two, the new weights are with the old graph: right if it is the same, refused if not.
  await writeAtomically(inFolder(path, 'weights.safetensors'), bytes)
  await writeAtomically(inFolder(path, 'graph.json'), document)
}

/**
 * As `saveGraph`, the content of the one file as bytes.
 *
 * @example
 * const double = (x: Tensor) => x.mul(2)
 * const bytes = await graphToBytes(double, { double: { inputs: { x: { shape: [2] } } } })
 * const graph = await loadGraph(bytes)
 * graph.run('double', { x: tensor([1, 2]) }) // -> tensor([2, 4], float32, cpu)
 */
export async function graphToBytes(
  model: GraphModel,
  signatures: Readonly<Record<string, GraphSignature>>,
  dynamicAxes?: DynamicAxes,
): Promise<Uint8Array<ArrayBuffer>> {
  const { text, weights } = printModel(model, signatures, dynamicAxes)
  return toSafetensors(weights, { metadata: { [graphKey]: text } })
}

/**
 * Reads what `saveGraph` or `graphToBytes` wrote: from a path, bytes, or an address (a URL; in a
 * browser any text). Everything is checked before anything is made, and nothing in it is executed but
 * Tandem's own operations. Throws a FormatError when it is damaged, or of a newer version.
 *
 * @example no-run
 * const graph = await loadGraph('digits.safetensors')
 * const scores = graph.run('predict', { x })
 */
export async function loadGraph(
  source: string | URL | Uint8Array,
  options: LoadGraphOptions = {},
): Promise<LoadedGraph> {
  checkOptions('loadGraph', options, ['device'])
  const { device } = options
  if (source instanceof Uint8Array) return fromFile(source, 'the bytes', device)
  if (!isAddress(source)) checkPath('loadGraph', source)
  const name = String(source)
  if (isFile(name)) return fromFile(await readSource('loadGraph', source), name, device)
  const read = (file: string) => readSource('loadGraph', source, file)
  const document = await read('graph.json')
  const weights = inFolder(name, 'weights.safetensors')
  const content = parseSafetensors(await read('weights.safetensors'), weights)
  if (content.metadata[checksumKey] !== checksum(document))
    throw new FormatError(
      `loadGraph: ${weights} was not saved with the graph.json beside it, or that was changed. Save both again with saveGraph`,
    )
  return make(decode(document, name), inFolder(name, 'graph.json'), content, device)
}

function fromFile(bytes: Uint8Array, source: string, device: string | undefined): LoadedGraph {
  const content = parseSafetensors(bytes, source)
  const text = content.metadata[graphKey]
  if (text === undefined)
    throw new FormatError(
      `loadGraph: there is no graph in ${source}. Expected what saveGraph wrote; load() takes values alone`,
    )
  return make(text, source, content, device)
}

function make(
  text: string,
  source: string,
  { tensors }: SafetensorsContent,
  device: string | undefined,
): LoadedGraph {
  const read = readDocument(text, source, weightSpecs(tensors))
  const backend = currentBackend(device)
  const weights = [...tensors].map(
    ([name, { bytes, shape, dtype }]) => [name, fromBytes(bytes, shape, dtype, device)] as const,
  )
  return new LoadedGraph(read, new Map(weights), backend)
}

function printModel(
  model: GraphModel,
  signatures: SaveGraphOptions['signatures'],
  dynamicAxes: DynamicAxes | undefined,
) {
  if (!(model instanceof Module) && typeof model !== 'function')
    throw new ValueError(
      `saveGraph: expected a module or a function first, received ${typeof model}`,
    )
  const traced = traceSignatures(model, signatures, dynamicAxes)
  const text = printDocument(traced.signatures)
  // What cannot be read is not written.
  readDocument(text, 'the new graph', weightSpecs(new Map(Object.entries(traced.weights))))
  return { text, weights: traced.weights }
}

function weightSpecs(
  tensors: ReadonlyMap<string, Omit<WeightSpec, 'slot'>>,
): Map<string, WeightSpec> {
  return new Map(
    [...tensors].map(([name, { shape, dtype }], slot) => [name, { shape, dtype, slot }]),
  )
}

const isFile = (path: string) => /\.safetensors([?#].*)?$/.test(path)

const inFolder = (path: string, name: string) => `${path.replace(/[/\\]+$/, '')}/${name}`

function decode(bytes: Uint8Array, source: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw new FormatError(`loadGraph: ${source}: graph.json is not valid UTF-8; it is damaged`, {
      cause: error,
    })
  }
}

/** FNV-1a: tells two graphs apart; it protects from mistakes only. */
function checksum(bytes: Uint8Array): string {
  let hash = 0x811c9dc5
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193)
  return (hash >>> 0).toString(16).padStart(8, '0')
}
