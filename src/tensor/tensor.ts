/** @file The tensor: a typed, shaped, strided view of a block of a backend's memory. */
// Symbol.dispose: so that programs that compile for an older library see it too.
/// <reference lib="esnext.disposable" preserve="true" />
import type { Backend, Block } from '../backend/backend.ts'
import { dtypes, type DType, type TypedArray } from '../core/dtype.ts'
import type { Layout } from '../core/layout.ts'
import { formatShape, type Shape } from '../core/shape.ts'
import { DeviceError, GradError, ShapeError, ValueError } from '../util/errors.ts'
import { letGo, runBackward, type BackwardOptions } from './backward.ts'
import type { GradNode } from './tape.ts'
import { formatTensor, nestedArray } from './print.ts'
import { decodeElements } from './elements.ts'
import { engine } from './engine.ts'
import { tracing } from './tracing.ts'
import type { NestedArray } from './types.ts'
import type * as ops from '../ops/all.ts'

type AnyFunction = (...args: never[]) => unknown
type WithoutFirst<F> = F extends (first: Tensor, ...rest: infer R) => infer T
  ? (...rest: R) => T
  : never
/** Each op as a method: the same function without its first parameter. */
export type Methods<M> = {
  [K in keyof M]: M[K] extends AnyFunction ? WithoutFirst<M[K]> : never
}

// eslint-disable-next-line typescript/no-unsafe-declaration-merging -- the methods are installed by ops/methods.ts
export interface Tensor extends Methods<typeof ops> {}

/** A function called with the gradient of a tensor; what it returns, if anything, takes its place. */
export type GradHook = (grad: Tensor) => Tensor | undefined | void

/**
 * A multi-dimensional array that remembers how it was made. Tensors are values: no operation changes
 * one, and views (reshape, slice, permute, expand) share memory without anybody noticing.
 *
 * @example
 * const a = tensor([[1, 2], [3, 4]])
 * a.shape // -> [2, 2]
 * a.add(10) // -> tensor([[11, 12], [13, 14]], float32, cpu)
 */
export class Tensor {
  /** The memory behind the tensor; several tensors may share it. */
  storage: Block
  readonly layout: Layout
  /** Position of element 0 in the storage, in elements. */
  readonly offset: number
  readonly dtype: DType
  readonly backend: Backend
  requiresGrad = false
  /** The tape entry that made this tensor; undefined for leaves and without gradients. */
  node: GradNode | undefined = undefined
  /** Which output of the entry this is. */
  outputIndex = 0
  /** For a tape snapshot of a parameter: the parameter. */
  leaf: Tensor | undefined = undefined
  /** The accumulated gradient without marking it as seen; the library's own access. */
  gradSlot: Tensor | undefined = undefined
  hooks: Set<GradHook> | undefined = undefined

  /** Not for users: see `tensor`, `zeros` and the like. */
  constructor(storage: Block, layout: Layout, offset: number, dtype: DType, backend: Backend) {
    this.storage = storage
    this.layout = layout
    this.offset = offset
    this.dtype = dtype
    this.backend = backend
    storage.shares++
  }

  get shape(): Shape {
    return this.layout.shape
  }
  /** Number of axes. */
  get ndim(): number {
    return this.layout.shape.length
  }
  /** Number of elements. */
  get size(): number {
    return this.layout.size
  }
  get strides(): readonly number[] {
    return this.layout.strides
  }
  /** Name of the backend the tensor lives on. */
  get device(): string {
    return this.backend.name
  }
  /** Whether the tensor is not the result of a recorded operation. */
  get isLeaf(): boolean {
    return this.node === undefined
  }

  // -- gradients

  /** The accumulated gradient of a leaf after `backward()`, or undefined. */
  get grad(): Tensor | undefined {
    tracing?.touchGrad(this, false)
    const grad = this.gradSlot
    if (grad !== undefined) grad.storage.internal = false
    return grad
  }
  set grad(value: Tensor | undefined) {
    if (value !== undefined && formatShape(value.shape) !== formatShape(this.shape))
      throw new ShapeError(
        `grad: a gradient of shape ${formatShape(value.shape)} does not fit a tensor of shape ${formatShape(this.shape)}. Assign one of the same shape, or undefined`,
      )
    tracing?.touchGrad(this, true)
    const before = this.gradSlot
    if (value !== undefined) value.storage.pending++
    this.gradSlot = value
    if (before !== undefined) letGo(before)
  }

  /**
   * Asks for gradients with respect to this tensor, which must be a floating-point leaf. Returns it.
   *
   * @example
   * const x = tensor([1, 2]).requireGrad()
   * x.mul(x).sum().backward()
   * x.grad // -> tensor([2, 4], float32, cpu)
   */
  requireGrad(requires = true): this {
    if (requires && dtypes[this.dtype].kind !== 'float')
      throw new GradError(
        `requireGrad: only floating-point tensors have gradients, this one is ${this.dtype}. Cast it first: x.cast('float32')`,
      )
    if (!requires && this.node !== undefined)
      throw new GradError(
        'requireGrad: this tensor is the result of a recorded operation. Use detach() for a copy without history',
      )
    this.requiresGrad = requires
    return this
  }

