/** @file Reads graphs from the text that `printGraph` writes. */
import { checkDType, type DType } from '../core/dtype.ts'
import { layoutOf } from '../core/layout.ts'
import type { Shape } from '../core/shape.ts'
import { findOp } from '../ops/define.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { LiveNumber } from '../tensor/tracing.ts'
import type { Attributes } from '../tensor/types.ts'
import { FormatError } from '../util/errors.ts'
import { GraphBuilder, placeOf } from './graph.ts'
import type { Argument, Control, Graph, Part, Update, Value } from './graph.ts'
import { specText } from './print.ts'
import type { Place } from './view-place.ts'
import { viewMethods, viewStep, type ViewStep } from './view-text.ts'

/**
 * The graph that a text describes, in which shapes and dtypes may be left to inference. `constants` has
 * those that it names. Throws a FormatError that says
 * where the text is not understood, and what an op says of inputs that do not fit.
 *
 * @example
 * const graph = parseGraph('program(x0: int32[2]) { const v0: int32[2] = neg(x0) return [v0] }')
 * graph.nodes.map((node) => node.kind) // -> ['input', 'call']
 */
export function parseGraph(
  text: string,
  constants: ReadonlyMap<string, Tensor> = new Map(),
): Graph {
  const reader = new Reader(text)
  const graph = new Parser(reader, constants).graph()
  reader.expect('')
  return graph
}

/** Words, numbers, `$0`, texts, and signs of one or two characters. */
const token =
  /\s*(-?(?:\d[\d.]*(?:e[+-]?\d+)?|Infinity|NaN)|[A-Za-z_]\w*(?:\.grad\d+)*|\$\d+|"(?:[^"\\]|\\.)*"|:=|=>|[^\s]|$)/gy

/** Goes through a text, a token at a time. */
class Reader {
  readonly #text: string
  /** The token that is next; empty at the end. */
  next = ''
  #begin = 0
  #end = 0

  constructor(text: string) {
    this.#text = text
    this.take()
  }

  /** Takes the next token. */
  take(): string {
    const taken = this.next
    token.lastIndex = this.#end
    this.next = token.exec(this.#text)![1]!
    this.#end = token.lastIndex
    this.#begin = this.#end - this.next.length
    return taken
  }

  /** Takes the next token if it is this one. */
  takes(wanted: string): boolean {
    const isNext = this.next === wanted
    if (isNext) this.take()
    return isNext
  }

  expect(wanted: string): void {
    if (!this.takes(wanted)) this.fail(wanted === '' ? 'the end' : `'${wanted}'`)
  }

  word(what: string): string {
    if (!/^[A-Za-z_]/.test(this.next)) this.fail(what)
    return this.take()
  }

  /** What stands between commas, up to and including `end`. */
  list<T>(end: string, item: () => T): T[] {
    const items: T[] = []
    while (!this.takes(end)) {
      if (items.length > 0) this.expect(',')
      items.push(item())
    }
    return items
  }

  fail(wanted: string): never {
    const before = this.#text.slice(0, this.#begin).split('\n')
    const found = this.next === '' ? 'the end' : `'${this.next}'`
    throw new FormatError(
      `parseGraph: line ${before.length}, column ${before.at(-1)!.length + 1}: expected ${wanted}, found ${found}`,
    )
  }
}

interface Spec {
  readonly dtype: DType
  readonly shape: Shape
}

const atoms = new Map<string, unknown>([
  ['true', true],
  ['false', false],
  ['null', null],
  ['undefined', undefined],
])

class Parser {
  readonly #reader: Reader
  readonly #constants: ReadonlyMap<string, Tensor>
  readonly #builder = new GraphBuilder()
  readonly #values = new Map<string, Value>()
  readonly #slots = new Map<string, number>()

  constructor(reader: Reader, constants: ReadonlyMap<string, Tensor>) {
    this.#reader = reader
    this.#constants = constants
  }

