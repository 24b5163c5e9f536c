/** @file Weights of products are packed once, not in each run: the order in which tiles read them is that of a buffer. */
import { canonicalize } from '../codegen/canonical.ts'
import { readsPanels, wantedPanels, type Panels } from '../codegen/prepack.ts'
import type { TargetTraits } from '../codegen/target-traits.ts'
import { bytesFor } from '../backend/backend.ts'
import { dtypes } from '../core/dtype.ts'
import { layoutOf, type Layout } from '../core/layout.ts'
import { rewrite, type Expr } from '../ir/expr.ts'
import { splitAxis } from './fuse-merge.ts'
import type { Graph } from './graph.ts'
import type { Buffer, Schedule, Scheduled, ScheduledKernel } from './schedule.ts'
import type { Trace } from './trace.ts'

/** A buffer with a copy of what another one holds: the elements of a view of it, in row-major order. */
export interface PackedBuffer {
  readonly buffer: number
  readonly source: number
  readonly layout: Layout
  readonly offset: number
}

/**
 * Note [Prepacking]: a product packs its operands into panels as it runs, of a weight the same ones each time.
 * In a program that changes nothing, the panels of a weight are a copy of it with another layout, made when the
 * program first runs, and the product reads that copy: its columns are two axes, panels and the columns within.
 * The code generator sees that an operand lies as its tile wants it and packs nothing (`panelsInPlace`). The copy
 * is made anew when the weight has another content (`Places`). Sums are the same, added in the same order.
 */
export function prepack(
  graph: Graph,
  { states, grads }: Pick<Trace, 'states' | 'grads'>,
  schedule: Schedule,
  traits: TargetTraits,
): Schedule {
  // Training changes its weights between runs.
  if (grads.length > 0 || graph.updates.length > 0) return schedule
  const buffers = [...schedule.buffers]
  const packed = new Map<string, PackedBuffer>()
  const isSteady = (buffer: number) => {
    const node = buffers[buffer]!.value?.node
    return (
      node?.kind === 'constant' || (node?.kind === 'state' && states[node.slot]!.kind === 'cell')
    )
  }
  const place = (kernel: ScheduledKernel, panels: Panels): PackedBuffer => {
    const { buffer: source, offset: begin } = kernel.operands[panels.buffer]!
    const { columns, depth, width, strides } = panels
    const [count, steps] = [(columns.extent as number) / width, depth.extent as number]
    const layout = layoutOf(
      [count, steps, width],
      [strides.columns * width, strides.depth, strides.columns],
    )
    const offset = begin + panels.offset
    const key = `${source}|${layout.id}|${offset}`
    let found = packed.get(key)
    if (found === undefined) {
      const { dtype } = kernel.step.group.buffers[panels.buffer]!
      const bytes = bytesFor(dtypes[dtype].bytes, layout.size)
      const buffer = buffers.push({ bytes, value: undefined } satisfies Buffer) - 1
      packed.set(key, (found = { buffer, source, layout, offset }))
    }
    return found
  }
  const kernels = schedule.kernels.map((scheduled): Scheduled => {
    if (!('step' in scheduled)) return scheduled
    const { specialize = false, operands } = scheduled
    const kernel = merged(scheduled)
    const panels = wantedPanels(kernel.step.s, kernel.step.group, specialize, traits)
    if (panels === undefined || !isSteady(operands[panels.buffer]!.buffer)) return scheduled
    const reading = readingPanels(kernel, panels)
    if (!readsPanels(reading.step.s, reading.step.group, specialize, traits)) return scheduled
    const { buffer } = place(scheduled, panels)
    return { ...reading, operands: operands.with(panels.buffer, { buffer, offset: 0 }) }
  })
  return packed.size === 0
    ? schedule
    : { ...schedule, buffers, kernels, packed: [...packed.values()] }
}

/** The same kernel without axes of one point, such as a batch of one. */
function merged(kernel: ScheduledKernel): ScheduledKernel {
  const { s, group } = kernel.step
  return { ...kernel, step: { s, group: canonicalize(s, group, true).group } }
}

/** The same kernel, reading the operand from panels. */
function readingPanels(kernel: ScheduledKernel, panels: Panels): ScheduledKernel {
  const { columns, depth, width } = panels
  const extents = [(columns.extent as number) / width, width]
  const split = splitAxis(kernel, { axis: columns, extents })
  const { s, group } = split.step
  const at = kernel.step.group.axes.indexOf(columns)
  const [panel, lane] = group.axes.slice(at, at + 2)
  const index = {
    offset: 0,
    terms: [
      { index: s.at(panel!), stride: (depth.extent as number) * width },
      { index: s.at(depth), stride: width },
      { index: s.at(lane!), stride: 1 },
    ],
  }
  const memo = new Map<Expr, Expr>()
  const change = (e: Expr) =>
    rewrite(
      s,
      e,
      (x) =>
        x.kind === 'load' && x.buffer === panels.buffer
          ? s.load(x.buffer, x.dtype, index)
          : undefined,
      memo,
    )
  const stores = group.stores.map((store) => ({ ...store, value: change(store.value) }))
  return { ...split, step: { s, group: { ...group, stores } } }
}
