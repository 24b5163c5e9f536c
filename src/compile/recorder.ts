/** @file Records what a function does: its operations as a graph, what it changes, and what it counts and draws. */
import type { Backend } from '../backend/backend.ts'
import { bytesFor } from '../backend/backend.ts'
import { dtypes, type DType } from '../core/dtype.ts'
import { layoutOf } from '../core/layout.ts'
import { Cell } from '../tensor/cell.ts'
import type { Op } from '../tensor/op.ts'
import { Tensor } from '../tensor/tensor.ts'
import { LiveNumber, type Tracer } from '../tensor/tracing.ts'
import type { Attributes } from '../tensor/types.ts'
import { DeviceError, TraceError } from '../util/errors.ts'
import { DynamicAxesError } from './dynamic-axes.ts'
import { prune } from './graph.ts'
import type { Argument, Control, Graph, Part, Value } from './graph.ts'
import { SymbolicBackend, SymbolicBlock } from './symbolic.ts'
import type { Action, ArgumentSpec, Assumption, GradOutcome } from './trace.ts'
import type { State, Trace, Traced } from './trace.ts'
import { TraceScope } from './trace-scope.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

interface Adopted {
  readonly cell: Cell
  readonly before: Pick<Cell, 'storage' | 'layout' | 'dtype' | 'backend' | 'kept'>
  readonly slot: number
  readonly initial: Value
}

interface TouchedGrad {
  readonly leaf: Tensor
  readonly before: Tensor | undefined
  readonly stand: Tensor | undefined
}

/** A function that was recorded into a graph of its own. */
export interface TracedPart {
  readonly graph: Graph
  readonly scope: TraceScope
}

/** Records one function. */
export class Recorder implements Tracer {
  readonly #root = new TraceScope()
  #scope = this.#root
  readonly #backend: SymbolicBackend
  readonly #states: State[] = []
  readonly #cells = new Map<Cell, Adopted>()
  readonly #grads = new Map<Tensor, TouchedGrad>()
  /** Stand-ins of storage from outside. */
  readonly #constants = new Map<Tensor['storage'], SymbolicBlock>()
  readonly #actions: Action[] = []
  readonly #assumptions: Assumption[] = []
  /** Tensors from outside. */
  readonly #outside = new Set<Tensor>()
  #numberCount = 0
  #againCount = 0
  #again: number | undefined
  /** Whether it is clear which backend the program is for. */
  #isSettled: boolean
  /** Operations and views that may still come. */
  #room: number

  constructor(backend: Backend, { isSettled, room }: { isSettled: boolean; room: number }) {
    this.#backend = new SymbolicBackend(backend)
    this.#isSettled = isSettled
    this.#room = room
  }

