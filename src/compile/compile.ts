/** @file compile(): a function, recorded once per form of its arguments, and from then on run as one program. */
import { Cell, replaceGrad } from '../tensor/cell.ts'
import { engine } from '../tensor/engine.ts'
import { noGrad } from '../tensor/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { tracing } from '../tensor/tracing.ts'
import { config, debug } from '../util/config.ts'
import { checkOptions, ValueError } from '../util/errors.ts'
import { withinBudget } from './budget.ts'
import { checkDynamicAxes, type DynamicAxes } from './dynamic-axes.ts'
import type { Graph } from './graph.ts'
import { jointBudget, JointProgram, type TracedGradients } from './joint.ts'
import { runPasses, switchNames, type PassSwitches } from './passes.ts'
import { Program } from './program.ts'
import { kernelsText } from './regions.ts'
import { formOfCall, holds, inputsOf, recordCall } from './record-call.ts'
import type { AnyFunction, Known, RecordedCall } from './record-call.ts'
import { TemplateTable, type BeginTrace } from './template-table.ts'
import type { Trace } from './trace.ts'
import { TraceHistory } from './trace-history.ts'
import { takeApart, type Tree } from './tree.ts'
import { tuningFor, type TunedTile } from './tune.ts'

export interface CompileOptions {
  /** What the program is called in reports; by default the name of the function. */
  readonly name?: string
  /** Passes over the graph that are not to run: `{ fold: false }`. By default all of them run. */
  readonly passes?: PassSwitches
  /**
   * Axes whose size may differ from call to call without the function being run again: [0] of all tensors,
   * or by argument, { 0: { 0: 'batch', 1: 'tokens' } }. The function then sees stand-ins for their sizes.
   */
  readonly dynamicAxes?: DynamicAxes
  /**
   * Bytes that results in between may take: where it would be more, some are computed again when backward()
   * reads them instead of being kept, with the same bits. What cannot be met is met as far as possible.
   */
  readonly memoryBudget?: number
  /**
   * Whether products and convolutions are tuned: when a program is made, each is timed with several tiles, and
   * keeps the fastest. This takes up to a second for each, once: what was found is kept for later processes.
   * Results are the same, to the bit. On the cpu backend only.
   *
   * @example
   * const f = compile((x: Tensor) => x.matmul(x), { tune: true })
   * f(ones([64, 64])).sum().itemSync() // -> 262144
   */
  readonly tune?: boolean
}

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
  /** Bytes of copies of weights, packed once for products: `passes: { prepack: false }` does without. */
  readonly packedBytes: number
  /** Milliseconds that tracing and compiling took; a backward program is compiled when it is first wanted. */
  readonly madeIn: number
  /** Kernels, by number, that run at the same time as the one before: none of them reads or writes what another writes. */
  readonly joined: ReadonlySet<number>
  /** The tiles that `tune` chose, by the number of the kernel. */
  readonly tiles: ReadonlyMap<number, TunedTile>
  /** What backward() of the results runs, if they have gradients. */
  readonly backward?: Omit<CompiledProgram, 'madeIn'> | undefined
}

/** Programs of one function beyond this many: the one not used for longest goes. */
const programLimit = 32

interface Entry extends Known {
  readonly madeIn: number
  readonly program: Program
  /** The program that computes gradients, if results have any. */
  readonly backward: (() => Program) | undefined
  run(tree: Tree): unknown
}

/**
 * The same function as one optimised program: it is run once with tensors that have no data, everything
 * it does is recorded, gradients and updates of parameters included, and from then on the recording is
 * run. A new program is made for each form of the arguments (shapes, dtypes, structure, other values),
 * and when something outside changes that decided what was recorded, such as training mode. With
 * `dynamicAxes` one recording serves all sizes of these axes.
 *
 * Results that depend on something that requires a gradient have one: backward() of what follows goes
 * through the compiled function, once. What the function does beside tensors (printing, counting) happens
 * while it is recorded only. Throws a TraceError where it reads elements of a tensor, and for arguments
 * that are no tensors, plain values, or arrays and objects of them; a DynamicAxesError where sizes decide
 * what it does.
 *
 * @example
 * const f = compile((x: Tensor) => x.mul(2).add(1).relu(), { dynamicAxes: [0] })
 * f(tensor([-1, 0, 1])) // -> tensor([0, 1, 3], float32, cpu)
 * f(tensor([2])) // -> tensor([5], float32, cpu)
 * f.traces.count // -> 1
 */
