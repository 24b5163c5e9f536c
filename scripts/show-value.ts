/** @file Prints a value the way examples write it, and compares the two. */

/** What `console.log` in an example leaves behind, so that its output can be asserted. */
export class Printed {
  readonly text: string
  constructor(values: readonly unknown[]) {
    this.text = values.map((v) => (typeof v === 'string' ? v : showValue(v))).join(' ')
  }
}

/** Prints a value: tensors by their own `toString`, the rest much as Node's `inspect` does. */
export function showValue(value: unknown): string {
  if (value instanceof Printed) return value.text
  if (typeof value === 'string') return `'${value}'`
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function') return `[Function: ${value.name}]`
  if (Object.is(value, -0)) return '-0'
  if (typeof value !== 'object' || value === null) return String(value)
  if (Array.isArray(value)) return list(value)
  if (ArrayBuffer.isView(value) && Symbol.iterator in value)
    return `${value.constructor.name} ${list([...(value as Iterable<unknown> & typeof value)])}`
  if (value instanceof Map) {
    const entries = [...value].map(([key, item]) => `${showValue(key)} => ${showValue(item)}`)
    return `Map { ${entries.join(', ')} }`
  }
  if (value instanceof Set) return `Set { ${[...value].map(showValue).join(', ')} }`
  if (value instanceof Promise) return 'Promise'
  const { toString } = value as { toString?: () => string }
  if (toString === undefined || toString === Object.prototype.toString) return showFields(value)
  return toString.call(value)
}

/**
 * Whether `value` prints as `expected`; `...` in it stands for any text, spacing does not count.
 * Examples are written for machines where `cpu` is the default device: elsewhere it stands for `device`.
 */
export function printsAs(value: unknown, expected: string, device = 'cpu'): boolean {
  const pattern = normalize(expected.replace(/\bcpu\b/g, device))
    .split(/\.\.\.|…/)
    .map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
    .join('[^]*')
  const matches = (text: string) => new RegExp(`^${pattern}$`).test(normalize(text))
  return matches(showValue(value)) || (typeof value === 'string' && matches(value))
}

function list(values: readonly unknown[]): string {
  return `[${values.map(showValue).join(', ')}]`
}

function showFields(value: object): string {
  const fields = Object.entries(value).map(([key, item]) => `${key}: ${showValue(item)}`)
  const name = (Object.getPrototypeOf(value) as object | null)?.constructor.name ?? 'Object'
  const prefix = name === 'Object' ? '' : `${name} `
  return fields.length === 0 ? `${prefix}{}` : `${prefix}{ ${fields.join(', ')} }`
}

/** One spelling for what is the same: spacing, quotes, and the length in `Float32Array(3) [...]`. */
function normalize(text: string): string {
  return text
    .replace(/\s+/g, ' ')
    .replace(/(?<=[[({]) | (?=[\])}])/g, '')
    .replaceAll('"', "'")
    .replace(/Array\(\d+\)/g, 'Array')
    .trim()
}
