/** @file Which calls are computed a second time to save memory, and the graph in which they are. */
import { dtypes } from '../core/dtype.ts'
import { GraphBuilder, leavingValues, operandsOf, placeOf, prune } from './graph.ts'
import type { CallNode, Graph, Node, Value } from './graph.ts'
import type { PlannedMemory } from './memory.ts'
import { scheduledCalls, type Schedule } from './schedule.ts'

/** Of each call that is repeated, the node before which that is done: an index into the graph's nodes. */
export type Repeats = ReadonlyMap<CallNode, number>

export interface Goal {
  /** By how much the memory in use should shrink: 0.5 is half of its peak. */
  readonly factor: number
  /** Nothing is repeated before this node. */
  readonly firstReader: number
  readonly mayRepeat: (node: CallNode) => boolean
}

/** Chooses by bytes saved, for as long as there is too much, per operation that is repeated. */
export function chooseRepeats(graph: Graph, memory: PlannedMemory, goal: Goal): Repeats {
  return new Chooser(graph, memory, goal).run()
}

/** The graph with repeated calls: what comes after them reads what they give. */
export function repeatCalls(graph: Graph, repeats: Repeats): Graph {
  const builder = new GraphBuilder()
  const images = new Map<Value, Value>()
  // Views are taken of what is there at the time.
  const image = (value: Value): Value => {
    const { base, layout, offset } = placeOf(value)
    return builder.view(images.get(base)!, layout, offset)
  }
  const add = (node: Node) => {
    const made = builder.copy(node, image)
    node.results.forEach((value, i) => images.set(value, made[i]!))
  }
  const repeatsAt = new Map<number, CallNode[]>()
  for (const node of graph.nodes) {
    const at = node.kind === 'call' ? repeats.get(node) : undefined
    if (at !== undefined) repeatsAt.set(at, [...(repeatsAt.get(at) ?? []), node as CallNode])
  }
  const last = graph.nodes.reduce(
    (n, node) => (node.kind === 'call' ? Math.max(n, node.again ?? 0) : n),
    0,
  )
  graph.nodes.forEach((node, i) => {
    for (const call of repeatsAt.get(i) ?? []) add({ ...call, again: last + 1 })
    if (node.kind !== 'view') add(node)
  })
  return prune({
    nodes: builder.nodes,
    outputs: graph.outputs.map(image),
    updates: graph.updates.map(({ slot, value }) => ({ slot, value: image(value) })),
  })
}

/** A buffer that lies idle between two kernels. */
interface Idle {
  readonly value: Value
  readonly bytes: number
  /** The kernels that touch it before and after. */
  readonly from: number
  readonly to: number
  /** Where its value would be computed again: the first node that reads it. */
  readonly at: number
}

/** More calls than this are not repeated for one result. */
const longestChain = 40

class Chooser {
  readonly #goal: Goal
  readonly #schedule: Schedule
  readonly #homes: PlannedMemory['homes']
  /** The kernels that touch each buffer, in order. */
  readonly #touches: readonly (readonly number[])[]
  readonly #positions: ReadonlyMap<Node, number>
  readonly #leaving: ReadonlySet<Value>
  readonly #points: PlannedMemory['points']
  /** Bytes in use while each kernel runs, and how many should be. */
  readonly #usage: number[]
  readonly #wanted: number
  readonly #repeats = new Map<CallNode, { readonly at: number; readonly kernel: number }>()

  constructor(graph: Graph, { schedule, homes, points }: PlannedMemory, goal: Goal) {
    this.#goal = goal
    this.#points = points
    this.#schedule = schedule
    this.#homes = homes
    this.#leaving = leavingValues(graph)
    this.#positions = new Map(graph.nodes.map((node, i) => [node, i]))
    const touches = schedule.buffers.map((): number[] => [])
    schedule.kernels.forEach(({ operands }, k) => {
      for (const buffer of new Set(operands.map((x) => x.buffer))) touches[buffer]!.push(k)
    })
    this.#touches = touches
    this.#usage = this.#memoryInUse()
    this.#wanted = this.#usage.reduce((a, b) => Math.max(a, b), 0) * goal.factor
  }

