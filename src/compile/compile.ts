/** @file compile(): a function, recorded once per form of its arguments, and from then on run as one program. */
import type { Backend } from '../backend/backend.ts'
import { currentBackend } from '../ops/create.ts'
import { Cell, replaceGrad } from '../tensor/cell.ts'
import { engine } from '../tensor/engine.ts'
import { isRecording, lastSequence, noGrad } from '../tensor/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { tracing } from '../tensor/tracing.ts'
import { config, debug } from '../util/config.ts'
import { checkOptions, DeviceError, TraceError, ValueError } from '../util/errors.ts'
import type { Graph } from './graph.ts'
import { JointProgram, traceGradients, type TracedGradients } from './joint.ts'
import { passNames, runPasses, type PassSwitches } from './passes.ts'
import { Program } from './program.ts'
import { trace, type Assumption } from './trace.ts'
import { TraceHistory } from './trace-history.ts'
import { takeApart, type Tree } from './tree.ts'

export interface CompileOptions {
  /** What the program is called in reports; by default the name of the function. */
  readonly name?: string
  /** Passes over the graph that are not to run: `{ fold: false }`. By default all of them run. */
  readonly passes?: PassSwitches
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
  /** What backward() of the results runs, if they have gradients. */
  readonly backward?: CompiledProgram | undefined
}

/** Programs of one function beyond this many: the one not used for longest goes. */
const programLimit = 32

interface Entry {
  readonly form: string
  readonly program: Program
  /** The program that computes gradients, if results have any. */
  readonly backward: (() => Program) | undefined
  readonly assumptions: readonly Assumption[]
  run(tree: Tree): unknown
}