export function compile<F extends AnyFunction>(fn: F, options: CompileOptions = {}): Compiled<F> {
  if (typeof fn !== 'function')
    throw new ValueError(
      `compile: expected a function, received ${fn === null ? 'null' : typeof fn}. Of a module, pass (x) => model.forward(x)`,
    )
  checkOptions('compile', options, ['name', 'passes', 'dynamicAxes', 'memoryBudget', 'tune'])
  checkOptions('compile: passes', options.passes, switchNames)
  const { dynamicAxes, memoryBudget } = options
  if (memoryBudget !== undefined) checkBudget(memoryBudget)
  if (options.tune !== undefined) checkTune(options.tune)
  if (dynamicAxes !== undefined) checkDynamicAxes('compile', dynamicAxes)
  const name = options.name ?? (fn.name || 'program')
  const entries: Entry[] = []
  const traces = new TraceHistory()
  const begin: BeginTrace = (tree, form, known) => {
    const reason = traces.add(tree.tensors, form, known)
    debug(2, () => `compile: ${name} is traced: ${reason}`)
    let isFirst = true
    return (shapes, room) => {
      if (!isFirst) traces.again()
      isFirst = false
      return recordCall(name, fn, tree, shapes, room)
    }
  }
  const templates = new TemplateTable(name, begin)
  const compiled = (...args: unknown[]): unknown => {
    // Inside another trace it is a part of that program, and only eager operations are looked at for NaN.
    if (tracing !== undefined || config.checkNaN) return fn(...(args as never[]))
    // A cell is the same object inside, so that it can be changed there.
    const tree = takeApart('argument', args, { stays: (t) => t instanceof Cell })
    const shapes = tree.tensors.map((t) => t.shape)
    const form = formOfCall(tree, shapes)
    const i = entries.findIndex((entry) => entry.form === form && holds(entry))
    let entry = i < 0 ? undefined : entries.splice(i, 1)[0]!
    if (entry === undefined) {
      const since = performance.now()
      const recorded = templates.at(tree, dynamicAxes) ?? begin(tree, form, entries)(shapes)
      const made = makeEntry(name, recorded, form, options)
      entry = { ...made, madeIn: performance.now() - since }
    }
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

function reportOf({ program, backward, madeIn }: Entry): CompiledProgram {
  const report = ({
    graph,
    backend,
    kernelCount,
    arenaBytes,
    packedBytes,
    joined,
    tiles,
  }: Program) => ({
    graph,
    backend: backend.name,
    kernelCount,
    arenaBytes,
    packedBytes,
    joined,
    tiles,
  })
  return {
    ...report(program),
    madeIn,
    get backward() {
      return backward && report(backward())
    },
  }
}

function makeEntry(
  name: string,
  { traced: recorded, result, args, joint }: RecordedCall,
  form: string,
  { passes, memoryBudget, tune = false }: CompileOptions,
): Omit<Entry, 'madeIn'> {
  const begin = performance.now()
  const optimized = { ...recorded, graph: runPasses(recorded.graph, passes) }
  const traced =
    memoryBudget === undefined ? optimized : economical(name, optimized, joint, memoryBudget)
  const { graph, backend, grads, assumptions } = traced
  const tuning = tune ? tuningFor(backend) : undefined
  const both = joint && new JointProgram(name, traced, joint, { tuning })
  const program =
    both?.forward ??
    new Program(backend, graph, traced, { packsWeights: passes?.prepack !== false, tuning })
  debug(
    1,
    () =>
      `compile: ${name}: ${kernelsText(program.kernelCount, program.joined)} in ${(performance.now() - begin).toFixed(1)} ms`,
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

function economical(
  name: string,
  traced: Trace,
  joint: TracedGradients | undefined,
  bytes: number,
): Trace {
  const cut = joint === undefined ? { firstReader: 0 } : jointBudget(traced, joint)
  return { ...traced, graph: withinBudget(traced.graph, traced, { name, bytes, ...cut }) }
}

function checkBudget(bytes: unknown): void {
  if (typeof bytes === 'number' && bytes > 0) return
  throw new ValueError(
    `compile: memoryBudget is ${typeof bytes === 'number' ? bytes : `a ${typeof bytes}`}. Expected a positive number of bytes, such as 256e6`,
  )
}

function checkTune(tune: unknown): void {
  if (typeof tune === 'boolean') return
  throw new ValueError(
    `compile: tune: expected true or false, received ${tune === null ? 'null' : `a ${typeof tune}`}`,
  )
}

function setGrad(t: Tensor, gradient: Tensor | undefined): void {
  if (!t.isLeaf) {
    if (gradient !== undefined) t.backward({ gradient })
  } else if (gradient?.storage.shares === 1) replaceGrad(t, gradient)
  else t.grad = gradient
}
