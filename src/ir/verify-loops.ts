/** @file Checks that a kernel in loop form makes sense: values before their uses, lanes and types that fit, known buffers. */
import { assert } from '../util/errors.ts'
import type { Kernel, Place, Statement, Value, Variable } from './loops.ts'
import { scalarOp } from './scalar-op.ts'

/** Throws an InternalError that names the first offence. */
export function verifyKernel(kernel: Kernel): void {
  new KernelVerifier(kernel).run()
}

class KernelVerifier {
  readonly #kernel: Kernel
  /** Values and variables that exist at this point of the program. */
  readonly #known = new Set<Value>()
  readonly #variables = new Set<number>()
  readonly #ids = new Set<number>()

  constructor(kernel: Kernel) {
    this.#kernel = kernel
  }

  run(): void {
    this.#block(this.#kernel.body)
  }

  #check(holds: boolean, what: string): void {
    assert(holds, `kernel ${this.#kernel.name}: ${what}`)
  }

  // What a block makes is gone after it. A variable set inside stays: a loop may carry it.
  #block(statements: readonly Statement[]): void {
    const made: Value[] = []
    for (const s of statements) {
      this.#statement(s)
      if (s.kind !== 'let') continue
      this.#add(s.value)
      made.push(s.value)
    }
    for (const value of made) this.#known.delete(value)
  }

  #add(value: Value): void {
    this.#check(!this.#ids.has(value.id), `value ${value.id} is made twice`)
    this.#ids.add(value.id)
    this.#known.add(value)
  }

  #statement(s: Statement): void {
    switch (s.kind) {
      case 'let':
        return this.#define(s.value)
      case 'set':
        this.#use(s.value)
        this.#fits(s.value, s.variable, `variable ${s.variable.id}`)
        this.#variables.add(s.variable.id)
        return
      case 'store': {
        this.#place(s.place, 1)
        this.#use(s.value)
        this.#mask(s.mask, s.value.lanes)
        const isWritten = this.#kernel.buffers[s.place.buffer]!.written
        return this.#check(isWritten, `store to read-only buffer ${s.place.buffer}`)
      }
      case 'prefetch':
        return this.#place(s.place, 1)
      case 'if':
        this.#use(s.condition)
        this.#check(s.condition.type === 'bool' && s.condition.lanes === 1, 'if needs one bool')
        return this.#block(s.then)
      case 'for':
        for (const bound of [s.begin, s.end]) {
          this.#use(bound)
          this.#check(bound.type === 'i32' && bound.lanes === 1, 'a loop bound is one i32')
        }
        this.#check(Number.isInteger(s.step) && s.step > 0, `step ${s.step} of a loop`)
        this.#check(!s.runEnd || (s.parallel && s.step === 1), 'runs are of parallel loops')
        this.#add(s.index)
        if (s.runEnd) this.#add(s.runEnd)
        this.#block(s.body)
        this.#known.delete(s.index)
        if (s.runEnd) this.#known.delete(s.runEnd)
    }
  }

  #define(value: Value): void {
    const { def, lanes, type } = value
    const name = `value ${value.id}`
    switch (def.kind) {
      case 'const':
      case 'param':
        return this.#check(lanes === 1, `${name}: ${def.kind} is a scalar`)
      case 'size':
        return this.#check(def.slot < this.#kernel.sizeCount, `${name}: no size ${def.slot}`)
      case 'index':
        return this.#check(false, `${name}: an index belongs to its loop`)
      case 'op': {
        const { arity, result } = scalarOp(def.op)
        this.#check(def.args.length === arity, `${name}: ${def.op} takes ${arity} arguments`)
        for (const arg of def.args) {
          this.#use(arg)
          this.#check(arg.lanes === lanes, `${name}: ${def.op} mixes ${arg.lanes}, ${lanes} lanes`)
        }
        const last = def.args[arity - 1]!.type
        if (result === 'bool') this.#check(type === 'bool', `${name}: ${def.op} makes a bool`)
        if (result === 'same')
          this.#check(type === last, `${name}: ${def.op} of ${last} is ${type}`)
        return
      }
      case 'splat':
        this.#use(def.arg)
        return this.#check(def.arg.lanes === 1 && def.arg.type === type, `${name}: splat`)
      case 'iota':
        return this.#check(type === 'i32', `${name}: iota is i32`)
      case 'lanesBelow':
        this.#use(def.count)
        return this.#check(type === 'bool' && def.count.lanes === 1, `${name}: lanesBelow`)
      case 'across':
        this.#use(def.arg)
        return this.#check(lanes === 1 && def.arg.type === type, `${name}: across`)
      case 'load':
        this.#place(def.place, 1)
        return this.#mask(def.mask, lanes)
      case 'gather':
        this.#place(def.place, lanes)
        return this.#mask(def.mask, lanes)
      case 'transposed':
        def.rows.forEach((row) => {
          this.#use(row)
          this.#fits(row, value, `a row of ${name}`)
        })
        return this.#check(
          (def.rows.length === lanes || def.rows.length === 2) && def.row < def.rows.length,
          `${name}: transposed`,
        )
      case 'read':
        this.#check(this.#variables.has(def.variable.id), `${name}: variable is read before set`)
        return this.#fits(value, def.variable, name)
    }
  }

  #use(value: Value): void {
    if (value.def.kind === 'const') return
    this.#check(
      this.#known.has(value),
      `value ${value.id} (${value.def.kind}) is used out of scope`,
    )
  }

  #place({ buffer, memory, index }: Place, lanes: number): void {
    this.#use(index)
    const known = this.#kernel.buffers[buffer]
    this.#check(known?.memory === memory, `buffer ${buffer} is ${known?.memory}, used as ${memory}`)
    this.#check(index.type === 'i32' && index.lanes === lanes, `index of ${index.lanes} lanes`)
  }

  #mask(mask: Value | undefined, lanes: number): void {
    if (mask === undefined) return
    this.#use(mask)
    this.#check(mask.type === 'bool' && mask.lanes === lanes, `mask of ${mask.lanes} lanes`)
  }

  #fits(value: Value, to: Variable | Value, what: string): void {
    const fits = value.type === to.type && value.lanes === to.lanes
    this.#check(fits, `${what}: ${value.type} x ${value.lanes}, not ${to.type} x ${to.lanes}`)
  }
}
