/** @file Many kernels as one call: a chain of control blocks, which machine code goes through. */
import type { Block, ProgramExecutable, ProgramStep } from '../backend.ts'
import { AddressTable, type AddressUse, type NumberUse } from '../argument-table.ts'
import { freedError } from '../freed.ts'
import type { CpuBlock } from './block.ts'
import { wakeCost, type CpuExecutable, type Launcher } from './executable.ts'
import { placeRegions, splitRegion, type Placed, type Region } from './regions.ts'
import type { Task } from './tasks.ts'
import { control, piece } from './thread-code.ts'
import type { ThreadPool } from './threads.ts'

/**
 * Note [Chains of control blocks]: each kernel of a program has a control block of its own, as the pool
 * has one for launches, with arguments, split and the address of the block that follows. All but what
 * changes from run to run stands there since the program was made: JavaScript writes the addresses that
 * are other than last time, and the live numbers, and makes one call. `programCode` goes from block to
 * block; each is a region of its own (Note [Regions]), so nobody begins one before all are done with
 * the one before, and in between workers watch for the next without falling asleep. The blocks are data and
 * not code, as with another number of threads only the splits in them change.
 *
 * Kernels that need not wait for each other are one region: instead of theirs the chain has a block whose kernel
 * goes through tasks, pieces of those kernels (Note [Tasks]). So hundreds of updates of small parameters are
 * shared as one loop would be.
 */
export class CpuProgram implements ProgramExecutable {
  readonly #launcher: Launcher
  readonly #steps: readonly Placed[]
  readonly #regions: readonly Region[]
  readonly #slots: Float64Array<ArrayBuffer>
  /** The same memory, for the status words. */
  readonly #words: Int32Array<ArrayBuffer>
  /** Where the control blocks begin. */
  readonly #address: number
  readonly #table: AddressTable
  readonly #numbers: readonly NumberUse[]
  readonly #checked: readonly number[]
  /** Where in the packing space kernels have theirs, in bytes per thread. They stand behind the program's buffers in the table. */
  readonly #scratchBegins: readonly number[]
  readonly #scratchBytes: number
  readonly #bufferCount: number
  /** Memory of the tasks, which the control blocks refer to. */
  #tasks: ReturnType<ThreadPool['slots']> | undefined
  #threads = 0
  #isShared = false

  constructor(launcher: Launcher, steps: readonly ProgramStep[], bytes: readonly number[]) {
    this.#launcher = launcher
    const { regions, scratchBytes, end } = placeRegions(steps)
    const placed = regions.flatMap((region) => region.steps)
    this.#regions = regions
    this.#steps = placed
    const { slots, address } = launcher.pool.slots(end)
    this.#slots = slots
    this.#words = new Int32Array(slots.buffer, slots.byteOffset, 2 * end)
    this.#address = address
    this.#bufferCount = bytes.length
    this.#scratchBytes = scratchBytes
    this.#scratchBegins = [...new Set(placed.map(({ scratchBegin }) => scratchBegin))]
    this.#checked = placed.flatMap(({ executable: { form } }, i) =>
      form.status === undefined ? [] : i,
    )
    regions.forEach(({ at }, i) => {
      const next = regions[i + 1]
      slots[at + control.next] = next === undefined ? 0 : address + next.at * 8
      slots[at + control.kernel] = launcher.pool.tasks
      this.#words[2 * (at + control.status)] = 1
    })
    const uses: AddressUse[] = []
    const numbers: NumberUse[] = []
    for (const { executable, step, at, scratchBegin } of placed) {
      const { form } = executable
      slots[at + control.kernel] = entryOf(step, bytes)
      if (form.status !== undefined) slots[at + form.status] = address + (at + control.status) * 8
      if (form.scratch !== undefined) {
        const buffer = bytes.length + this.#scratchBegins.indexOf(scratchBegin)
        uses.push({ buffer, slot: at + form.scratch, offset: 0 })
      }
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
    }
    this.#table = new AddressTable(bytes.length + this.#scratchBegins.length, uses)
    this.#numbers = numbers
  }

  run(
    blocks: readonly Block[],
    bases: readonly number[],
    numbers: readonly number[],
  ): number | undefined {
    const [first] = this.#regions
    if (first === undefined) return undefined
    const { pool } = this.#launcher
    if (pool.threads !== this.#threads || (this.#isShared && pool.started < pool.threads))
      this.#share()
    const slots = this.#slots
    const table = this.#table
    const count = this.#bufferCount
    const scratch = this.#scratchBytes > 0 ? this.#launcher.scratchAt(this.#scratchBytes) : 0
    for (const i of table.buffers) {
      if (i >= count) {
        table.set(slots, i, scratch + this.#scratchBegins[i - count]! * pool.threads)
        continue
      }
      const { address } = blocks[i] as CpuBlock
      if (address === 0) throw freedError()
      table.set(slots, i, address + bases[i]!)
    }
    for (const { slot, number } of this.#numbers) slots[slot] = numbers[number]!
    pool.control[control.next] = this.#address + first.at * 8
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
    const splits = this.#regions.map((region) => splitRegion(region))
    let first: number | undefined
    let sharedCost = 0
    this.#regions.forEach(({ at }, i) => {
      const { count, grain, cost } = splits[i]!
      slots[at + control.count] = count
      slots[at + control.grain] = grain
      slots[at + control.wakes] = cost >= wakeCost ? 1 : 0
      if (count <= grain) return
      first ??= at
      sharedCost += cost
    })
    this.#writeTasks(splits.map(({ tasks }) => tasks))
    this.#isShared = first !== undefined
    // Once awake they stay so to the end: what no kernel is worth alone, all may be worth together.
    if (first !== undefined && sharedCost >= wakeCost) slots[first + control.wakes] = 1
    if (this.#isShared && pool.started < pool.threads) pool.start()
  }

  // Of each region, where its tasks begin, and their pieces: what `tasksCode` goes through.
  #writeTasks(all: readonly (readonly Task[])[]): void {
    const sizes = all.map((tasks) =>
      tasks.length === 0 ? 0 : tasks.length + 1 + tasks.flat().length * piece.slots,
    )
    const size = sizes.reduce((a, b) => a + b, 0)
    if (this.#tasks === undefined || this.#tasks.slots.length < size)
      this.#tasks = this.#launcher.pool.slots(size)
    const { slots, address } = this.#tasks
    let at = 0
    this.#regions.forEach((region, i) => {
      const tasks = all[i]!
      if (tasks.length === 0) return
      this.#slots[region.at + control.args] = address + at * 8
      let to = at + tasks.length + 1
      for (const task of tasks) {
        slots[at++] = address + to * 8
        for (const { kernel, begin, end } of task) {
          const block = region.steps[kernel]!.at
          slots[to + piece.kernel] = this.#slots[block + control.kernel]!
          slots[to + piece.args] = this.#address + (block + control.args) * 8
          slots[to + piece.begin] = begin
          slots[to + piece.end] = end
          to += piece.slots
        }
      }
      slots[at] = address + to * 8
      at = to
    })
  }
}

function entryOf({ executable, buffers }: ProgramStep, bytes: readonly number[]): number {
  let operandBytes = 0
  for (const buffer of buffers) operandBytes += bytes[buffer]!
  return (executable as CpuExecutable).entryFor(operandBytes)
}
