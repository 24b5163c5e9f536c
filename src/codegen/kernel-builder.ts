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

/** Where along an axis: the axis itself, every step-th place from an offset on, or an i32 expression (a gather). */
export type Position = Axis | Strided | Expr

/** offset + axis * step. */
export interface Strided {
  readonly axis: Axis
  readonly step: number
  readonly offset: number
}

const isAxis = (p: Position): p is Axis => 'extent' in p
const isStrided = (p: Position): p is Strided => 'step' in p

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

  /** The position an axis or expression stands for, as an i32 expression. */
  at(position: Position): Expr {
    if (isAxis(position)) return this.s.at(position)
    if (!isStrided(position)) return position
    return this.s.add(this.s.mul(this.s.at(position.axis), position.step), position.offset)
  }

  finish(): Step {
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
      if (!isStrided(position)) return [{ index: this.at(position), stride }]
      offset += position.offset * stride
      return [{ index: this.s.at(position.axis), stride: stride * position.step }]
    })
    return { offset, terms }
  }
}
