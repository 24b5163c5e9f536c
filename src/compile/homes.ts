/** @file Where the buffers of a program are: in its arena, in memory of others, or in memory that is new at each run. */
import type { Layout } from '../core/layout.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { planArena, type Lifetime } from './arena.ts'
import { placeOf, type Graph, type Value } from './graph.ts'
import { mayOverwrite } from './in-place.ts'
import type { Schedule } from './schedule.ts'
import type { State, Trace } from './trace.ts'

type States = Pick<Trace, 'states' | 'grads'>

/** What a buffer is during a run. */
export type Home =
  /** Bytes from the beginning of the arena. */
  | { readonly kind: 'arena'; readonly offset: number }
  | { readonly kind: 'input'; readonly index: number }
  | { readonly kind: 'state'; readonly slot: number }
  | { readonly kind: 'constant'; readonly tensor: Tensor }
  /** New memory at each run; that of the state which it becomes, if nobody else reads that. */
  | { readonly kind: 'fresh'; readonly takesOver: Heir | undefined }
  /** Memory that a branch or a loop brings. */
  | { readonly kind: 'brought' }
  /** A copy of the elements of a view of another one, made when that has another content. */
  | {
      readonly kind: 'packed'
      readonly source: PackedSource
      readonly layout: Layout
      readonly offset: number
    }
  /** No kernel touches it. */
  | { readonly kind: 'none' }

type PackedSource =
  | { readonly kind: 'state'; readonly slot: number }
  | { readonly kind: 'constant'; readonly tensor: Tensor }

/** A state, and what becomes of it. */
export interface Heir {
  readonly state: State
  /** Of the new content in its buffer. */
  readonly layout: Layout
  readonly offset: number
}

export interface MemoryPlan {
  /** One per buffer of the schedule. */
  readonly homes: readonly Home[]
  readonly arenaBytes: number
}

/** Gives every buffer a home. */
export function planMemory(graph: Graph, trace: States, schedule: Schedule): MemoryPlan {
  const { buffers, bufferOf } = schedule
  const leaving = leavingBuffers(graph, trace, schedule)
  const lifetimes = lifetimesOf(schedule, leaving)
  const statesAt = new Map<State, number>()
  const homes = buffers.map(({ value }, i): Home => {
    const node = value?.node
    if (node?.kind === 'state') statesAt.set(trace.states[node.slot]!, i)
    if (node?.kind === 'state') return { kind: 'state', slot: node.slot }
    if (node?.kind === 'constant') return { kind: 'constant', tensor: node.tensor }
    if (node?.kind === 'control') return { kind: 'brought' }
    return leaving.has(i) ? { kind: 'fresh', takesOver: undefined } : { kind: 'none' }
  })
  const inputs = graph.nodes.filter(({ kind }) => kind === 'input')
  inputs.forEach(({ results }, index) => {
    homes[bufferOf.get(results[0]!)!] = { kind: 'input', index }
  })
  for (const { buffer, source, layout, offset } of schedule.packed ?? [])
    homes[buffer] = { kind: 'packed', source: homes[source] as PackedSource, layout, offset }
  const follows = (before: number, i: number) => mayFollow(schedule, lifetimes, before, i)
  for (const [i, heir] of leaving) {
    if (heir === undefined || homes[i]!.kind !== 'fresh') continue
    const old = statesAt.get(heir.state)
    if (old === undefined || follows(old, i)) homes[i] = { kind: 'fresh', takesOver: heir }
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

/** Buffers that are wanted after the run, and of which state one is the new content. */
function leavingBuffers(
  graph: Graph,
  { states, grads }: States,
  { bufferOf }: Schedule,
): Map<number, Heir | undefined> {
  const bufferAt = (value: Value) => bufferOf.get(placeOf(value).base)!
  const leaving = new Map<number, Heir | undefined>()
  const outputs = graph.outputs.map(bufferAt)
  for (const i of outputs) leaving.set(i, undefined)
  for (const { leaf, output } of grads) {
    if (output === undefined || leaf.backend.symbolic) continue
    const i = outputs[output]!
    // What leaves as something else as well may be kept by whoever gets that.
    if (outputs.indexOf(i) !== outputs.lastIndexOf(i)) continue
    const state = states.find((x) => x.kind === 'grad' && x.leaf === leaf)
    const { layout, offset } = placeOf(graph.outputs[output]!)
    leaving.set(i, { state: state ?? { kind: 'grad', leaf }, layout, offset })
  }
  for (const { slot, value } of graph.updates) {
    const { layout, offset } = placeOf(value)
    leaving.set(bufferAt(value), { state: states[slot]!, layout, offset })
  }
  return leaving
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
  if (to < from) return true
  const kernel = kernels[to]
  return to === from && kernel !== undefined && 'step' in kernel && mayOverwrite(kernel, before, i)
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
