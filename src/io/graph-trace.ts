/** @file Functions of a model as data: what each computes, and the tensors that they share. */
import type { Backend, Block } from '../backend/backend.ts'
import { AxisSizes, checkDynamicAxes, isList } from '../compile/dynamic-axes.ts'
import type { DynamicAxes } from '../compile/dynamic-axes.ts'
import { rewriteGraph, type Graph } from '../compile/graph.ts'
import { graphToJson } from '../compile/graph-json.ts'
import { toPlain } from '../compile/plain-data.ts'
import { resizeTrace } from '../compile/resize.ts'
import { sizeWriter } from '../compile/size-json.ts'
import { templateOf, type Recording } from '../compile/template.ts'
import { trace, type ArgumentSpec, type Trace } from '../compile/trace.ts'
import { takeApart, type Tree } from '../compile/tree.ts'
import { checkDType, type DType } from '../core/dtype.ts'
import { layoutOf } from '../core/layout.ts'
import { checkShape, type Shape } from '../core/shape.ts'
import { Module } from '../nn/module.ts'
import { currentBackend } from '../ops/create.ts'
import type { Cell } from '../tensor/cell.ts'
import { noGrad } from '../tensor/tape.ts'
import { Tensor } from '../tensor/tensor.ts'
import { assert, checkOptions, TraceError, UnsupportedError, ValueError } from '../util/errors.ts'
import type { SignatureJson } from './graph-document.ts'

/** What an input of a saved function is like: an example of it, or its shape and dtype (default float32). */
export type InputExample = Tensor | { readonly shape: Shape; readonly dtype?: DType }

/** A function to be saved. */
export interface GraphSignature {
  /** By name, in the order in which the function takes them. */
  readonly inputs: Readonly<Record<string, InputExample>>
  /** Default: the model, or its `forward`. */
  readonly fn?: (...inputs: Tensor[]) => unknown
}

/** A module, or a function of tensors. */
export type GraphModel = Module | ((...inputs: never[]) => unknown)

/** What is written. */
export interface TracedSignatures {
  readonly signatures: Record<string, SignatureJson>
  readonly weights: Record<string, Tensor>
}

/** Traces functions of a model, in evaluation mode and without gradients. */
export function traceSignatures(
  model: GraphModel,
  signatures: Readonly<Record<string, GraphSignature>>,
  dynamicAxes: DynamicAxes = {},
): TracedSignatures {
  checkDynamicAxes('saveGraph', dynamicAxes)
  const all = Object.entries(checkSignatures(signatures))
  checkNames(dynamicAxes, all)
  const weights = new WeightTable(model)
  const traced = all.map(
    ([name, signature]) =>
      [name, traceSignature(name, model, signature, dynamicAxes, weights)] as const,
  )
  return { signatures: Object.fromEntries(traced), weights: weights.tensors() }
}

function checkNames(dynamicAxes: DynamicAxes, signatures: readonly [string, GraphSignature][]) {
  if (isList(dynamicAxes)) return
  const known = signatures.flatMap(([, { inputs }]) => Object.keys(inputs))
  const unknown = Object.keys(dynamicAxes).find((name) => !known.includes(name))
  if (unknown !== undefined)
    throw new ValueError(
      `saveGraph: dynamicAxes names '${unknown}', which is no input. Expected ${[...new Set(known)].map((name) => `'${name}'`).join(', ')}`,
    )
}

/** One function, traced. */
interface TracedFunction extends Recording<TracedFunction> {
  readonly traced: Trace
  readonly tree: Tree
}

