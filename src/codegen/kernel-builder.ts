/** @file What an op's lowering is written with: axes, loads and stores over tensors instead of buffers and strides. */
import { dtypes, type DType, type ScalarType } from '../core/dtype.ts'
import type { Layout } from '../core/layout.ts'
import type { Shape } from '../core/shape.ts'
import { ExprBuilder, type Axis, type Combine, type Expr, type Index } from '../ir/expr.ts'
import type { BufferSpec, Group, Store } from '../ir/group.ts'
import type { ScalarValue } from '../ir/scalar-op.ts'
import { assert } from '../util/errors.ts'

/** A tensor, as lowering sees it: dtype and layout, no data. */
export interface Operand {
  readonly dtype: DType
  readonly layout: Layout
}

/** One kernel of an op's program, and which operand each of its buffers is. */
export interface Step {
  readonly s: ExprBuilder
  readonly group: Group
  readonly operands: readonly number[]
}

/** Where along an axis: the axis itself, a place linear in axes, or an i32 expression (a gather). */
export type Position = Axis | Strided | Sum | Expr

/** offset + axis * step. */
export interface Strided {
  readonly axis: Axis
  readonly step: number
  readonly offset: number
}

/** offset + the sum of axis * step: where an element of a window lies. */
export interface Sum {
  readonly terms: readonly { readonly axis: Axis; readonly step: number }[]
  readonly offset: number
}

const isAxis = (p: Position): p is Axis => 'extent' in p
const isStrided = (p: Position): p is Strided => 'step' in p
const isSum = (p: Position): p is Sum => 'terms' in p

/** A place linear in axes as a sum; undefined for a gather. */
function asSum(p: Position): Sum | undefined {
  if (isAxis(p)) return { terms: [{ axis: p, step: 1 }], offset: 0 }
  if (isStrided(p)) return { terms: [p], offset: p.offset }
  return isSum(p) ? p : undefined
}

/**
 * Builds one kernel. Operands are numbered as the op's inputs, then outputs, then temporaries; every
 * position list has one entry per axis of the operand, missing leading ones being broadcast.
 */
export class KernelBuilder {
  readonly s = new ExprBuilder()
  readonly #name: string
  readonly #all: readonly Operand[]
  readonly #used: number[] = []
  readonly #written = new Set<number>()
  readonly #read = new Set<number>()
  readonly #axes: Axis[] = []
  readonly #stores: Store[] = []
  readonly #checks: Expr[] = []
  readonly #params: ScalarType[]

  constructor(name: string, operands: readonly Operand[], params: readonly ScalarType[] = []) {
    this.#name = name
    this.#all = operands
    this.#params = [...params]
  }

  /** A parallel axis per size of a shape, in order. */
  axes(shape: Shape): Axis[] {
    const made = shape.map((n) => this.s.axis(n))
    this.#axes.push(...made)
    return made
  }

  /** Axes to reduce or scan over: bound by the reduction that names them. */
  inner(shape: Shape): Axis[] {
    return shape.map((n) => this.s.axis(n))
  }

