/** @file The small family of errors Tandem throws; each one points at the caller's line, not at ours. */

/**
 * Base of every error Tandem throws on purpose. The message says what happened, what was expected
 * and how to mend it; the stack starts at the first frame outside the library.
 */
export class TandemError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    captureDeepStack(this)
    if (this.stack !== undefined) this.stack = withoutLibraryFrames(this.stack)
  }
}

/** Shapes, axes or sizes do not fit together. */
export class ShapeError extends TandemError {}
/** A dtype is not one the operation can work with. */
export class DTypeError extends TandemError {}
/** Tensors on different devices met, or a backend cannot be used here. */
export class DeviceError extends TandemError {}
/** An argument has a value that makes no sense (an unknown option, a negative rate, a label out of range). */
export class ValueError extends TandemError {}
/** The gradient machinery was asked for something it cannot give. */
export class GradError extends TandemError {}
/** A program cannot be traced as it is written. */
export class TraceError extends TandemError {}
/** A file or byte stream is not what it claims to be. */
export class FormatError extends TandemError {}
/** The request is understood, but not built (yet) or not possible here. */
export class UnsupportedError extends TandemError {}
/** A mistake of Tandem's own: please report it. */
export class InternalError extends TandemError {}

/** Throws an InternalError when a fact the library relies on does not hold. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InternalError(`internal: ${message}`)
}

/** Marks a branch that the type checker has proved unreachable. */
export function unreachable(value: never): never {
  throw new InternalError(`internal: unexpected ${String(value)}`)
}

/**
 * Throws a ValueError for each key of `options` that is not in `known`, so that a misspelt option
 * is never silently ignored.
 *
 * @example
 * checkOptions('sum', { axes: 1 }, ['axis', 'keepDims'])
 * // ValueError: sum: unknown option 'axes'. Known options: axis, keepDims; did you mean 'axis'?
 */
export function checkOptions(where: string, options: object | undefined, known: readonly string[]) {
  if (options === undefined) return
  if (typeof options !== 'object' || options === null)
    throw new ValueError(
      `${where}: expected an options object with ${known.join(', ')}, received ${String(options)}. Wrap the value: { ${known[0]}: ${String(options)} }`,
    )
  for (const key in options) {
    if (known.includes(key) || !Object.hasOwn(options, key)) continue
    const near = known.find((k) => editDistance(k.toLowerCase(), key.toLowerCase()) <= 2)
    const hint = near === undefined ? '' : `; did you mean '${near}'?`
    throw new ValueError(
      `${where}: unknown option '${key}'. Known options: ${known.join(', ')}${hint}`,
    )
  }
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next.push(
        Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)),
      )
    row = next
  }
  return row[b.length]!
}

/** Ten frames, the usual limit of V8, may all be ours. */
function captureDeepStack(error: Error): void {
  const v8 = Error as { stackTraceLimit?: number; captureStackTrace?: (error: Error) => void }
  if (v8.captureStackTrace === undefined) return
  const { stackTraceLimit } = v8
  v8.stackTraceLimit = 50
  v8.captureStackTrace(error)
  if (stackTraceLimit !== undefined) v8.stackTraceLimit = stackTraceLimit
}

// The folder that holds the library's modules; frames below it are ours.
const libraryRoot = new URL('..', import.meta.url).href
const libraryPath = libraryRoot.replace(/^file:\/\//, '')

function withoutLibraryFrames(stack: string): string {
  const lines = stack.split('\n')
  const first = lines.findIndex((line) => /^\s+at /.test(line))
  if (first < 0) return stack
  const isOurs = (line: string) => line.includes(libraryRoot) || line.includes(libraryPath)
  // Between our frames stand native ones (Array.map); those after our last are the user's.
  const isNative = (line: string) => line.includes('<anonymous>')
  let user = first
  for (let i = first; i < lines.length && (isOurs(lines[i]!) || isNative(lines[i]!)); i++)
    if (isOurs(lines[i]!)) user = i + 1
  // In a bundle every frame is "ours": then the whole stack is the best there is.
  if (user === lines.length) return stack
  return [...lines.slice(0, first), ...lines.slice(user)].join('\n')
}
