/** @file Checks an allocation: follows the instructions and asks at every use whether the place still holds what was put there. */
import { assert } from '../../util/errors.ts'
import { scratch, type Allocation } from './allocate.ts'
import { isAddress, Register, type Instruction, type MachineProgram } from './machine.ts'

/** What each place holds: machine registers by class and number, and registers that live on the stack by themselves. */
type Places = Map<number | Register, Register | undefined>

const base = { g: 0, v: 16, k: 48 } as const

/** Throws an InternalError that names the first instruction that reads what is no longer there. */
export function verifyAllocation(
  program: MachineProgram,
  { spills }: Allocation,
  vectorCount: number,
): void {
  const { instructions } = program
  if (spills) checkScratch(program, vectorCount)
  const labels = new Map(
    instructions.flatMap((x, i) => (x.op === 'label' || x.op === 'loop' ? [[x.label, i]] : [])),
  )
  const known = new Array<Places | undefined>(instructions.length)
  const waiting: [at: number, places: Places][] = [[0, placesAtEntry(program)]]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    let [at, places] = next
    for (; at < instructions.length; at++) {
      const x = instructions[at]!
      if (x.op === 'label' || x.op === 'loop') {
        const before = known[at]
        const joined = before === undefined ? places : join(before, places)
        if (joined === before) break
        known[at] = joined
        places = new Map(joined)
      }
      step(x, at, places)
      if (x.op === 'jcc' || x.op === 'jmp') waiting.push([labels.get(x.label)!, new Map(places)])
      if (x.op === 'jmp') break
    }
  }
}

const placeOf = (r: Register): number | Register =>
  r.assigned >= 0 ? base[r.class] + r.assigned : r

// Arguments lie in their registers, and constants that have one are loaded first.
function placesAtEntry({ registers }: MachineProgram): Places {
  const places: Places = new Map()
  for (const r of registers) {
    if (r.end < 0 || r.assigned < 0 || (!r.constant && r.start >= 0)) continue
    const place = placeOf(r)
    if (!r.constant && places.has(place)) continue
    assert(!places.has(place), `two constants lie in register ${r.class}${r.assigned}`)
    places.set(place, r)
  }
  return places
}

function checkScratch({ registers }: MachineProgram, vectorCount: number): void {
  const taken = { g: scratch.general, k: scratch.masks, v: scratch.vectors(vectorCount) }
  for (const r of registers)
    assert(
      !(taken[r.class] as readonly number[]).includes(r.assigned),
      'a scratch register is taken',
    )
}

/** What both hold; the same map if that is all that the first one says. */
function join(before: Places, places: Places): Places {
  let joined = before
  for (const [place, r] of before) {
    if (r === undefined || places.get(place) === r) continue
    if (joined === before) joined = new Map(before)
    joined.set(place, undefined)
  }
  return joined
}

function step(x: Instruction, at: number, places: Places): void {
  const { op, operands, effect, mask } = x
  const read = (r: Register) => {
    // A constant without a register is read where it lies.
    if (r.constant && r.assigned < 0) return
    assert(
      r.assigned >= 0 || r.slot >= 0,
      `instruction ${at} (${op}) reads what has neither a register nor a place on the stack`,
    )
    assert(
      places.get(placeOf(r)) === r,
      `instruction ${at} (${op}) reads register ${r.class}${r.assigned}, which holds something else by then`,
    )
  }
  operands.forEach((operand, i) => {
    if (isAddress(operand)) {
      read(operand.base)
      if (operand.index) read(operand.index)
    } else if (operand instanceof Register && (i > 0 || (effect !== 'makes' && op !== 'cqo')))
      read(operand)
  })
  if (mask) read(mask)
  const [to] = operands
  if (to instanceof Register && effect !== 'reads') places.set(placeOf(to), to)
}
