/** @file Where a trace records: into the graph of the function, or into that of a branch or loop inside of it. */
import type { Tensor } from '../tensor/tensor.ts'
import { TraceError } from '../util/errors.ts'
import { GraphBuilder, type Value } from './graph.ts'
import type { SymbolicBlock } from './symbolic.ts'

export class TraceScope {
  readonly builder = new GraphBuilder()
  /** The one around it. */
  readonly outer: TraceScope | undefined
  /** Tensors with gradients that it finds outside. */
  readonly found = new Set<Tensor>()
  /** What it finds outside, as inputs of its own graph. */
  readonly #captured = new Map<SymbolicBlock, Value>()

  constructor(outer?: TraceScope) {
    this.outer = outer
  }

  /** The value that a block stands for here. */
  take(block: SymbolicBlock): Value {
    if (block.scope === this) return block.value
    if (this.outer === undefined)
      throw new TraceError(
        'compile: a tensor that was made inside a function given to cond or whileLoop is used outside of it. Return it from there',
      )
    let value = this.#captured.get(block)
    if (value !== undefined) return value
    const { shape, dtype } = this.outer.take(block)
    value = this.builder.input(`outer${this.#captured.size}`, shape, dtype)
    this.#captured.set(block, value)
    return value
  }

  /** The values outside that it takes, in the order of its inputs for them. */
  captured(): Value[] {
    return [...this.#captured.keys()].map((block) => this.outer!.take(block))
  }

  /** Notes a tensor that is read. */
  note(t: Tensor): void {
    if (this.outer === undefined || !t.requiresGrad) return
    if ((t.storage as Partial<SymbolicBlock>).scope === this) return
    this.found.add(t)
    this.outer.note(t)
  }
}
