/** @file Axes whose size may differ from call to call of one program: how they are named, and the traces they need. */
import type { Shape } from '../core/shape.ts'
import { formatShape } from '../core/shape.ts'
import { TraceError, ValueError } from '../util/errors.ts'
import { atSizes, formulaOf, mostAxes, standInSizes, type SizeFormula } from './size-formula.ts'
import type { Renumber } from './resize.ts'

/**
 * Which axes are dynamic. A list holds for every tensor that has the axes: [0], the first axis, which has
 * one size in a call. Otherwise lists or names stand by argument; axes of one name have one size.
 */
export type DynamicAxes = readonly number[] | Readonly<Record<string, AxisNames>>

/** Of one argument: axes, or names by axis: { 0: 'batch', 1: 'tokens' }. */
export type AxisNames = readonly number[] | Readonly<Record<number, string>>

/**
 * Sizes differ that should be one, or a function can be traced for the sizes of a call, but not for any.
 *
 * @example
 * const f = compile((x: Tensor) => x.mul(Math.log(x.shape[0])), { dynamicAxes: [0] })
 * f(ones([3]))
 * // DynamicAxesError: compile: program: it does something else at other sizes of 0
 */
export class DynamicAxesError extends TraceError {}

/** A tensor that a function is called with, and what it is called in `DynamicAxes`. */
interface Place {
  readonly path: string
  readonly shape: Shape
}

/** The dynamic axes of the tensors of one call. */
export class AxisSizes {
  /** By number: the names of the axes. */
  readonly names: readonly string[]
  /** For each tensor and each of its axes the number of its name, undefined where it is fixed. */
  readonly axes: readonly (readonly (number | undefined)[])[]
  /** By number: the sizes in the call. */
  readonly sizes: readonly number[]

  /** Throws a DynamicAxesError where axes of one name differ in size, a ValueError for what is no axis. */
  constructor(where: string, dynamic: DynamicAxes, places: readonly Place[]) {
    const names: string[] = []
    const sizes: { readonly size: number; readonly path: string }[] = []
    this.axes = namesOf(where, dynamic, places).map((of, i) => {
      const { shape, path } = places[i]!
      return shape.map((size, axis) => {
        const name = of.get(axis)
        if (name === undefined) return undefined
        const known = names.indexOf(name)
        if (known < 0) {
          sizes.push({ size, path })
          return names.push(name) - 1
        }
        if (sizes[known]!.size !== size)
          throw new DynamicAxesError(
            `${where}: axis '${name}' has size ${sizes[known]!.size} in ${sizes[known]!.path} and ${size} in ${path}. Expected one size; give axes that differ different names in dynamicAxes`,
          )
        return known
      })
    })
    if (names.length > mostAxes)
      throw new ValueError(
        `${where}: ${names.length} dynamic axes: ${names.join(', ')}. Expected ${mostAxes} at most`,
      )
    this.names = names
    this.sizes = sizes.map(({ size }) => size)
  }

  /** Shape `i` with other sizes of its dynamic axes. */
  shape<T>(i: number, shape: Shape, sizes: readonly T[]): (number | T)[] {
    return shape.map((size, axis) => {
      const name = this.axes[i]![axis]
      return name === undefined ? size : sizes[name]!
    })
  }
}

function namesOf(
  where: string,
  dynamic: DynamicAxes,
  places: readonly Place[],
): ReadonlyMap<number, string>[] {
  if (isList(dynamic)) {
    for (const axis of dynamic) checkAxis(where, axis, Infinity)
    return places.map(
      ({ shape }) =>
        new Map(dynamic.filter((axis) => axis < shape.length).map((axis) => [axis, String(axis)])),
    )
  }
  const unknown = Object.keys(dynamic).find((key) => !places.some(({ path }) => path === key))
  if (unknown !== undefined)
    throw new ValueError(
      `${where}: dynamicAxes names '${unknown}', which is no tensor that it takes. Expected ${places.map(({ path }) => `'${path}'`).join(', ') || 'none'}`,
    )
  return places.map(({ path, shape }) => {
    const of = dynamic[path] ?? []
    const entries: [number, string][] = isList(of)
      ? of.map((axis) => [axis, String(axis)])
      : Object.entries(of).map(([axis, name]) => [Number(axis), name as string])
    for (const [axis, name] of entries) {
      checkAxis(`${where}: '${path}' of shape ${formatShape(shape)}`, axis, shape.length)
      if (typeof name !== 'string' || !/^\w+$/.test(name))
        throw new ValueError(
          `${where}: axis ${axis} of '${path}' is named ${JSON.stringify(name)}. Expected letters and digits: 'batch'`,
        )
    }
    return new Map(entries)
  })
}

