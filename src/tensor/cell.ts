/** @file Cells: the tensors whose value is replaced over time. All that training changes lives in one. */
import type { Block } from '../backend/backend.ts'
import { bytesFor } from '../backend/backend.ts'
import { dtypes } from '../core/dtype.ts'
import { formatShape, sameShape } from '../core/shape.ts'
import { DTypeError, ShapeError, ValueError } from '../util/errors.ts'
import { letGo } from './backward.ts'
import { dispatchAll } from './dispatch.ts'
import type { Op } from './op.ts'
import { noGrad } from './tape.ts'
import { Tensor } from './tensor.ts'
import { isReplaying, leakedTensor, tracing, withTracer } from './tracing.ts'
import type { Attributes } from './types.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/**
 * A tensor that can be given another value of the same shape and dtype. Reading it gives the present
 * value; what was computed from an earlier one, the tape included, keeps that one.
 *
 * Note [Cells]: a cell owns one tensor handle of its block (in `shares`) and holds the block (in
 * `pending`), so that neither `tidy` nor a gradient scope frees it. Its value is always contiguous, at
 * offset 0, and fills its block. Replacing the value swaps blocks: whoever still reads the old one does
 * so undisturbed. Only `updateCells` writes in place, when nobody else can be reading.
 */
export abstract class Cell extends Tensor {
  /** The snapshot of the present value, once the tape asked for it. */
  kept: Tensor | undefined = undefined

  constructor(value: Tensor) {
    const own = ownable(value)
    super(own.storage, own.layout, 0, own.dtype, own.backend)
    if (own !== value) own.storage.shares--
    keep(this)
  }

  /**
   * Replaces the value by that of `value`, without copying where it is possible. Throws a ShapeError
   * or DTypeError unless shape and dtype are the same. Returns the cell.
   */
  assign(value: Tensor): this {
    const what = this.constructor.name
    if (!(value instanceof Tensor))
      throw new ValueError(`assign: expected a tensor, received ${typeof value}`)
    if (!sameShape(value.shape, this.shape))
      throw new ShapeError(
        `assign: a value of shape ${formatShape(value.shape)} for a ${what} of shape ${formatShape(this.shape)}. Expected the same shape; reshape it`,
      )
    if (value.dtype !== this.dtype)
      throw new DTypeError(
        `assign: a ${value.dtype} value for a ${this.dtype} ${what}. Cast it: value.cast('${this.dtype}')`,
      )
    return this.become(value.to(this.device))
  }

  /** As `assign`, taking dtype and device of the value too: for `Module.to` and `Module.cast`. */
  become(value: Tensor): this {
    if (isReplaying()) return this
    if (tracing !== undefined) {
      tracing.stand(this)
      value = tracing.stand(value)
    } else if (value.backend.symbolic) throw leakedTensor()
    const own = ownable(value)
    if (own.storage === this.storage) return this
    if (own === value) own.storage.shares++
    take(this, own)
    return this
  }

  /** The present value as a tensor of its own; its source on the tape is the cell. */
  override snapshot(): Tensor {
    const { kept, requiresGrad } = this
    if (kept !== undefined && kept.requiresGrad === requiresGrad) return kept
    const made = this.detach()
    // The tape counts what it keeps in `saves`.
    made.storage.shares--
    made.requiresGrad = requiresGrad
    made.leaf = requiresGrad ? this : undefined
    this.kept = made
    return made
  }
}

/**
 * Runs an op of kind 'update' whose outputs are the new values of its first inputs, the `cells`. Memory
 * that nobody else reads is overwritten in place; other cells get fresh memory. Numbers among `rest`
 * are no part of the kernel, so a changed learning rate compiles nothing.
 */
export function updateCells<A extends Attributes>(
  op: Op<A>,
  cells: readonly Cell[],
  rest: readonly (Tensor | number)[],
  attributes?: A,
  key?: string,
): void {
  if (isReplaying()) return
  let inPlace = 0
  for (let i = 0; i < cells.length; i++) {
    const { storage } = cells[i]!
    if (tracing === undefined && storage.shares === 1 && storage.saves === 0) inPlace |= 1 << i
  }
  const outputs = dispatchAll(op, [...cells, ...rest], attributes, key, inPlace)
  for (let i = 0; i < cells.length; i++) {
    // The handle that dispatch made goes: its share is given back, or handed to the cell.
    if ((inPlace & (1 << i)) !== 0) outputs[i]!.storage.shares--
    else take(cells[i]!, outputs[i]!)
  }
}

