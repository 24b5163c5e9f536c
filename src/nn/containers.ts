/** @file Modules that hold modules: in a chain, a list, or by name. */
import { Parameter } from '../tensor/cell.ts'
import { Tensor } from '../tensor/tensor.ts'
import { UnsupportedError, ValueError } from '../util/errors.ts'
import { Module, type Layer } from './module.ts'
import { runChain } from './passing.ts'

/** What a list of members shares: positions, iteration, and the names '0', '1' ... */
abstract class ListOf<T> extends Module {
  readonly #items: T[] = []

  protected constructor(items: readonly T[]) {
    super()
    for (const item of items) this.append(item)
  }

  protected override members(): Iterable<readonly [string, unknown]> {
    return [...super.members(), ...this.#items.map((item, i) => [String(i), item] as const)]
  }

  /** Throws a ValueError unless `item` may be held. */
  protected abstract checkItem(item: unknown): void

  /** How many there are. */
  get length(): number {
    return this.#items.length
  }
  protected get items(): readonly T[] {
    return this.#items
  }
  [Symbol.iterator](): ArrayIterator<T> {
    return this.#items.values()
  }
  /** The one at a position; negative positions count from the end. Throws a ValueError outside the list. */
  at(position: number): T {
    const item = this.#items.at(position)
    if (item === undefined)
      throw new ValueError(
        `${this.constructor.name}: there is no position ${position} among ${this.length}. Expected ${-this.length} to ${this.length - 1}`,
      )
    return item
  }
  /** Adds one at the end. Returns the list. */
  append(item: T): this {
    this.checkItem(item)
    this.#items.push(item)
    return this
  }
}

/**
 * Layers one after the other: the output of each is the input of the next. Throws a ValueError for
 * what is no module.
 *
 * @example
 * const net = new nn.Sequential(new nn.Flatten(), new nn.ReLU())
 * net.forward(tensor([[[1, -2], [3, -4]]])) // -> tensor([[1, 0, 3, 0]], float32, cpu)
 * net.append(new nn.Identity()).length // -> 3
 */
export class Sequential extends ListOf<Layer> {
  constructor(...layers: readonly Layer[]) {
    super(layers)
  }

  protected checkItem(item: unknown): void {
    checkModule('Sequential', item)
  }

  forward(x: Tensor): Tensor {
    return runChain(this.items, x)
  }
}

/**
 * Modules in an array, so that they are trained, saved and moved. The module that holds the list calls
 * them.
 *
 * @example
 * class Net extends nn.Module {
 *   blocks = new nn.ModuleList([new nn.Linear(2, 2), new nn.Linear(2, 2)])
 *   forward(x: Tensor) {
 *     for (const block of this.blocks) x = block.forward(x).add(x)
 *     return x
 *   }
 * }
 * new Net().namedParameters()[2][0] // -> 'blocks.1.weight'
 */
export class ModuleList<T extends Module = Module> extends ListOf<T> {
  constructor(modules: Iterable<T> = []) {
    super([...modules])
  }

  protected checkItem(item: unknown): void {
    checkModule('ModuleList', item)
  }

  forward(): never {
    throw notCallable('ModuleList')
  }
}

/**
 * Parameters in an array, so that they are trained, saved and moved.
 *
 * @example
 * const scales = new nn.ParameterList([new nn.Parameter(ones([2])), new nn.Parameter(zeros([3]))])
 * scales.at(-1).shape // -> [3]
 */
export class ParameterList extends ListOf<Parameter> {
  constructor(parameters: Iterable<Parameter> = []) {
    super([...parameters])
  }

  protected checkItem(item: unknown): void {
    if (!(item instanceof Parameter))
      throw new ValueError(
        `ParameterList: expected parameters, received ${describe(item)}. Wrap tensors: new nn.Parameter(t)`,
      )
  }

  forward(): never {
    throw notCallable('ParameterList')
  }

  override extraRepr(): string {
    return [...this].map((p) => `[${p.shape.join(', ')}]`).join(', ')
  }
}

/**
 * Modules by name, so that they are trained, saved and moved. The module that holds them calls them.
 *
 * @example
 * const heads = new nn.ModuleDict({ digits: new nn.Linear(8, 10), parity: new nn.Linear(8, 2) })
 * heads.get('parity').forward(zeros([1, 8])).shape // -> [1, 2]
 * heads.keys() // -> ['digits', 'parity']
 */
export class ModuleDict<T extends Module = Module> extends Module {
  readonly #items = new Map<string, T>()

  constructor(modules: Readonly<Record<string, T>> = {}) {
    super()
    for (const [name, module] of Object.entries(modules)) this.set(name, module)
  }

  protected override members(): Iterable<readonly [string, unknown]> {
    return [...super.members(), ...this.#items]
  }

  /** The module of a name. Throws a ValueError when there is none. */
  get(name: string): T {
    const module = this.#items.get(name)
    if (module === undefined)
      throw new ValueError(`ModuleDict: there is no '${name}'. Known: ${this.keys().join(', ')}`)
    return module
  }
  /** Adds a module, or replaces the one of that name. Throws a ValueError for a name with a dot. */
  set(name: string, module: T): this {
    checkModule('ModuleDict', module)
    if (name === '' || name.includes('.') || name === 'training')
      throw new ValueError(
        `ModuleDict: '${name}' cannot be a name: it would not be told apart in the paths of the state. Use letters, digits and _`,
      )
    this.#items.set(name, module)
    return this
  }
  has(name: string): boolean {
    return this.#items.has(name)
  }
  delete(name: string): boolean {
    return this.#items.delete(name)
  }
  keys(): string[] {
    return [...this.#items.keys()]
  }
  get length(): number {
    return this.#items.size
  }
  /** Names with modules, in order. */
  [Symbol.iterator](): MapIterator<[string, T]> {
    return this.#items.entries()
  }

  forward(): never {
    throw notCallable('ModuleDict')
  }
}

function checkModule(where: string, item: unknown): void {
  if (item instanceof Module) return
  const hint =
    typeof item === 'function'
      ? 'Make an instance: new Layer(); for a function, write a module around it'
      : 'Pass modules, such as new nn.Linear(2, 2)'
  throw new ValueError(`${where}: expected modules, received ${describe(item)}. ${hint}`)
}

function notCallable(name: string): UnsupportedError {
  return new UnsupportedError(
    `${name}: it has no order to run in. Call its members, or use a Sequential`,
  )
}

function describe(item: unknown): string {
  if (item instanceof Tensor) return 'a tensor'
  if (Array.isArray(item)) return 'an array'
  return item === null ? 'null' : `a value of type ${typeof item}`
}
