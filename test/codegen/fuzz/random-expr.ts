/** @file Random expressions of every type over all rows of the scalar-op table, with loads, reductions and scans. */
import type { DType, ScalarType } from '../../../src/core/dtype.ts'
import {
  childrenOf,
  freeAxes,
  type Axis,
  type Combine,
  type Expr,
  type ExprBuilder,
} from '../../../src/ir/expr.ts'
import { scalarOp, scalarOps, type ScalarOp } from '../../../src/ir/scalar-op.ts'
import type { Choices } from './choices.ts'
import { randomIndices, randomParam } from './random-data.ts'
import type { Buffers, Sized } from './random-buffers.ts'

export type Float = 'f32' | 'f64'

export const scalarTypes = ['f32', 'i32', 'bool', 'f64', 'i64'] as const
// ldexp means something for whole numbers of a moderate size only; exp makes such.
const allRows = (Object.keys(scalarOps) as ScalarOp[]).filter((op) => op !== 'ldexp')
const isFloat = (type: ScalarType): type is Float => type === 'f32' || type === 'f64'
const storage: Record<ScalarType, readonly DType[]> = {
  f32: ['float32', 'float32', 'float16', 'bfloat16'],
  f64: ['float64'],
  i32: ['int32', 'int32', 'int8', 'uint8'],
  i64: ['int64'],
  bool: ['bool'],
}
const extents = [1, 2, 3, 5, 8, 9, 17, 33, 40, 100, 0, 150]
/** Points that one evaluation of a kernel may take, and rows that are made of many others. */
const mostPoints = 12_000
const mostTranscendentals = 2

/**
 * Expressions are exact: every target has to give the same bits. Those of `rough` are sums and
 * products of floats whose order is left open; nothing but further sums is made of them.
 */
export class RandomExprs {
  readonly params: ScalarType[] = []
  readonly paramValues: number[] = []
  readonly #c: Choices
  readonly #s: ExprBuilder
  readonly #buffers: Buffers
  readonly #made: Expr[] = []
  readonly #inner: Sized[] = []
  readonly #free = new Map<Expr, ReadonlySet<Axis>>()
  /** The types that a kernel is about; others come in by conversion. */
  readonly #types: readonly ScalarType[]
  #transcendentals = 0
  /** Loads of what the kernel also writes: good for the position that is written only. */
  readonly #written = new Set<Expr>()
  #scans = 0
  /** Nothing may run inside a scanned axis: one axis of the group, and the last one of a reduction. */
  #scanned: Axis | undefined
  readonly #scanAxes = new Map<Expr, readonly Axis[]>()

  readonly #hasScans: boolean

  constructor(choices: Choices, s: ExprBuilder, buffers: Buffers, hasScans = true) {
    this.#hasScans = hasScans
    this.#c = choices
    this.#s = s
    this.#buffers = buffers
    const first = choices.pick(scalarTypes)
    this.#types = choices.chance(0.5) ? [first, choices.pick(scalarTypes)] : [first]
  }

  /** A type this kernel is about. */
  type(): ScalarType {
    return this.#c.pick(this.#types)
  }

  /** An exact value of about `fuel` operations at the points of `scope`. */
  expr(type: ScalarType, fuel: number, scope: readonly Sized[]): Expr {
    const made = this.#build(type, fuel, scope)
    this.#made.push(made)
    return made
  }

