/** @file Compiled functions between eager ones: a forward program, and a backward program that the tape runs. */
import { zeros } from '../ops/create.ts'
import { gradientsOf } from '../tensor/backward.ts'
import { engine } from '../tensor/engine.ts'
import { makeOp, type Op } from '../tensor/op.ts'
import { GradNode, isRecording, noGrad } from '../tensor/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { GradError } from '../util/errors.ts'
import type { Budget } from './budget.ts'
import { plannedMemory } from './memory.ts'
import { Program, type ProgramOptions } from './program.ts'
import { splitGraph, type Saved, type Seam, type Split } from './split.ts'
import type { Recorder } from './recorder.ts'
import type { Trace } from './trace.ts'

/** The gradients of a traced function, recorded after it. */
export interface TracedGradients {
  /** Which of the returned tensors have a gradient. */
  readonly outputs: readonly number[]
  /** The leaves that it is passed on to: arguments, and tensors from outside. */
  readonly leaves: readonly Tensor[]
  readonly gradients: readonly Tensor[]
  /** How many actions and numbers of the trace belong to the function itself. */
  readonly actionCount: number
  readonly numberCount: number
}

/**
 * Goes on with a trace: takes a gradient for each returned tensor that has history, and computes those of
 * all leaves from it. `since` is the last entry of the tape before the trace. Undefined if there are none.
 */
export function traceGradients(
  recorder: Recorder,
  args: readonly Tensor[],
  returned: readonly Tensor[],
  since: number,
): TracedGradients | undefined {
  const { actionCount, numberCount } = recorder
  const outside = recorder.outside()
  const outputs = returned.flatMap((t, i) => (t.requiresGrad && canGoBack(t, since) ? [i] : []))
  const leaves = [...args, ...outside].filter((t) => t.requiresGrad)
  if (outputs.length === 0 || leaves.length === 0) return undefined
  const roots = outputs.map((i) => returned[i]!)
  const cotangents = roots.map(({ shape, dtype }, i) =>
    recorder.input({ name: `g${i}`, shape, dtype }),
  )
  const found = gradientsOf(roots, leaves, {
    gradients: cotangents,
    since,
    continues: new Set(outside),
  })
  return {
    outputs,
    leaves: leaves.filter((_, i) => found[i] !== undefined),
    gradients: found.filter((g) => g !== undefined),
    actionCount,
    numberCount,
  }
}

/** False where backward() ran inside the function: what it released is gone for eager code, too. */
function canGoBack(t: Tensor, since: number): boolean {
  const seen = new Set<GradNode>()
  const waiting = t.node === undefined ? [] : [t.node]
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    if (seen.has(node) || node.sequence <= since) continue
    if (node.isReleased) return false
    seen.add(node)
    for (const source of node.sources) if (source instanceof GradNode) waiting.push(source)
  }
  return true
}

const seamOf = ({ outputs, gradients, numberCount }: TracedGradients): Seam => ({
  cotangentCount: outputs.length,
  gradientCount: gradients.length,
  numberCount,
})

/** What a budget of memory has to know of a function that is cut into two programs. */
export function jointBudget(
  trace: Trace,
  joint: TracedGradients,
): Pick<Budget, 'firstReader' | 'measure'> {
  const { nodes } = trace.graph
  const inputs = nodes.filter(({ kind }) => kind === 'input')
  return {
    firstReader: nodes.indexOf(inputs[inputs.length - joint.outputs.length]!),
    measure(graph) {
      const { forward, backward } = splitGraph(graph, seamOf(joint))
      const states = { states: [], grads: [] }
      return plannedMemory(forward, trace).bytes + plannedMemory(backward, states).bytes
    },
  }
}

/** The attributes of an entry on the tape: what the run that made it drew and counted. */
type RunAttributes = { readonly numbers: readonly number[] }

/** The two programs of a differentiable function, joined by the tape. */
export class JointProgram {
  readonly forward: Program
  readonly #trace: Trace
  readonly #joint: TracedGradients
  readonly #options: Pick<ProgramOptions, 'tuning'>
  readonly #split: Split
  readonly #op: Op<RunAttributes>
  #backward: Program | undefined

