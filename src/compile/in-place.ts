/** @file Which results may be written over an operand of the same kernel. */
import { freeAxes, type Expr, type Index } from '../ir/expr.ts'
import { rootsOf, visitAll, type Group } from '../ir/group.ts'
import type { ScheduledKernel } from './schedule.ts'

/**
 * Whether a kernel may write buffer `to` into the memory of buffer `from`, which nobody reads after it:
 * each element must be read where it is written, by the same point, and before. A kernel with a reduction
 * reads its operands when a part of the result is already there, so it may not.
 */
export function mayOverwrite(kernel: ScheduledKernel, from: number, to: number): boolean {
  const { group } = kernel.step
  let answers = known.get(group)
  if (answers === undefined) known.set(group, (answers = new Map()))
  let key = ''
  for (const { buffer, offset } of kernel.operands)
    key += buffer === from ? `f${offset}` : buffer === to ? `t${offset}` : '-'
  let answer = answers.get(key)
  if (answer === undefined) answers.set(key, (answer = findWhether(kernel, from, to)))
  return answer
}

/** Of kernels that are alike, as those of equal layers, the answer is the same. */
const known = new WeakMap<Group, Map<string, boolean>>()

function findWhether(
  { step: { group }, operands }: ScheduledKernel,
  from: number,
  to: number,
): boolean {
  const written = group.stores.filter(({ buffer }) => operands[buffer]!.buffer === to)
  const [store] = written
  if (store === undefined || written.length > 1 || store.accumulate || group.checks.length > 0)
    return false
  const target = group.buffers[store.buffer]!
  if (operands.some(({ buffer }, i) => buffer === to && group.buffers[i] !== target)) return false
  if (operands.some(({ buffer }, i) => buffer === from && group.buffers[i]!.access !== 'read'))
    return false
  const { offset } = operands[store.buffer]!
  const mine = new Set<Expr>()
  visitAll([store.value], (e) => mine.add(e))
  let isSafe = coversAxes(store.index, group.axes)
  visitAll(rootsOf(group), (e) => {
    if (e.kind === 'reduce' || e.kind === 'scan') isSafe = false
    if (e.kind !== 'load' || operands[e.buffer]!.buffer !== from) return
    if (
      e.guard !== undefined ||
      e.dtype !== target.dtype ||
      operands[e.buffer]!.offset !== offset ||
      !isSameIndex(e.index, store.index) ||
      // What only another store reads may be read when this one is done.
      !mine.has(e)
    )
      isSafe = false
  })
  return isSafe
}

// Else several points would write, and before that read, one element.
function coversAxes({ terms }: Index, axes: ScheduledKernel['step']['group']['axes']): boolean {
  const covered = new Set(terms.flatMap(({ index }) => [...freeAxes(index)]))
  return axes.every((axis) => axis.extent === 1 || covered.has(axis))
}

function isSameIndex(a: Index, b: Index): boolean {
  return (
    a.offset === b.offset &&
    a.terms.length === b.terms.length &&
    a.terms.every(({ index, stride }, i) => {
      const other = b.terms[i]!
      return index === other.index && stride === other.stride
    })
  )
}