  /** Declares a scalar handed over at launch. */
  param(slot: number): Expr {
    return this.s.param(this.#params[slot]!, slot)
  }

  /** Loads element [positions] of an operand. Axes of size 1 are broadcast. */
  load(
    operand: number,
    positions: readonly Position[],
    guard?: Expr,
    otherwise?: ScalarValue,
  ): Expr {
    const { dtype, layout } = this.#all[operand]!
    this.#read.add(operand)
    return this.s.load(
      this.#buffer(operand),
      dtype,
      this.#index(layout, positions),
      guard,
      otherwise,
    )
  }

  /** Loads as `load`, converted to the compute type of another dtype. */
  loadAs(
    dtype: DType,
    operand: number,
    positions: readonly Position[],
    guard?: Expr,
    otherwise?: ScalarValue,
  ): Expr {
    const value = this.load(operand, positions, guard, otherwise)
    return this.s.convert(value, dtypes[dtype].compute)
  }

  /** Stores to element [positions] of an operand; the value is converted to its dtype. */
  store(operand: number, positions: readonly Position[], value: Expr, accumulate = false): void {
    const { dtype, layout } = this.#all[operand]!
    this.#written.add(operand)
    if (accumulate) this.#read.add(operand)
    this.#stores.push({
      buffer: this.#buffer(operand),
      index: this.#index(layout, positions),
      value: this.s.convert(value, dtypes[dtype].compute),
      ...(accumulate && { accumulate: true as const }),
    })
  }

  /** A condition that must hold at every point; when it does not, the op's own error is thrown. */
  check(condition: Expr): void {
    this.#checks.push(condition)
  }

  reduce(combine: Combine, axes: readonly Axis[], value: Expr): Expr {
    return axes.length === 0 ? value : this.s.reduce(combine, axes, value)
  }

  /** The position an axis, a place or an expression stands for, as an i32 expression. */
  at(position: Position): Expr {
    const { s } = this
    const sum = asSum(position)
    if (sum === undefined) return position as Expr
    let total: Expr | undefined
    for (const { axis, step } of sum.terms) {
      const term = step === 1 ? s.at(axis) : s.mul(s.at(axis), step)
      total = total === undefined ? term : s.add(total, term)
    }
    if (total === undefined) return s.const('i32', sum.offset)
    return sum.offset === 0 ? total : s.add(total, sum.offset)
  }

  /** A position moved by an offset. */
  shifted(position: Position, by: number): Position {
    const sum = asSum(position)
    return sum ? { terms: sum.terms, offset: sum.offset + by } : this.s.add(this.at(position), by)
  }

  /** Whether positions lie inside a tensor of this shape; undefined where that is certain. */
  inside(shape: Shape, positions: readonly Position[]): Expr | undefined {
    const { s } = this
    let all: Expr | undefined
    positions.forEach((position, i) => {
      const { low, high } = rangeOf(position)
      const at = this.at(position)
      const bounds = [low < 0 && s.le(0, at), high >= shape[i]! && s.lt(at, shape[i]!)]
      for (const bound of bounds) if (bound) all = all === undefined ? bound : s.and(all, bound)
    })
    return all
  }

  /** The kernel. Of a product, `lanes` says that vectors run along the depth where the target can do so. */
  finish(lanes?: Group['lanes']): Step {
    const buffers: BufferSpec[] = this.#used.map((operand) => ({
      dtype: this.#all[operand]!.dtype,
      access: !this.#written.has(operand) ? 'read' : this.#read.has(operand) ? 'update' : 'write',
    }))
    const group: Group = {
      name: this.#name,
      axes: this.#axes,
      buffers,
      stores: this.#stores,
      checks: this.#checks,
      params: this.#params,
      sizeCount: 0,
      ...(lanes && { lanes }),
    }
    return { s: this.s, group, operands: this.#used }
  }

  #buffer(operand: number): number {
    const known = this.#used.indexOf(operand)
    if (known >= 0) return known
    this.#used.push(operand)
    return this.#used.length - 1
  }

  #index(layout: Layout, positions: readonly Position[]): Index {
    const { shape, strides } = layout
    const skipped = positions.length - shape.length
    assert(skipped >= 0, `${this.#name}: ${positions.length} positions for ${shape.length} axes`)
    let offset = 0
    const terms = shape.flatMap((n, i) => {
      const position = positions[i + skipped]!
      const stride = strides[i]!
      if (stride === 0 || (n === 1 && isAxis(position))) return []
      const sum = asSum(position)
      if (sum === undefined) return [{ index: position as Expr, stride }]
      offset += sum.offset * stride
      return sum.terms.map(({ axis, step }) => ({
        index: this.s.at(axis),
        stride: stride * step,
      }))
    })
    return { offset, terms }
  }
}

/** The first and the last position, as far as the axes tell. */
export function rangeOf(position: Position): { low: number; high: number } {
  const sum = asSum(position)
  if (sum === undefined) return { low: -Infinity, high: Infinity }
  let low = sum.offset
  let high = sum.offset
  for (const { axis, step } of sum.terms) {
    const span = typeof axis.extent === 'number' ? (axis.extent - 1) * step : Infinity * step
    if (span < 0) low += span
    else high += span
  }
  return { low, high }
}
