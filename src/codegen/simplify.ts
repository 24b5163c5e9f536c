/** @file Rewrite rules on expressions, held as data: each is a pattern and what it becomes, and is fuzzed. */
import type { ScalarType } from '../core/dtype.ts'
import { childrenOf, ExprBuilder, rewrite, type Expr } from '../ir/expr.ts'
import { bitcastValue, convertValue, scalarOp, type ScalarValue } from '../ir/scalar-op.ts'

type Build = (s: ExprBuilder, type: ScalarType, x: Expr, y: Expr) => Expr

/** `before` becomes `after`, for every value of x and y of the given types, bit for bit (NaN is NaN). */
export interface Rule {
  readonly name: string
  readonly types: readonly ScalarType[]
  readonly before: Build
  readonly after: Build
}

const floats = ['f32', 'f64'] as const
const ints = ['i32', 'i64'] as const
const numbers = [...floats, ...ints] as const
const every = [...numbers, 'bool'] as const
const bool = ['bool'] as const

const keepX: Build = (_s, _t, x) => x
const zero: Build = (s, t) => s.const(t, 0)
const no: Build = (s) => s.const('bool', 0)
const yes: Build = (s) => s.const('bool', 1)

/** Float rules are exact: x + 0 is missing, because it turns -0 into +0. */
export const rules: readonly Rule[] = [
  { name: 'x + 0', types: ints, before: (s, t, x) => s.add(x, s.const(t, 0)), after: keepX },
  { name: 'x - 0', types: numbers, before: (s, t, x) => s.sub(x, s.const(t, 0)), after: keepX },
  { name: 'x - x', types: ints, before: (s, _t, x) => s.sub(x, x), after: zero },
  { name: 'x * 1', types: numbers, before: (s, t, x) => s.mul(x, s.const(t, 1)), after: keepX },
  { name: 'x * 0', types: ints, before: (s, t, x) => s.mul(x, s.const(t, 0)), after: zero },
  { name: 'x / 1', types: numbers, before: (s, t, x) => s.div(x, s.const(t, 1)), after: keepX },
  { name: 'x rem 1', types: ints, before: (s, t, x) => s.rem(x, s.const(t, 1)), after: zero },
  { name: '-(-x)', types: numbers, before: (s, _t, x) => s.neg(s.neg(x)), after: keepX },
  {
    name: 'x + (-y)',
    types: numbers,
    before: (s, _t, x, y) => s.add(x, s.neg(y)),
    after: (s, _t, x, y) => s.sub(x, y),
  },
  {
    name: 'abs(abs x)',
    types: numbers,
    before: (s, _t, x) => s.abs(s.abs(x)),
    after: (s, _t, x) => s.abs(x),
  },
  { name: 'min(x, x)', types: numbers, before: (s, _t, x) => s.min(x, x), after: keepX },
  { name: 'max(x, x)', types: numbers, before: (s, _t, x) => s.max(x, x), after: keepX },
  {
    name: 'select(true, x, y)',
    types: every,
    before: (s, _t, x, y) => s.select(s.const('bool', 1), x, y),
    after: keepX,
  },
  {
    name: 'select(false, x, y)',
    types: every,
    before: (s, _t, x, y) => s.select(s.const('bool', 0), x, y),
    after: (_s, _t, _x, y) => y,
  },
  { name: 'x = x', types: ints, before: (s, _t, x) => s.eq(x, x), after: yes },
  { name: 'x != x', types: ints, before: (s, _t, x) => s.ne(x, x), after: no },
  { name: 'x < x', types: numbers, before: (s, _t, x) => s.lt(x, x), after: no },
  {
    name: 'x and true',
    types: bool,
    before: (s, _t, x) => s.and(x, s.const('bool', 1)),
    after: keepX,
  },
  {
    name: 'x and false',
    types: bool,
    before: (s, _t, x) => s.and(x, s.const('bool', 0)),
    after: no,
  },
  { name: 'x or true', types: bool, before: (s, _t, x) => s.or(x, s.const('bool', 1)), after: yes },
  {
    name: 'x or false',
    types: bool,
    before: (s, _t, x) => s.or(x, s.const('bool', 0)),
    after: keepX,
  },
  { name: 'x and x', types: [...ints, ...bool], before: (s, _t, x) => s.and(x, x), after: keepX },
  { name: 'x or x', types: [...ints, ...bool], before: (s, _t, x) => s.or(x, x), after: keepX },
  {
    name: 'not(not x)',
    types: [...ints, ...bool],
    before: (s, _t, x) => s.not(s.not(x)),
    after: keepX,
  },
  { name: 'x shl 0', types: ints, before: (s, t, x) => s.shl(x, s.const(t, 0)), after: keepX },
]

