/** @file Axes whose size may differ from call to call of one program: how they are named, and their sizes in a call. */
import type { Shape } from '../core/shape.ts'
import { formatShape } from '../core/shape.ts'
import { TraceError, ValueError } from '../util/errors.ts'
import { mostAxes } from './size-formula.ts'

/**
 * Which axes are dynamic. A list holds for every tensor that has the axes: [0], the first axis, which has
 * one size in a call. Otherwise lists or names stand by argument: its number and the way into it ('0',
 * '1.images', '2[0]'); of a saved graph by the name of the input. Axes of one name have one size.
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
 * // DynamicAxesError: compile: program: it does something else at other sizes of axis0
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
        new Map(dynamic.filter((axis) => axis < shape.length).map((axis) => [axis, `axis${axis}`])),
    )
  }
  const unknown = Object.keys(dynamic).find((key) => !places.some(({ path }) => path === key))
  if (unknown !== undefined)
    throw new ValueError(
      `${where}: dynamicAxes names '${unknown}', which is no tensor that it takes. Expected ${places.map(({ path }) => `'${path}'`).join(', ') || 'none'}`,
    )
  return places.map(({ path, shape }) => {
    const of: unknown = dynamic[path] ?? []
    if (typeof of !== 'object' || of === null)
      throw new ValueError(
        `${where}: dynamicAxes of '${path}' is ${String(of)}. Expected a list, [0], or names, { 0: 'batch' }`,
      )
    const entries: [number, string][] = isList(of)
      ? of.map((axis) => [axis, `axis${axis}`])
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

/** Whether axes hold for all tensors. */
export const isList = (x: unknown): x is readonly number[] => Array.isArray(x)

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
