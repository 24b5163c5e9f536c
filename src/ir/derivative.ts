/** @file Derivatives of scalar expressions, so that an elementwise op states its value and gets its gradient. */
import { assert } from '../util/errors.ts'
import { childrenOf, type Expr, type ExprBuilder, type OpExpr } from './expr.ts'
import type { ScalarOp } from './scalar-op.ts'

/** The derivative of an argument; undefined is an exact zero. */
type Slope = Expr | undefined

/**
 * `seed` times the derivative of `root` with respect to the node `leaf`; undefined where it is zero
 * everywhere. Where a function has a kink the value is PyTorch's: 0 for abs at 0, halves for equal
 * operands of min and max.
 */
export function derivative(s: ExprBuilder, root: Expr, leaf: Expr, seed: Expr): Slope {
  const known = new Map<Expr, Slope>([[leaf, seed]])
  const slopeOf = (e: Expr): Slope => {
    if (known.has(e)) return known.get(e)
    const slopes = childrenOf(e).map(slopeOf)
    const slope = slopes.every((d) => d === undefined) ? undefined : slopeOfNode(s, e, slopes)
    known.set(e, slope)
    return slope
  }
  return slopeOf(root)
}

function slopeOfNode(s: ExprBuilder, e: Expr, slopes: readonly Slope[]): Slope {
  assert(e.kind === 'op', `a ${e.kind} expression has no derivative`)
  const rule = rules[e.op]
  // Comparisons, rounding and the like are constant between their jumps.
  if (rule === undefined) {
    assert(e.op !== 'bitcast', 'the derivative of an expression made of bits has to be stated')
    return undefined
  }
  return rule(s, e, slopes)
}

type Rule = (s: ExprBuilder, e: OpExpr, slopes: readonly Slope[]) => Slope

/** A function of one argument: da times its slope. */
const one =
  (f: (s: ExprBuilder, da: Expr, a: Expr, value: Expr) => Expr): Rule =>
  (s, e, [da]) =>
    f(s, da!, e.args[0]!, e)

const ln2 = Math.LN2
const twoOverRootPi = 2 / Math.sqrt(Math.PI)

const rules: Partial<Record<ScalarOp, Rule>> = {
  add: (s, _e, [da, db]) => sum(s, da, db),
  sub: (s, _e, [da, db]) => sum(s, da, db && s.neg(db)),
  mul: (s, e, [da, db]) => {
    const [a, b] = pair(e)
    return sum(s, da && s.mul(da, b), db && s.mul(db, a))
  },
  // (da - value db) / b
  div: (s, e, [da, db]) => s.div(sum(s, da, db && s.neg(s.mul(e, db)))!, pair(e)[1]),
  min: (s, e, slopes) => extreme(s, e, slopes, s.le(...pair(e))),
  max: (s, e, slopes) => extreme(s, e, slopes, s.ge(...pair(e))),
  neg: one((s, da) => s.neg(da)),
  abs: one((s, da, a) => s.select(s.lt(a, 0), s.neg(da), s.select(s.eq(a, 0), s.like(a, 0), da))),
  sqrt: one((s, da, _a, value) => s.div(da, s.mul(value, 2))),
  select: (s, e, [, da, db]) => {
    const zero = s.like(e.args[1]!, 0)
    return da === undefined && db === undefined
      ? undefined
      : s.select(e.args[0]!, da ?? zero, db ?? zero)
  },
  fma: (s, e, [da, db, dc]) => {
    const [a, b] = pair(e)
    return sum(s, sum(s, da && s.mul(da, b), db && s.mul(db, a)), dc)
  },
  convert: (s, e, [da]) =>
    isFloating(e) && isFloating(e.args[0]!) ? s.convert(da!, e.type) : undefined,
  exp: one((s, da, _a, value) => s.mul(da, value)),
  expm1: one((s, da, _a, value) => s.mul(da, s.add(value, 1))),
  log: one((s, da, a) => s.div(da, a)),
  log1p: one((s, da, a) => s.div(da, s.add(a, 1))),
  log2: one((s, da, a) => s.div(da, s.mul(a, ln2))),
  sin: one((s, da, a) => s.mul(da, s.cos(a))),
  cos: one((s, da, a) => s.neg(s.mul(da, s.sin(a)))),
  tan: one((s, da, _a, value) => s.mul(da, s.add(s.mul(value, value), 1))),
  asin: one((s, da, a) => s.div(da, rootOfOneMinusSquare(s, a))),
  acos: one((s, da, a) => s.neg(s.div(da, rootOfOneMinusSquare(s, a)))),
  atan: one((s, da, a) => s.div(da, s.add(s.mul(a, a), 1))),
  sinh: one((s, da, a) => s.mul(da, s.cosh(a))),
  cosh: one((s, da, a) => s.mul(da, s.sinh(a))),
  tanh: one((s, da, _a, value) => s.mul(da, s.sub(s.like(value, 1), s.mul(value, value)))),
  erf: one((s, da, a) => s.mul(da, s.mul(s.exp(s.neg(s.mul(a, a))), twoOverRootPi))),
  // da b a^(b-1) + db a^b log a, where 0 log 0 counts as 0
  pow: (s, e, [da, db]) => {
    const [a, b] = pair(e)
    const zero = s.like(a, 0)
    const byBase = () => s.select(s.eq(b, 0), zero, s.mul(b, s.pow(a, s.sub(b, 1))))
    const byExponent = () => s.select(s.and(s.eq(a, 0), s.ge(b, 0)), zero, s.mul(e, s.log(a)))
    return sum(s, da && s.mul(da, byBase()), db && s.mul(db, byExponent()))
  },
}

const pair = (e: OpExpr) => e.args as readonly [Expr, Expr]
const isFloating = (e: Expr) => e.type === 'f32' || e.type === 'f64'
const rootOfOneMinusSquare = (s: ExprBuilder, a: Expr) => s.sqrt(s.sub(s.like(a, 1), s.mul(a, a)))

function sum(s: ExprBuilder, a: Slope, b: Slope): Slope {
  return a === undefined ? b : b === undefined ? a : s.add(a, b)
}

/** `aWins` says where a is the value, ties included. */
function extreme(s: ExprBuilder, e: OpExpr, [da, db]: readonly Slope[], aWins: Expr): Expr {
  const [a, b] = pair(e)
  const zero = s.like(a, 0)
  const half = (d: Slope) => (d === undefined ? zero : s.mul(d, 0.5))
  const tie = s.add(half(da), half(db))
  return s.select(s.eq(a, b), tie, s.select(aWins, da ?? zero, db ?? zero))
}
