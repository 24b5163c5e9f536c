/** @file Runs a function once with tensors that have no data, and records what it would do. */
import type { Backend } from '../backend/backend.ts'
import { bytesFor } from '../backend/backend.ts'
import { dtypes, type DType } from '../core/dtype.ts'
import { layoutOf, type Layout } from '../core/layout.ts'
import type { Shape } from '../core/shape.ts'
import { Cell } from '../tensor/cell.ts'
import type { Op } from '../tensor/op.ts'
import { Tensor } from '../tensor/tensor.ts'
import { LiveNumber, withTracer, type Tracer } from '../tensor/tracing.ts'
import type { Attributes } from '../tensor/types.ts'
import { DeviceError, TraceError } from '../util/errors.ts'
import { GraphBuilder, prune, type Argument, type Graph, type Value } from './graph.ts'
import { SymbolicBackend, SymbolicBlock } from './symbolic.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** What a state of a graph is in the world outside. */
export type State =
  | { readonly kind: 'cell'; readonly cell: Cell }
  /** The gradient that a leaf had before the run. */
  | { readonly kind: 'grad'; readonly leaf: Tensor }

/** What is done with the `.grad` of a leaf at the end of a run. */
export interface GradOutcome {
  readonly leaf: Tensor
  /** Which output of the graph becomes the gradient; undefined: there is none any more. */
  readonly output: number | undefined
}

/** Something that JavaScript does at the beginning of each run. */
export type Action =
  | { readonly kind: 'numbers'; readonly slot: number; readonly compute: () => readonly number[] }
  | { readonly kind: 'act'; readonly act: () => void }

/** Something outside that the program takes for granted, and what it was. */
export interface Assumption {
  readonly read: () => unknown
  readonly value: unknown
}

export interface Trace {
  readonly graph: Graph
  /** By slot. */
  readonly states: readonly State[]
  readonly grads: readonly GradOutcome[]
  readonly actions: readonly Action[]
  readonly numberCount: number
  readonly assumptions: readonly Assumption[]
  /** What the function returned, in the order of the graph's first outputs. */
  readonly returned: readonly Tensor[]
}

/** A tensor that the function is called with. */
export interface ArgumentSpec {
  readonly name: string
  readonly shape: Shape
  readonly dtype: DType
}

/**
 * Traces `run`, which gets a tensor per argument and returns the tensors that the program is to give.
 * Parameters and gradients are afterwards as they were before, also when it throws.
 */
export function trace(
  backend: Backend,
  specs: readonly ArgumentSpec[],
  run: (inputs: readonly Tensor[]) => readonly Tensor[],
): Trace {
  const recorder = new Recorder(backend)
  try {
    const returned = withTracer(recorder, () => run(specs.map((spec) => recorder.input(spec))))
    return { ...recorder.finish(returned), returned }
  } finally {
    recorder.restore()
  }
}

interface Adopted {
  readonly cell: Cell
  readonly storage: Cell['storage']
  readonly backend: Backend
  readonly kept: Tensor | undefined
  readonly slot: number
  readonly initial: Value
}

interface TouchedGrad {
  readonly leaf: Tensor
  readonly before: Tensor | undefined
  readonly stand: Tensor | undefined
}

class Recorder implements Tracer {
  readonly #builder = new GraphBuilder()
  readonly #backend: SymbolicBackend
  readonly #states: State[] = []
  readonly #cells = new Map<Cell, Adopted>()
  readonly #grads = new Map<Tensor, TouchedGrad>()
  /** Stand-ins of storage from outside. */
  readonly #constants = new Map<Tensor['storage'], SymbolicBlock>()
  readonly #actions: Action[] = []
  readonly #assumptions: Assumption[] = []
  #numberCount = 0

  constructor(backend: Backend) {
    this.#backend = new SymbolicBackend(backend)
  }

  input({ name, shape, dtype }: ArgumentSpec): Tensor {
    return this.#tensor(this.#builder.input(name, shape, dtype))
  }

  // -- as a tracer