  #build(type: ScalarType, fuel: number, scope: readonly Sized[]): Expr {
    const c = this.#c
    if (fuel <= 0) return this.#leaf(type, scope)
    if (c.chance(0.15)) {
      const known = this.#known(type, scope)
      if (known) return known
    }
    const kind = c.below(20)
    if (kind >= 18) {
      const reduced = this.#reduce(type, fuel, scope)
      if (reduced) return reduced
    }
    if (kind === 17) {
      const scanned = this.#scan(type, fuel, scope)
      if (scanned) return scanned
    }
    if (kind >= 15) return this.#changed(type, fuel, scope)
    return this.#row(type, fuel, scope)
  }

  // -- leaves

  #leaf(type: ScalarType, scope: readonly Sized[]): Expr {
    const c = this.#c
    const s = this.#s
    const kind = c.below(10)
    if (kind === 9) return this.#constant(type)
    if (kind === 8) return this.#param(type)
    if (kind === 7 && type === 'i32') {
      if (scope.length > 0 && c.chance(0.7)) return s.at(c.pick(scope).axis)
      return s.size(this.#buffers.size(c.pick(extents)))
    }
    return this.load(type, scope)
  }

  #constant(type: ScalarType): Expr {
    const value = this.#c.pick([1, 0, 2, -1, 3, 0.5, -0, 16, 31, 65536, 1e9, NaN, Infinity])
    if (isFloat(type)) return this.#s.const(type, value)
    if (type === 'bool') return this.#s.const(type, value > 0 ? 1 : 0)
    const whole = Number.isFinite(value) ? Math.trunc(value) : -2147483648
    return this.#s.const(type, whole)
  }

  #param(type: ScalarType): Expr {
    const known = this.params.indexOf(type)
    if (known >= 0) return this.#s.param(type, known)
    this.paramValues.push(randomParam(type, this.#c))
    return this.#s.param(type, this.params.push(type) - 1)
  }

  /** Lets an expression be part of others: the content of an element before it is written. */
  offer(before: Expr): void {
    this.#written.add(before)
    this.#made.push(before)
  }

  #known(type: ScalarType, scope: readonly Sized[]): Expr | undefined {
    const fits = this.#made.filter(
      (e) =>
        e.type === type &&
        [...freeAxes(e, this.#free)].every((a) => has(scope, a)) &&
        !(this.#scans > 0 && this.#readsWritten(e)) &&
        this.#scansOf(e).every((a) => a === this.#scanned || a === scope.at(-1)?.axis),
    )
    return fits.length > 0 ? this.#c.pick(fits) : undefined
  }

  #scansOf(e: Expr): readonly Axis[] {
    let known = this.#scanAxes.get(e)
    if (known === undefined) {
      const inside = childrenOf(e).flatMap((x) => this.#scansOf(x))
      known = [...new Set(e.kind === 'scan' ? [...inside, e.axis] : inside)]
      this.#scanAxes.set(e, known)
    }
    return known
  }

  #readsWritten(e: Expr): boolean {
    return this.#written.has(e) || childrenOf(e).some((x) => this.#readsWritten(x))
  }

  // -- loads

  load(type: ScalarType, scope: readonly Sized[]): Expr {
    const c = this.#c
    const s = this.#s
    const dtype = c.pick(storage[type])
    const kind = c.below(12)
    const axes = scope.filter(() => !c.chance(0.25))
    if (kind >= 10 && axes.length > 0) return this.#window(dtype, axes)
    if (kind === 9) return this.#gather(dtype, axes)
    const { index, length } = this.#buffers.layout(axes)
    const buffer = this.#buffers.reading(dtype, length)
    // Where a guard does not hold, position 0 may be read all the same, so there has to be one.
    if (kind === 8 && length > 0)
      return s.load(buffer, dtype, index, this.#condition(scope), this.#otherwise(type))
    return s.load(buffer, dtype, index)
  }

  #otherwise(type: ScalarType): number {
    return this.#c.pick(type === 'bool' ? [0, 1] : [0, 1, -2])
  }

  #condition(scope: readonly Sized[]): Expr {
    return this.#c.chance(0.5) || scope.length === 0
      ? this.expr('bool', this.#c.below(3), scope)
      : this.#s.lt(this.#s.at(this.#c.pick(scope).axis), this.expr('i32', 0, scope))
  }

  // A position that runs along one or two axes together, moved, stretched or turned round, with a guard that keeps it inside.
  #window(dtype: DType, axes: readonly Sized[]): Expr {
    const c = this.#c
    const s = this.#s
    const [slid, ...rest] = c.shuffle(axes)
    let at: Expr = s.at(slid!.axis)
    const step = c.pick([1, 1, 2, -1])
    if (step !== 1) at = s.mul(at, step)
    if (rest.length > 0 && c.chance(0.5)) at = s.add(at, s.at(rest.pop()!.axis))
    const by = c.below(7) - 3
    if (by !== 0) at = c.chance(0.5) ? s.add(at, by) : s.sub(at, -by)
    const extent = Math.max(1, slid!.extent - c.below(4))
    const { index, length } = this.#buffers.layout(rest)
    const buffer = this.#buffers.reading(dtype, Math.max(1, length * extent))
    const stride = length === 1 ? 1 : this.#buffers.size(length)
    const inside = s.and(s.le(s.like(at, 0), at), s.lt(at, s.size(this.#buffers.size(extent))))
    const guard = c.chance(0.2) ? s.and(inside, this.#condition(axes)) : inside
    const whole = { offset: index.offset, terms: [...index.terms, { index: at, stride }] }
    return s.load(buffer, dtype, whole, guard, this.#otherwise(dtype === 'bool' ? 'bool' : 'i32'))
  }

  #gather(dtype: DType, axes: readonly Sized[]): Expr {
    const c = this.#c
    const count = 1 + c.below(20)
    const at = this.#indexBelow(count, axes)
    const rest = c.chance(0.5) ? axes.filter(() => c.chance(0.5)) : []
    const { index, length } = this.#buffers.layout(rest)
    const buffer = this.#buffers.reading(dtype, length * count)
    const terms = [
      ...index.terms,
      { index: at, stride: length === 1 ? 1 : this.#buffers.size(length) },
    ]
    return this.#s.load(buffer, dtype, { offset: index.offset, terms })
  }

  /** An i32 from 0 to count - 1, whatever it is computed from. */
  #indexBelow(count: number, scope: readonly Sized[]): Expr {
    const c = this.#c
    const s = this.#s
    const kind = c.below(6)
    if (kind === 0) {
      const dtype = c.pick(['int32', 'int64', 'uint8'] as const)
      const { index, length } = this.#buffers.layout(scope)
      const data = randomIndices(dtype, length, count, c.below(1 << 16))
      return s.convert(s.load(this.#buffers.add(dtype, data, 'read'), dtype, index), 'i32')
    }
    const any = this.expr('i32', 1 + c.below(3), scope)
    if (kind === 1) return s.abs(s.rem(any, count))
    if (kind === 2) return s.max(s.min(any, count - 1), 0)
    if (kind === 3) return s.and(any, 2 ** Math.floor(Math.log2(count)) - 1)
    if (kind === 4) {
      const inside = s.and(s.le(s.like(any, 0), any), s.lt(any, count))
      return s.select(inside, any, s.like(any, 0))
    }
    const real = s.convert(any, 'f32')
    return s.convert(s.max(s.min(real, count - 1), 0), 'i32')
  }

  // -- rows

  #row(type: ScalarType, fuel: number, scope: readonly Sized[]): Expr {
    const c = this.#c
    const s = this.#s
    const isAllowed = (op: ScalarOp) => {
      const { result, types, decompose } = scalarOp(op)
      if (result === 'stated' || op === 'dotBf16') return false
      if (decompose !== undefined && this.#transcendentals >= mostTranscendentals) return false
      return result === 'bool' ? type === 'bool' : types.includes(type)
    }
    const op = c.pick(allRows.filter(isAllowed))
    const { arity, result, types, decompose } = scalarOp(op)
    if (decompose !== undefined) this.#transcendentals++
    // The words of dotU8S8 are of its only type, i32.
    const from = result === 'bool' ? this.#pickType(types) : type
    const share = (fuel - 1) / arity
    const args = Array.from({ length: arity }, (_, i) =>
      this.expr(op === 'select' && i === 0 ? 'bool' : from, share, scope),
    )
    // Folding evaluates the row itself, and not what it is made of: that may differ in the last place.
    if (decompose !== undefined && args.every((x) => x.kind === 'const' || freeOfData(x)))
      return args[0]!
    return s.apply(op, args)
  }

  #pickType(among: readonly ScalarType[]): ScalarType {
    const known = this.#types.filter((type) => among.includes(type))
    return known.length > 0 && this.#c.chance(0.8) ? this.#c.pick(known) : this.#c.pick(among)
  }

  #changed(type: ScalarType, fuel: number, scope: readonly Sized[]): Expr {
    const c = this.#c
    const s = this.#s
    const twin = { f32: 'i32', i32: 'f32', f64: 'i64', i64: 'f64', bool: undefined } as const
    const from = twin[type]
    if (from !== undefined && c.chance(0.3)) {
      const x = this.expr(from, fuel - 1, scope)
      // The bits of NaN are left open.
      return s.bitcast(isFloat(from) ? s.select(s.eq(x, x), x, s.like(x, 1)) : x, type)
    }
    return s.convert(this.expr(this.#pickType(scalarTypes), fuel - 1, scope), type)
  }

  // -- reductions and scans

  #reduce(type: ScalarType, fuel: number, scope: readonly Sized[]): Expr | undefined {
    const axes = this.#axesToReduce(scope)
    if (axes.length === 0) return undefined
    const c = this.#c
    const combines: readonly Combine[] =
      type === 'bool'
        ? ['and', 'or']
        : isFloat(type)
          ? ['max', 'min', 'add', 'mul']
          : ['add', 'max', 'min', 'mul', 'and', 'or']
    const combine = c.pick(combines)
    const inside = [...scope.filter((x) => !axes.includes(x)), ...axes]
    const value = this.expr(type, fuel - 1, inside)
    const exact = isFloat(type) ? this.#orderless(combine, value) : value
    const over = axes.map((x) => x.axis)
    const reduced = this.#s.reduce(combine, over, exact)
    // A sum over one point may be that point, whose zero has a sign, or 0 more.
    return combine === 'add' && isFloat(type) ? this.#s.add(reduced, 0) : reduced
  }

  // What can be added and multiplied in any order with the same result.
  #orderless(combine: Combine, x: Expr): Expr {
    const s = this.#s
    if (combine === 'add') return s.round(this.#clamped(x, 4))
    if (combine === 'mul') return s.select(s.lt(x, 0), s.like(x, -1), s.like(x, 1))
    return x
  }

  #clamped(x: Expr, most: number): Expr {
    return this.#s.max(this.#s.min(x, most), -most)
  }

  #axesToReduce(scope: readonly Sized[]): Sized[] {
    const c = this.#c
    let room = mostPoints / scope.reduce((n, { extent }) => n * Math.max(1, extent), 1)
    return Array.from({ length: 1 + Number(c.chance(0.3)) }, () => {
      const fits = this.#inner.filter(({ extent }) => extent <= room)
      let sized: Sized
      if (fits.length > 0 && c.chance(0.4)) sized = c.pick(fits)
      else {
        const possible = extents.filter((n) => n <= room)
        if (possible.length === 0) return undefined
        this.#inner.push((sized = this.#buffers.axis(c.pick(possible))))
      }
      room /= Math.max(1, sized.extent)
      return sized
    }).filter((x, i, all) => x !== undefined && all.indexOf(x) === i) as Sized[]
  }

  #scan(type: ScalarType, fuel: number, scope: readonly Sized[]): Expr | undefined {
    if (type === 'bool' || scope.length === 0 || !this.#hasScans) return undefined
    const c = this.#c
    const isInner = this.#inner.includes(scope.at(-1)!)
    const sized = isInner
      ? scope.at(-1)
      : this.#scanned
        ? scope.find((x) => x.axis === this.#scanned)
        : c.pick(scope)
    if (sized === undefined) return undefined
    const { axis, extent } = sized
    if (!isInner) this.#scanned = axis
    const points = scope.reduce((n, x) => n * Math.max(1, x.extent), 1)
    if (points * extent > 4 * mostPoints) return undefined
    this.#scans++
    const value = this.expr(type, fuel - 1, scope)
    this.#scans--
    return this.#s.scan(c.pick(['add', 'max', 'min', 'mul'] as const), axis, value)
  }

  // -- floats whose last places depend on the order of additions

  rough(type: Float, fuel: number, scope: readonly Sized[]): Expr {
    const c = this.#c
    const s = this.#s
    const tame = (within = scope) => this.#clamped(this.expr(type, fuel / 3, within), 1)
    const kind = c.below(fuel <= 0 ? 3 : 9)
    const axes = this.#axesToReduce(scope)
    if (kind === 1 || axes.length === 0) {
      if (type === 'f64' || c.chance(0.5)) return s.fma(tame(), tame(), tame())
      const half = () => {
        const x = tame()
        return s.bitcast(s.select(s.eq(x, x), x, s.like(x, 1)), 'i32')
      }
      const pair = () => s.or(s.and(half(), -65536), s.ushr(half(), 16))
      return s.apply('dotBf16', [pair(), pair(), tame()])
    }
    const inside = [...scope.filter((x) => !axes.includes(x)), ...axes]
    const points = axes.reduce((n, { extent }) => n * Math.max(1, extent), 1)
    const over = axes.map((x) => x.axis)
    if (kind === 2) {
      const factor = s.add(s.mul(tame(inside), 0.1), 1)
      return points > 60 ? s.reduce('max', over, factor) : s.reduce('mul', over, factor)
    }
    const sum = (value: Expr) => s.mul(s.reduce('add', over, value), 1 / points)
    if (kind === 0 || kind === 3) return sum(s.mul(tame(inside), tame(inside)))
    if (kind === 4) return sum(tame(inside))
    if (kind === 5) return sum(this.#clamped(this.rough(type, fuel - 4, inside), 1))
    const x = this.rough(type, fuel - 2, scope)
    if (kind === 6) return s.select(this.expr('bool', fuel / 3, scope), x, tame())
    if (kind === 7) return s.max(s.neg(x), tame())
    return s.add(s.mul(x, tame()), tame())
  }

  /** A value that can be added up many times without rounding. */
  addend(type: ScalarType, fuel: number, scope: readonly Sized[], most: number): Expr {
    const value = this.expr(type, fuel, scope)
    return isFloat(type) ? this.#s.round(this.#clamped(value, most)) : value
  }

  indexBelow(count: number, scope: readonly Sized[]): Expr {
    return this.#indexBelow(count, scope)
  }
}

const has = (scope: readonly Sized[], axis: Axis) => scope.some((x) => x.axis === axis)

// Whether simplification could find the value of an expression.
function freeOfData(e: Expr): boolean {
  if (e.kind === 'const') return true
  return e.kind === 'op' && e.args.every(freeOfData)
}