  /** The tensors from outside that were used, the cells among them. */
  outside(): Tensor[] {
    return [...this.#outside]
  }

  /** How many numbers each run draws or counts, so far. */
  get numberCount(): number {
    return this.#numberCount
  }
  /** How many actions each run begins with, so far. */
  get actionCount(): number {
    return this.#actions.length
  }

  /** Whether a tensor was there before. */
  isOutside(t: Tensor): boolean {
    return t.backend !== this.#backend || (t instanceof Cell && this.#cells.has(t))
  }

  input({ name, shape, dtype }: ArgumentSpec): Tensor {
    return this.#tensor(this.#scope.builder.input(name, shape, dtype))
  }

  // -- as a tracer

  call(op: Op, inputs: readonly (Tensor | number)[], attributes: Attributes, key: string) {
    this.#count()
    const args = inputs.map((x): Argument =>
      x instanceof Tensor ? this.#valueOf(x) : (x as unknown as number | LiveNumber),
    )
    const values = this.#scope.builder.call(op, args, attributes, key, this.#again)
    const shapes = args.map((x) => (typeof x === 'object' && 'shape' in x ? x.shape : []))
    const kinds = args.map((x) => (typeof x === 'object' && 'dtype' in x ? x.dtype : 'float32'))
    const facts = { shapes, dtypes: kinds as DType[] }
    return { outputs: values.map((value) => this.#tensor(value)), facts }
  }

  stand(t: Tensor): Tensor {
    this.#count()
    this.#scope.note(t)
    if (t.backend === this.#backend) return t
    if (t instanceof Cell) {
      this.#adopt(t)
      return t
    }
    this.#noteOutside(t)
    return new Tensor(this.#constant(t), t.layout, t.offset, t.dtype, this.#backend)
  }

  touchGrad(leaf: Tensor, isReplaced: boolean): void {
    if (this.#grads.has(leaf)) return
    const before = leaf.gradSlot
    if (!isReplaced && this.isOutside(leaf))
      this.#assumptions.push({
        read: () => leaf.gradSlot === undefined,
        value: before === undefined,
      })
    if (before === undefined || before.backend === this.#backend) {
      this.#grads.set(leaf, { leaf, before, stand: undefined })
      return
    }
    const slot = this.#states.push({ kind: 'grad', leaf }) - 1
    const value = this.#root.builder.state(slot, `grad${slot}`, before.shape, before.dtype)
    const stand = this.#tensor(value, this.#root)
    stand.storage.pending++
    this.#grads.set(leaf, { leaf, before, stand })
    leaf.gradSlot = stand
  }

  numbers(
    count: number,
    compute: (sizes: readonly number[]) => readonly number[],
    sizes: readonly number[],
  ): LiveNumber[] {
    this.#checkOutside('draws random numbers or takes the step of an optimizer')
    const slot = this.#numberCount
    this.#numberCount += count
    this.#actions.push({ kind: 'numbers', slot, count, compute, sizes })
    return Array.from({ length: count }, (_, i) => new LiveNumber(slot + i))
  }

  everyRun(act: () => void): void {
    this.#checkOutside('takes the step of an optimizer or schedule')
    this.#actions.push({ kind: 'act', act })
  }

  again<T>(body: () => T): T {
    const before = this.#again
    this.#again = ++this.#againCount
    try {
      return body()
    } finally {
      this.#again = before
    }
  }

  assume(read: () => unknown): void {
    this.#assumptions.push({ read, value: read() })
  }

  #count(): void {
    if (--this.#room >= 0) return
    throw new DynamicAxesError(
      'compile: the function goes on and on: does it loop over a dynamic axis? A loop in JavaScript is recorded step by step. Use operations on whole tensors or scan(), or leave the axis out of dynamicAxes',
    )
  }

  // -- branches and loops

  /** Records `run`, which gets a tensor per spec, into a graph of its own. */
  part(
    specs: readonly Omit<ArgumentSpec, 'name'>[],
    run: (inputs: readonly Tensor[]) => readonly Tensor[],
  ): TracedPart {
    const scope = new TraceScope(this.#scope)
    const isUnchanged = this.#watch()
    this.#scope = scope
    try {
      const made = run(
        specs.map(({ shape, dtype }, i) => this.input({ name: `x${i}`, shape, dtype })),
      )
      const outputs = made.map((t) => {
        const value = this.#valueOf(t)
        const isOwn = value.node.kind === 'call' || value.node.kind === 'control'
        return isOwn ? value : this.#valueOf(t.clone())
      })
      if (!isUnchanged()) this.#checkOutside('changes a parameter, a buffer or a .grad')
      return { scope, graph: prune({ nodes: scope.builder.nodes, outputs, updates: [] }) }
    } finally {
      this.#scope = scope.outer!
    }
  }

  /** Records a branch or a loop over parts. `inputs` come before what the parts take from outside. */
  control(
    parts: readonly TracedPart[],
    make: (parts: readonly Part[]) => Control,
    inputs: readonly Tensor[],
    given: number,
  ): Tensor[] {
    const values = inputs.map((t) => this.#valueOf(t))
    const indexed = parts.map(({ scope, graph }): Part => ({
      graph,
      inputs: [
        ...values.slice(0, given).keys(),
        ...scope.captured().map((value) => values.push(value) - 1),
      ],
    }))
    const results = this.#scope.builder.control(make(indexed), values, this.#again)
    return results.map((value) => this.#tensor(value))
  }

  // Says whether what was touched is as it was now, or as it was when it was touched.
  #watch(): () => boolean {
    const storages = new Map([...this.#cells.keys()].map((cell) => [cell, cell.storage]))
    const slots = new Map([...this.#grads.keys()].map((leaf) => [leaf, leaf.gradSlot]))
    return () =>
      [...this.#cells.values()].every(({ cell, initial }) =>
        storages.has(cell)
          ? cell.storage === storages.get(cell)
          : (cell.storage as SymbolicBlock).value === initial,
      ) &&
      [...this.#grads.values()].every(
        ({ leaf, stand, before }) =>
          leaf.gradSlot === (slots.has(leaf) ? slots.get(leaf) : (stand ?? before)),
      )
  }

  #checkOutside(what: string): void {
    if (this.#scope !== this.#root)
      throw new TraceError(
        `compile: a function given to cond or whileLoop ${what}. That belongs outside of it: hand over what was drawn, return what is to be kept`,
      )
  }

  // -- the end

  finish({ returned, gradients }: Traced): Trace {
    const outputs = returned.map((t) => this.#valueOf(t))
    const grads: GradOutcome[] = []
    for (const { leaf, before, stand } of this.#grads.values()) {
      const after = leaf.gradSlot
      if (after !== undefined && after === (stand ?? before)) continue
      const output = after === undefined ? undefined : outputs.push(this.#valueOf(after)) - 1
      grads.push({ leaf, output })
    }
    for (const t of gradients) outputs.push(this.#valueOf(t))
    const updates = [...this.#cells.values()].flatMap(({ cell, slot, initial }) => {
      const value = this.#valueOf(cell)
      if (value.dtype !== initial.dtype)
        throw new TraceError(
          `compile: the function changes the dtype of a ${cell.constructor.name} from ${initial.dtype} to ${value.dtype}. Call cast() of the module outside of it`,
        )
      return value === initial ? [] : [{ slot, value }]
    })
    return {
      backend: this.#backend.real,
      graph: prune({ nodes: this.#root.builder.nodes, outputs, updates }),
      states: this.#states,
      grads,
      actions: this.#actions,
      numberCount: this.#numberCount,
      assumptions: this.#assumptions,
    }
  }

  restore(): void {
    for (const { cell, before } of this.#cells.values()) Object.assign(cell, before)
    for (const { leaf, before } of this.#grads.values()) leaf.gradSlot = before
    this.#backend.isOver = true
  }

  // -- values

  #tensor(value: Value, scope = this.#scope): Tensor {
    const layout = layoutOf(value.shape)
    const block = new SymbolicBlock(value, bytesFor(dtypes[value.dtype].bytes, layout.size), scope)
    return new Tensor(block, layout, 0, value.dtype, this.#backend)
  }

  #valueOf(t: Tensor): Value {
    if (t instanceof Cell) this.#adopt(t)
    else this.#noteOutside(t)
    const block = t.storage instanceof SymbolicBlock ? t.storage : this.#constant(t)
    if (t.backend.symbolic && t.backend !== this.#backend)
      throw new TraceError(
        'compile: a tensor of another trace was used. Only tensors that the function gets, makes, or finds outside can be used in it',
      )
    this.#scope.note(t)
    return this.#scope.builder.view(this.#scope.take(block), t.layout, t.offset)
  }

  // Freezing a leaf, or a cast of a module, makes another program.
  #noteOutside(t: Tensor): void {
    if (t.backend.symbolic || this.#outside.has(t)) return
    this.#outside.add(t)
    const { backend, layout, dtype, requiresGrad } = t
    this.#assumptions.push({
      read: () =>
        t.backend === backend &&
        t.layout === layout &&
        t.dtype === dtype &&
        t.requiresGrad === requiresGrad,
      value: true,
    })
  }

  #adopt(cell: Cell): void {
    // One that was made inside is like any other tensor.
    if (cell.backend === this.#backend || this.#cells.has(cell)) return
    this.#checkDevice(cell)
    this.#noteOutside(cell)
    const { storage, layout, dtype, backend, kept } = cell
    const slot = this.#states.push({ kind: 'cell', cell }) - 1
    const initial = this.#root.builder.state(
      slot,
      `${cell.constructor.name.toLowerCase()}${slot}`,
      cell.shape,
      cell.dtype,
    )
    this.#cells.set(cell, {
      cell,
      before: { storage, layout, dtype, backend, kept },
      slot,
      initial,
    })
    const changed = cell as Mutable<Cell>
    changed.storage = new SymbolicBlock(initial, storage.bytes, this.#root)
    changed.storage.shares = 1
    changed.storage.pending = 1
    changed.backend = this.#backend
    changed.kept = undefined
  }

  // The whole storage as one axis, unless the tensor is all of it: other tensors may be views of it.
  #constant(t: Tensor): SymbolicBlock {
    const known = this.#constants.get(t.storage)
    if (known !== undefined) return known
    this.#checkDevice(t)
    const { bytes } = dtypes[t.dtype]
    const count = Math.floor(t.storage.bytes / bytes)
    const isWhole = t.layout.contiguous && t.offset === 0 && t.size === count
    const shape = isWhole ? t.shape : [count]
    const all = new Tensor(t.storage, layoutOf(shape), 0, t.dtype, t.backend)
    const block = new SymbolicBlock(
      this.#root.builder.constant(all, shape),
      t.storage.bytes,
      this.#root,
    )
    this.#constants.set(t.storage, block)
    return block
  }

  #checkDevice(t: Tensor): void {
    if (!this.#isSettled) this.#backend.real = t.backend
    this.#isSettled = true
    if (t.backend === this.#backend.real) return
    throw new DeviceError(
      `compile: a tensor on ${t.device} is used in a program for ${this.#backend.name}. Move it: t.to('${this.#backend.name}')`,
    )
  }
}
