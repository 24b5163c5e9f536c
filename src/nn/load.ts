/** @file Loading a state dict: everything is checked before anything changes. */
import { formatShape, sameShape } from '../core/shape.ts'
import type { Cell } from '../tensor/cell.ts'
import { noGrad } from '../tensor/tape.ts'
import { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ValueError } from '../util/errors.ts'
import type { Module, StateDict } from './module.ts'

export interface LoadOptions {
  /** Whether missing and unexpected keys are errors; default true. */
  readonly strict?: boolean
}

export interface LoadReport {
  /** Paths of the module that the state has no value for. */
  readonly missingKeys: string[]
  /** Keys of the state that the module has no place for. */
  readonly unexpectedKeys: string[]
}

/** Copies `state` into `cells`, or throws one ValueError that lists everything in the way. */
export function loadInto(
  module: Module,
  cells: readonly (readonly [string, Cell])[],
  state: Readonly<StateDict>,
  options: LoadOptions,
): LoadReport {
  checkOptions('loadStateDict', options, ['strict'])
  const known = new Map(cells)
  const missingKeys = [...known.keys()].filter((key) => !Object.hasOwn(state, key))
  const unexpectedKeys = Object.keys(state).filter((key) => !known.has(key))
  const problems = [...known].flatMap(([key, cell]) =>
    Object.hasOwn(state, key) ? mismatch(key, cell, state[key]) : [],
  )
  if (options.strict ?? true) {
    if (unexpectedKeys.length > 0) problems.unshift(`unexpected keys: ${quote(unexpectedKeys)}`)
    if (missingKeys.length > 0) problems.unshift(`missing keys: ${quote(missingKeys)}`)
  }
  if (problems.length > 0)
    throw new ValueError(
      `loadStateDict: the state does not fit ${module.constructor.name}; nothing was loaded.\n  ${problems.join('\n  ')}\nExpected what stateDict() of the same model gives; { strict: false } tolerates missing and unexpected keys`,
    )
  const values = noGrad(() =>
    [...known].flatMap(([key, cell]) => {
      const value = state[key]
      if (value === undefined) return []
      // A copy, so that neither disposing nor assigning one of the two touches the other.
      return [{ cell, value: value.device === cell.device ? value.clone() : value.to(cell.device) }]
    }),
  )
  for (const { cell, value } of values) {
    cell.assign(value)
    value.storage.shares--
  }
  return { missingKeys, unexpectedKeys }
}

function mismatch(key: string, cell: Cell, value: unknown): string[] {
  if (!(value instanceof Tensor)) return [`'${key}' is not a tensor, but ${typeof value}`]
  const found = []
  if (!sameShape(value.shape, cell.shape))
    found.push(
      `'${key}' has shape ${formatShape(value.shape)}, expected ${formatShape(cell.shape)}`,
    )
  if (value.dtype !== cell.dtype)
    found.push(`'${key}' has dtype ${value.dtype}, expected ${cell.dtype}`)
  return found
}

const quote = (keys: readonly string[]) => keys.map((key) => `'${key}'`).join(', ')
