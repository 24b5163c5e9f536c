/** @file Reads graphs that were saved as JSON: everything is checked before anybody can run it. */
import { dtypes, type DType } from '../core/dtype.ts'
import { layoutOf } from '../core/layout.ts'
import { formatShape, sameShape, sizeOf, type Shape } from '../core/shape.ts'
import { operators } from '../ops/define.ts'
import type { OutputSpec } from '../tensor/op.ts'
import { LiveNumber } from '../tensor/tracing.ts'
import type { Attributes } from '../tensor/types.ts'
import { quote, type JsonCursor } from '../util/json-cursor.ts'
import { checkCall, mostElements } from './check-call.ts'
import { GraphBuilder, prune, specsOf } from './graph.ts'
import type { Argument, Control, Graph, Part, Value } from './graph.ts'
import { fromPlain } from './plain-data.ts'

/** A tensor beside the graph, as it is: its shape and dtype, and the number of its state. */
export interface WeightSpec extends OutputSpec {
  readonly slot: number
}

/** A graph as it was read. Its states are the weights; it changes none of them. */
export interface ReadGraph {
  readonly graph: Graph
  /** How many random numbers each draw takes, in order; a draw has four numbers of a run. */
  readonly draws: readonly number[]
}

/** Nothing in a program is nested as deeply. */
const deepest = 64
/** Numbers that say where a draw begins. */
const numbersPerDraw = 4

/**
 * Reads a graph. Throws a FormatError that names the place where something is wrong: unknown nodes, ops
 * or weights, values that nobody computed before, shapes and dtypes other than inference gives, views and
 * attributes that lead outside of a tensor. `weights` are told by name; those used are added to `used`.
 */
export function graphFromJson(
  cursor: JsonCursor,
  weights: ReadonlyMap<string, WeightSpec>,
  used: Set<string>,
): ReadGraph {
  const draws: number[] = []
  const reader = new GraphReader({ weights, used, draws }, 0)
  return { graph: reader.read(cursor), draws }
}

/** What all graphs inside of one share. */
interface Whole {
  readonly weights: ReadonlyMap<string, WeightSpec>
  readonly used: Set<string>
  readonly draws: number[]
}

class GraphReader {
  readonly #whole: Whole
  readonly #depth: number
  readonly #builder = new GraphBuilder()
  readonly #values = new Map<number, Value>()
  readonly #weights = new Map<string, Value>()

  constructor(whole: Whole, depth: number) {
    this.#whole = whole
    this.#depth = depth
  }