/**
 * The same function as one optimised program: it is run once with tensors that have no data, everything
 * it does is recorded, gradients and updates of parameters included, and from then on the recording is
 * run. A new program is made for each form of the arguments (shapes, dtypes, structure, other values),
 * and when something outside changes that decided what was recorded, such as training mode.
 *
 * Results that depend on something that requires a gradient have one: backward() of what follows goes
 * through the compiled function, once. What the function does beside tensors (printing, counting) happens while it is recorded only. Throws a
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
  checkOptions('compile', options, ['name', 'passes'])
  checkOptions('compile: passes', options.passes, passNames)
  const name = options.name ?? (fn.name || 'program')
  const entries: Entry[] = []
  const traces = new TraceHistory()
  const compiled = (...args: unknown[]): unknown => {
    // Inside another trace it is a part of that program, and only eager operations are looked at for NaN.
    if (tracing !== undefined || config.checkNaN) return fn(...(args as never[]))
    // A cell is the same object inside, so that it can be changed there.
    const tree = takeApart('argument', args, { stays: (t) => t instanceof Cell })
    const form = formOfCall(tree)
    const i = entries.findIndex((entry) => entry.form === form && holds(entry.assumptions))
    if (i < 0) {
      const reason = traces.add(tree.tensors, form, entries)
      debug(2, () => `compile: ${name} is traced: ${reason}`)
    }
    const entry = i < 0 ? record(name, fn, tree, form, options.passes) : entries.splice(i, 1)[0]!
    entries.push(entry)
    if (entries.length > programLimit) entries.shift()!.program.release()
    return entry.run(tree)
  }
  Object.defineProperties(compiled, {
    name: { value: name },
    traces: { value: traces },
    programs: { get: () => entries.map(reportOf) },
  })
  return compiled as unknown as Compiled<F>
}

const holds = (assumptions: readonly Assumption[]): boolean =>
  assumptions.every(({ read, value }) => Object.is(read(), value))

function formOfCall({ form, tensors }: Tree): string {
  const specs = tensors.map(
    (t) => `${t.dtype}${t.shape.join('x')}${t.device}${t.requiresGrad}${t.gradSlot === undefined}`,
  )
  const device = tensors.length === 0 ? currentBackend().name : ''
  return `${form}|${specs.join()}|${device}${isRecording()}`
}

function reportOf({ program, backward }: Entry): CompiledProgram {
  const report = ({ graph, backend, kernelCount, arenaBytes }: Program) => ({
    graph,
    backend: backend.name,
    kernelCount,
    arenaBytes,
  })
  return {
    ...report(program),
    get backward() {
      return backward && report(backward())
    },
  }
}

function record(
  name: string,
  fn: AnyFunction,
  tree: Tree,
  form: string,
  passes: PassSwitches | undefined,
): Entry {
  const begin = performance.now()
  const { traced: recorded, result, args, joint } = traceCall(name, fn, tree)
  const traced = { ...recorded, graph: runPasses(recorded.graph, passes) }
  const { graph, backend, grads, assumptions } = traced
  const both = joint && new JointProgram(name, traced, joint)
  const program = both?.forward ?? new Program(backend, graph, traced)
  debug(
    1,
    () =>
      `compile: ${name}: ${program.kernelCount} kernels in ${(performance.now() - begin).toFixed(1)} ms`,
  )
  // A leaf among the arguments is that of the call.
  const place = (leaf: Tensor) => {
    const argument = args.indexOf(leaf)
    return argument < 0 ? { of: () => leaf } : { of: ({ tensors }: Tree) => tensors[argument]! }
  }
  // The program sees to the gradients of all others.
  const argumentGrads = grads
    .filter(({ leaf }) => args.includes(leaf))
    .map(({ leaf, output }) => ({ ...place(leaf), output }))
  const leaves = joint?.leaves.map(place) ?? []
  const returnedCount = result.tensors.length
  return {
    form,
    program,
    backward: both && (() => both.backward),
    assumptions,
    run(called) {
      const inputs = noGrad(() => inputsOf(called).map((t) => engine().contiguous(t)))
      const outputs =
        both?.run(
          inputs,
          leaves.map(({ of }) => of(called)),
          returnedCount,
        ) ?? program.run(inputs)
      for (const { of, output } of argumentGrads)
        setGrad(of(called), output === undefined ? undefined : outputs[output]!)
      return result.rebuild(outputs)
    },
  }
}

function traceCall(name: string, fn: AnyFunction, tree: Tree) {
  const specs = inputsOf(tree).map(({ shape, dtype }, i) => ({ name: `x${i}`, shape, dtype }))
  const since = lastSequence()
  let args: readonly Tensor[] = []
  let result: Tree | undefined
  let joint: TracedGradients | undefined
  const traced = trace(backendOf(tree.tensors), specs, (inputs, recorder) => {
    args = inputs.slice(0, tree.tensors.length)
    let next = args.length
    args.forEach((x, i) => {
      const { requiresGrad, gradSlot } = tree.tensors[i]!
      x.requireGrad(requiresGrad)
      if (gradSlot !== undefined) x.grad = inputs[next++]!
    })
    const returned = fn(...(tree.rebuild(args) as never[]))
    if (returned instanceof Promise)
      throw new TraceError(
        `compile: ${name} returned a promise. A program is recorded in one go: keep await outside of it`,
      )
    result = takeApart('the result', returned, {
      stays: (t) => t instanceof Cell && recorder.isOutside(t),
    })
    if (isRecording()) joint = traceGradients(recorder, args, result.tensors, since)
    return { returned: result.tensors, gradients: joint?.gradients ?? [] }
  })
  // The tape of the trace has served.
  for (const t of result!.tensors) if (t.backend.symbolic) t.node = undefined
  return { traced, result: result!, args, joint }
}

/** The tensors among the arguments, and after them the gradients that they have. */
const inputsOf = ({ tensors }: Tree): Tensor[] => [
  ...tensors,
  ...tensors.flatMap((t) => t.gradSlot ?? []),
]

function setGrad(t: Tensor, gradient: Tensor | undefined): void {
  if (!t.isLeaf) {
    if (gradient !== undefined) t.backward({ gradient })
  } else if (gradient?.storage.shares === 1) replaceGrad(t, gradient)
  else t.grad = gradient
}

function backendOf(tensors: readonly Tensor[]): Backend {
  const backends = new Set(tensors.map((t) => t.backend))
  if (backends.size > 1)
    throw new DeviceError(
      `compile: arguments on different devices: ${[...backends].map((b) => b.name).join(' and ')}. Move them to one: t.to(device)`,
    )
  return tensors[0]?.backend ?? currentBackend()
}
