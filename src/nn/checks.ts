/** @file Checks of what layers are constructed with. */
import { ValueError } from '../util/errors.ts'

/** One size for all axes of a window, or one per axis. */
export type WindowSize = number | readonly number[]

/** Throws a ValueError unless the value is a whole number of at least `least`. Returns it. */
export function checkSize(where: string, name: string, value: unknown, least = 1): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least) return value
  throw new ValueError(
    `${where}: ${name} must be a whole number of at least ${least}, received ${JSON.stringify(value)}`,
  )
}

/** One number per axis of a window. */
export function checkWindow(
  where: string,
  name: string,
  value: unknown,
  axes: number,
  least = 1,
): readonly number[] {
  const list = Array.isArray(value) ? (value as unknown[]) : new Array<unknown>(axes).fill(value)
  if (list.length !== axes)
    throw new ValueError(
      `${where}: ${name} must be a number or ${axes} of them, received ${JSON.stringify(value)}`,
    )
  return list.map((n) => checkSize(where, name, n, least))
}

/** Throws a ValueError unless 0 <= value <= 1. Returns it. */
export function checkProbability(where: string, name: string, value: unknown): number {
  if (typeof value === 'number' && value >= 0 && value <= 1) return value
  throw new ValueError(`${where}: ${name} must be between 0 and 1, received ${String(value)}`)
}

/** Throws a ValueError unless the value is a finite number above 0. Returns it. */
export function checkPositive(where: string, name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value
  throw new ValueError(
    `${where}: ${name} must be a finite number above 0, received ${String(value)}`,
  )
}

/** Throws a ValueError unless the value is one of `allowed`. Returns it. */
export function checkChoice<T extends string>(
  where: string,
  name: string,
  value: unknown,
  allowed: readonly T[],
): T {
  if (allowed.includes(value as T)) return value as T
  throw new ValueError(
    `${where}: ${name} must be one of ${allowed.map((a) => `'${a}'`).join(', ')}, received ${JSON.stringify(value)}`,
  )
}

/** `3` where all sizes are the same, else `[3, 5]`. */
export function formatWindow(sizes: readonly number[]): string {
  return sizes.every((n) => n === sizes[0]) ? String(sizes[0]) : `[${sizes.join(', ')}]`
}
