/** @file Graphs as text that can be read, and parsed again. */
import type { DType } from '../core/dtype.ts'
import type { Shape } from '../core/shape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { LiveNumber } from '../tensor/tracing.ts'
import { isValue, type Argument, type Control, type Graph } from './graph.ts'
import type { CallNode, ControlNode, Node, Part, Value } from './graph.ts'
import { stepsOf } from './view-text.ts'

/**
 * A graph as text. Between the lines of the sources and of what is returned stands a line per node:
 *
 *     program(x0: float32[2, 3], buffer0: state(0) float32[3]) {
 *       const v0: float32[3, 2] = x0.permute(1, 0)
 *       const v1: float32[3] = sum(v0, { axes: [1], keepDims: false })
 *       const v2: float32[3] = add(buffer0, v1)
 *       return [v1], buffer0 := v2
 *     }
 *
 * Views are written as methods, constants by name, live numbers as `$0`. Branches and loops are calls with
 * programs in them, each with the positions of its inputs among those of the call.
 *
 * @example
 * const f = compile((x: Tensor) => x.add(1))
 * f(tensor([1, 2]))
 * printGraph(f.programs[0].graph).split('\n')[1] // -> '  const v0: float32[2] = add(x0, 1)'
 */
export function printGraph(graph: Graph): string {
  const constants = new Map([...constantsOf(graph)].map(([name, tensor]) => [tensor, name]))
  return new Printer(constants).graph(graph, '')
}

/**
 * The constants of a graph, and of those inside it, by the names under which they are printed.
 *
 * @example
 * const f = compile((x: Tensor) => x.add(tensor([1, 2])))
 * f(tensor([1, 2]))
 * ;[...constantsOf(f.programs[0].graph).keys()] // -> ['constant0']
 */
export function constantsOf(graph: Graph): Map<string, Tensor> {
  const tensors = new Set<Tensor>()
  const visit = ({ nodes }: Graph) => {
    for (const node of nodes)
      if (node.kind === 'constant') tensors.add(node.tensor)
      else if (node.kind === 'control') partsOf(node.control).forEach((x) => visit(x.part.graph))
  }
  visit(graph)
  return new Map([...tensors].map((tensor, i) => [`constant${i}`, tensor]))
}

/** The graphs inside a branch or a loop. */
export function partsOf(control: Control): { readonly role: string; readonly part: Part }[] {
  const roles =
    control.kind === 'cond'
      ? { whenTrue: control.whenTrue, whenFalse: control.whenFalse }
      : { condition: control.condition, body: control.body }
  return Object.entries(roles).map(([role, part]) => ({ role, part }))
}

/**
 * `float32[2, 3]`.
 *
 * @example
 * specText({ dtype: 'float32', shape: [2, 3] }) // -> 'float32[2, 3]'
 */
export const specText = ({ dtype, shape }: { dtype: DType; shape: Shape }): string =>
  `${dtype}[${shape.join(', ')}]`

class Printer {
  readonly #constants: ReadonlyMap<Tensor, string>
  readonly #names = new Map<Value, string>()
  readonly #taken = new Set<string>()
  /** Values without a name of their own so far. */
  #count = 0

  constructor(constants: ReadonlyMap<Tensor, string>) {
    this.#constants = constants
  }

  graph({ nodes, outputs, updates }: Graph, indent: string): string {
    const sources = nodes.flatMap((node) => this.#source(node) ?? [])
    const lines = nodes.flatMap((node) => this.#line(node, `${indent}  `) ?? [])
    const slots = new Map(
      nodes.flatMap((node) => (node.kind === 'state' ? [[node.slot, node.results[0]!]] : [])),
    )
    const target = (slot: number) => {
      const value = slots.get(slot)
      return value === undefined ? `state(${slot})` : this.#name(value)
    }
    const ends = [
      `[${outputs.map((value) => this.#name(value)).join(', ')}]`,
      ...updates.map(({ slot, value }) => `${target(slot)} := ${this.#name(value)}`),
    ]
    return [
      `program(${sources.join(', ')}) {`,
      ...lines,
      `${indent}  return ${ends.join(', ')}`,
      `${indent}}`,
    ].join('\n')
  }

  #source(node: Node): string | undefined {
    const [value] = node.results
    switch (node.kind) {
      case 'input':
        return `${this.#name(value!, node.name)}: ${specText(value!)}`
      case 'state':
        return `${this.#name(value!, node.name)}: state(${node.slot}) ${specText(value!)}`
      case 'constant':
        return `${this.#name(value!, this.#constants.get(node.tensor))}: constant ${specText(value!)}`
      default:
        return undefined
    }
  }

  #line(node: Node, indent: string): string | undefined {
    if (node.kind === 'input' || node.kind === 'state' || node.kind === 'constant') return undefined
    const right =
      node.kind === 'view'
        ? this.#view(node.of, node.results[0]!)
        : node.kind === 'call'
          ? this.#call(node)
          : this.#control(node, indent)
    const again = node.kind !== 'view' && node.again !== undefined ? ` again ${node.again}` : ''
    const names = node.results.map((value) => this.#name(value))
    const specs = node.results.map(specText)
    const list = (texts: string[]) => (texts.length === 1 ? texts[0]! : `[${texts.join(', ')}]`)
    return `${indent}const ${list(names)}: ${list(specs)} = ${right}${again}`
  }

  #view(of: Value, { node }: Value): string {
    if (node.kind !== 'view') return ''
    const steps = stepsOf(of.shape, node)
    const calls = steps.map(({ method, args }) => `.${method}(${args.map(text).join(', ')})`)
    return `${this.#name(of)}${calls.join('')}`
  }

  #call({ op, inputs, attributes }: CallNode): string {
    const args = inputs.map((x) => this.#argument(x))
    if (Object.keys(attributes).length > 0) args.push(text(attributes))
    return `${op.name}(${args.join(', ')})`
  }

  #control({ control, inputs }: ControlNode, indent: string): string {
    const parts = partsOf(control).map(({ role, part }) => {
      const inner = new Printer(this.#constants).graph(part.graph, `${indent}  `)
      return `\n${indent}  ${role}(${part.inputs.join(', ')}) => ${inner}`
    })
    return `${control.kind}(${[...inputs.map((x) => this.#name(x)), ...parts].join(', ')})`
  }

  #argument(x: Argument): string {
    return isValue(x) ? this.#name(x) : text(x)
  }

  // The name it has, or else one like the name it wants.
  #name(value: Value, wanted?: string): string {
    const known = this.#names.get(value)
    if (known !== undefined) return known
    const stem = wanted?.replace(/\W/g, '_').replace(/^(?=\d|$)/, '_') ?? `v${this.#count++}`
    let name = stem
    for (let i = 1; this.#taken.has(name); i++) name = `${stem}_${i}`
    this.#taken.add(name)
    this.#names.set(value, name)
    return name
  }
}

function text(x: unknown): string {
  if (Object.is(x, -0)) return '-0'
  if (x instanceof LiveNumber) return `$${x.slot}`
  if (typeof x === 'string') return JSON.stringify(x)
  if (Array.isArray(x)) return `[${x.map(text).join(', ')}]`
  if (typeof x !== 'object' || x === null) return String(x)
  return `{ ${Object.entries(x)
    .map(([key, value]) => `${key}: ${text(value)}`)
    .join(', ')} }`
}
