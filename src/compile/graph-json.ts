/** @file Graphs as JSON: the form in which they are saved, and how it is written. docs/saved-graphs.md describes it. */
import type { DType } from '../core/dtype.ts'
import { operators } from '../ops/define.ts'
import { LiveNumber } from '../tensor/tracing.ts'
import type { Op } from '../tensor/op.ts'
import { UnsupportedError } from '../util/errors.ts'
import { isValue, type Argument, type CallNode, type ConstantNode } from './graph.ts'
import type { Graph, InputNode, Node, Part, StateNode, Value } from './graph.ts'
import { numberToPlain, toPlain } from './plain-data.ts'

/**
 * A value: a number that nothing else in its graph has, and what it is like. Where axes are dynamic any
 * number of a graph may stand as a formula, { "$size": ... }, and a size that only inference knows as null.
 */
export interface ValueJson {
  readonly id: number
  readonly dtype: DType
  readonly shape: readonly unknown[]
}

/**
 * What a call takes: a value, a number (one that JSON has no word for as { "$number": "NaN" }), or the
 * four numbers of a random draw.
 */
export type OperandJson = unknown

interface Results {
  readonly results: readonly ValueJson[]
}

/** One computation, after those that it reads. */
export type NodeJson =
  | (Results & { readonly kind: 'weight'; readonly name: string })
  | (Results & {
      readonly kind: 'call'
      readonly op: string
      readonly attributes: unknown
      readonly inputs: readonly OperandJson[]
    })
  | (Results & {
      readonly kind: 'view'
      readonly of: number
      readonly strides: readonly unknown[]
      readonly offset: unknown
    })
  | (Results & {
      readonly kind: 'cond' | 'while'
      readonly inputs: readonly number[]
      /** Of cond: when true, when false. Of while: the condition, the body. */
      readonly parts: readonly [PartJson, PartJson]
    })

/** A graph inside another, and which of the node's inputs it is given. */
export interface PartJson {
  readonly given: readonly number[]
  readonly graph: GraphJson
}

export interface GraphJson {
  readonly inputs: readonly (ValueJson & { readonly name: string })[]
  readonly nodes: readonly NodeJson[]
  /** Values, by their numbers. */
  readonly outputs: readonly number[]
}

type WeightNames = (node: StateNode | ConstantNode) => string

/** How what depends on sizes is written. */
export interface SizeWriter {
  number(x: number): unknown
  /** A size of a result, which inference will find again. */
  size(n: number): unknown
}

const fixedSizes: SizeWriter = { number: numberToPlain, size: (n) => n }

/**
 * Writes a graph. `weightOf` gives the name under which the content of a state or constant is saved.
 * Throws an UnsupportedError for what has no place in a file.
 */
export function graphToJson(
  { nodes, outputs }: Graph,
  weightOf: WeightNames,
  sizes: SizeWriter = fixedSizes,
): GraphJson {
  return {
    inputs: nodes.flatMap((node) =>
      node.kind === 'input' ? [{ name: node.name, ...valueToJson(node.results[0]!, sizes) }] : [],
    ),
    nodes: nodes.flatMap((node) =>
      node.kind === 'input' ? [] : [nodeToJson(node, weightOf, sizes)],
    ),
    outputs: outputs.map(({ id }) => id),
  }
}

function nodeToJson(
  node: Exclude<Node, InputNode>,
  weightOf: WeightNames,
  sizes: SizeWriter,
): NodeJson {
  const results = node.results.map((value) => valueToJson(value, sizes))
  switch (node.kind) {
    case 'state':
    case 'constant':
      return { kind: 'weight', name: weightOf(node), results }
    case 'call':
      return callToJson(node, results, sizes)
    case 'view': {
      const { of, layout, offset } = node
      const strides = layout.strides.map(sizes.number)
      return { kind: 'view', of: of.id, strides, offset: sizes.number(offset), results }
    }
    case 'control': {
      const { control } = node
      const inputs = node.inputs.map(({ id }) => id)
      const part = ({ inputs: given, graph }: Part): PartJson => ({
        given,
        graph: graphToJson(graph, weightOf, sizes),
      })
      if (control.kind === 'cond') {
        const { whenTrue, whenFalse } = control
        return { kind: 'cond', inputs, parts: [part(whenTrue), part(whenFalse)], results }
      }
      const { condition, body } = control
      return { kind: 'while', inputs, parts: [part(condition), part(body)], results }
    }
  }
}

function callToJson(
  { op, attributes, inputs }: CallNode,
  results: readonly ValueJson[],
  sizes: SizeWriter,
): NodeJson {
  if (operators.get(op.name) !== op || op.kind === 'update')
    throw new UnsupportedError(
      `saveGraph: the function runs ${op.name}, which is a part of gradients or updates. Save a function that only predicts`,
    )
  const fail = (what: string): never => {
    throw new UnsupportedError(
      `saveGraph: ${op.name} has ${what} among its attributes, which cannot be saved as data. Use another operation in the function`,
    )
  }
  return {
    kind: 'call',
    op: op.name,
    attributes: toPlain(
      attributes,
      (what) =>
        op.kind === 'random' || what === 'a LiveNumber' ? dropsElements(op.name) : fail(what),
      undefined,
      sizes.number,
    ),
    inputs: operandsToJson(op, inputs, sizes),
    results,
  }
}

// Numbers of a draw take part in what runs, not in what is saved.
function operandsToJson(op: Op, inputs: readonly Argument[], sizes: SizeWriter): OperandJson[] {
  const operands: OperandJson[] = []
  for (let i = 0; i < inputs.length; i++) {
    const x = inputs[i]!
    if (isValue(x)) operands.push({ value: x.id })
    else if (typeof x === 'number') operands.push(sizes.number(x))
    else {
      const isDraw = drawLength.every((k) => isLive(inputs[i + k], x.slot + k))
      if (op.kind !== 'random' || !isDraw)
        throw new UnsupportedError(
          `saveGraph: ${op.name} takes a number that changes from run to run. Only what rand, randn and the like draw can be saved`,
        )
      operands.push('draw')
      i += drawLength.length - 1
    }
  }
  return operands
}

const drawLength = [0, 1, 2, 3]

const isLive = (x: Argument | undefined, slot: number) => x instanceof LiveNumber && x.slot === slot

function dropsElements(name: string): never {
  throw new UnsupportedError(
    `saveGraph: the function runs ${name} as in training. Pass the module itself, which is saved in evaluation mode, or training: false`,
  )
}

const valueToJson = ({ id, dtype, shape }: Value, sizes: SizeWriter): ValueJson => ({
  id,
  dtype,
  shape: shape.map(sizes.size),
})
