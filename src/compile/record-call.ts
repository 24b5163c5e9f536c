/** @file One call of a function, recorded: what it takes and gives, and the trace between. */
import type { Backend } from '../backend/backend.ts'
import type { Shape } from '../core/shape.ts'
import { currentBackend } from '../ops/create.ts'
import { Cell } from '../tensor/cell.ts'
import { isRecording, lastSequence } from '../tensor/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { DeviceError, TraceError } from '../util/errors.ts'
import { traceGradients, type TracedGradients } from './joint.ts'
import type { Recorder } from './recorder.ts'
import { resizeTrace } from './resize.ts'
import type { Recording } from './template.ts'
import { trace, type Assumption, type Trace } from './trace.ts'
import { takeApart, type Tree } from './tree.ts'

export type AnyFunction = (...args: never[]) => unknown

/** What a recording was made for. */
export interface Known {
  /** Tells calls apart that are recorded each for themselves. */
  readonly form: string
  readonly assumptions: readonly Assumption[]
}

/** Whether what a recording takes for granted is still so. */
export const holds = ({ assumptions }: Known): boolean =>
  assumptions.every(({ read, value }) => Object.is(read(), value))

/** What a call is like. `shapes` are those of its tensors, or names in the place of some sizes. */
export function formOfCall(
  { form, tensors }: Tree,
  shapes: readonly (readonly (number | string)[])[],
): string {
  const specs = tensors.map(
    (t, i) =>
      `${t.dtype}${shapes[i]!.join('x')}${t.device}${t.requiresGrad}${t.gradSlot === undefined}`,
  )
  const device = tensors.length === 0 ? currentBackend().name : ''
  return `${form}|${specs.join()}|${device}${isRecording()}`
}

/** A function that was recorded, and what its call takes and gives. */
export interface RecordedCall extends Recording<RecordedCall> {
  readonly traced: Trace
  readonly result: Tree
  /** Stand-ins of the tensors that it was called with. */
  readonly args: readonly Tensor[]
  readonly joint: TracedGradients | undefined
}

/** Traces a call as if its tensors had the shapes given. */
export function recordCall(
  name: string,
  fn: AnyFunction,
  tree: Tree,
  shapes: readonly Shape[],
  room?: number,
): RecordedCall {
  const specs = inputsOf(tree).map(({ dtype }, i) => ({
    name: `x${i}`,
    shape: shapes[i] ?? shapes[argumentOfGrad(tree, i)]!,
    dtype,
  }))
  const since = lastSequence()
  let args: readonly Tensor[] = []
  let result: Tree | undefined
  let joint: TracedGradients | undefined
  const run = (inputs: readonly Tensor[], recorder: Recorder) => {
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
  }
  const traced = trace(backendOf(tree.tensors), specs, run, room)
  // The tape of the trace has served.
  for (const t of result!.tensors) if (t.backend.symbolic) t.node = undefined
  return recordedCall({ traced, result: result!, args, joint })
}

function recordedCall(call: Omit<RecordedCall, 'renumbered'>): RecordedCall {
  const { traced, result } = call
  return {
    ...call,
    renumbered(renumber, mark) {
      const resized = resizeTrace(traced, renumber, mark)
      const numbers = result.numbers.map(renumber)
      return recordedCall({
        ...call,
        traced: resized,
        result: { ...result, numbers, rebuild: (tensors) => result.rebuild(tensors, numbers) },
      })
    },
  }
}

/** The tensors among the arguments, and after them the gradients that they have. */
export const inputsOf = ({ tensors }: Tree): Tensor[] => [
  ...tensors,
  ...tensors.flatMap((t) => t.gradSlot ?? []),
]

/** The argument whose gradient is input `i`. */
const argumentOfGrad = ({ tensors }: Tree, i: number): number =>
  tensors.flatMap((t, at) => (t.gradSlot === undefined ? [] : [at]))[i - tensors.length]!

function backendOf(tensors: readonly Tensor[]): Backend {
  const backends = new Set(tensors.map((t) => t.backend))
  if (backends.size > 1)
    throw new DeviceError(
      `compile: arguments on different devices: ${[...backends].map((b) => b.name).join(' and ')}. Move them to one: t.to(device)`,
    )
  return tensors[0]?.backend ?? currentBackend()
}