function traceSignature(
  name: string,
  model: GraphModel,
  signature: GraphSignature,
  dynamicAxes: DynamicAxes,
  weights: WeightTable,
): SignatureJson {
  const where = `saveGraph: signature '${name}'`
  const specs = specsOf(where, signature)
  const own = isList(dynamicAxes)
    ? dynamicAxes
    : Object.fromEntries(
        specs.flatMap((x) => (x.name in dynamicAxes ? [[x.name, dynamicAxes[x.name]!]] : [])),
      )
  const places = specs.map((spec) => ({ path: spec.name, shape: spec.shape }))
  const axes = new AxisSizes(where, own, places)
  const record = (sizes: readonly number[]) => {
    const sized = specs.map((spec, i) => ({ ...spec, shape: axes.shape(i, spec.shape, sizes) }))
    const recorded = traceFunction(where, model, signature, sized)
    checkPure(where, recorded.traced, weights)
    return recorded
  }
  const ofExample = () => record(axes.sizes)
  const template =
    axes.names.length === 0
      ? undefined
      : templateOf(where, axes.names, record, { what: 'the example', record: ofExample })
  const { traced, tree } = template?.recording ?? ofExample()
  const named = weights.name(traced)
  const writer = template && sizeWriter(template)
  const stands = tree.tensors.map((_, index) => new Place(index))
  const result = toPlain(
    tree.rebuild(stands as unknown as Tensor[]),
    (what) => {
      throw new UnsupportedError(
        `${where}: the function returns ${what}. Expected tensors and data`,
      )
    },
    (x) => (x instanceof Place ? { $tensor: x.index } : undefined),
    writer?.number,
  )
  const graph = graphToJson(
    named,
    (node) => {
      assert(node.kind === 'constant', 'a state in a graph to be saved')
      return weights.nameOf(node.tensor)
    },
    writer,
  )
  const sizes = axes.names.map((axis, i) => [axis, axes.sizes[i]!] as const)
  return { axes: Object.fromEntries(sizes), graph, result }
}

function traceFunction(
  where: string,
  model: GraphModel,
  signature: GraphSignature,
  specs: readonly ArgumentSpec[],
): TracedFunction {
  const fn = signature.fn ?? (model instanceof Module ? forwardOf(model) : model)
  let tree: Tree | undefined
  const run = (inputs: readonly Tensor[]) => {
    const returned = (fn as (...inputs: readonly Tensor[]) => unknown)(...inputs)
    if (returned instanceof Promise)
      throw new TraceError(`${where}: the function returned a promise. Keep await outside of it`)
    tree = takeApart('the result', returned)
    return { returned: tree.tensors, gradients: [] }
  }
  const traced = evaluating(model, () =>
    noGrad(() => trace(backendOf(model, signature), specs, run)),
  )
  return tracedFunction(traced, tree!)
}

function tracedFunction(traced: Trace, tree: Tree): TracedFunction {
  return {
    traced,
    tree,
    renumbered(renumber, mark) {
      const resized = resizeTrace(traced, renumber, mark)
      const numbers = tree.numbers.map(renumber)
      return tracedFunction(resized, { ...tree, numbers })
    },
  }
}

/** Stands for an output in what a function returns. */
class Place {
  readonly index: number
  constructor(index: number) {
    this.index = index
  }
}

/** The tensors that the functions find outside, under names; what lies in one block is one of them. */
class WeightTable {
  readonly #paths: ReadonlyMap<Cell, string>
  readonly #weights = new Map<Block, { readonly name: string; readonly tensor: Tensor }>()

  constructor(model: GraphModel) {
    const cells =
      model instanceof Module ? [...model.namedParameters(), ...model.namedBuffers()] : []
    this.#paths = new Map(cells.map(([path, cell]) => [cell, path]))
  }

  /** The graph with constants for what it finds outside; where one block has two shapes, one is a view. */
  name({ graph, states }: Trace): Graph {
    return rewriteGraph(graph, (node, _, builder) => {
      if (node.kind !== 'state' && node.kind !== 'constant') return undefined
      const state = node.kind === 'state' ? states[node.slot]! : undefined
      const cell = state?.kind === 'cell' ? state.cell : undefined
      const found = node.kind === 'constant' ? node.tensor : cell!.detach()
      const { tensor } = this.#add(found, cell)
      const value = builder.constant(tensor, tensor.shape)
      return [builder.view(value, layoutOf(node.results[0]!.shape), 0)]
    })
  }

  nameOf(tensor: Tensor): string {
    return this.#weights.get(tensor.storage)!.name
  }

