/** @file Reads data that came from outside, and says where in it something is not as expected. */
import { FormatError } from './errors.ts'

/**
 * A place in parsed JSON. Each reading checks what is there and throws a FormatError that names the
 * place; an object is read by naming all its fields, so that nothing unknown is passed over.
 */
export class JsonCursor {
  readonly value: unknown
  readonly #where: string

  constructor(value: unknown, where: string) {
    this.value = value
    this.#where = where
  }

  /** Throws. `what` says what is wrong here. */
  fail(what: string, cause?: unknown): never {
    throw new FormatError(`${this.#where}: ${what}`, cause === undefined ? undefined : { cause })
  }

  /** The same place under another name, for errors. */
  named(name: string): JsonCursor {
    return new JsonCursor(this.value, `${this.#where}: ${name}`)
  }

  /** The same place with another value. */
  holding(value: unknown): JsonCursor {
    return new JsonCursor(value, this.#where)
  }

  /** The fields of an object that has all of `names` and nothing else. */
  fields<Name extends string>(...names: readonly Name[]): Record<Name, JsonCursor> {
    const entries = this.entries()
    const known = new Map(entries)
    const missing = names.find((name) => !known.has(name))
    if (missing !== undefined) this.fail(`'${missing}' is missing`)
    const other = entries.find(([key]) => !names.includes(key as Name))
    if (other !== undefined)
      this.fail(`unknown field ${quote(other[0])}. Expected ${names.join(', ')}`)
    return Object.fromEntries(known) as Record<Name, JsonCursor>
  }

  /** A field of an object, whatever else it has; undefined when it is not there. */
  get(name: string): unknown {
    return isObject(this.value) && Object.hasOwn(this.value, name) ? this.value[name] : undefined
  }

  /** As `get`, as a place; fails when it is not there. */
  field(name: string): JsonCursor {
    const found = this.entries().find(([key]) => key === name)
    return found?.[1] ?? this.fail(`'${name}' is missing`)
  }

  /** What an object holds, by key. */
  entries(): [key: string, cursor: JsonCursor][] {
    if (!isObject(this.value)) return this.fail(`expected an object, found ${quote(this.value)}`)
    return Object.entries(this.value).map(([key, value]) => [
      key,
      new JsonCursor(value, `${this.#where}: ${key}`),
    ])
  }

  /** What a list holds. */
  items(): JsonCursor[] {
    if (!Array.isArray(this.value)) return this.fail(`expected a list, found ${quote(this.value)}`)
    return this.value.map((value, i) => new JsonCursor(value, `${this.#where}[${i}]`))
  }

  text(): string {
    if (typeof this.value === 'string') return this.value
    return this.fail(`expected text, found ${quote(this.value)}`)
  }

  /** A whole number from `least` to `most`. */
  whole(least = 0, most = Number.MAX_SAFE_INTEGER): number {
    const { value } = this
    if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most)
      return value as number
    return this.fail(`expected a whole number from ${least} to ${most}, found ${quote(value)}`)
  }
}

/** JSON of a value, short enough for a message. */
export function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
