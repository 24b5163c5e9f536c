/** @file The living definition of the loop form: runs a kernel statement by statement, every access checked. */
import { assert } from '../util/errors.ts'
import type { LaunchArguments, Memory } from './interpret.ts'
import type { Definition, Kernel, Place, Statement, Value, Variable } from './loops.ts'
import { bitcastValue, convertValue, scalarOp, type ScalarValue } from './scalar-op.ts'

type Lanes = readonly ScalarValue[]
type Compute = () => Lanes

/**
 * Runs a kernel; `buffers` are the group's, then the status if there are checks, then scratch space.
 * Iterations of parallel loops run backwards, so that an order they should not depend on shows, and
 * none may write what another one has written, nor read it.
 */
export function interpretKernel(kernel: Kernel, args: LaunchArguments): void {
  new KernelInterpreter(kernel, args).run()
}

class KernelInterpreter {
  readonly #kernel: Kernel
  readonly #args: LaunchArguments
  readonly #values = new Map<Value, Lanes>()
  readonly #variables = new Map<number, Lanes>()
  /** The iteration of a parallel loop that is running, counted from 1 in the whole kernel; 0 for none. */
  #iteration = 0
  #iterations = 0
  /** Which iteration wrote an element of a buffer, or set a variable, in the parallel loop that is running. */
  readonly #writers = new Map<number, Map<number, number>>()
  readonly #setters = new Map<number, number>()

  constructor(kernel: Kernel, args: LaunchArguments) {
    this.#kernel = kernel
    this.#args = args
  }

  run(): void {
    this.#block(this.#kernel.body)()
  }

  #block(statements: readonly Statement[]): () => void {
    const steps = statements.map((s) => this.#statement(s))
    return () => {
      for (const step of steps) step()
    }
  }

  #statement(s: Statement): () => void {
    switch (s.kind) {
      case 'let': {
        const compute = this.#define(s.value)
        return () => void this.#values.set(s.value, compute())
      }
      case 'set': {
        const value = this.#use(s.value)
        return () => {
          if (this.#iteration > 0) this.#setters.set(s.variable.id, this.#iteration)
          this.#variables.set(s.variable.id, value())
        }
      }
      case 'store':
        return this.#store(s)
      case 'prefetch':
        return () => {}
      case 'if': {
        const condition = this.#scalar(s.condition)
        const then = this.#block(s.then)
        return () => {
          if (condition()) then()
        }
      }
      case 'for':
        return this.#for(s)
    }
  }

  #for(s: Statement & { kind: 'for' }): () => void {
    const [begin, end] = [this.#scalar(s.begin), this.#scalar(s.end)]
    const body = this.#block(s.body)
    const { runEnd } = s
    if (runEnd !== undefined) {
      const run = (from: number, to: number) => {
        if (from >= to) return
        this.#values.set(s.index, [from])
        this.#values.set(runEnd, [to])
        this.#apart(body)
      }
      // In two runs, the later one first.
      return () => {
        const [from, to] = [begin(), end()]
        const middle = from + ((to - from) >> 1)
        run(middle, to)
        run(from, middle)
        this.#forget()
      }
    }
    const iterate = (i: number) => {
      this.#values.set(s.index, [i])
      if (s.parallel) this.#apart(body)
      else body()
    }
    return () => {
      const [from, to] = [begin(), end()]
      const count = Math.max(0, Math.ceil((to - from) / s.step))
      for (let k = 0; k < count; k++) iterate(from + s.step * (s.parallel ? count - 1 - k : k))
      if (s.parallel) this.#forget()
    }
  }

  // -- iterations of parallel loops

  // Of loops inside each other, the outer one counts.
  #apart(body: () => void): void {
    if (this.#iteration > 0) return body()
    this.#iteration = ++this.#iterations
    body()
    this.#iteration = 0
  }

  #forget(): void {
    if (this.#iteration > 0) return
    this.#writers.clear()
    this.#setters.clear()
  }

  /** Checks that no other iteration wrote an element. Scratch space is each thread's own. */
  #touch(buffer: number, at: number, writes: boolean): void {
    if (this.#iteration === 0 || this.#isScratch(buffer)) return
    let writers = this.#writers.get(buffer)
    if (writers === undefined) this.#writers.set(buffer, (writers = new Map()))
    const writer = writers.get(at) ?? this.#iteration
    assert(
      writer === this.#iteration,
      `kernel ${this.#kernel.name}: parallel iterations meet at element ${at} of buffer ${buffer}`,
    )
    if (writes) writers.set(at, this.#iteration)
  }

  #isScratch(buffer: number): boolean {
    return this.#kernel.scratchBytes > 0 && buffer === this.#kernel.buffers.length - 1
  }

  // -- values

