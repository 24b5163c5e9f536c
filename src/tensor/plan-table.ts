/** @file Where the plans of ops are kept: found by the layouts, dtypes and attributes of a call, forgotten when long unused. */
import type { Backend, Executable } from '../backend/backend.ts'
import { weakDType, type DType } from '../core/dtype.ts'
import type { Layout } from '../core/layout.ts'
import type { Shape } from '../core/shape.ts'
import type { Tensor } from './tensor.ts'

/** A compiled call: what to allocate, and which kernels to launch on which operands. */
export interface Plan {
  readonly backend: Backend
  /** Tells the attributes of the call apart. */
  readonly key: string
  /** Of each input; a plain number has no layout, and the dtype it stands for. */
  readonly layouts: readonly (Layout | undefined)[]
  readonly dtypes: readonly DType[]
  readonly shapes: readonly Shape[]
  readonly outputs: readonly PlannedOutput[]
  /** Sizes in bytes. */
  readonly temporaries: readonly number[]
  readonly steps: readonly PlanStep[]
  /** How many of the inputs are plain numbers. */
  readonly paramCount: number
  readonly hash: number
  /** What the clock showed at the last use. */
  used: number
  /** The next plan in the same slot of its table. */
  next: Plan | undefined
}

export interface PlannedOutput {
  readonly layout: Layout
  readonly dtype: DType
  readonly isFloat: boolean
  readonly bytes: number
}

export interface PlanStep {
  readonly executable: Executable
  readonly operands: readonly number[]
  readonly sizes: readonly number[]
}

/** How many plans there are before those not used for longest are forgotten. */
const planLimit = 8192

const tables: PlanTable[] = []
let planCount = 0
// It ticks when a plan is made, not when one is used: what was used since the last tick is equally new.
let clock = 0

/** The `used` of plans that were used just now; the next plan to be made will have one more. */
export const now = (): number => clock

/** The plans of one op, on all backends: a hash table whose slots are chains. */
export class PlanTable {
  #slots = emptySlots(8)
  #count = 0
  #isListed = false

  /** The plan for a call on the backend, if one was made. */
  find(backend: Backend, inputs: readonly (Tensor | number)[], key: string): Plan | undefined {
    const hash = hashOf(inputs, key)
    let plan = this.#slots[hash & (this.#slots.length - 1)]
    while (plan !== undefined) {
      if (plan.hash === hash && fits(plan, backend, inputs, key)) {
        plan.used = clock
        return plan
      }
      plan = plan.next
    }
    return undefined
  }

  add(plan: Plan): void {
    if (planCount >= planLimit) forgetOldest()
    if (!this.#isListed) {
      tables.push(this)
      this.#isListed = true
    }
    if (this.#count >= this.#slots.length) this.#refill(this.plans(), this.#slots.length * 2)
    this.#insert(plan)
    this.#count++
    planCount++
    plan.used = ++clock
  }

  /** All plans, in no particular order. */
  plans(): Plan[] {
    const all: Plan[] = []
    for (let plan of this.#slots) for (; plan !== undefined; plan = plan.next) all.push(plan)
    return all
  }

  /** Keeps only the plans for which `keep` holds. */
  filter(keep: (plan: Plan) => boolean): void {
    const kept = this.plans().filter(keep)
    planCount -= this.#count - kept.length
    this.#count = kept.length
    this.#refill(kept, this.#slots.length)
  }

  #refill(plans: readonly Plan[], length: number): void {
    this.#slots = emptySlots(length)
    for (const plan of plans) this.#insert(plan)
  }

  #insert(plan: Plan): void {
    const slot = plan.hash & (this.#slots.length - 1)
    plan.next = this.#slots[slot]
    this.#slots[slot] = plan
  }
}

const emptySlots = (length: number): (Plan | undefined)[] =>
  new Array<Plan | undefined>(length).fill(undefined)

/** The plans of all ops, in no particular order. */
export function allPlans(): Plan[] {
  return tables.flatMap((table) => table.plans())
}

/** Forgets the plans for which `keep` does not hold; a call that wanted one makes it anew. */
export function filterPlans(keep: (plan: Plan) => boolean): void {
  for (const table of tables) table.filter(keep)
}

function forgetOldest(): void {
  const times = Float64Array.from(allPlans(), ({ used }) => used).sort()
  const goal = times.length >> 2
  const latest = times[goal]!
  let gone = 0
  filterPlans(({ used }) => used > latest || gone++ >= goal)
}

/** The number under which a call is looked up. */
export function hashOf(inputs: readonly (Tensor | number)[], key: string): number {
  let hash = inputs.length
  for (let i = 0; i < inputs.length; i++) {
    const x = inputs[i]!
    hash = Math.imul(hash ^ (typeof x === 'number' ? 0 : x.layout.id), 16777619)
  }
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 16777619)
  return hash ^ (hash >>> 15)
}

function fits(
  plan: Plan,
  backend: Backend,
  inputs: readonly (Tensor | number)[],
  key: string,
): boolean {
  const { layouts, dtypes } = plan
  if (plan.backend !== backend || plan.key !== key || layouts.length !== inputs.length) return false
  for (let i = 0; i < layouts.length; i++) {
    const x = inputs[i]!
    if (typeof x === 'number') {
      if (layouts[i] !== undefined || dtypes[i] !== weakDType(x)) return false
    } else if (x.layout !== layouts[i] || x.dtype !== dtypes[i] || x.backend !== backend) {
      return false
    }
  }
  return true
}
