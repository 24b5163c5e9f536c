/** @file Module: parameters, buffers and submodules under the names of the fields that hold them. */
import type { DType } from '../core/dtype.ts'
import { isFloat } from '../core/dtype.ts'
import type { Shape } from '../core/shape.ts'
import { Buffer, Cell, dropGrad, Parameter } from '../tensor/cell.ts'
import { noGrad } from '../tensor/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { assumed } from '../tensor/tracing.ts'
import { DTypeError, ValueError } from '../util/errors.ts'
import { checkNothingMissed } from './missed.ts'
import { loadInto, type LoadOptions, type LoadReport } from './load.ts'
import { summarize } from './summary.ts'

type AnyForward = (...inputs: never[]) => unknown
type Inputs<M extends Module> = Parameters<M['forward']>

/** Sees the inputs before `forward` runs; an array it returns takes their place. */
export type ForwardPreHook<M extends Module = Module> = (
  module: M,
  inputs: Inputs<M>,
) => Inputs<M> | undefined | void

/** Sees inputs and output after `forward` ran; anything it returns but undefined takes the output's place. */
export type ForwardHook<M extends Module = Module> = (
  module: M,
  inputs: Inputs<M>,
  output: ReturnType<M['forward']>,
) => ReturnType<M['forward']> | undefined | void

/** A module from one tensor to one: what `Sequential` chains. */
export interface Layer extends Module {
  forward(x: Tensor): Tensor
}

/** The state of a module: every parameter and buffer by its path, such as 'encoder.0.weight'. */
export type StateDict = Record<string, Tensor>

/**
 * A part of a network. Assign a `Parameter`, `Buffer` or another module to a field and it belongs to
 * this one, under the field's name; put several modules into a `ModuleList` or `ModuleDict`, not into
 * an array. Fields with a `#` are private to the class and belong to nothing.
 *
 * @example
 * class Net extends nn.Module {
 *   fc1 = new nn.Linear(4, 3)
 *   fc2 = new nn.Linear(3, 2)
 *   forward(x: Tensor) {
 *     return this.fc2.forward(this.fc1.forward(x).relu())
 *   }
 * }
 * const net = new Net()
 * Object.keys(net.stateDict()) // -> ['fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias']
 * net.forward(zeros([5, 4])).shape // -> [5, 2]
 */
export abstract class Module {
  /** Whether the module is being trained; dropout and batch norm act on it. Set by `train` and `eval`. */
  get training(): boolean {
    return assumed(() => this.#training)
  }
  set training(mode: boolean) {
    this.#training = mode
  }
  #training = true
  #preHooks = new Set<ForwardPreHook>()
  #hooks = new Set<ForwardHook>()

  /** Computes the output. Call it directly; hooks run with it. */
  abstract forward(...inputs: never[]): unknown

  /** What this module holds directly, by name. Containers override it; everything else walks fields. */
  protected members(): Iterable<readonly [name: string, value: unknown]> {
    return Object.entries(this)
  }

  /** Options shown when the module is printed, such as `inFeatures=4, outFeatures=3`. */
  extraRepr(): string {
    return ''
  }

  // -- what it holds

  /** The parameters of this module and all inside it; a shared one once. */
  parameters(): Parameter[] {
    return this.namedParameters().map(([, p]) => p)
  }
  /** As `parameters`, with their paths. */
  namedParameters(): [name: string, parameter: Parameter][] {
    return this.#cells(Parameter)
  }
  /** The buffers of this module and all inside it. */
  buffers(): Buffer[] {
    return this.namedBuffers().map(([, b]) => b)
  }
  /** As `buffers`, with their paths. */
  namedBuffers(): [name: string, buffer: Buffer][] {
    return this.#cells(Buffer)
  }
  /** The modules directly inside this one. */
  children(): Module[] {
    return this.namedChildren().map(([, m]) => m)
  }
  /** As `children`, with their names. */
  namedChildren(): [name: string, module: Module][] {
    const members = [...this.members()]
    checkNothingMissed(this, members, Module)
    return unique(members.filter((m): m is [string, Module] => m[1] instanceof Module))
  }
  /** This module and all inside it, outer ones first; a shared one once. */
  modules(): Module[] {
    return this.namedModules().map(([, m]) => m)
  }
  /** As `modules`, with their paths; this one's is ''. */
  namedModules(): [name: string, module: Module][] {
    const found = new Map<Module, string>()
    const inside: Module[] = []
    const visit = (module: Module, path: string): void => {
      if (inside.includes(module)) throw containsItself(module, inside)
      if (found.has(module)) return
      found.set(module, path)
      inside.push(module)
      for (const [name, child] of module.namedChildren()) visit(child, join(path, name))
      inside.pop()
    }
    visit(this, '')
    return [...found].map(([module, path]) => [path, module])
  }

  #cells<T extends Cell>(kind: new (...args: never[]) => T): [string, T][] {
    return unique(
      this.namedModules().flatMap(([path, module]) =>
        [...module.members()].flatMap(([name, value]): [string, T][] =>
          value instanceof kind ? [[join(path, name), value]] : [],
        ),
      ),
    )
  }