  #use(value: Value): Compute {
    if (value.def.kind === 'const') {
      const constant = [value.def.value]
      return () => constant
    }
    return () => {
      const lanes = this.#values.get(value)
      assert(lanes !== undefined, `kernel ${this.#kernel.name}: value ${value.id} is not made yet`)
      return lanes
    }
  }

  #scalar(value: Value): () => number {
    const use = this.#use(value)
    return () => Number(use()[0])
  }

  #define(value: Value): Compute {
    const { def, lanes, type } = value
    const each = (f: (lane: number) => ScalarValue): Lanes =>
      Array.from({ length: lanes }, (_, i) => f(i))
    switch (def.kind) {
      case 'const':
        return this.#use(value)
      case 'index':
        return assert(false, 'a loop defines its own index') as never
      case 'size':
        return () => [this.#args.sizes[def.slot]!]
      case 'param':
        return () => [convertValue(this.#args.params[def.slot]!, 'f64', type)]
      case 'op':
        return this.#op(value, def)
      case 'splat': {
        const arg = this.#use(def.arg)
        return () => each(() => arg()[0]!)
      }
      case 'iota':
        return () => each((i) => i)
      case 'lanesBelow': {
        const count = this.#scalar(def.count)
        return () => each((i) => (i < count() ? 1 : 0))
      }
      case 'across': {
        const arg = this.#use(def.arg)
        const { evaluate } = scalarOp(def.combine)
        return () => [arg().reduce((x, y) => rounded(evaluate(type, x, y), type))]
      }
      case 'load':
      case 'gather':
        return this.#load(value, def)
      case 'transposed': {
        const rows = def.rows.map((row) => this.#use(row))
        return () => {
          const all = rows.flatMap((row) => row())
          return all.filter((_, i) => i % rows.length === def.row)
        }
      }
      case 'read':
        return () => this.#read(def.variable)
    }
  }

  #op({ type, lanes }: Value, def: Definition & { kind: 'op' }): Compute {
    const args = def.args.map((x) => this.#use(x))
    const from = def.args[def.args.length - 1]!.type
    const { evaluate } = scalarOp(def.op)
    const one = (a: ScalarValue, b: ScalarValue, c: ScalarValue): ScalarValue => {
      if (def.op === 'convert') return convertValue(a, from, type)
      if (def.op === 'bitcast') return bitcastValue(a, from, type)
      return rounded(evaluate(from, a, b, c), type)
    }
    // Arguments that a row does not have are there to be ignored.
    const [first, second = first, third = first] = args as [Compute, Compute?, Compute?]
    return () => {
      const [a, b, c] = [first(), second(), third()]
      const result = new Array<ScalarValue>(lanes)
      for (let i = 0; i < lanes; i++) result[i] = one(a[i]!, b[i]!, c[i]!)
      return result
    }
  }

  #read(variable: Variable): Lanes {
    const lanes = this.#variables.get(variable.id)
    assert(lanes !== undefined, `variable ${variable.id} is read before it is set`)
    const setter = this.#setters.get(variable.id) ?? this.#iteration
    assert(
      setter === this.#iteration || this.#iteration === 0,
      `kernel ${this.#kernel.name}: variable ${variable.id} is carried from one parallel iteration to another`,
    )
    return lanes
  }

  // -- memory

  #load({ lanes }: Value, def: Definition & { kind: 'load' | 'gather' }): Compute {
    const at = this.#positions(def.place, lanes, def.kind === 'gather')
    const mask = def.mask && this.#use(def.mask)
    const memory = this.#memoryOf(def.place)
    const zero = def.place.memory === 'i64' ? 0n : 0
    return () => {
      const isOn = mask?.()
      return at().map((position, i) => {
        if (isOn && !isOn[i]) return zero
        const element = this.#checked(def.place, memory, position)
        this.#touch(def.place.buffer, element, false)
        return memory.elements[element]!
      })
    }
  }

  #store(s: Statement & { kind: 'store' }): () => void {
    const at = this.#positions(s.place, s.value.lanes, false)
    const value = this.#use(s.value)
    const mask = s.mask && this.#use(s.mask)
    const memory = this.#memoryOf(s.place)
    return () => {
      const [lanes, isOn] = [value(), mask?.()]
      at().forEach((position, i) => {
        if (isOn && !isOn[i]) return
        const element = this.#checked(s.place, memory, position)
        this.#touch(s.place.buffer, element, true)
        memory.elements[element] = lanes[i]!
      })
    }
  }

  #positions(place: Place, lanes: number, isGather: boolean): () => readonly number[] {
    const index = this.#use(place.index)
    if (isGather) return () => index().map((i) => Number(i) + place.offset)
    return () => {
      const first = Number(index()[0]) + place.offset
      return Array.from({ length: lanes }, (_, i) => first + i)
    }
  }

  #memoryOf(place: Place): Memory {
    const memory = this.#args.buffers[place.buffer]
    assert(memory !== undefined, `kernel ${this.#kernel.name}: no buffer ${place.buffer}`)
    return memory
  }

  #checked(place: Place, memory: Memory, position: number): number {
    const at = memory.offset + position
    const { length } = memory.elements
    assert(
      position >= 0 && at < length,
      `kernel ${this.#kernel.name}: buffer ${place.buffer} has ${length} elements, access at ${at}`,
    )
    return at
  }
}

function rounded(value: ScalarValue, type: Value['type']): ScalarValue {
  return type === 'f32' ? Math.fround(value as number) : value
}