/**
 * A learned value: a leaf that requires a gradient unless `requiresGrad` is false. Assigned to a field
 * of a `Module` it belongs to its parameters.
 *
 * @example
 * const p = new nn.Parameter(tensor([1, 2]))
 * p // -> tensor([1, 2], float32, cpu, requiresGrad)
 * p.assign(tensor([3, 4])) // -> tensor([3, 4], float32, cpu, requiresGrad)
 * p.assign(tensor([3, 4, 5]))
 * // ShapeError: assign: a value of shape [3] for a Parameter of shape [2]. Expected the same shape; reshape it
 */
export class Parameter extends Cell {
  constructor(value: Tensor, { requiresGrad = true }: { readonly requiresGrad?: boolean } = {}) {
    super(value)
    if (requiresGrad) this.requireGrad()
  }
}

/**
 * A value that is kept with the model but not learned, such as the running mean of a norm.
 *
 * @example
 * new nn.Buffer(tensor([0, 0])).assign(tensor([1, 2])) // -> tensor([1, 2], float32, cpu)
 */
export class Buffer extends Cell {}

/**
 * A cell around a fresh tensor that nobody else keeps, nor a view of it: the block passes to the cell
 * alone, so that the first update is in place already.
 */
export function owned<C extends Cell>(kind: new (value: Tensor) => C, value: Tensor): C {
  const cell = new kind(value)
  cell.storage.shares = 1
  return cell
}

/** A cell that outlives the step, around what `make` gives: in a trace it is made at once, not by the program. */
export function ownedAtOnce<C extends Cell>(kind: new (value: Tensor) => C, make: () => Tensor): C {
  return withTracer(undefined, () => owned(kind, make()))
}

/** The gradient of a tensor without marking it as seen. */
export function gradOf(t: Tensor): Tensor | undefined {
  tracing?.touchGrad(t, false)
  return t.gradSlot
}

/** Forgets the gradient of a tensor, and frees it unless user code has seen it. */
export function dropGrad(t: Tensor): void {
  tracing?.touchGrad(t, true)
  const grad = t.gradSlot
  if (grad === undefined) return
  t.gradSlot = undefined
  letGo(grad)
}

/** Puts a fresh gradient, which nobody else keeps, in place of the present one. */
export function replaceGrad(t: Tensor, grad: Tensor): void {
  dropGrad(t)
  grad.storage.pending++
  grad.storage.internal = true
  t.gradSlot = grad
}

// The tensor itself, without history, if a cell can own its block, else a copy.
function ownable(value: Tensor): Tensor {
  const { layout, offset, storage, dtype, size } = value
  const fills = storage.bytes === bytesFor(dtypes[dtype].bytes, size)
  if (layout.contiguous && offset === 0 && fills) return value
  const copy = () => noGrad(() => value.clone())
  // What was there before a trace is copied at once: the cell may outlive it.
  return value.backend.symbolic ? copy() : withTracer(undefined, copy)
}

/** Gives a cell a fresh value that nobody else keeps, of its own shape and dtype. */
export function replaceValue(cell: Cell, value: Tensor): void {
  take(cell, value)
}

function take(cell: Cell, value: Tensor): void {
  const { backend } = cell
  release(cell.storage, backend)
  const changed = cell as Mutable<Tensor>
  changed.storage = value.storage
  changed.layout = value.layout
  changed.dtype = value.dtype
  changed.backend = value.backend
  cell.kept = undefined
  keep(cell)
}

function keep({ storage, backend }: Cell): void {
  storage.pending++
  backend.pin(storage)
}

function release(block: Block, backend: Tensor['backend']): void {
  block.shares--
  block.pending--
  if (block.pending === 0) backend.unpin(block)
  if (block.shares === 0 && block.saves === 0 && block.pending === 0) backend.free(block)
}
