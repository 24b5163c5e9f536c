/** @file Scalar expressions over an iteration space: the mathematics inside a kernel, as a shared DAG. */
import { dtypes, type DType, type ScalarType } from '../core/dtype.ts'
import { assert } from '../util/errors.ts'
import { scalarOp, scalarOps, type ScalarOp, type ScalarValue } from './scalar-op.ts'

/** A size known when the kernel is built, or slot k of the sizes in the argument block. */
export type Size = number | { readonly slot: number }

/** One dimension of an iteration space. Its value runs from 0 to extent - 1. */
export interface Axis {
  readonly id: number
  readonly extent: Size
}

/** An element position: offset + sum of index * stride, in elements. An index may itself be loaded (a gather). */
export interface Index {
  readonly offset: Size
  readonly terms: readonly { readonly index: Expr; readonly stride: Size }[]
}

/** How a reduction combines values; each has an identity per type (see `identityOf`). */
export type Combine = 'add' | 'mul' | 'min' | 'max' | 'and' | 'or'

interface Node {
  /** Unique in the process, so that nodes of several builders can be mixed. */
  readonly id: number
  readonly type: ScalarType
}
export interface ConstExpr extends Node {
  readonly kind: 'const'
  readonly value: ScalarValue
}
/** A scalar handed over at launch (slot k of the scalars in the argument block), so that its value is no part of the code. */
export interface ParamExpr extends Node {
  readonly kind: 'param'
  readonly slot: number
}
/** A size as an i32 value; like extents, it moves into the argument block when a group is made canonical. */
export interface SizeExpr extends Node {
  readonly kind: 'size'
  readonly size: Size
}
export interface AxisExpr extends Node {
  readonly kind: 'axis'
  readonly axis: Axis
}
export interface LoadExpr extends Node {
  readonly kind: 'load'
  readonly buffer: number
  readonly dtype: DType
  readonly index: Index
  /** Where it is false nothing is read and the value is `otherwise`. */
  readonly guard: Expr | undefined
  readonly otherwise: ScalarValue
}
export interface OpExpr extends Node {
  readonly kind: 'op'
  readonly op: ScalarOp
  readonly args: readonly Expr[]
}
/** The combination of `value` over all points of `axes`; of no points, the identity. */
export interface ReduceExpr extends Node {
  readonly kind: 'reduce'
  readonly combine: Combine
  readonly axes: readonly Axis[]
  readonly value: Expr
}
/** The combination of `value` over positions 0..i of `axis`, where i is the axis' own position. */
export interface ScanExpr extends Node {
  readonly kind: 'scan'
  readonly combine: Combine
  readonly axis: Axis
  readonly value: Expr
}
export type Expr =
  ConstExpr | ParamExpr | SizeExpr | AxisExpr | LoadExpr | OpExpr | ReduceExpr | ScanExpr

let nextId = 0

/** An operand of a builder call: a number takes the type of the operands beside it. */
export type Operand = Expr | number

/** The value that changes nothing under `combine`. */
export function identityOf(combine: Combine, type: ScalarType): ScalarValue {
  const big = type === 'i64' ? 2n ** 63n - 1n : type === 'i32' ? 2147483647 : Infinity
  const small = type === 'i64' ? -(2n ** 63n) : type === 'i32' ? -2147483648 : -Infinity
  const values = { add: 0, mul: 1, min: big, max: small, and: type === 'bool' ? 1 : -1, or: 0 }
  const value = values[combine]
  return type === 'i64' ? BigInt(value) : Number(value)
}

type Row = (...operands: Operand[]) => Expr

/**
 * Builds expressions. Equal expressions become the same node, so sharing is common-subexpression
 * elimination for free. A method per row of the scalar-op table, plus leaves and reductions.
 */
export class ExprBuilder {
  readonly #nodes = new Map<string, Expr>()

