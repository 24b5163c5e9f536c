/** @file The tape entries that backward has still to visit: the latest first, each once. */
import type { GradNode } from './tape.ts'
import type { Tensor } from './tensor.ts'

/** A binary heap by sequence number, with the gradients that have arrived so far. */
export class NodeQueue {
  readonly #heap: GradNode[] = []
  readonly #gradients = new Map<GradNode, (Tensor | undefined)[]>()

  /** The gradients of an entry's outputs, to be filled in; the entry joins the queue. */
  gradientsOf(node: GradNode): (Tensor | undefined)[] {
    let gs = this.#gradients.get(node)
    if (gs === undefined) {
      gs = new Array<undefined>(node.outputCount).fill(undefined)
      this.#gradients.set(node, gs)
      this.#insert(node)
    }
    return gs
  }

  /** The latest entry, which leaves the queue. */
  latest(): GradNode | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (last !== undefined && last !== top) this.#sink(last)
    return top
  }

  /** The gradients of an entry that has left the queue. */
  take(node: GradNode): readonly (Tensor | undefined)[] {
    const gs = this.#gradients.get(node)!
    this.#gradients.delete(node)
    return gs
  }

  #insert(node: GradNode): void {
    const heap = this.#heap
    let at = heap.length
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
