/** @file Many kernels as one call: a chain of control blocks, which machine code goes through. */
import type { Block, ProgramExecutable, ProgramStep } from '../backend.ts'
import { AddressTable, type AddressUse, type NumberUse } from '../argument-table.ts'
import { freedError } from '../freed.ts'
import type { CpuBlock } from './block.ts'
import { wakeCost, type CpuExecutable, type Launcher } from './executable.ts'
import { control } from './thread-code.ts'

/**
 * Note [Chains of control blocks]: each kernel of a program has a control block of its own, as the pool
 * has one for launches, with arguments, split and the address of the block that follows. All but what
 * changes from run to run stands there since the program was made: JavaScript writes the addresses that
 * are other than last time, and the live numbers, and makes one call. `programCode` goes from block to
 * block; each kernel is a region of its own (Note [Regions]), so nobody begins one before all are done with
 * the one before, and in between workers watch for the next without falling asleep. The blocks are data and
 * not code, as with another number of threads only the splits in them change.
 */
export class CpuProgram implements ProgramExecutable {
  readonly #launcher: Launcher
  readonly #steps: readonly Placed[]
  readonly #slots: Float64Array<ArrayBuffer>
  /** The same memory, for the status words. */
  readonly #words: Int32Array<ArrayBuffer>
  /** Of the first control block; 0 when there is none. */
  readonly #address: number
  readonly #table: AddressTable
  readonly #numbers: readonly NumberUse[]
  readonly #checked: readonly number[]
  /** The packing space stands behind the program's buffers in the table. */
  readonly #scratch: number
  readonly #scratchBytes: number
  #threads = 0
  #isShared = false

  constructor(launcher: Launcher, steps: readonly ProgramStep[], bytes: readonly number[]) {
    this.#launcher = launcher
    const { placed, end } = place(steps)
    this.#steps = placed
    const { slots, address } = launcher.pool.slots(end)
    this.#slots = slots
    this.#words = new Int32Array(slots.buffer, slots.byteOffset, 2 * end)
    this.#address = steps.length === 0 ? 0 : address
    this.#scratch = bytes.length
    this.#scratchBytes = Math.max(0, ...placed.map(({ executable }) => executable.scratchBytes))
    this.#checked = placed.flatMap(({ executable: { form } }, i) =>
      form.status === undefined ? [] : i,
    )
    const uses: AddressUse[] = []
    const numbers: NumberUse[] = []
    placed.forEach(({ executable: { form }, step, at }, i) => {
      const next = placed[i + 1]
      slots[at + control.next] = next === undefined ? 0 : address + next.at * 8
      slots[at + control.kernel] = entryOf(step, bytes)
      this.#words[2 * (at + control.status)] = 1
      if (form.status !== undefined) slots[at + form.status] = address + (at + control.status) * 8
      if (form.scratch !== undefined)
        uses.push({ buffer: this.#scratch, slot: at + form.scratch, offset: 0 })
      step.buffers.forEach((buffer, k) => {
        const offset = step.offsets[k]! * step.elementBytes[k]!
        uses.push({ buffer, slot: at + control.args + k, offset })
      })
      slots.set(step.sizes, at + form.sizes)
      step.params.forEach((x, k) => {
        const slot = at + form.params + k
        if (typeof x === 'number') slots[slot] = x
        else numbers.push({ slot, number: x.slot })
      })
    })
    this.#table = new AddressTable(bytes.length + 1, uses)
    this.#numbers = numbers
  }

  run(
    blocks: readonly Block[],
    bases: readonly number[],
    numbers: readonly number[],
  ): number | undefined {
    const { pool } = this.#launcher
    if (pool.threads !== this.#threads || (this.#isShared && pool.started < pool.threads))
      this.#share()
    const slots = this.#slots
    const table = this.#table
    for (const i of table.buffers) {
      if (i === this.#scratch) {
        table.set(slots, i, this.#launcher.scratchAt(this.#scratchBytes))
        continue
      }
      const { address } = blocks[i] as CpuBlock
      if (address === 0) throw freedError()
      table.set(slots, i, address + bases[i]!)
    }
    for (const { slot, number } of this.#numbers) slots[slot] = numbers[number]!
    pool.control[control.next] = this.#address
    pool.runProgram()
    // Those that ran in this run were right up to the one that was not.
    for (const i of this.#checked)
      if (this.#words[2 * (this.#steps[i]!.at + control.status)] === 0) return i
    return undefined
  }

  // How many threads there are was changed, or it is the first run.
  #share(): void {
    const { pool } = this.#launcher
    this.#threads = pool.threads
    const slots = this.#slots
    let first: number | undefined
    let sharedCost = 0
    for (const { executable, step, at } of this.#steps) {
      const { count, grain, cost } = executable.splitFor(step.sizes)
      slots[at + control.count] = count
      slots[at + control.grain] = grain
      slots[at + control.wakes] = cost >= wakeCost ? 1 : 0
      if (count <= grain) continue
      first ??= at
      sharedCost += cost
    }
    this.#isShared = first !== undefined
    // Once awake they stay so to the end: what no kernel is worth alone, all may be worth together.
    if (first !== undefined && sharedCost >= wakeCost) slots[first + control.wakes] = 1
    if (this.#isShared && pool.started < pool.threads) pool.start()
  }
}

/** A step, and the slot that its control block begins at. */
interface Placed {
  readonly executable: CpuExecutable
  readonly step: ProgramStep
  readonly at: number
}

function place(steps: readonly ProgramStep[]): { readonly placed: Placed[]; readonly end: number } {
  let end = 0
  const placed = steps.map((step) => {
    const executable = step.executable as CpuExecutable
    const at = end
    // Eight slots are a cache line.
    end = Math.ceil((at + executable.form.end) / 8) * 8
    return { executable, step, at }
  })
  return { placed, end }
}

function entryOf({ executable, buffers }: ProgramStep, bytes: readonly number[]): number {
  let operandBytes = 0
  for (const buffer of buffers) operandBytes += bytes[buffer]!
  return (executable as CpuExecutable).entryFor(operandBytes)
}
