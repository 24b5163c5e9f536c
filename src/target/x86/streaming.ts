/** @file Stores past the caches, for results that would only push other data out of them. */
import type { Kernel, Place, Statement, Value } from '../../ir/loops.ts'
import type { Selector } from './emit.ts'

/**
 * Note [Streaming]: An ordinary store first reads the line that it is about to overwrite. A kernel whose
 * operands together outgrow the last cache saves that third of its traffic by streaming stores, which
 * collect whole lines and send them off. A smaller result is better kept near for whoever reads it next,
 * so each kernel exists in both forms, the streaming one made when first it is called for. Such stores
 * want whole vectors at their natural alignment, which is looked up as the code runs; they come in any order
 * until a fence, so the code ends with one.
 */

/** The buffers that a kernel writes and never reads: what goes past the caches need not come back. */
export function streamedBuffers(kernel: Kernel): ReadonlySet<number> {
  const streamed = new Set<number>()
  kernel.buffers.forEach(({ written }, i) => written && streamed.add(i))
  const visit = (statements: readonly Statement[]) => {
    for (const s of statements) {
      if (s.kind === 'for') visit(s.body)
      else if (s.kind === 'if') visit(s.then)
      else if (s.kind === 'let') {
        const { def } = s.value
        if (def.kind === 'load' || def.kind === 'gather') streamed.delete(def.place.buffer)
      }
    }
  }
  visit(kernel.body)
  return streamed
}

/** Stores consecutive lanes as wide as their memory, past the caches where the address allows it. */
export function streamLanes(m: Selector, place: Place, value: Value): void {
  const p = m.program
  const registers = m.registers(value)
  const bytes = m.vectorBits / 8
  const at = p.register('g')
  p.int('lea', 64, 'makes', [at, m.address(place)])
  const rest = p.register('g')
  p.copy(rest, at)
  p.int('and', 64, 'changes', [rest, bytes - 1])
  const [unaligned, done] = [m.label(), m.label()]
  p.jump('jcc', unaligned, 'ne')
  for (const [r, from] of registers.entries())
    p.vector('vmovntps', m.vectorBits, [m.offset(at, r * bytes), from], {}, 'reads')
  p.jump('jmp', done)
  p.label(unaligned)
  for (const [r, from] of registers.entries())
    p.vector('vmovups', m.vectorBits, [m.offset(at, r * bytes), from], {}, 'reads')
  p.label(done)
}
