/** @file What a saved graph says beside its weights: versions, and signatures with their graphs. */
import type { GraphJson } from '../compile/graph-json.ts'
import { graphFromJson, type ReadGraph, type WeightSpec } from '../compile/graph-from-json.ts'
import { fromPlain } from '../compile/plain-data.ts'
import type { OutputSpec } from '../tensor/op.ts'
import { JsonCursor, quote } from '../util/json-cursor.ts'
import { version } from '../util/version.ts'
import { jsonKeys } from './json-keys.ts'

/** The newest version of the format, which is what is written. */
export const formatVersion = 1

/** A function under a name. */
export interface SignatureJson {
  readonly graph: GraphJson
  /** What the function returns, as data; { "$tensor": i } stands for output i of the graph. */
  readonly result: unknown
}

/** A signature that was read. */
export interface ReadSignature extends ReadGraph {
  readonly inputs: ReadonlyMap<string, OutputSpec>
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
  const all = cursor.fields('graph', 'result')
  const read = graphFromJson(all.graph, weights, used)
  const { nodes, outputs } = read.graph
  const result: ReadSignature['result'] = (make) =>
    fromPlain(all.result, (key, at) => {
      if (key !== '$tensor') return at.fail(`unknown mark ${key}`)
      return make(at.whole(0, outputs.length - 1))
    })
  result(() => undefined)
  const inputs = nodes.flatMap((node) =>
    node.kind === 'input' ? [[node.name, node.results[0]!] as const] : [],
  )
  return { ...read, result, inputs: new Map(inputs) }
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