/** Applies the rules, and evaluates what is constant, from the leaves up. */
export function simplify(s: ExprBuilder, root: Expr, memo?: Map<Expr, Expr>): Expr {
  return rewrite(s, root, (e) => simplifyNode(s, e), memo)
}

function simplifyNode(s: ExprBuilder, e: Expr): Expr | undefined {
  if (e.kind !== 'op') return undefined
  const folded = fold(s, e)
  if (folded) return folded
  for (const { rule, pattern } of patternsFor(e)) {
    const found: Bindings = { x: undefined, y: undefined }
    if (!match(pattern, e, found)) continue
    const type = typeOfHoles(pattern) ?? e.type
    return rule.after(s, type, found.x ?? e, found.y ?? e)
  }
  return undefined
}

function fold(s: ExprBuilder, e: Expr & { kind: 'op' }): Expr | undefined {
  const values: ScalarValue[] = []
  for (const a of e.args) {
    if (a.kind !== 'const') return undefined
    values.push(a.value)
  }
  const from = e.args[e.args.length - 1]!.type
  if (e.op === 'convert') return s.const(e.type, convertValue(values[0]!, from, e.type))
  if (e.op === 'bitcast') return s.const(e.type, bitcastValue(values[0]!, from, e.type))
  return s.const(e.type, scalarOp(e.op).evaluate(from, ...values))
}

// -- matching

interface Bindings {
  x: Expr | undefined
  y: Expr | undefined
}

interface Compiled {
  readonly rule: Rule
  readonly pattern: Expr & { kind: 'op' }
}

// Patterns by operation and type of the arguments; the holes x and y are the params 0 and 1.
let compiled: Map<string, Compiled[]> | undefined

function patternsFor(e: Expr & { kind: 'op' }): readonly Compiled[] {
  compiled ??= compileRules()
  return compiled.get(`${e.op}:${e.args[e.args.length - 1]!.type}`) ?? []
}

function compileRules(): Map<string, Compiled[]> {
  const table = new Map<string, Compiled[]>()
  for (const rule of rules)
    for (const type of rule.types) {
      const pattern = patternOf(rule, type)
      const key = `${pattern.op}:${pattern.args[pattern.args.length - 1]!.type}`
      if (!table.has(key)) table.set(key, [])
      table.get(key)!.push({ rule, pattern })
    }
  return table
}

/** The left side of a rule, with the params 0 and 1 for x and y. */
export function patternOf(rule: Rule, type: ScalarType): Expr & { kind: 'op' } {
  const s = new ExprBuilder()
  return rule.before(s, type, s.param(type, 0), s.param(type, 1)) as Expr & { kind: 'op' }
}

function match(pattern: Expr, e: Expr, found: Bindings): boolean {
  if (pattern.kind === 'param') {
    if (pattern.type !== e.type) return false
    const name = pattern.slot === 0 ? 'x' : 'y'
    if (found[name] === undefined) found[name] = e
    return found[name] === e
  }
  if (pattern.kind === 'const')
    return e.kind === 'const' && e.type === pattern.type && Object.is(e.value, pattern.value)
  if (pattern.kind !== 'op' || e.kind !== 'op' || pattern.op !== e.op || pattern.type !== e.type)
    return false
  const straight = { ...found }
  if (pattern.args.every((p, i) => match(p, e.args[i]!, straight))) {
    Object.assign(found, straight)
    return true
  }
  if (!scalarOp(e.op).commutative) return false
  const crossed = { ...found }
  if (!pattern.args.every((p, i) => match(p, e.args[1 - i]!, crossed))) return false
  Object.assign(found, crossed)
  return true
}

function typeOfHoles(pattern: Expr): ScalarType | undefined {
  if (pattern.kind === 'param') return pattern.type
  for (const child of childrenOf(pattern)) {
    const type = typeOfHoles(child)
    if (type !== undefined) return type
  }
  return undefined
}
