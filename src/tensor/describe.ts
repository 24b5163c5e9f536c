/** @file Kernels as text, for the debug ladder. */
import type { Group } from '../ir/group.ts'

/** One line about a kernel: its axes, buffers and what it stores. */
export function describeKernel(group: Group): string {
  const size = (x: Group['axes'][number]['extent']) =>
    typeof x === 'number' ? `${x}` : `s${x.slot}`
  const axes = group.axes.map((a) => size(a.extent)).join(' x ') || 'scalar'
  const buffers = group.buffers.map((b) => `${b.access} ${b.dtype}`).join(', ')
  return `kernel ${group.name} over ${axes}: ${buffers}`
}
