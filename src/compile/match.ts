/** @file Patterns of calls, to find in graphs what passes make something else of. */
import { InternalError } from '../util/errors.ts'
import { isValue, type Argument, type CallNode, type Value } from './graph.ts'

/** What an argument of a call may be; what it is gets a name. */
export interface Pattern {
  (x: Argument, found: Bindings, context: MatchContext): Iterable<Bindings>
  /** The op that all it describes are results of. */
  readonly op?: string | undefined
}

export type Bindings = ReadonlyMap<string, Argument>

export interface MatchContext {
  /** How often each value is read, for `once`. */
  readonly uses?: ReadonlyMap<Value, number>
}

/** What a pattern found, by name. */
export class Match {
  readonly #found: Bindings

  constructor(found: Bindings) {
    this.#found = found
  }

  value(name: string): Value {
    const x = this.get(name)
    if (isValue(x)) return x
    throw new InternalError(`internal: ${name} is not a value`)
  }

  number(name: string): number {
    const x = this.get(name)
    if (typeof x === 'number') return x
    throw new InternalError(`internal: ${name} is not a plain number`)
  }

  /** The call that gave a value. */
  node(name: string): CallNode {
    const { node } = this.value(name)
    if (node.kind === 'call') return node
    throw new InternalError(`internal: ${name} is not the result of a call`)
  }

  get(name: string): Argument {
    const x = this.#found.get(name)
    if (x === undefined) throw new InternalError(`internal: the pattern names no ${name}`)
    return x
  }
}

/**
 * What of a pattern a value is, or undefined. The same name stands for the same argument.
 *
 * @example
 * const graph = parseGraph('program(x0: int32[2]) { const v0: int32[2] = mul(x0, 3) return [v0] }')
 * const found = matchPattern(call('mul', any('x'), number('n')), graph.outputs[0])
 * found.number('n') // -> 3
 */
export function matchPattern(
  pattern: Pattern,
  x: Argument,
  context: MatchContext = {},
): Match | undefined {
  for (const found of pattern(x, new Map(), context)) return new Match(found)
  return undefined
}

/** A value, whatever it is. */
export const any =
  (name: string): Pattern =>
  (x, found) =>
    isValue(x) ? bound(name, x, found) : []

/** Any argument: a value, a number, a live number. */
export const anything =
  (name: string): Pattern =>
  (x, found) =>
    bound(name, x, found)

/** A plain number, or exactly this one; -0 is not 0. */
export const number =
  (wanted: string | number): Pattern =>
  (x, found) => {
    if (typeof x !== 'number') return []
    if (typeof wanted === 'string') return bound(wanted, x, found)
    return Object.is(x, wanted) ? [found] : []
  }

/** The result of an op with one result, called with as many arguments. */
export function call(op: string, ...args: readonly Pattern[]): Pattern {
  const pattern: Pattern = (x, found, context) => {
    const inputs = inputsOf(op, x)
    return inputs?.length === args.length ? inOrder(args, inputs, found, context) : []
  }
  return Object.assign(pattern, { op })
}

/** The same with the two arguments in either order. */
export const commuting = (op: string, a: Pattern, b: Pattern): Pattern =>
  Object.assign(either(call(op, a, b), call(op, b, a)), { op })

/** What one of the patterns describes. */
export const either = (...patterns: readonly Pattern[]): Pattern =>
  function* (x, found, context) {
    for (const pattern of patterns) yield* pattern(x, found, context)
  }

/** Gives what the pattern describes a name. */
export function named(name: string, pattern: Pattern): Pattern {
  const made: Pattern = function* (x, found, context) {
    for (const more of pattern(x, found, context)) yield* bound(name, x, more)
  }
  return Object.assign(made, { op: pattern.op })
}

/** A value that nobody else reads. */
export const once =
  (pattern: Pattern): Pattern =>
  (x, found, context) =>
    isValue(x) && context.uses?.get(x) === 1 ? pattern(x, found, context) : []

/** A view of what the pattern describes. */
export const viewOf =
  (pattern: Pattern): Pattern =>
  (x, found, context) =>
    isValue(x) && x.node.kind === 'view' ? pattern(x.node.of, found, context) : []

/** What the pattern describes, if the condition holds of it. */
export const where =
  (pattern: Pattern, condition: (x: Argument) => boolean): Pattern =>
  (x, found, context) =>
    condition(x) ? pattern(x, found, context) : []

function inputsOf(op: string, x: Argument): readonly Argument[] | undefined {
  if (!isValue(x) || x.node.kind !== 'call' || x.node.op.name !== op) return undefined
  return x.node.results.length === 1 ? x.node.inputs : undefined
}

function* inOrder(
  patterns: readonly Pattern[],
  inputs: readonly Argument[],
  found: Bindings,
  context: MatchContext,
): Iterable<Bindings> {
  const [pattern, ...rest] = patterns
  if (pattern === undefined) return void (yield found)
  for (const more of pattern(inputs[0]!, found, context))
    yield* inOrder(rest, inputs.slice(1), more, context)
}

function bound(name: string, x: Argument, found: Bindings): readonly Bindings[] {
  const before = found.get(name)
  if (before === undefined) return [new Map([...found, [name, x]])]
  return isSame(before, x) ? [found] : []
}

const isSame = (a: Argument, b: Argument): boolean =>
  Object.is(a, b) ||
  (typeof a === 'object' &&
    typeof b === 'object' &&
    'slot' in a &&
    'slot' in b &&
    a.slot === b.slot)