  graph(): Graph {
    const reader = this.#reader
    reader.expect('program')
    reader.expect('(')
    reader.list(')', () => this.#source())
    reader.expect('{')
    while (reader.takes('const')) this.#line()
    reader.expect('return')
    reader.expect('[')
    const outputs = reader.list(']', () => this.#value())
    const updates: Update[] = []
    while (reader.takes(',')) {
      const slot = this.#slot()
      reader.expect(':=')
      updates.push({ slot, value: this.#value() })
    }
    reader.expect('}')
    return { nodes: this.#builder.nodes, outputs, updates }
  }

  #source(): void {
    const reader = this.#reader
    const builder = this.#builder
    const name = reader.word('a name')
    reader.expect(':')
    if (reader.takes('constant')) {
      const tensor = this.#constants.get(name)
      if (tensor === undefined)
        throw new FormatError(
          `parseGraph: the constant ${name} is not among those given: ${[...this.#constants.keys()].join(', ') || 'none'}`,
        )
      this.#values.set(name, builder.constant(tensor, this.#spec().shape))
    } else if (reader.next === 'state') {
      const slot = this.#slot()
      const { shape, dtype } = this.#spec()
      this.#slots.set(name, slot)
      this.#values.set(name, builder.state(slot, name, shape, dtype))
    } else {
      const { shape, dtype } = this.#spec()
      this.#values.set(name, builder.input(name, shape, dtype))
    }
  }

  /** `state(0)`, or the name of a state. */
  #slot(): number {
    const reader = this.#reader
    const known = this.#slots.get(reader.next)
    if (known !== undefined) {
      reader.take()
      return known
    }
    reader.expect('state')
    reader.expect('(')
    const slot = this.#number()
    reader.expect(')')
    return slot
  }

  #line(): void {
    const reader = this.#reader
    const oneOrMore = <T>(item: () => T) => (reader.takes('[') ? reader.list(']', item) : [item()])
    const names = oneOrMore(() => reader.word('a name'))
    const specs = reader.takes(':') ? oneOrMore(() => this.#spec()) : undefined
    reader.expect('=')
    const results = this.#right()
    const found = results.map(specText).join()
    const wanted = specs?.map(specText).join() ?? found
    if (found !== wanted || names.length !== results.length)
      throw new FormatError(
        `parseGraph: ${names.join(', ')} is said to be ${wanted}, but is ${found}`,
      )
    names.forEach((name, i) => this.#values.set(name, results[i]!))
  }

  #right(): readonly Value[] {
    const reader = this.#reader
    const value = this.#values.get(reader.next)
    if (value !== undefined) {
      reader.take()
      if (reader.next === '.') return [this.#view(value)]
      reader.fail('a method of a view')
    }
    const name = reader.word('a value, or an operation')
    if (name === 'cond' || name === 'while') return this.#control(name)
    const op = findOp(name)
    if (op === undefined) throw new FormatError(`parseGraph: there is no operation ${name}`)
    reader.expect('(')
    let attributes: Attributes = {}
    const inputs: Argument[] = []
    reader.list(')', () => {
      if (reader.next === '{') attributes = this.#data() as Attributes
      else inputs.push(this.#argument())
    })
    return this.#builder.call(op, inputs, attributes, JSON.stringify(attributes), this.#again())
  }

  #again(): number | undefined {
    return this.#reader.takes('again') ? this.#number() : undefined
  }

  #view(of: Value): Value {
    const reader = this.#reader
    const { base, ...begin } = placeOf(of)
    let place: Place = begin
    while (reader.takes('.')) {
      if (!Object.hasOwn(viewMethods, reader.next)) reader.fail('a method of a view')
      const method = reader.take() as ViewStep['method']
      reader.expect('(')
      const args = reader.list(')', () => this.#data())
      place = viewStep(place, { method, args }) ?? reader.fail(`a view: ${method} does not fit`)
    }
    return this.#builder.view(base, place.layout, place.offset)
  }

  #control(kind: Control['kind']): readonly Value[] {
    const reader = this.#reader
    const inputs: Value[] = []
    const parts: Record<string, Part> = {}
    reader.expect('(')
    reader.list(')', () => {
      if (this.#values.has(reader.next)) return void inputs.push(this.#value())
      const role = reader.word('a value, or a part')
      reader.expect('(')
      const taken = reader.list(')', () => this.#number())
      reader.expect('=>')
      const graph = new Parser(reader, this.#constants).graph()
      parts[role] = { graph, inputs: taken }
    })
    return this.#builder.control({ kind, ...parts } as Control, inputs, this.#again())
  }

  #argument(): Argument {
    return this.#values.has(this.#reader.next) ? this.#value() : this.#scalar()
  }

  #scalar(): number | LiveNumber {
    if (!this.#reader.next.startsWith('$')) return this.#number()
    return new LiveNumber(Number(this.#reader.take().slice(1)))
  }

  #value(): Value {
    const value = this.#values.get(this.#reader.next)
    if (value === undefined) this.#reader.fail('the name of a value')
    this.#reader.take()
    return value
  }

  #number(): number {
    const { next } = this.#reader
    if (!/^-?(\d|Infinity|NaN)/.test(next)) this.#reader.fail('a number')
    return Number(this.#reader.take())
  }

  #spec(): Spec {
    const reader = this.#reader
    const dtype = checkDType('parseGraph', reader.word('a dtype'))
    reader.expect('[')
    return { dtype, shape: layoutOf(reader.list(']', () => this.#number())).shape }
  }

  /** Numbers, texts, true, false, null, undefined, and lists and objects of them. */
  #data(): unknown {
    const reader = this.#reader
    if (atoms.has(reader.next)) return atoms.get(reader.take())
    if (reader.next.startsWith('"')) return JSON.parse(reader.take()) as string
    if (reader.takes('[')) return reader.list(']', () => this.#data())
    if (!reader.takes('{')) return this.#scalar()
    const entries = reader.list('}', () => {
      const key = reader.word('a name')
      reader.expect(':')
      return [key, this.#data()] as const
    })
    return Object.fromEntries(entries)
  }
}
