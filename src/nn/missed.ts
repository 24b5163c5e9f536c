/** @file Finds modules and parameters in arrays and the like, where a module would silently miss them. */
import { Cell } from '../tensor/cell.ts'
import { ValueError } from '../util/errors.ts'
import type { Module } from './module.ts'

type ModuleClass = abstract new (...args: never[]) => Module

/**
 * Throws a ValueError when a field of `owner` is an array, plain object, Map or Set with a module or
 * cell in it that is not reached some other way: it would not be trained, saved or moved.
 */
export function checkNothingMissed(
  owner: Module,
  members: readonly (readonly [string, unknown])[],
  moduleClass: ModuleClass,
): void {
  let known: Set<unknown> | undefined
  for (const [name, value] of members) {
    const inside = contentsOf(value)
    if (inside === undefined) continue
    for (const item of inside) {
      if (!(item instanceof moduleClass) && !(item instanceof Cell)) continue
      known ??= reachable(members, moduleClass)
      if (!known.has(item)) throw missed(owner, name, value, item)
    }
  }
}

function missed(owner: Module, name: string, holder: unknown, item: unknown): ValueError {
  const kind = (item as object).constructor.name
  const holderKind = Array.isArray(holder) ? 'an array' : `a ${(holder as object).constructor.name}`
  const list = item instanceof Cell ? 'ParameterList' : 'ModuleList'
  const wrap =
    Array.isArray(holder) || holder instanceof Set
      ? `new nn.${list}([...])`
      : list === 'ModuleList'
        ? 'new nn.ModuleDict({...})'
        : 'fields of their own'
  return new ValueError(
    `${owner.constructor.name}: field '${name}' is ${holderKind} with a ${kind} inside, which would be neither trained nor saved. Use ${wrap}, or a #private field to leave it out on purpose`,
  )
}

/** Values inside containers that are no modules themselves; undefined for everything else. */
function contentsOf(value: unknown, depth = 0): unknown[] | undefined {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return undefined
  const items = Array.isArray(value)
    ? value
    : value instanceof Map || value instanceof Set
      ? [...value.values()]
      : Object.getPrototypeOf(value) === Object.prototype
        ? Object.values(value)
        : undefined
  if (items === undefined || depth > 2) return undefined
  return items.flatMap((item) => contentsOf(item, depth + 1) ?? [item])
}

/** What the fields themselves lead to: another name for one of these is no mistake. */
function reachable(
  members: readonly (readonly [string, unknown])[],
  moduleClass: ModuleClass,
): Set<unknown> {
  const found = new Set<unknown>()
  for (const [, value] of members) {
    if (value instanceof Cell) found.add(value)
    if (!(value instanceof moduleClass)) continue
    for (const module of value.modules()) found.add(module)
    for (const cell of [...value.parameters(), ...value.buffers()]) found.add(cell)
  }
  return found
}