  read(cursor: JsonCursor): Graph {
    if (this.#depth > deepest) cursor.fail('graphs nested too deeply')
    const { inputs, nodes, outputs } = cursor.fields('inputs', 'nodes', 'outputs')
    const names = new Set<string>()
    for (const input of inputs.items()) {
      const { name, id, dtype, shape } = input.fields('name', 'id', 'dtype', 'shape')
      const text = name.text()
      if (names.has(text)) name.fail(`two inputs are named ${quote(text)}`)
      names.add(text)
      const spec = { dtype: readDType(dtype), shape: readShape(shape) }
      this.#define(id, this.#builder.input(text, spec.shape, spec.dtype))
    }
    for (const node of nodes.items()) this.#node(node)
    const results = outputs.items().map((id) => this.#value(id))
    return prune({ nodes: this.#builder.nodes, outputs: results, updates: [] })
  }

  #node(cursor: JsonCursor): void {
    const kind = cursor.get('kind')
    const isKnown = typeof kind === 'string' && Object.hasOwn(readers, kind)
    if (!isKnown)
      cursor.fail(`unknown kind ${quote(kind)}. Expected ${Object.keys(readers).join(', ')}`)
    readers[kind as keyof typeof readers](cursor, this)
  }

  weight(cursor: JsonCursor): void {
    const { name, results } = cursor.fields('kind', 'name', 'results')
    if (this.#depth > 0) cursor.fail('a weight inside of a branch or loop. Expected it outside')
    const text = name.text()
    const weight = this.#whole.weights.get(text)
    if (weight === undefined) return name.fail(`there is no weight ${quote(text)}`)
    this.#whole.used.add(text)
    let value = this.#weights.get(text)
    if (value === undefined) {
      const { slot, shape, dtype } = weight
      this.#weights.set(text, (value = this.#builder.state(slot, text, shape, dtype)))
    }
    this.#defineAll(results, [value], `weight ${quote(text)}`)
  }

  call(cursor: JsonCursor): void {
    const all = cursor.fields('kind', 'op', 'attributes', 'inputs', 'results')
    const name = all.op.text()
    const op = operators.get(name)
    if (op === undefined || op.kind === 'update')
      return all.op.fail(
        `unknown op ${quote(name)}. Was the file made by a newer version, or with an op of its own?`,
      )
    const attributes = fromPlain(all.attributes)
    if (typeof attributes !== 'object') all.attributes.fail('expected an object')
    const inputs = all.inputs.items().flatMap((x) => this.#operand(x, op.kind === 'random'))
    const values = wrongly(cursor, name, () => {
      const made = this.#builder.call(
        op,
        inputs,
        attributes as Attributes,
        JSON.stringify(all.attributes.value),
      )
      checkCall(op, specsOf(inputs), made, attributes as Attributes)
      return made
    })
    this.#defineAll(all.results, values, name)
    for (const x of inputs)
      if (x instanceof LiveNumber && x.slot % numbersPerDraw === 0)
        this.#whole.draws[x.slot / numbersPerDraw] = sizeOf(values[0]!.shape)
  }

  view(cursor: JsonCursor): void {
    const all = cursor.fields('kind', 'of', 'strides', 'offset', 'results')
    const base = this.#value(all.of)
    if (base.node.kind === 'view') all.of.fail('a view of a view. Expected one of its base')
    const size = sizeOf(base.shape)
    const { shape } = readValue(all.results.items()[0] ?? all.results.fail('expected one result'))
    const strides = all.strides.items().map((n) => n.whole(-mostElements, mostElements))
    const offset = all.offset.whole(-mostElements, mostElements)
    if (strides.length !== shape.length)
      all.strides.fail(`${strides.length} strides for the ${shape.length} axes of the result`)
    const ends = shape.map((n, i) => (n - 1) * strides[i]!)
    const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, offset)
    const isInside =
      sum(ends.map((x) => Math.min(x, 0))) >= 0 && sum(ends.map((x) => Math.max(x, 0))) < size
    const isEmpty = sizeOf(shape) === 0
    if (!isInside && !isEmpty)
      cursor.fail(`the view leaves value ${all.of.whole()}, which has ${size} elements`)
    // Where no elements are does not matter.
    const value = isEmpty
      ? this.#builder.view(base, layoutOf(shape), 0)
      : this.#builder.view(base, layoutOf(shape, strides), offset)
    this.#defineAll(all.results, [value], 'the view')
  }

  control(cursor: JsonCursor): void {
    const all = cursor.fields('kind', 'inputs', 'parts', 'results')
    const inputs = all.inputs.items().map((id) => this.#value(id))
    const [first, second, ...more] = all.parts.items()
    if (first === undefined || second === undefined || more.length > 0)
      return all.parts.fail('expected two parts')
    const parts = [this.#part(first, inputs), this.#part(second, inputs)] as const
    const control = (cursor.get('kind') === 'cond' ? branch : loop)(all.parts, parts, inputs)
    this.#defineAll(all.results, this.#builder.control(control, inputs), control.kind)
  }

  #part(cursor: JsonCursor, inputs: readonly Value[]): Part {
    const all = cursor.fields('given', 'graph')
    const given = all.given.items().map((at) => at.whole(0, inputs.length - 1))
    const graph = new GraphReader(this.#whole, this.#depth + 1).read(all.graph)
    const wanted = graph.nodes.filter((node) => node.kind === 'input').map((x) => x.results[0]!)
    if (
      !areAlike(
        wanted,
        given.map((i) => inputs[i]!),
      )
    )
      all.given.fail('the inputs of the part are not like the values that it is given')
    // What parts return has memory of its own.
    if (graph.outputs.some(({ node }) => node.kind !== 'call' && node.kind !== 'control'))
      all.graph.fail('a part returns what it did not compute')
    return { graph, inputs: given }
  }

  #operand(cursor: JsonCursor, mayDraw: boolean): Argument[] {
    const { value } = cursor
    if (value === 'draw') {
      if (!mayDraw) cursor.fail('a draw for an op that is not random')
      if (this.#depth > 0) cursor.fail('a draw inside of a branch or loop. Expected it outside')
      const slot = numbersPerDraw * (this.#whole.draws.push(0) - 1)
      return Array.from({ length: numbersPerDraw }, (_, i) => new LiveNumber(slot + i))
    }
    if (cursor.get('value') !== undefined) return [this.#value(cursor.fields('value').value)]
    const number = fromPlain(cursor)
    if (typeof number === 'number') return [number]
    return cursor.fail(`expected { "value": ... }, a number or "draw", found ${quote(value)}`)
  }

  #value(cursor: JsonCursor): Value {
    const id = cursor.whole()
    const value = this.#values.get(id)
    if (value !== undefined) return value
    return cursor.fail(
      `value ${id} is read before it is computed: the graph has a cycle, or a node is missing`,
    )
  }

  #defineAll(cursor: JsonCursor, values: readonly Value[], what: string): void {
    const stated = cursor.items()
    if (stated.length !== values.length)
      cursor.fail(`${what} has ${values.length} results. ${stated.length} are stated`)
    stated.forEach((item, i) => {
      const spec = readResult(item, values[i]!.shape)
      if (!areAlike([spec], [values[i]!]))
        item.fail(`stated as ${textOf(spec)}, but ${what} is ${textOf(values[i]!)}`)
      this.#define(item.fields('id', 'dtype', 'shape').id, values[i]!)
    })
  }

  #define(cursor: JsonCursor, value: Value): void {
    const id = cursor.whole()
    if (this.#values.has(id))
      cursor.fail(`the number ${id} is used twice. Expected each value once`)
    this.#values.set(id, value)
  }
}

/** By the kind of a node. */
const readers = {
  weight: (cursor, reader) => reader.weight(cursor),
  call: (cursor, reader) => reader.call(cursor),
  view: (cursor, reader) => reader.view(cursor),
  cond: (cursor, reader) => reader.control(cursor),
  while: (cursor, reader) => reader.control(cursor),
} satisfies Record<string, (cursor: JsonCursor, reader: GraphReader) => void>

type MakeControl = (
  cursor: JsonCursor,
  parts: readonly [Part, Part],
  inputs: readonly Value[],
) => Control

const branch: MakeControl = (cursor, [whenTrue, whenFalse], [predicate]) => {
  if (predicate === undefined || sizeOf(predicate.shape) !== 1)
    cursor.fail('the first input of cond is its predicate. Expected one of one element')
  if (!areAlike(whenTrue.graph.outputs, whenFalse.graph.outputs))
    cursor.fail('the branches give different results')
  return { kind: 'cond', whenTrue, whenFalse }
}

const loop: MakeControl = (cursor, [condition, body], inputs) => {
  const state = body.graph.outputs
  if (!areAlike(state, inputs.slice(0, state.length)))
    cursor.fail('the body of the loop does not give what it takes as its state')
  const [predicate, ...more] = condition.graph.outputs
  if (predicate === undefined || more.length > 0 || sizeOf(predicate.shape) !== 1)
    cursor.fail('the condition of the loop does not give one element')
  return { kind: 'while', condition, body }
}

/** Runs what belongs to an op; whatever it throws, the file is what is wrong. */
function wrongly<T>(cursor: JsonCursor, name: string, body: () => T): T {
  try {
    return body()
  } catch (error) {
    const { message } = error as Error
    return cursor.fail(`${name} does not fit its inputs and attributes (${message})`, error)
  }
}

function readValue(cursor: JsonCursor): OutputSpec {
  const { dtype, shape } = cursor.fields('id', 'dtype', 'shape')
  return { dtype: readDType(dtype), shape: readShape(shape) }
}

/** A result of which some sizes may be left to inference. */
function readResult(cursor: JsonCursor, inferred: Shape): OutputSpec {
  const { dtype, shape } = cursor.fields('id', 'dtype', 'shape')
  const sizes = shape.items().map((n, i) => (n.value === null ? (inferred[i] ?? null) : n.value))
  return { dtype: readDType(dtype), shape: readShape(shape.holding(sizes)) }
}

/** A dtype. Throws a FormatError. */
export function readDType(cursor: JsonCursor): DType {
  const text = cursor.text()
  if (Object.hasOwn(dtypes, text)) return text as DType
  return cursor.fail(
    `unknown dtype ${quote(text)}. Expected one of ${Object.keys(dtypes).join(', ')}`,
  )
}

/** The shape of a tensor that can exist. Throws a FormatError. */
export function readShape(cursor: JsonCursor): Shape {
  const shape = cursor.items().map((n) => n.whole(0, mostElements))
  if (sizeOf(shape) > mostElements)
    cursor.fail(`a tensor of shape ${formatShape(shape)} is too large`)
  return shape
}

function areAlike(a: readonly OutputSpec[], b: readonly OutputSpec[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ shape, dtype }, i) => dtype === b[i]!.dtype && sameShape(shape, b[i]!.shape))
  )
}

const textOf = ({ dtype, shape }: OutputSpec) => `${dtype} ${formatShape(shape)}`