  run(): Repeats {
    const candidates = this.#schedule.buffers
      .flatMap((_, buffer) => this.#idle(buffer) ?? [])
      .map((idle) => ({ idle, score: this.#score(idle) }))
      .filter(({ score }) => score > 0)
      .sort((a, b) => b.score - a.score)
    for (const { idle } of candidates) this.#tryToFree(idle)
    return new Map([...this.#repeats].map(([node, { at }]) => [node, at]))
  }

  #memoryInUse(): number[] {
    const { buffers, kernels } = this.#schedule
    const changes = new Array<number>(kernels.length + 1).fill(0)
    let always = 0
    this.#homes.forEach((home, i) => {
      const { bytes } = buffers[i]!
      const touches = this.#touches[i]!
      if (home.kind === 'fresh' && home.takesOver === undefined) always += bytes
      if (home.kind !== 'arena' || touches.length === 0) return
      changes[touches[0]!]! += bytes
      changes[touches.at(-1)! + 1]! -= bytes
    })
    let now = always
    return kernels.map((_, k) => (now += changes[k]!))
  }

  // The longest time that a buffer is kept without being touched.
  #idle(buffer: number): Idle | undefined {
    const { bytes, value } = this.#schedule.buffers[buffer]!
    const node = value?.node
    if (this.#homes[buffer]!.kind !== 'arena' || node?.kind !== 'call') return undefined
    let [from, to] = [0, 0]
    const touches = this.#touches[buffer]!
    touches.forEach((k, i) => {
      const before = touches[i - 1] ?? k
      if (k - before > to - from) [from, to] = [before, k]
    })
    if (to - from < 2) return undefined
    const readers = scheduledCalls(this.#schedule.kernels[to]!).filter((call) =>
      operandsOf(call).some((x) => placeOf(x).base === value),
    )
    if (readers.length === 0) return undefined
    const at = Math.min(...readers.map((call) => this.#positions.get(call)!))
    return at < this.#goal.firstReader ? undefined : { value: value!, bytes, from, to, at }
  }

  #score(idle: Idle): number {
    const chain = this.#chain(idle)
    if (chain === undefined) return 0
    let cost = 1
    for (const node of chain) cost += this.#points.get(node)!
    return this.#gain(idle, idle.from + 1, idle.to) / cost
  }

  #tryToFree(idle: Idle): void {
    const { bytes, from, to, at, value } = idle
    const gain = this.#gain(idle, from + 1, to)
    if (gain === 0 || this.#repeats.has(value.node as CallNode)) return
    const chain = this.#chain(idle)
    if (chain === undefined) return
    // What was to be repeated later is now kept from here to there.
    const earlier = [...chain].flatMap((node) => {
      const old = this.#repeats.get(node)
      if (old === undefined || old.kernel <= to) return []
      return [{ from: to, to: old.kernel, bytes: this.#bytesOf(node) }]
    })
    this.#add(-bytes, from + 1, to)
    const loss = earlier.reduce((sum, x) => sum + this.#gain(x, x.from, x.to, x.bytes), 0)
    if (loss >= gain) return this.#add(bytes, from + 1, to)
    for (const x of earlier) this.#add(x.bytes, x.from, x.to)
    for (const node of chain) this.#repeats.set(node, { at, kernel: to })
  }

  // Bytes times kernels from which too much would be taken, if `more` were in use than is.
  #gain({ bytes }: { readonly bytes: number }, from: number, to: number, more = 0): number {
    let sum = 0
    for (let k = from; k < to; k++) if (this.#usage[k]! + more > this.#wanted) sum += bytes
    return sum
  }

  #add(bytes: number, from: number, to: number): void {
    for (let k = from; k < to; k++) this.#usage[k]! += bytes
  }

  /** The calls that make a value from what is in memory when it is read; undefined where some may not be repeated. */
  #chain({ value, at, to }: Idle): ReadonlySet<CallNode> | undefined {
    const chain = new Set<CallNode>()
    const collect = ({ node }: Value): boolean => {
      if (node.kind !== 'call' || !this.#isRepeatable(node)) return false
      if (chain.has(node)) return true
      if (chain.size === longestChain) return false
      chain.add(node)
      return operandsOf(node).every((x) => {
        const { base } = placeOf(x)
        return this.#isThere(base, at, to) || collect(base)
      })
    }
    return collect(value) ? chain : undefined
  }

  // Note [Budget]: what is fused is not rounded to 16 bits in between, so repeating such might change bits.
  #isRepeatable(node: CallNode): boolean {
    const values = [...node.results, ...operandsOf(node)]
    return (
      this.#goal.mayRepeat(node) &&
      !node.results.some((x) => this.#leaving.has(x)) &&
      values.every(({ dtype }) => dtypes[dtype].kind !== 'float' || dtypes[dtype].bytes >= 4)
    )
  }

  /** Whether a value is in memory anyway when a kernel runs that reads what would be made of it. */
  #isThere(value: Value, at: number, kernel: number): boolean {
    const { node } = value
    if (node.kind === 'input' || node.kind === 'state' || node.kind === 'constant') return true
    if (this.#leaving.has(value)) return true
    const repeated = node.kind === 'call' ? this.#repeats.get(node) : undefined
    if (repeated !== undefined) return repeated.at <= at && this.#isReadFrom(value, kernel)
    const touches = this.#touches[this.#schedule.bufferOf.get(value)!]!
    return touches.length > 0 && touches[0]! < kernel && this.#isReadFrom(value, kernel)
  }

  #isReadFrom(value: Value, kernel: number): boolean {
    const last = this.#touches[this.#schedule.bufferOf.get(value)!]!.at(-1)
    return last !== undefined && last >= kernel
  }

  #bytesOf({ results }: CallNode): number {
    return results.reduce((n, x) => {
      const buffer = this.#schedule.bufferOf.get(x)!
      return n + (this.#homes[buffer]!.kind === 'arena' ? this.#schedule.buffers[buffer]!.bytes : 0)
    }, 0)
  }
}
