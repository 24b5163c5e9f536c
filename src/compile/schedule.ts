/** @file A graph as kernels in the order in which they run, over buffers that have no place in memory yet. */
import type { Step } from '../codegen/kernel-builder.ts'
import { bytesFor } from '../backend/backend.ts'
import { dtypes } from '../core/dtype.ts'
import { sizeOf } from '../core/shape.ts'
import type { Op } from '../tensor/op.ts'
import { lowerCall, operandBytes } from '../tensor/plan.ts'
import type { LiveNumber } from '../tensor/tracing.ts'
import { debug } from '../util/config.ts'
import {
  isValue,
  placeOf,
  specsOf,
  type CallNode,
  type ControlNode,
  type Graph,
  type Value,
} from './graph.ts'
import type { PackedBuffer } from './prepack.ts'
import { printGraph } from './print.ts'

/** A buffer that kernels read and write. */
export interface Buffer {
  readonly bytes: number
  /** The value whose elements it holds; undefined for a temporary of one call. */
  readonly value: Value | undefined
}

/** One operand of a kernel: a buffer, and where in it, in elements, the kernel's offset 0 is. */
export interface Operand {
  readonly buffer: number
  readonly offset: number
}

/** A kernel and what it is run on. */
export interface ScheduledKernel {
  readonly step: Pick<Step, 's' | 'group'>
  /** One per buffer of the group. */
  readonly operands: readonly Operand[]
  /** The scalars handed over at launch. */
  readonly params: readonly (number | LiveNumber)[]
  /** The call that it belongs to; of a fused kernel, the last one. */
  readonly node: CallNode
  /** All calls that a fused kernel belongs to. */
  readonly calls?: readonly CallNode[]
  /** Whether it is a product with something done to its sums; of a kernel that is not fused the op tells. */
  readonly contracts?: boolean
  readonly specialize: Op['specialize']
}

/** A branch or a loop among the kernels: it runs programs of its own. */
export interface ScheduledControl {
  readonly node: ControlNode
  /** Its inputs, then its results, which bring their own memory. */
  readonly operands: readonly Operand[]
}

export type Scheduled = ScheduledKernel | ScheduledControl

export interface Schedule {
  readonly buffers: readonly Buffer[]
  /** Buffer of each value that is no view. */
  readonly bufferOf: ReadonlyMap<Value, number>
  readonly kernels: readonly Scheduled[]
  /** Copies of weights that are kept from run to run. */
  readonly packed?: readonly PackedBuffer[]
}

/** The calls that a kernel carries out. */
export function scheduledCalls(scheduled: Scheduled): readonly CallNode[] {
  if (!('step' in scheduled)) return []
  return scheduled.calls ?? [scheduled.node]
}

export const isKernel = (scheduled: Scheduled): scheduled is ScheduledKernel => 'step' in scheduled

/** Whether a kernel, a branch or a loop writes a buffer. */
export function writes(scheduled: Scheduled, buffer: number): boolean {
  const isWritten = (i: number) =>
    isKernel(scheduled)
      ? scheduled.step.group.buffers[i]!.access !== 'read'
      : i >= scheduled.node.inputs.length
  return scheduled.operands.some((x, i) => x.buffer === buffer && isWritten(i))
}

/** Whether a kernel has calls that are repeated, and another one does not belong to the same repetition. */
export function isAgainAfter(before: ScheduledKernel, kernel: ScheduledKernel): boolean {
  const runs = new Set(scheduledCalls(before).map(({ again }) => again))
  return scheduledCalls(kernel).some(({ again }) => again !== undefined && !runs.has(again))
}

/** One line per kernel: its name, what it reads and what it writes; `+` before one that joins the one above. */
export function printSchedule(
  { buffers, kernels }: Schedule,
  joined: ReadonlySet<number> = new Set(),
): string {
  const name = (operand: Operand, dtype: string) => {
    const node = buffers[operand.buffer]!.value?.node
    const text =
      node === undefined || node.kind === 'call' || node.kind === 'view' ? 'b' : node.kind
    return `${text}${operand.buffer}${operand.offset === 0 ? '' : `+${operand.offset}`} ${dtype}`
  }
  return kernels
    .map((kernel, i) => {
      if (!('step' in kernel)) return `${String(i).padStart(3)}  ${kernel.node.control.kind}`
      const {
        step: { group },
        operands,
      } = kernel
      const list = (reads: boolean) =>
        operands
          .filter((_, k) => (group.buffers[k]!.access === 'read') === reads)
          .map((x) => name(x, group.buffers[operands.indexOf(x)]!.dtype))
          .join(', ')
      const sizes = group.axes.map(({ extent }) => Number(extent)).join(' x ')
      return `${String(i).padStart(3)} ${joined.has(i) ? '+' : ' '}${group.name} over ${sizes}: ${list(true)} -> ${list(false)}`
    })
    .join('\n')
}

/** Lowers every call of a graph, in order. */
export function scheduleGraph(graph: Graph): Schedule {
  debug(2, () => `compile: graph\n${printGraph(graph)}`)
  const buffers: Buffer[] = []
  const bufferOf = new Map<Value, number>()
  const kernels: Scheduled[] = []
  const lower = lowerAlike()
  for (const node of graph.nodes) {
    if (node.kind === 'view') continue
    for (const value of node.results) {
      const bytes = bytesFor(dtypes[value.dtype].bytes, sizeOf(value.shape))
      bufferOf.set(value, buffers.push({ bytes, value }) - 1)
    }
    if (node.kind === 'call') kernels.push(...kernelsOf(node, buffers, bufferOf, lower))
    if (node.kind === 'control') {
      const operands = [...node.inputs, ...node.results].map((x) => {
        const { base, offset } = placeOf(x)
        return { buffer: bufferOf.get(base)!, offset }
      })
      kernels.push({ node, operands })
    }
  }
  return { buffers, bufferOf, kernels }
}

type Lower = (call: CallNode) => ReturnType<typeof lowerCall>

/** Calls that are alike, as those of equal layers, are lowered once: their kernels have the very same group. */
function lowerAlike(): Lower {
  const known = new Map<Op, Map<string, ReturnType<Lower>>>()
  return ({ op, attributes, key, inputs }) => {
    let calls = known.get(op)
    if (calls === undefined) known.set(op, (calls = new Map()))
    const specs = specsOf(inputs)
    let written = key
    for (const { dtype, layout, scalar } of specs) written += `|${dtype}${scalar ?? layout.id}`
    let lowered = calls.get(written)
    if (lowered === undefined) calls.set(written, (lowered = lowerCall(op, specs, attributes)))
    return lowered
  }
}

function kernelsOf(
  node: CallNode,
  buffers: Buffer[],
  bufferOf: ReadonlyMap<Value, number>,
  lower: Lower,
): ScheduledKernel[] {
  const { op, inputs, results } = node
  const { temporaries, steps } = lower(node)
  const operands: (Operand | undefined)[] = inputs.map((x) => {
    if (!isValue(x)) return undefined
    const { base, offset } = placeOf(x)
    return { buffer: bufferOf.get(base)!, offset }
  })
  for (const value of results) operands.push({ buffer: bufferOf.get(value)!, offset: 0 })
  for (const x of temporaries) {
    const buffer = buffers.push({ bytes: operandBytes(x), value: undefined }) - 1
    operands.push({ buffer, offset: 0 })
  }
  const params = inputs.filter((x): x is number | LiveNumber => !isValue(x))
  return steps.map((step) => ({
    step,
    operands: step.operands.map((i) => operands[i]!),
    params,
    node,
    specialize: op.specialize,
  }))
}