const isList = (x: unknown): x is readonly number[] => Array.isArray(x)

function checkAxis(where: string, axis: number, rank: number): void {
  if (Number.isInteger(axis) && axis >= 0 && axis < rank) return
  throw new ValueError(
    `${where}: ${String(axis)} is no axis. Expected whole numbers from 0${rank === Infinity ? '' : ` to ${rank - 1}`}`,
  )
}

/** Throws a ValueError unless it is what `dynamicAxes` may be. */
export function checkDynamicAxes(where: string, dynamic: unknown): void {
  if (typeof dynamic === 'object' && dynamic !== null) return
  throw new ValueError(
    `${where}: dynamicAxes is ${String(dynamic)}. Expected axes of all tensors, [0], or axes by tensor, { x: { 0: 'batch' } }`,
  )
}

/** What a function does at stand-in sizes, which can be told at all others. */
export interface Recording<R> {
  /** The same at other numbers. */
  renumbered(renumber: Renumber, mark: string): R
}

/** One recording for all sizes of its dynamic axes. */
export class Template<R> {
  readonly names: readonly string[]
  readonly #recording: Recording<R>
  readonly #standIns: readonly number[]
  readonly #formulas = new Map<number, SizeFormula | undefined>()

  /** `record` is called once, with sizes to trace at; twice if it computes with them in unusual ways. */
  constructor(
    where: string,
    names: readonly string[],
    record: (sizes: readonly number[]) => Recording<R>,
  ) {
    this.names = names
    this.#standIns = standInSizes(names.length, false)
    this.#recording = record(this.#standIns)
    const numbers = numbersIn(this.#recording)
    const unclear = new Set<number>()
    for (const x of numbers) {
      const formula = formulaOf(x, this.#standIns)
      if (formula === 'unclear') unclear.add(x)
      this.#formulas.set(x, typeof formula === 'string' ? undefined : formula)
    }
    const others = standInSizes(names.length, true)
    if (unclear.size > 0) this.#compare(where, numbers, numbersIn(record(others)), others)
    // Everything must fit together at other sizes.
    this.at(others)
  }

  #compare(
    where: string,
    numbers: readonly number[],
    second: readonly number[],
    others: readonly number[],
  ): void {
    const wrong = numbers.findIndex((x, i) => {
      const formula = this.#formulas.get(x)
      return second[i] !== (formula === undefined ? x : atSizes(formula, others))
    })
    if (second.length !== numbers.length || wrong >= 0)
      throw new DynamicAxesError(
        `${where}: it does something else at other sizes of ${this.names.join(', ')}${wrong < 0 ? '' : `: a number that is ${numbers[wrong]} at size ${this.#standIns.join(', ')} is ${second[wrong]} at ${others.join(', ')}`}. Dynamic sizes may be added to, multiplied, and divided by; leave the axis out of dynamicAxes otherwise`,
      )
  }

  at(sizes: readonly number[]): R {
    const mark = this.names.map((name, i) => `${name}=${sizes[i]}`).join()
    return this.#recording.renumbered((x) => {
      const formula = this.#formulas.get(x)
      return formula === undefined ? x : atSizes(formula, sizes)
    }, mark)
  }
}

function numbersIn(recording: Recording<unknown>): number[] {
  const numbers: number[] = []
  recording.renumbered((x) => {
    numbers.push(x)
    return x
  }, '')
  return numbers
}