  // -- state

  /**
   * The present values of all parameters and buffers by path, without history. Later training does not
   * change them. Something shared appears under each of its paths.
   */
  stateDict(): StateDict {
    this.modules() // refuses one that contains itself
    return Object.fromEntries(this.#state().map(([path, cell]) => [path, cell.detach()]))
  }

  /**
   * Copies values from `state`, as `stateDict` gave them. Everything is checked before anything is
   * loaded: with `strict` (the default) a ValueError lists all missing and unexpected keys; shapes and
   * dtypes that differ are errors always. Returns the keys that did not match.
   *
   * @example
   * const layer = new nn.Linear(2, 1)
   * layer.loadStateDict({ weight: tensor([[1, 2]]), bias: tensor([3]) })
   * layer.forward(tensor([10, 100])) // -> tensor([213], float32, cpu, grad of linear)
   */
  loadStateDict(state: Readonly<StateDict>, options: LoadOptions = {}): LoadReport {
    this.modules() // refuses one that contains itself
    return loadInto(this, this.#state(), state, options)
  }

  // Unlike namedParameters this names a shared cell once per path, as a file must.
  #state(): [string, Cell][] {
    const own = [...this.members()].filter((m): m is [string, Cell] => m[1] instanceof Cell)
    const kind = (cell: Cell) => (cell instanceof Parameter ? 0 : 1)
    return [
      ...own.sort(([, a], [, b]) => kind(a) - kind(b)),
      ...[...this.members()].flatMap(([name, value]) =>
        value instanceof Module
          ? value.#state().map(([path, cell]): [string, Cell] => [join(name, path), cell])
          : [],
      ),
    ]
  }

  // -- changes to all of it

  /** Calls `change` with every module inside, then with this one. Returns this module. */
  apply(change: (module: Module) => void): this {
    for (const module of this.modules().reverse()) change(module)
    return this
  }

  /** Sets training mode (or, with false, evaluation mode) here and in all modules inside. */
  train(mode = true): this {
    for (const module of this.modules()) module.training = mode
    return this
  }
  /** Sets evaluation mode: dropout lets everything through, batch norm uses its running statistics. */
  eval(): this {
    return this.train(false)
  }

  /** Lets all parameters take part in gradients, or (with false) freezes them. */
  requireGrad(requires = true): this {
    for (const parameter of this.parameters()) parameter.requireGrad(requires)
    return this
  }

  /** Forgets the gradients of all parameters. */
  zeroGrad(): void {
    this.parameters().forEach(dropGrad)
  }

  /** Moves all parameters and buffers to another backend. Do it before making an optimizer. */
  to(device: string): this {
    return this.#change((cell) => cell.to(device))
  }

  /** Changes the dtype of all floating-point parameters and buffers. Throws a DTypeError unless it is a float. */
  cast(dtype: DType): this {
    if (!isFloat(dtype))
      throw new DTypeError(
        `cast: modules compute in floating point, received '${dtype}'. Expected float32, float64, float16 or bfloat16`,
      )
    return this.#change((cell) => (isFloat(cell.dtype) ? cell.cast(dtype) : cell))
  }

  #change(change: (cell: Cell) => Tensor): this {
    const cells = [...this.parameters(), ...this.buffers()]
    // Nothing changes unless everything can.
    const values = noGrad(() => cells.map((cell) => change(cell)))
    cells.forEach((cell, i) => {
      if (values[i] === cell) return
      dropGrad(cell)
      cell.become(values[i]!)
    })
    return this
  }

