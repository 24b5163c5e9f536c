/** @file Whether a pass leaves what a program computes as it is. */
import type { Tensor } from 'tandem'
import { getBackend, type Backend } from '../../src/backend/backend.ts'
import type { Graph } from '../../src/compile/graph.ts'
import { passes, passNames, runPass, runPasses, type PassName } from '../../src/compile/passes.ts'
import { printGraph } from '../../src/compile/print.ts'
import { trace, type Trace } from '../../src/compile/trace.ts'
import { verifyGraph } from '../../src/compile/verify.ts'
import { programData, randomProgram, runProgram, shrinkProgram } from './random-programs.ts'
import type { ProgramData, RandomProgram } from './random-programs.ts'
import { runGraph } from './run-graph.ts'

/** Passes that may change roundings; all others give the same bits. */
export const rounding: readonly PassName[] = ['batchNorm']

export interface Failure {
  /** After which pass, or after all, or already in the trace. */
  readonly where: string
  readonly what: string
  readonly before: string
  readonly after: string
}

/** Checks the program of a seed. Says what is wrong with it, made smaller; every third program is a gentle one. */
export function findFailure(seed: number, device: string): string | undefined {
  const gentle = seed % 3 === 0
  const check = (program: RandomProgram) => checkProgram(program, device, gentle)
  const program = randomProgram(seed, { gentle })
  if (check(program) === undefined) return undefined
  const { where, what, before, after } = check(
    shrinkProgram(program, (x) => check(x) !== undefined),
  )!
  return `seed ${seed} on ${device}, ${where}: ${what}\n${before}\n${after}\n`
}

/** Traces a program, runs each pass and all of them, and compares what the graphs compute with eager results. */
export function checkProgram(
  program: RandomProgram,
  device: string,
  isGentle: boolean,
): Failure | undefined {
  const backend = getBackend(device)
  const data = programData(program, device, isGentle)
  const traced = traceProgram(backend, program, data)
  const states = data.buffers.map((b) => b.clone())
  const eager = runProgram(program, data.inputs, data)
  const updated = data.buffers.map((b) => b.clone())
  const { graph } = traced
  const given = {
    inputs: data.inputs,
    states: traced.states.map((state) => {
      const i = data.buffers.findIndex((b) => state.kind === 'cell' && state.cell === b)
      return states[i]!
    }),
  }
  const wanted = [
    ...eager,
    ...graph.updates
      .toSorted((a, b) => a.slot - b.slot)
      .map(({ slot }) => {
        const state = traced.states[slot]!
        return updated[data.buffers.findIndex((b) => state.kind === 'cell' && state.cell === b)]!
      }),
  ]
  const stages: [string, () => Graph, boolean][] = [
    ['the trace', () => graph, true],
    ...passNames.map((name): [string, () => Graph, boolean] => [
      name,
      () => runPass(passes[name], graph),
      !rounding.includes(name),
    ]),
    ['all passes', () => runPasses(graph), false],
    [
      'all passes that do not round',
      () => runPasses(graph, Object.fromEntries(rounding.map((name) => [name, false]))),
      true,
    ],
  ]
  for (const [where, make, isExact] of stages) {
    if (!isExact && !isGentle) continue
    let after = graph
    let what: string | undefined
    try {
      after = make()
      verifyGraph(after, where)
      what = difference(runGraph(backend, after, given), wanted, isExact)
    } catch (error) {
      what = String(error)
    }
    if (what !== undefined)
      return { where, what, before: printGraph(graph), after: printGraph(after) }
  }
  return undefined
}

function traceProgram(backend: Backend, program: RandomProgram, data: ProgramData): Trace {
  const specs = data.inputs.map(({ shape, dtype }, i) => ({ name: `x${i}`, shape, dtype }))
  return trace(backend, specs, (inputs) => ({
    returned: runProgram(program, inputs, data),
    gradients: [],
  }))
}

/** Where two lists of tensors differ. Bits are compared, but all NaNs are one; or values, by the largest. */
export function difference(
  found: readonly Tensor[],
  wanted: readonly Tensor[],
  isExact: boolean,
): string | undefined {
  for (const [i, x] of found.entries()) {
    const y = wanted[i]!
    if (x.dtype !== y.dtype || x.shape.join() !== y.shape.join())
      return `result ${i} is ${x.dtype}[${x.shape.join()}], not ${y.dtype}[${y.shape.join()}]`
    const [a, b] = [x.dataSync(), y.dataSync()].map((data) =>
      Array.from(data as ArrayLike<number>, Number),
    )
    const largest = Math.max(1, ...b!.map(Math.abs).filter(Number.isFinite))
    const near = isExact ? 0 : largest * (tolerances[x.dtype] ?? 0)
    const at = a!.findIndex((value, k) => {
      const other = b![k]!
      return !(Object.is(value, other) || (!isExact && Math.abs(value - other) <= near))
    })
    if (at >= 0) return `result ${i}, element ${at} is ${text(a![at]!)}, not ${text(b![at]!)}`
  }
  return undefined
}

const tolerances: Record<string, number> = {
  float32: 1e-4,
  float64: 1e-4,
  float16: 2e-2,
  bfloat16: 1e-1,
}

const text = (x: number) => (Object.is(x, -0) ? '-0' : String(x))
