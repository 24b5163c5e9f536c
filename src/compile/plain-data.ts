/** @file Attributes of ops and structures of results as JSON: plain data only, numbers to the bit. */
import type { JsonCursor } from '../util/json-cursor.ts'

/** Numbers that JSON has no word for; they stand as { "$number": "-Infinity" }. */
const words = new Map<string, number>([
  ['NaN', NaN],
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
  ['-0', -0],
])

/** Nothing in a program is nested as deeply. */
const deepest = 64

/**
 * A value as JSON data: null, booleans, numbers, texts, lists and plain objects; fields that are
 * undefined are left out. `special` may turn an object into an entry { "$...": ... } of its own, `number`
 * a number. Calls `fail`, which throws, with what cannot be written.
 */
export function toPlain(
  value: unknown,
  fail: (what: string) => never,
  special: (x: object) => Record<`$${string}`, unknown> | undefined = () => undefined,
  number: (x: number) => unknown = numberToPlain,
): unknown {
  const visit = (x: unknown, depth: number): unknown => {
    if (depth > deepest) return fail('data nested too deeply')
    if (x === null || typeof x === 'boolean' || typeof x === 'string') return x
    if (typeof x === 'number') return number(x)
    if (typeof x !== 'object') return fail(`a value of type ${typeof x}`)
    const own = special(x)
    if (own !== undefined) return own
    if (Array.isArray(x)) return x.map((item) => visit(item, depth + 1))
    const prototype: unknown = Object.getPrototypeOf(x)
    if (prototype !== Object.prototype && prototype !== null)
      return fail(`a ${(x as object).constructor.name}`)
    const entries = Object.entries(x).filter(([, item]) => item !== undefined)
    const reserved = entries.find(([key]) => isReserved(key))
    if (reserved !== undefined) return fail(`the key '${reserved[0]}', which the format reserves`)
    return Object.fromEntries(entries.map(([key, item]) => [key, visit(item, depth + 1)]))
  }
  return visit(value, 0)
}

/** Reads what `toPlain` wrote. `special` reads its own entries: the key and what stands there. */
export function fromPlain(
  cursor: JsonCursor,
  special: (key: string, value: JsonCursor) => unknown = (key, value) =>
    value.fail(`unknown mark ${key}`),
): unknown {
  const visit = (at: JsonCursor, depth: number): unknown => {
    if (depth > deepest) return at.fail('data nested too deeply')
    if (typeof at.value !== 'object' || at.value === null) return at.value
    if (Array.isArray(at.value)) return at.items().map((item) => visit(item, depth + 1))
    const entries = at.entries()
    const mark = entries.find(([key]) => isReserved(key))
    if (mark === undefined)
      return Object.fromEntries(entries.map(([key, item]) => [key, visit(item, depth + 1)]))
    const [key, inner] = mark
    if (entries.length > 1) return at.fail(`other fields beside ${key}`)
    return key === '$number' ? wordOf(inner) : special(key, inner)
  }
  return visit(cursor, 0)
}

/** A number as JSON has it, or marked. */
export function numberToPlain(x: number): unknown {
  return Number.isFinite(x) && !Object.is(x, -0)
    ? x
    : { $number: Object.is(x, -0) ? '-0' : String(x) }
}

function wordOf(cursor: JsonCursor): number {
  return words.get(cursor.text()) ?? cursor.fail(`expected one of ${[...words.keys()].join(', ')}`)
}

const isReserved = (key: string) => key.startsWith('$') || key === '__proto__'