  axis(extent: Size): Axis {
    return { id: nextId++, extent }
  }
  const(type: ScalarType, value: ScalarValue | boolean): ConstExpr {
    const v =
      type === 'i64' ? BigInt(value) : type === 'f32' ? Math.fround(Number(value)) : Number(value)
    const key = `c${type}${Object.is(v, -0) ? '-0' : v}`
    return this.#known(key) ?? this.#keep(key, { id: nextId++, kind: 'const', type, value: v })
  }
  param(type: ScalarType, slot: number): ParamExpr {
    const key = `p${type}${slot}`
    return this.#known(key) ?? this.#keep(key, { id: nextId++, kind: 'param', type, slot })
  }
  size(size: Size): SizeExpr {
    const key = `s${sizeKey(size)}`
    return this.#known(key) ?? this.#keep(key, { id: nextId++, kind: 'size', type: 'i32', size })
  }
  at(axis: Axis): AxisExpr {
    const key = `a${axis.id}`
    return this.#known(key) ?? this.#keep(key, { id: nextId++, kind: 'axis', type: 'i32', axis })
  }
  load(
    buffer: number,
    dtype: DType,
    index: Index,
    guard?: Expr,
    otherwise: ScalarValue = 0,
  ): LoadExpr {
    const type = dtypes[dtype].compute
    if (type === 'i64') otherwise = BigInt(otherwise)
    const key = `l${buffer}${dtype}[${indexKey(index)}]${guard ? `?${guard.id}:${otherwise}` : ''}`
    return (
      this.#known(key) ??
      this.#keep(key, { id: nextId++, kind: 'load', type, buffer, dtype, index, guard, otherwise })
    )
  }
  reduce(combine: Combine, axes: readonly Axis[], value: Expr): ReduceExpr {
    let key = `r${combine}(${value.id})`
    for (let i = 0; i < axes.length; i++) key += `,${axes[i]!.id}`
    const { type } = value
    return (
      this.#known(key) ??
      this.#keep(key, { id: nextId++, kind: 'reduce', type, combine, axes, value })
    )
  }
  scan(combine: Combine, axis: Axis, value: Expr): ScanExpr {
    const key = `n${combine}${axis.id}(${value.id})`
    const { type } = value
    return (
      this.#known(key) ??
      this.#keep(key, { id: nextId++, kind: 'scan', type, combine, axis, value })
    )
  }

  /** A constant of the same type as `x`. */
  like(x: Expr, value: number): ConstExpr {
    return this.const(x.type, value)
  }
  convert(x: Expr, type: ScalarType): Expr {
    return x.type === type ? x : this.#op('convert', type, [x])
  }
  bitcast(x: Expr, type: ScalarType): Expr {
    return this.#op('bitcast', type, [x])
  }

  // The rows; their methods are installed below.
  declare readonly add: Row
  declare readonly sub: Row
  declare readonly mul: Row
  declare readonly div: Row
  declare readonly rem: Row
  declare readonly min: Row
  declare readonly max: Row
  declare readonly neg: Row
  declare readonly abs: Row
  declare readonly sqrt: Row
  declare readonly floor: Row
  declare readonly ceil: Row
  declare readonly trunc: Row
  declare readonly round: Row
  declare readonly eq: Row
  declare readonly ne: Row
  declare readonly lt: Row
  declare readonly le: Row
  declare readonly select: Row
  declare readonly and: Row
  declare readonly or: Row
  declare readonly xor: Row
  declare readonly not: Row
  declare readonly shl: Row
  declare readonly shr: Row
  declare readonly ushr: Row
  declare readonly fma: Row
  declare readonly dotBf16: Row
  declare readonly dotU8S8: Row
  declare readonly ldexp: Row
  declare readonly exp: Row
  declare readonly expm1: Row
  declare readonly log: Row
  declare readonly log1p: Row
  declare readonly log2: Row
  declare readonly sin: Row
  declare readonly cos: Row
  declare readonly tan: Row
  declare readonly asin: Row
  declare readonly acos: Row
  declare readonly atan: Row
  declare readonly sinh: Row
  declare readonly cosh: Row
  declare readonly tanh: Row
  declare readonly erf: Row
  declare readonly pow: Row
  gt(a: Operand, b: Operand): Expr {
    return this.lt(b, a)
  }
  ge(a: Operand, b: Operand): Expr {
    return this.le(b, a)
  }

  /** Any row by name, with arguments that already are expressions. */
  apply(op: ScalarOp, args: readonly Expr[], stated?: ScalarType): Expr {
    const info = scalarOp(op)
    const type = info.result === 'bool' ? 'bool' : (stated ?? args[args.length - 1]!.type)
    return this.#op(op, type, args)
  }

  /** A row by name; numbers take the type of the last operand that is an expression. */
  row(op: ScalarOp, operands: readonly Operand[]): Expr {
    const typed = operands.findLast((x) => typeof x === 'object')
    assert(typed !== undefined, `${op}: at least one operand must be an expression`)
    return this.apply(
      op,
      operands.map((x) => (typeof x === 'object' ? x : this.const(typed.type, x))),
    )
  }

