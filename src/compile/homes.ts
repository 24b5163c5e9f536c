/** @file Where the buffers of a program are: in its arena, in memory of others, or in memory that is new at each run. */
import type { Tensor } from '../tensor/tensor.ts'
import { planArena, type Lifetime } from './arena.ts'
import { placeOf, type Graph, type Value } from './graph.ts'
import { mayOverwrite } from './in-place.ts'
import type { Schedule } from './schedule.ts'

/** What a buffer is during a run. */
export type Home =
  /** Bytes from the beginning of the arena. */
  | { readonly kind: 'arena'; readonly offset: number }
  | { readonly kind: 'input'; readonly index: number }
  | { readonly kind: 'state'; readonly slot: number }
  | { readonly kind: 'constant'; readonly tensor: Tensor }
  /** New memory at each run, that of a state if nobody else reads it. */
  | { readonly kind: 'fresh'; readonly takesOver: number | undefined }
  /** No kernel touches it. */
  | { readonly kind: 'none' }

export interface MemoryPlan {
  /** One per buffer of the schedule. */
  readonly homes: readonly Home[]
  readonly arenaBytes: number
}

/** Gives every buffer a home. */
export function planMemory(graph: Graph, schedule: Schedule): MemoryPlan {
  const { buffers, bufferOf } = schedule
  const bufferAt = (value: Value) => bufferOf.get(placeOf(value).base)!
  /** Buffers that are wanted after the run, and the slot of the state that one becomes. */
  const leaving = new Map<number, number | undefined>()
  for (const value of graph.outputs) leaving.set(bufferAt(value), undefined)
  for (const { slot, value } of graph.updates) leaving.set(bufferAt(value), slot)
  const lifetimes = lifetimesOf(schedule, leaving)
  const statesAt = new Map<number, number>()
  const homes = buffers.map(({ value }, i): Home => {
    const node = value?.node
    if (node?.kind === 'state') statesAt.set(node.slot, i)
    if (node?.kind === 'state') return { kind: 'state', slot: node.slot }
    if (node?.kind === 'constant') return { kind: 'constant', tensor: node.tensor }
    return leaving.has(i) ? { kind: 'fresh', takesOver: undefined } : { kind: 'none' }
  })
  const inputs = graph.nodes.filter(({ kind }) => kind === 'input')
  inputs.forEach(({ results }, index) => {
    homes[bufferOf.get(results[0]!)!] = { kind: 'input', index }
  })
  const follows = (before: number, i: number) => mayFollow(schedule, lifetimes, before, i)
  for (const [i, slot] of leaving) {
    if (slot === undefined || homes[i]!.kind !== 'fresh') continue
    const old = statesAt.get(slot)
    if (old === undefined || follows(old, i)) homes[i] = { kind: 'fresh', takesOver: slot }
  }
  const inside = buffers.flatMap((_, i) =>
    homes[i]!.kind === 'none' && lifetimes[i]!.to >= 0 ? i : [],
  )
  const shared = shareMemory(schedule, lifetimes, inside)
  const plan = planArena(shared.map(({ lifetime }) => lifetime))
  shared.forEach(({ members }, k) => {
    for (const i of members) homes[i] = { kind: 'arena', offset: plan.offsets[k]! }
  })
  return { homes, arenaBytes: plan.bytes }
}

function lifetimesOf(
  { buffers, kernels }: Schedule,
  leaving: ReadonlyMap<number, unknown>,
): Lifetime[] {
  const from = buffers.map(() => Infinity)
  const to = buffers.map((_, i) => (leaving.has(i) ? Infinity : -1))
  kernels.forEach(({ operands }, k) => {
    for (const { buffer } of operands) {
      from[buffer] = Math.min(from[buffer]!, k)
      to[buffer] = Math.max(to[buffer]!, k)
    }
  })
  return buffers.map(({ bytes }, i) => ({ bytes, from: from[i]!, to: to[i]! }))
}

/** Whether buffer `i` may have the memory of `before`: all reads of that come before all writes of this. */
function mayFollow(
  { kernels }: Schedule,
  lifetimes: readonly Lifetime[],
  before: number,
  i: number,
): boolean {
  const { to } = lifetimes[before]!
  const { from } = lifetimes[i]!
  return to < from || (to === from && mayOverwrite(kernels[to]!, before, i))
}

/** Buffers that have the same memory, one after the other, and when that is in use. */
interface Shared {
  readonly members: number[]
  lifetime: Lifetime
}

// Where a kernel reads a buffer for the last time, its result of the same size may be written over it.
function shareMemory(
  schedule: Schedule,
  lifetimes: readonly Lifetime[],
  inside: readonly number[],
): Shared[] {
  const all: Shared[] = []
  const order = inside.toSorted((a, b) => lifetimes[a]!.from - lifetimes[b]!.from)
  for (const i of order) {
    const lifetime = lifetimes[i]!
    const host = all.find(
      (x) =>
        x.lifetime.to === lifetime.from &&
        x.lifetime.bytes === lifetime.bytes &&
        mayFollow(schedule, lifetimes, x.members.at(-1)!, i),
    )
    if (host === undefined) all.push({ members: [i], lifetime })
    else {
      host.members.push(i)
      host.lifetime = { ...host.lifetime, to: lifetime.to }
    }
  }
  return all
}
