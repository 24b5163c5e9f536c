/** @file compile(): a function, recorded once per form of its arguments, and from then on run as one program. */
import type { Backend } from '../backend/backend.ts'
import { currentBackend } from '../ops/create.ts'
import { engine } from '../tensor/engine.ts'
import { isRecording } from '../tensor/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { tracing } from '../tensor/tracing.ts'
import { debug } from '../util/config.ts'
import { checkOptions, DeviceError, GradError, TraceError, ValueError } from '../util/errors.ts'
import type { Graph } from './graph.ts'
import { Program } from './program.ts'
import { trace, type Assumption } from './trace.ts'
import { TraceHistory } from './trace-history.ts'
import { takeApart, type Tree } from './tree.ts'

export interface CompileOptions {
  /** What the program is called in reports; by default the name of the function. */
  readonly name?: string
}

type AnyFunction = (...args: never[]) => unknown

/** A compiled function: called as the function itself. */
export type Compiled<F extends AnyFunction> = F & {
  /** The programs made so far, the latest last. */
  readonly programs: readonly CompiledProgram[]
  /** How often it was traced, and why; `explain` says it in words. */
  readonly traces: Pick<TraceHistory, 'count' | 'reasons'>
}

/** One program of a compiled function. */
export interface CompiledProgram {
  readonly graph: Graph
  readonly backend: string
  /** Kernels that a run launches. */
  readonly kernelCount: number
  /** Bytes of the memory that intermediate results share. */
  readonly arenaBytes: number
}

/** Programs of one function beyond this many: the one not used for longest goes. */
const programLimit = 32

interface Entry {
  readonly form: string
  readonly program: Program
  readonly assumptions: readonly Assumption[]
  run(tree: Tree): unknown
}

/**
 * The same function as one optimised program: it is run once with tensors that have no data, everything
 * it does is recorded, gradients and updates of parameters included, and from then on the recording is
 * run. A new program is made for each form of the arguments (shapes, dtypes, structure, other values),
 * and when something outside changes that decided what was recorded, such as training mode.
 *
 * What the function does beside tensors (printing, counting) happens while it is recorded only. Throws a
 * TraceError where it reads elements of a tensor, and for arguments that are no tensors, plain values, or
 * arrays and objects of them.
 *
 * @example
 * const f = compile((x: Tensor) => x.mul(2).add(1).relu())
 * f(tensor([-1, 0, 1])) // -> tensor([0, 1, 3], float32, cpu)
 */
export function compile<F extends AnyFunction>(fn: F, options: CompileOptions = {}): Compiled<F> {
  if (typeof fn !== 'function')
    throw new ValueError(
      `compile: expected a function, received ${fn === null ? 'null' : typeof fn}. Of a module, pass (x) => model.forward(x)`,
    )
  checkOptions('compile', options, ['name'])
  const name = options.name ?? (fn.name || 'program')
  const entries: Entry[] = []
  const traces = new TraceHistory()
  const compiled = (...args: unknown[]): unknown => {
    // Inside another trace it is a part of that program.
    if (tracing !== undefined) return fn(...(args as never[]))
    const tree = takeApart('argument', args)
    const form = formOfCall(tree)
    const i = entries.findIndex((entry) => entry.form === form && holds(entry.assumptions))
    if (i < 0) {
      const reason = traces.add(tree.tensors, form, entries)
      debug(2, () => `compile: ${name} is traced: ${reason}`)
    }
    const entry = i < 0 ? record(name, fn, tree, form) : entries.splice(i, 1)[0]!
    entries.push(entry)
    if (entries.length > programLimit) entries.shift()!.program.release()
    return entry.run(tree)
  }
  Object.defineProperties(compiled, {
    name: { value: name },
    traces: { value: traces },
    programs: { get: () => entries.map(({ program }) => reportOf(program)) },
  })
  return compiled as unknown as Compiled<F>
}

const holds = (assumptions: readonly Assumption[]): boolean =>
  assumptions.every(({ read, value }) => Object.is(read(), value))

function formOfCall({ form, tensors }: Tree): string {
  const specs = tensors.map((t) => `${t.dtype}${t.shape.join('x')}${t.device}${t.requiresGrad}`)
  return `${form}|${specs.join()}|${isRecording()}`
}

const reportOf = ({ graph, backend, kernelCount, arenaBytes }: Program): CompiledProgram => ({
  graph,
  backend: backend.name,
  kernelCount,
  arenaBytes,
})

function record(name: string, fn: AnyFunction, tree: Tree, form: string): Entry {
  const backend = backendOf(tree.tensors)
  const begin = performance.now()
  let result: Tree | undefined
  let leaves: readonly Tensor[] = []
  const specs = tree.tensors.map(({ shape, dtype }, i) => ({ name: `x${i}`, shape, dtype }))
  const traced = trace(backend, specs, (inputs) => {
    inputs.forEach((x, i) => tree.tensors[i]!.requiresGrad && x.requireGrad())
    leaves = inputs
    const returned = fn(...(tree.rebuild(inputs) as never[]))
    if (returned instanceof Promise)
      throw new TraceError(
        `compile: ${name} returned a promise. A program is recorded in one go: keep await outside of it`,
      )
    result = takeApart('the result', returned)
    if (isRecording() && result.tensors.some((t) => t.node !== undefined && !t.node.isReleased))
      throw new GradError(
        `compile: ${name} returns a tensor with history, which a program cannot carry on. Call backward() inside the function, or return it detached`,
      )
    return result.tensors
  })
  const { graph, grads, assumptions, returned } = traced
  const program = new Program(backend, graph, traced)
  debug(
    1,
    () =>
      `compile: ${name}: ${program.kernelCount} kernels in ${(performance.now() - begin).toFixed(1)} ms`,
  )
  const argumentGrads = grads.flatMap(({ leaf, output }) => {
    const argument = leaves.indexOf(leaf)
    return argument < 0 ? [] : [{ argument, output }]
  })
  return {
    form,
    program,
    assumptions,
    run({ tensors }) {
      const outputs = program.run(tensors.map((t) => engine().contiguous(t)))
      for (const { argument, output } of argumentGrads)
        addGrad(tensors[argument]!, output === undefined ? undefined : outputs[output]!)
      return result!.rebuild(outputs.slice(0, returned.length))
    },
  }
}

// The gradient that an argument had is not known to the program.
function addGrad(leaf: Tensor, value: Tensor | undefined): void {
  const before = leaf.gradSlot
  leaf.grad = before !== undefined && value !== undefined ? engine().add(before, value) : value
}

function backendOf(tensors: readonly Tensor[]): Backend {
  const backends = new Set(tensors.map((t) => t.backend))
  if (backends.size > 1)
    throw new DeviceError(
      `compile: arguments on different devices: ${[...backends].map((b) => b.name).join(' and ')}. Move them to one: t.to(device)`,
    )
  return tensors[0]?.backend ?? currentBackend()
}
