/** @file explain(): what became of a compiled function, in words. */
import { withConfig } from '../util/config.ts'
import { ValueError } from '../util/errors.ts'
import type { Compiled, CompiledProgram } from './compile.ts'
import { fuse } from './fuse.ts'
import type { CallNode, Graph } from './graph.ts'
import { kernelsText } from './regions.ts'
import { scheduleGraph, type Scheduled, type ScheduledKernel } from './schedule.ts'
import type { TunedTile } from './tune.ts'

/**
 * What became of a compiled function: how often it was traced and why, into which kernels its operations
 * were joined, and of results that went through memory all the same, why. Before the first call there is
 * nothing to say.
 *
 * @example
 * const f = compile((x: Tensor) => x.exp().sum(), { name: 'f' })
 * f(ones([4]))
 * explain(f).split('\n').slice(0, 2) // -> ['f was traced once:', '  1. the first call']
 */
export function explain(compiled: Compiled<(...args: never[]) => unknown>): string {
  if (typeof compiled !== 'function' || (compiled.programs as unknown) === undefined)
    throw new ValueError(
      `explain: expected what compile() gave, received ${typeof compiled === 'function' ? 'another function' : typeof compiled}`,
    )
  const { name, programs, traces } = compiled
  const { count, reasons } = traces
  if (count === 0) return `${name} was not called yet.`
  const first = count - reasons.length + 1
  return [
    `${name} was traced ${count === 1 ? 'once' : `${count} times`}:`,
    ...reasons.map((reason, i) => `  ${first + i}. ${reason}`),
    '',
    'Each line below is a kernel: one pass over memory. "Apart from" names a kernel whose result it reads',
    'from memory, and why that one ("it") was not joined with the kernel above. "+" begins a kernel that runs at',
    'the same time as the one before: neither touches what the other writes.',
    ...programs.flatMap((program, i) => [
      '',
      programs.length === 1 ? 'Its program:' : `Program ${i + 1} of ${programs.length}:`,
      ...explainProgram(program),
      ...(program.backward === undefined
        ? []
        : ['', 'Its gradients, which backward() runs:', ...explainProgram(program.backward)]),
    ]),
  ].join('\n')
}

function explainProgram(program: Omit<CompiledProgram, 'madeIn'>): string[] {
  const { graph, backend, kernelCount, arenaBytes, packedBytes, joined, tiles } = program
  const reasons = new Map<CallNode, Map<number, string>>()
  // What was decided is decided again, this time with an ear for the reasons.
  const { kernels } = withConfig({ debug: 0 }, () =>
    fuse(graph, scheduleGraph(graph), (buffer, { node }, reason) => {
      const ofNode = reasons.get(node) ?? new Map<number, string>()
      reasons.set(node, ofNode.set(buffer, reason))
    }),
  )
  const calls = graph.nodes.filter(({ kind }) => kind === 'call').length
  const writers = new Map<number, number>()
  const lines = kernels.flatMap((kernel, i) => {
    if (!('step' in kernel))
      return [`  ${String(i).padStart(3)}  ${kernel.node.control.kind}: run as often as values say`]
    const { step, operands } = kernel
    const lines = [
      kernelLine(kernel, `${String(i).padStart(3)} ${joined.has(i) ? '+' : ' '}`) +
        tileText(tiles.get(i)),
      ...separations(kernel, kernels, writers, reasons),
    ]
    operands.forEach(({ buffer }, k) => {
      if (step.group.buffers[k]!.access !== 'read') writers.set(buffer, i)
    })
    return lines
  })
  return [
    `  ${calls} operations in ${kernelsText(kernelCount, joined)} on ${backend}; results in between share ${(arenaBytes / 1e6).toFixed(2)} MB.`,
    ...repeatedCalls(graph),
    ...(packedBytes === 0
      ? []
      : [
          `  Weights are packed once, for as long as they stay the same: ${(packedBytes / 1e6).toFixed(2)} MB.`,
        ]),
    ...lines,
  ]
}

/** What a checkpoint or a budget of memory has computed a second time. */
function repeatedCalls({ nodes }: Graph): string[] {
  const counts = new Map<string, number>()
  for (const node of nodes)
    if (node.kind === 'call' && node.again !== undefined)
      counts.set(node.op.name, (counts.get(node.op.name) ?? 0) + 1)
  const parts = [...counts].sort((a, b) => b[1] - a[1]).map(([name, count]) => `${count} x ${name}`)
  return parts.length === 0 ? [] : [`  Computed again to save memory: ${parts.join(', ')}.`]
}

function kernelLine(
  { step: { group }, node, calls = [node] }: ScheduledKernel,
  place: string,
): string {
  const sizes = group.axes.map(({ extent }) => Number(extent)).join(' x ') || '1'
  const parts = calls.length === 1 ? '' : ` joins ${calls.map(({ op }) => op.name).join(', ')};`
  return `  ${place}${group.name}:${parts} over ${sizes}`
}

function tileText(tuned: TunedTile | undefined): string {
  if (tuned === undefined) return ''
  const { tile, choices } = tuned
  return `, in tiles of ${tile.rows} rows x ${tile.vectors} vectors, the fastest of ${choices} tried`
}

/** Whose results a kernel reads from memory, and why they are kernels of their own. */
function separations(
  { step, operands, node, calls = [node] }: ScheduledKernel,
  kernels: readonly Scheduled[],
  writers: ReadonlyMap<number, number>,
  reasons: ReadonlyMap<CallNode, ReadonlyMap<number, string>>,
): string[] {
  const lines = operands.flatMap(({ buffer }, k) => {
    const writer = writers.get(buffer)
    if (writer === undefined || step.group.buffers[k]!.access === 'write') return []
    const reason = calls
      .map((call) => reasons.get(call)?.get(buffer))
      .findLast((x) => x !== undefined)
    const other = kernels[writer]!
    const name = 'step' in other ? other.step.group.name : other.node.control.kind
    return `         apart from ${writer} ${name}: ${reason ?? 'several kernels write what it reads'}`
  })
  return [...new Set(lines)]
}