  /** What a cell is called in errors. */
  describe(cell: Cell): string {
    const path = this.#paths.get(cell)
    return path === undefined ? `a ${cell.constructor.name}` : `'${path}'`
  }

  tensors(): Record<string, Tensor> {
    return Object.fromEntries([...this.#weights.values()].map(({ name, tensor }) => [name, tensor]))
  }

  #add(tensor: Tensor, cell: Cell | undefined) {
    let weight = this.#weights.get(tensor.storage)
    if (weight === undefined) {
      const kind = cell === undefined ? 'constant' : cell.constructor.name.toLowerCase()
      const name = (cell && this.#paths.get(cell)) ?? this.#freshName(kind)
      this.#weights.set(tensor.storage, (weight = { name, tensor }))
    }
    return weight
  }

  #freshName(kind: string): string {
    const taken = new Set([...this.#paths.values(), ...Object.keys(this.tensors())])
    for (let i = 0; ; i++) if (!taken.has(`${kind}${i}`)) return `${kind}${i}`
  }
}

function checkPure(where: string, { graph, states, grads, actions }: Trace, weights: WeightTable) {
  const changed = graph.updates.map(({ slot }) => {
    const state = states[slot]!
    return state.kind === 'cell' ? weights.describe(state.cell) : 'a gradient'
  })
  if (changed.length > 0)
    throw new UnsupportedError(
      `${where}: the function changes ${changed.join(', ')}, as in training. A saved graph changes nothing: pass the module itself, which is saved in evaluation mode, or call eval()`,
    )
  if (grads.length > 0 || states.some(({ kind }) => kind === 'grad'))
    throw new UnsupportedError(
      `${where}: the function computes gradients. Save one that only predicts`,
    )
  if (actions.some(({ kind }) => kind === 'act'))
    throw new UnsupportedError(
      `${where}: the function takes the step of an optimizer or schedule. Save one that only predicts`,
    )
}

/** Runs `body` while a module is in evaluation mode. */
function evaluating<T>(model: GraphModel, body: () => T): T {
  if (!(model instanceof Module)) return body()
  const modes = model.modules().map((module) => [module, module.training] as const)
  try {
    model.eval()
    return body()
  } finally {
    for (const [module, training] of modes) module.training = training
  }
}

const forwardOf = (module: Module) =>
  (module.forward as (...inputs: Tensor[]) => unknown).bind(module)

function backendOf(model: GraphModel, { inputs }: GraphSignature): Backend {
  const example = Object.values(inputs).find((x) => x instanceof Tensor)
  const own = model instanceof Module ? model.parameters()[0] : undefined
  return (own ?? example)?.backend ?? currentBackend()
}

function specsOf(where: string, { inputs }: GraphSignature): ArgumentSpec[] {
  return Object.entries(inputs).map(([name, example]) => {
    const of = `${where}: input '${name}'`
    if (example instanceof Tensor) return { name, shape: example.shape, dtype: example.dtype }
    checkOptions(of, example, ['shape', 'dtype'])
    checkShape(of, example.shape)
    return { name, shape: example.shape, dtype: checkDType(of, example.dtype ?? 'float32') }
  })
}

function checkSignatures(signatures: unknown): Readonly<Record<string, GraphSignature>> {
  const isObject = (x: unknown) => typeof x === 'object' && x !== null
  const all = signatures as Readonly<Record<string, GraphSignature>>
  if (!isObject(signatures) || Object.keys(all).length === 0)
    throw new ValueError(
      'saveGraph: there are no signatures. Name one: { signatures: { predict: { inputs: { x } } } }',
    )
  for (const [name, signature] of Object.entries(all)) {
    const where = `saveGraph: signature '${name}'`
    checkOptions(where, signature, ['inputs', 'fn'])
    if (!isObject(signature?.inputs))
      throw new ValueError(
        `${where}: no inputs. Give an example of each by name: { inputs: { x } }`,
      )
    if (signature.fn !== undefined && typeof signature.fn !== 'function')
      throw new ValueError(`${where}: fn is of type ${typeof signature.fn}. Expected a function`)
  }
  return all
}
