/** @file The tape entries that backward has still to visit: the latest first, each once. */
import type { GradNode } from './tape.ts'
import type { Tensor } from './tensor.ts'

/** The gradients of an entry's outputs that have arrived so far, during one run of backward. */
export interface Arrivals {
  readonly queue: NodeQueue
  readonly gradients: (Tensor | undefined)[]
  /** Those of a run around this one: a hook may run backward, too. */
  readonly outer: Arrivals | undefined
}

/** A binary heap by sequence number. */
export class NodeQueue {
  readonly #heap: GradNode[] = []

  /** The gradients of an entry's outputs, to be filled in; the entry joins the queue. */
  gradientsOf(node: GradNode): (Tensor | undefined)[] {
    const { arrivals } = node
    if (arrivals !== undefined && arrivals.queue === this) return arrivals.gradients
    const gradients: (Tensor | undefined)[] = [undefined]
    for (let i = 1; i < node.outputCount; i++) gradients.push(undefined)
    node.arrivals = { queue: this, gradients, outer: arrivals }
    this.#insert(node)
    return gradients
  }

  /** The latest entry, or undefined when the queue is empty. It stays until it is taken. */
  latest(): GradNode | undefined {
    return this.#heap.length === 0 ? undefined : this.#heap[0]!
  }

  /** Takes the latest entry out of the queue. Returns the gradients of its outputs. */
  take(): readonly (Tensor | undefined)[] {
    const heap = this.#heap
    const node = heap[0]!
    const last = heap.pop()!
    if (last !== node) this.#sink(last)
    const { gradients, outer } = node.arrivals!
    node.arrivals = outer
    return gradients
  }

  /** Empties the queue. */
  clear(): void {
    while (this.#heap.length > 0) this.take()
  }

  #insert(node: GradNode): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(node)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (heap[parent]!.sequence > node.sequence) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = node
  }

  // Puts an entry in place of the top.
  #sink(node: GradNode): void {
    const heap = this.#heap
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && heap[child + 1]!.sequence > heap[child]!.sequence) child++
      if (heap[child]!.sequence < node.sequence) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = node
  }
}