  /**
   * Computes gradients of this tensor with respect to every leaf that requires them, and adds them to
   * the leaves' `.grad`. A tensor with more than one element needs `options.gradient`. The tape is
   * released unless `retainGraph` (or `createGraph`, for gradients of gradients) is set.
   *
   * @example
   * const w = tensor([3]).requireGrad()
   * w.mul(w).sum().backward()
   * w.grad // -> tensor([6], float32, cpu)
   */
  backward(options: BackwardOptions = {}): void {
    runBackward(this, options)
  }

  /** The same values without history: gradients stop here. Shares memory. */
  detach(): Tensor {
    const { storage, backend } = tracing === undefined ? this : tracing.stand(this)
    return new Tensor(storage, this.layout, this.offset, this.dtype, backend)
  }

  /** What the tape keeps of this tensor. Not for users: see `Cell`, whose value changes. */
  snapshot(): Tensor {
    return this
  }

  /** Calls `hook` with the gradient of this tensor during `backward`. Returns a function that removes it. */
  registerHook(hook: GradHook): () => void {
    if (!this.requiresGrad)
      throw new GradError(
        'registerHook: this tensor has no gradient to watch. Call requireGrad() on a leaf it depends on',
      )
    // A set of its own for each change: a traced program is told apart by it.
    this.hooks = new Set([...(this.hooks ?? []), hook])
    this.node?.watch(this)
    return () => {
      this.hooks = new Set([...this.hooks!].filter((other) => other !== hook))
    }
  }

  // -- reading

  /** A copy of the elements in row-major order. float16 and bfloat16 come as Float32Array. */
  async data(): Promise<TypedArray> {
    tracing?.stand(this)
    const source = engine().contiguous(this)
    const { bytes } = dtypes[this.dtype]
    const raw = await this.backend.readAsync(
      source.storage,
      source.offset * bytes,
      source.size * bytes,
    )
    return decodeElements(this.dtype, raw)
  }

  /** As `data`, at once; only on synchronous backends. */
  dataSync(): TypedArray {
    tracing?.stand(this)
    if (!this.backend.synchronous)
      throw new DeviceError(
        `dataSync: ${this.device} cannot be read synchronously. Use await t.data()`,
      )
    const source = engine().contiguous(this)
    const { bytes } = dtypes[this.dtype]
    return decodeElements(
      this.dtype,
      this.backend.read(source.storage, source.offset * bytes, source.size * bytes),
    )
  }

  /** The value of a one-element tensor as a number (bool: 0 or 1). Throws a ShapeError for other sizes. */
  async item(): Promise<number> {
    return itemOf(this, (await this.data())[0])
  }
  /** As `item`, at once; only on synchronous backends. */
  itemSync(): number {
    checkItem(this)
    return itemOf(this, this.dataSync()[0])
  }

  /** The elements as nested arrays of numbers (booleans for bool). */
  async toArray(): Promise<NestedArray<number | boolean>> {
    return nestedArray(this.shape, this.dtype, await this.data())
  }
  /** As `toArray`, at once; only on synchronous backends. */
  toArraySync(): NestedArray<number | boolean> {
    return nestedArray(this.shape, this.dtype, this.dataSync())
  }

  toString(): string {
    return formatTensor(this)
  }

  /** As text, the tensor; JavaScript's operators have no meaning for it. Throws a ValueError for them. */
  [Symbol.toPrimitive](hint: 'string' | 'number' | 'default'): string {
    if (hint === 'string') return this.toString()
    if (this.backend.symbolic) return String(this.dataSync())
    throw new ValueError(
      `JavaScript's operators do not work on tensors (shape ${formatShape(this.shape)}). Write a.add(b), a.mul(2), a.gt(0) and so on; t.itemSync() is the number of a one-element tensor, String(t) its text`,
    )
  }

  /** What Node's console prints. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return formatTensor(this)
  }

  /** What notebooks show. */
  [Symbol.for('Jupyter.display')](): Record<string, string> {
    const text = formatTensor(this)
    const escaped = text.replace(/&/g, '&amp;').replace(/</g, '&lt;')
    return { 'text/plain': text, 'text/html': `<pre>${escaped}</pre>` }
  }

  // -- memory, for those who want it earlier than the collector

  /** Frees the memory now. Views of this tensor become unreadable too. */
  dispose(): void {
    this.backend.free(this.storage)
  }
  [Symbol.dispose](): void {
    this.dispose()
  }
}

function checkItem(t: Tensor): void {
  if (t.size !== 1)
    throw new ShapeError(
      `item: the tensor has ${t.size} elements (shape ${formatShape(t.shape)}). Expected exactly 1; index or reduce it first, or use data()`,
    )
}

function itemOf(t: Tensor, value: number | bigint | undefined): number {
  checkItem(t)
  return Number(value)
}
