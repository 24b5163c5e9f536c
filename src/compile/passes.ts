/** @file The passes that rewrite the graph of a program before it is scheduled, in their order. */
import { config, debug } from '../util/config.ts'
import { rewriteGraph, type Control, type Graph, type Part } from './graph.ts'
import { batchNorm } from './passes/batch-norm.ts'
import { casts } from './passes/casts.ts'
import { cse } from './passes/cse.ts'
import { dce } from './passes/dce.ts'
import { fold } from './passes/fold.ts'
import { layouts } from './passes/layouts.ts'
import type { Pass } from './passes/pass.ts'
import { printGraph } from './print.ts'
import { simplify } from './passes/simplify.ts'
import { verifyGraph } from './verify.ts'

/** All passes, in the order in which they run. */
export const passes = {
  /** Leaves out what nothing depends on. */
  dce,
  /** Takes scales and shifts of channels into the weights and biases before them. */
  batchNorm,
  /** Computes what is made of constants alone. */
  fold,
  /** Replaces calls by cheaper ones, by rules of arithmetic. */
  simplify,
  /** Leaves out casts that change nothing. */
  casts,
  /** Computes equal calls once. */
  cse,
  /** Lets elementwise ops write in the order in which they read, and nothing repeatedly. */
  layouts,
} satisfies Record<string, Pass>

export type PassName = keyof typeof passes

/** Which passes run; all that are not named do. `prepack` is no pass over graphs: see Note [Prepacking]. */
export type PassSwitches = Partial<Record<PassName | 'prepack', boolean>>

export const passNames = Object.keys(passes) as PassName[]

export const switchNames = [...passNames, 'prepack']

/**
 * Runs the passes over a graph, and over the branches and loops in it.
 *
 * @example
 * const text = 'program(x0: int32[2]) { const v0: int32[2] = neg(x0) const v1: int32[2] = neg(v0) return [v1] }'
 * runPasses(parseGraph(text)).nodes.length // -> 3
 */
export function runPasses(graph: Graph, switches: PassSwitches = {}): Graph {
  let result = graph
  if (config.debug > 0) verifyGraph(graph, 'the trace')
  for (const name of passNames) {
    if (switches[name] === false) continue
    const before = result
    result = runPass(passes[name], before)
    debug(
      5,
      () => `compile: before ${name}\n${printGraph(before)}\nafter ${name}\n${printGraph(result)}`,
    )
    if (config.debug > 0) verifyGraph(result, `after ${name}`)
  }
  return result
}

/** Runs one pass over a graph and what is in it. */
export function runPass(pass: Pass, graph: Graph): Graph {
  return pass.run(inParts(pass, graph))
}

function inParts(pass: Pass, graph: Graph): Graph {
  if (!graph.nodes.some(({ kind }) => kind === 'control')) return graph
  const inPart = (part: Part): Part => {
    const made = runPass(pass, part.graph)
    // What a part returns has memory of its own.
    const isWhole = made.outputs.every(
      ({ node: { kind } }) => kind === 'call' || kind === 'control',
    )
    return isWhole ? { ...part, graph: made } : part
  }
  const inControl = (control: Control): Control =>
    control.kind === 'cond'
      ? { ...control, whenTrue: inPart(control.whenTrue), whenFalse: inPart(control.whenFalse) }
      : { ...control, condition: inPart(control.condition), body: inPart(control.body) }
  return rewriteGraph(graph, (node, image, builder) =>
    node.kind === 'control'
      ? builder.control(inControl(node.control), node.inputs.map(image), node.again)
      : undefined,
  )
}