  constructor(
    name: string,
    trace: Trace,
    joint: TracedGradients,
    options: Pick<ProgramOptions, 'tuning'>,
  ) {
    const { actionCount, leaves } = joint
    this.#trace = trace
    this.#joint = joint
    this.#options = options
    this.#split = splitGraph(trace.graph, seamOf(joint))
    const actions = trace.actions.slice(0, actionCount)
    this.forward = new Program(
      trace.backend,
      this.#split.forward,
      { ...trace, actions },
      // Whoever takes gradients changes the weights.
      { ...options, packsWeights: false },
    )
    this.#op = makeOp<RunAttributes>({
      name,
      kind: 'elementwise',
      onnx: undefined,
      infer: () => [],
      lower: () => [],
      saves: 'inputs',
      vjp: ({ gs, inputs, attributes }) => {
        if (isRecording())
          throw new GradError(
            `compile: gradients of gradients through ${name}, which is compiled. Compute the first gradient inside of it, with grad() or backward({ createGraph: true }), or do not compile it`,
          )
        return this.#gradients(gs, inputs.slice(leaves.length) as Tensor[], attributes.numbers)
      },
    })
  }

  /** Compiled when it is first wanted. */
  get backward(): Program {
    const { numberCount, actions } = this.#trace
    const gradient = { states: [], grads: [], numberCount }
    return (this.#backward ??= new Program(
      this.forward.backend,
      this.#split.backward,
      { ...gradient, actions: actions.slice(this.#joint.actionCount) },
      this.#options,
    ))
  }

  /**
   * Runs forward, and puts an entry on the tape for the first `returnedCount` outputs. `leaves` are those
   * of the trace, with the present arguments in their places.
   */
  run(inputs: readonly Tensor[], leaves: readonly Tensor[], returnedCount: number): Tensor[] {
    const { forward } = this
    const { saved } = this.#split
    const numbers = [...forward.act()]
    // A state is kept as it is now: saved memory is not overwritten by the run.
    const before = saved.map((x) => this.#present(x, inputs))
    const count = (by: number) => {
      for (const t of before) if (t !== undefined) t.storage.saves += by
    }
    count(1)
    try {
      const outputs = forward.run(inputs, numbers)
      const kept = saved.map((x, i) => before[i] ?? outputs[(x as { index: number }).index]!)
      const returned = outputs.slice(0, returnedCount)
      const facts = { shapes: leaves.map((t) => t.shape), dtypes: leaves.map((t) => t.dtype) }
      const op = this.#op as unknown as Op
      const node = new GradNode(op, { numbers }, facts, [...leaves, ...kept], returned)
      for (const i of this.#joint.outputs) node.own(returned[i]!, i)
      // Memory that only this entry reads goes with it.
      for (const [i, t] of kept.entries())
        if (before[i] === undefined && t.storage.shares === 1) t.storage.internal = true
      return outputs
    } finally {
      count(-1)
    }
  }

  #present(saved: Saved, inputs: readonly Tensor[]): Tensor | undefined {
    if (saved.kind === 'output') return undefined
    if (saved.kind === 'input') return inputs[saved.index]!
    const state = this.#trace.states[saved.slot]!
    if (state.kind === 'cell') return state.cell.snapshot()
    return noGrad(() => engine().contiguous(state.leaf.gradSlot!))
  }

  #gradients(
    gs: readonly (Tensor | undefined)[],
    saved: readonly Tensor[],
    before: readonly number[],
  ): Tensor[] {
    const { forward, backward } = this
    const { contiguous, fit } = engine()
    const cotangents = this.#joint.outputs.map((i) => {
      const { shape, dtype } = forward.graph.outputs[i]!
      const g = gs[i]
      if (g === undefined) return zeros(shape, { dtype, device: forward.backend.name })
      return contiguous(fit(g, shape, dtype))
    })
    return backward.run([...saved, ...cotangents], backward.act(before))
  }
}
