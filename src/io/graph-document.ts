/** @file What a saved graph says beside its weights: versions, and signatures with their graphs. */
import type { DType } from '../core/dtype.ts'
import type { GraphJson } from '../compile/graph-json.ts'
import { graphFromJson, type ReadGraph, type WeightSpec } from '../compile/graph-from-json.ts'
import { fromPlain } from '../compile/plain-data.ts'
import { formulaText, mostAxes } from '../compile/size-formula.ts'
import { readFormula, readSize, sizeMark, withSizes } from '../compile/size-json.ts'
import { JsonCursor, quote } from '../util/json-cursor.ts'
import { version } from '../util/version.ts'
import { jsonKeys } from './json-keys.ts'

/** The newest version of the format, which is what is written. */
export const formatVersion = 1

/** A function under a name. */
export interface SignatureJson {
  /** The dynamic axes, by name, each with a size that fits: that of the example. */
  readonly axes: Readonly<Record<string, number>>
  readonly graph: GraphJson
  /** What the function returns, as data; { "$tensor": i } stands for output i of the graph. */
  readonly result: unknown
}

/** A size: a number, or the name of an axis of any size, or what is computed from such. */
export type SizeText = number | string

/** Shape and dtype of an input or output; a dynamic axis stands with its name. */
export interface TensorSpec {
  readonly shape: readonly SizeText[]
  readonly dtype: DType
}

/** A signature that was read. */
export interface ReadSignature {
  readonly axes: readonly string[]
  readonly inputs: ReadonlyMap<string, TensorSpec>
  /** What is returned, with a spec in the place of each tensor, and the formula of numbers that depend on sizes. */
  readonly returns: unknown
  /** The function for sizes of its axes. Throws a FormatError where the graph does not fit them. */
  at(sizes: readonly number[]): SizedSignature
}

/** A signature for sizes of its axes. */
export interface SizedSignature extends ReadGraph {
  /** What is returned, with something in the place of each tensor. */
  readonly result: (make: (output: number) => unknown) => unknown
}

/** The document as text, a node per line. */
export function printDocument(signatures: Readonly<Record<string, SignatureJson>>): string {
  const document = { format: 'tandem-graph', formatVersion, tandem: version, signatures }
  // Inside of texts quotes have a backslash.
  return `${JSON.stringify(document).replaceAll('{"kind":', '\n{"kind":')}\n`
}

/**
 * Reads a document and checks all of it. Throws a FormatError, also when the weights are not those that
 * the graphs need. `source` names it in errors.
 */
export function readDocument(
  text: string,
  source: string,
  weights: ReadonlyMap<string, WeightSpec>,
): Map<string, ReadSignature> {
  const cursor = new JsonCursor(parse(text, source), `loadGraph: ${source}`)
  if (cursor.get('format') !== 'tandem-graph') cursor.fail('not a saved graph')
  const found = cursor.get('formatVersion')
  if (found !== formatVersion)
    cursor.fail(
      `written in version ${quote(found)} of the format, by tandem ${quote(cursor.get('tandem'))}. This is tandem ${version}, which reads version ${formatVersion}`,
    )
  const all = cursor.fields('format', 'formatVersion', 'tandem', 'signatures')
  const used = new Set<string>()
  const signatures = new Map<string, ReadSignature>()
  for (const [name, signature] of all.signatures.entries())
    signatures.set(name, readSignature(signature, weights, used))
  if (signatures.size === 0) all.signatures.fail('there are none')
  const unused = [...weights.keys()].find((name) => !used.has(name))
  if (unused !== undefined) cursor.fail(`no graph uses the weight ${quote(unused)}`)
  return signatures
}

function readSignature(
  cursor: JsonCursor,
  weights: ReadonlyMap<string, WeightSpec>,
  used: Set<string>,
): ReadSignature {
  const { axes, ...parts } = cursor.fields('axes', 'graph', 'result')
  const examples = new Map(axes.entries().map(([name, size]) => [name, size.whole()]))
  const names = [...examples.keys()]
  const wrong = names.find((name) => !/^\w+$/.test(name))
  if (wrong !== undefined) axes.fail(`${quote(wrong)} is no name of an axis`)
  if (names.length > mostAxes) axes.fail(`${names.length} axes. Expected ${mostAxes} at most`)
  const at = (sizes: readonly number[]): SizedSignature => {
    const byName = new Map(names.map((name, i) => [name, sizes[i]!]))
    const read = graphFromJson(withSizes(parts.graph, byName), weights, used)
    const result = withSizes(parts.result, byName)
    return {
      ...read,
      result: (make) =>
        fromPlain(result, (key, place) => {
          if (key !== '$tensor') return place.fail(`unknown mark ${key}`)
          return make(place.whole(0, read.graph.outputs.length - 1))
        }),
    }
  }
  const example = at([...examples.values()])
  example.result(() => undefined)
  const specs = new Map<unknown, TensorSpec>()
  // What is read here was checked at the sizes of the example.
  const specOf = (value: JsonCursor): TensorSpec => {
    const shape = value.field('shape').items()
    const dtype = value.get('dtype') as DType
    const spec = { shape: shape.map((size) => sizeText(size, names)), dtype }
    specs.set(value.get('id'), spec)
    return spec
  }
  const { inputs, nodes, outputs } = parts.graph.fields('inputs', 'nodes', 'outputs')
  const inputSpecs = inputs.items().map((x) => [x.get('name') as string, specOf(x)] as const)
  const found = new Set(inputSpecs.flatMap(([, { shape }]) => shape))
  const lost = names.find((name) => !found.has(name))
  if (lost !== undefined) axes.fail(`no input has the axis ${quote(lost)}`)
  for (const node of nodes.items()) node.field('results').items().forEach(specOf)
  return {
    axes: names,
    inputs: new Map(inputSpecs),
    returns: fromPlain(parts.result, (key, place) =>
      key === sizeMark
        ? formulaText(readFormula(place, names), names)
        : specs.get(outputs.items()[place.whole()]!.value),
    ),
    at,
  }
}

function sizeText(cursor: JsonCursor, names: readonly string[]): SizeText {
  const size = readSize(cursor, names)
  if (size === undefined) return '?'
  return typeof size === 'number' ? size : formulaText(size, names)
}

function parse(text: string, source: string): unknown {
  const cursor = new JsonCursor(text, `loadGraph: ${source}`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return cursor.fail(
      `not valid JSON (${(error as Error).message}); was the file cut short?`,
      error,
    )
  }
  const { duplicate } = jsonKeys(text)
  if (duplicate !== undefined) cursor.fail(`the key ${quote(duplicate)} is there twice`)
  return value
}