  // -- hooks

  /**
   * Calls `hook` with the inputs each time before `forward` runs; an array it returns takes their
   * place. Returns a function that removes the hook.
   */
  registerForwardPreHook<M extends Module>(this: M, hook: NoInfer<ForwardPreHook<M>>): () => void {
    return this.#register(this.#preHooks, hook as unknown as ForwardPreHook)
  }

  /**
   * Calls `hook` with inputs and output each time after `forward` ran; what it returns, if anything,
   * becomes the output. Returns a function that removes the hook.
   *
   * @example
   * const layer = new nn.ReLU()
   * const remove = layer.registerForwardHook((module, [x], y) => y.mul(10))
   * layer.forward(tensor([-1, 2])) // -> tensor([0, 20], float32, cpu)
   * remove()
   * layer.forward(tensor([-1, 2])) // -> tensor([0, 2], float32, cpu)
   */
  registerForwardHook<M extends Module>(this: M, hook: NoInfer<ForwardHook<M>>): () => void {
    return this.#register(this.#hooks, hook as unknown as ForwardHook)
  }

  // Note [Forward hooks]: `forward` is an ordinary method, so that calling it costs nothing. While there
  // are hooks, a wrapper of it stands on the instance, and goes with the last of them.
  #register<H>(hooks: Set<H>, hook: H): () => void {
    if (this.#preHooks.size + this.#hooks.size === 0) this.#wrapForward()
    hooks.add(hook)
    return () => {
      if (hooks.delete(hook) && this.#preHooks.size + this.#hooks.size === 0) this.#unwrap()
    }
  }

  #unwrap: () => void = () => undefined

  #wrapForward(): void {
    // An arrow function kept in a field is an own property already.
    const own = Object.getOwnPropertyDescriptor(this, 'forward')
    const inner = this.forward as AnyForward
    const value = (...given: never[]): unknown => {
      let inputs = given
      for (const hook of this.#preHooks) inputs = hook(this, inputs) ?? inputs
      let output = inner.apply(this, inputs)
      for (const hook of this.#hooks) output = hook(this, inputs, output) ?? output
      return output
    }
    Object.defineProperty(this, 'forward', { value, configurable: true, writable: true })
    this.#unwrap = () => {
      if (own !== undefined) Object.defineProperty(this, 'forward', own)
      else Reflect.deleteProperty(this, 'forward')
    }
  }

  // -- looks

  /** The tree of modules, one per line. */
  toString(): string {
    this.modules() // refuses one that contains itself
    return this.#tree()
  }

  #tree(): string {
    const name = this.constructor.name
    const lines = this.namedChildren().map(
      ([key, child]) => `  (${key}): ${child.#tree().replaceAll('\n', '\n  ')}`,
    )
    const extra = this.extraRepr()
    if (lines.length === 0) return `${name}(${extra})`
    return [`${name}(${extra}`, ...lines, ')'].join('\n')
  }

  /** What Node's console prints. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }

  /**
   * A table of the layers with their numbers of parameters and, given inputs or their shapes (run as
   * zeros, in evaluation mode), their output shapes.
   *
   * @example
   * new nn.Sequential(new nn.Linear(4, 3), new nn.ReLU()).summary([1, 4])
   */
  summary(...inputs: readonly (Shape | Tensor)[]): string {
    return summarize(this, inputs)
  }
}

function containsItself(module: Module, inside: readonly Module[]): ValueError {
  const through = [...inside.slice(inside.indexOf(module)), module]
  return new ValueError(
    `${module.constructor.name}: a module contains itself: ${through.map((m) => m.constructor.name).join(' > ')}. Keep references to outer modules in a #private field`,
  )
}

const join = (path: string, name: string) => (path === '' ? name : `${path}.${name}`)

function unique<T>(entries: readonly [string, T][]): [string, T][] {
  const seen = new Set<T>()
  return entries.filter(([, value]) => !seen.has(value) && seen.add(value))
}