  call(op: Op, inputs: readonly (Tensor | number)[], attributes: Attributes, key: string) {
    const args = inputs.map((x): Argument =>
      x instanceof Tensor ? this.#valueOf(x) : (x as unknown as number | LiveNumber),
    )
    const values = this.#builder.call(op, args, attributes, key)
    const shapes = args.map((x) => (typeof x === 'object' && 'shape' in x ? x.shape : []))
    const kinds = args.map((x) => (typeof x === 'object' && 'dtype' in x ? x.dtype : 'float32'))
    const facts = { shapes, dtypes: kinds as DType[] }
    return { outputs: values.map((value) => this.#tensor(value)), facts }
  }

  stand(t: Tensor): Tensor {
    if (t.backend === this.#backend) return t
    if (t instanceof Cell) {
      this.#adopt(t)
      return t
    }
    return new Tensor(this.#constant(t), t.layout, t.offset, t.dtype, this.#backend)
  }

  touchGrad(leaf: Tensor, isReplaced: boolean): void {
    if (this.#grads.has(leaf)) return
    const before = leaf.gradSlot
    if (!isReplaced && !leaf.backend.symbolic)
      this.#assumptions.push({
        read: () => leaf.gradSlot === undefined,
        value: before === undefined,
      })
    if (before === undefined || before.backend === this.#backend) {
      this.#grads.set(leaf, { leaf, before, stand: undefined })
      return
    }
    const slot = this.#states.push({ kind: 'grad', leaf }) - 1
    const value = this.#builder.state(slot, `grad${slot}`, before.shape, before.dtype)
    const stand = this.#tensor(value)
    stand.storage.pending++
    this.#grads.set(leaf, { leaf, before, stand })
    leaf.gradSlot = stand
  }

  numbers(count: number, compute: () => readonly number[]): LiveNumber[] {
    const slot = this.#numberCount
    this.#numberCount += count
    this.#actions.push({ kind: 'numbers', slot, compute })
    return Array.from({ length: count }, (_, i) => new LiveNumber(slot + i))
  }

  everyRun(act: () => void): void {
    this.#actions.push({ kind: 'act', act })
  }

  assume(read: () => unknown): void {
    this.#assumptions.push({ read, value: read() })
  }

  // -- the end

  finish(returned: readonly Tensor[]): Omit<Trace, 'returned'> {
    const outputs = returned.map((t) => this.#valueOf(t))
    const grads: GradOutcome[] = []
    for (const { leaf, stand } of this.#grads.values()) {
      const after = leaf.gradSlot
      if (after !== undefined && after === stand) continue
      const output = after === undefined ? undefined : outputs.push(this.#valueOf(after)) - 1
      grads.push({ leaf, output })
    }
    const updates = [...this.#cells.values()].flatMap(({ cell, slot, initial }) => {
      const value = this.#valueOf(cell)
      return value === initial ? [] : [{ slot, value }]
    })
    return {
      graph: prune({ nodes: this.#builder.nodes, outputs, updates }),
      states: this.#states,
      grads,
      actions: this.#actions,
      numberCount: this.#numberCount,
      assumptions: this.#assumptions,
    }
  }

  restore(): void {
    for (const { cell, storage, backend, kept } of this.#cells.values()) {
      const changed = cell as Mutable<Cell>
      changed.storage = storage
      changed.backend = backend
      changed.kept = kept
    }
    for (const { leaf, before } of this.#grads.values()) leaf.gradSlot = before
    this.#backend.isOver = true
  }

  // -- values

  #tensor(value: Value, layout: Layout = layoutOf(value.shape), offset = 0): Tensor {
    const bytes = bytesFor(dtypes[value.dtype].bytes, layoutOf(value.shape).size)
    return new Tensor(new SymbolicBlock(value, bytes), layout, offset, value.dtype, this.#backend)
  }

  #valueOf(t: Tensor): Value {
    if (t instanceof Cell) this.#adopt(t)
    const block = t.storage instanceof SymbolicBlock ? t.storage : this.#constant(t)
    if (t.backend.symbolic && t.backend !== this.#backend)
      throw new TraceError(
        'compile: a tensor of another trace was used. Only tensors that the function gets, makes, or finds outside can be used in it',
      )
    return this.#builder.view(block.value, t.layout, t.offset)
  }

  #adopt(cell: Cell): void {
    if (this.#cells.has(cell)) return
    this.#checkDevice(cell)
    const { storage, backend, kept, layout, dtype } = cell
    this.#assumptions.push({
      read: () => cell.backend === backend && cell.layout === layout && cell.dtype === dtype,
      value: true,
    })
    const slot = this.#states.push({ kind: 'cell', cell }) - 1
    const initial = this.#builder.state(
      slot,
      `${cell.constructor.name.toLowerCase()}${slot}`,
      cell.shape,
      cell.dtype,
    )
    this.#cells.set(cell, { cell, storage, backend, kept, slot, initial })
    const changed = cell as Mutable<Cell>
    changed.storage = new SymbolicBlock(initial, storage.bytes)
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
    const block = new SymbolicBlock(this.#builder.constant(all, shape), t.storage.bytes)
    this.#constants.set(t.storage, block)
    return block
  }

  #checkDevice(t: Tensor): void {
    if (t.backend === this.#backend.real) return
    throw new DeviceError(
      `compile: a tensor on ${t.device} is used in a program for ${this.#backend.name}. Move it: t.to('${this.#backend.name}')`,
    )
  }
}