  #op(op: ScalarOp, type: ScalarType, args: readonly Expr[]): OpExpr {
    let key = `${op}:${type}`
    for (let i = 0; i < args.length; i++) key += `,${args[i]!.id}`
    return this.#known(key) ?? this.#keep(key, { id: nextId++, kind: 'op', type, op, args })
  }

  #known<T extends Expr>(key: string): T | undefined {
    return this.#nodes.get(key) as T | undefined
  }

  #keep<T extends Expr>(key: string, made: T): T {
    this.#nodes.set(key, made)
    return made
  }
}

for (const op of Object.keys(scalarOps) as ScalarOp[])
  // Those whose type is stated have methods of their own.
  if (scalarOp(op).result !== 'stated')
    Object.defineProperty(ExprBuilder.prototype, op, {
      value(this: ExprBuilder, ...operands: Operand[]) {
        return this.row(op, operands)
      },
    })

const sizeKey = (s: Size) => (typeof s === 'number' ? `${s}` : `s${s.slot}`)

function indexKey({ offset, terms }: Index): string {
  let key = sizeKey(offset)
  for (let i = 0; i < terms.length; i++)
    key += `+${terms[i]!.index.id}*${sizeKey(terms[i]!.stride)}`
  return key
}

/** The expressions directly inside one, those in index maps and guards included. */
export function childrenOf(e: Expr): readonly Expr[] {
  switch (e.kind) {
    case 'op':
      return e.args
    case 'load': {
      const inside = e.index.terms.map((t) => t.index)
      return e.guard === undefined ? inside : [...inside, e.guard]
    }
    case 'reduce':
    case 'scan':
      return [e.value]
    default:
      return []
  }
}

/** The axes an expression depends on from outside: those it mentions but does not reduce over. */
export function freeAxes(e: Expr, memo = new Map<Expr, ReadonlySet<Axis>>()): ReadonlySet<Axis> {
  const known = memo.get(e)
  if (known) return known
  const axes = new Set<Axis>()
  if (e.kind === 'axis') axes.add(e.axis)
  if (e.kind === 'scan') axes.add(e.axis)
  for (const child of childrenOf(e)) for (const a of freeAxes(child, memo)) axes.add(a)
  if (e.kind === 'reduce') for (const a of e.axes) axes.delete(a)
  memo.set(e, axes)
  return axes
}

/**
 * Rebuilds an expression bottom-up: `change` sees each node after its children were rebuilt and
 * returns its replacement, or undefined to keep it.
 */
export function rewrite(
  s: ExprBuilder,
  root: Expr,
  change: (e: Expr) => Expr | undefined,
  memo = new Map<Expr, Expr>(),
): Expr {
  const visit = (e: Expr): Expr => {
    const known = memo.get(e)
    if (known) return known
    const rebuilt = rebuild(s, e, visit)
    const result = change(rebuilt) ?? rebuilt
    memo.set(e, result)
    return result
  }
  return visit(root)
}

/** Maps the index expressions of an index. */
export function mapIndex(index: Index, f: (e: Expr) => Expr): Index {
  return {
    offset: index.offset,
    terms: index.terms.map((t) => ({ index: f(t.index), stride: t.stride })),
  }
}

// What has not changed inside stays the node that it is.
function rebuild(s: ExprBuilder, e: Expr, visit: (e: Expr) => Expr): Expr {
  switch (e.kind) {
    case 'op': {
      const args = e.args.map(visit)
      return args.every((arg, i) => arg === e.args[i]) ? e : s.apply(e.op, args, e.type)
    }
    case 'load': {
      const index = mapIndex(e.index, visit)
      const guard = e.guard && visit(e.guard)
      const isSame = index.terms.every((t, i) => t.index === e.index.terms[i]!.index)
      return isSame && guard === e.guard ? e : s.load(e.buffer, e.dtype, index, guard, e.otherwise)
    }
    case 'reduce': {
      const value = visit(e.value)
      return value === e.value ? e : s.reduce(e.combine, e.axes, value)
    }
    case 'scan': {
      const value = visit(e.value)
      return value === e.value ? e : s.scan(e.combine, e.axis, value)
    }
    case 'axis':
    case 'const':
    case 'param':
    case 'size':
      return e
  }
}
