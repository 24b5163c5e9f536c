/** @file Random contractions: any roles, layouts, windows, guards, prologues and epilogues, with data to run them on. */
import type { DType, ScalarType, TypedArray } from '../../src/core/dtype.ts'
import { numberToBfloat, numberToHalf } from '../../src/core/float16.ts'
import { ExprBuilder, type Axis, type Expr, type Index, type Size } from '../../src/ir/expr.ts'
import type { BufferSpec, Group } from '../../src/ir/group.ts'

export interface RandomCase {
  readonly s: ExprBuilder
  readonly group: Group
  readonly buffers: TypedArray[]
  readonly sizes: number[]
  readonly params: number[]
}

/** The same numbers for the same seed. */
export function randomizer(seed: number): () => number {
  let state = seed * 2654435761 + 1
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state >>> 8) / 2 ** 24
  }
}

/** An axis with its extent, known when the kernel is built or not. */
interface Sized {
  readonly axis: Axis
  readonly extent: number
}

/** What a case is about: float32 and float64, or products of small numbers that some targets have dots for. */
export type Kind = 'float' | 'bfloat16' | 'byte'

export function randomContraction(seed: number, kind: Kind = 'float'): RandomCase {
  return new CaseBuilder(randomizer(seed), kind).build()
}

class CaseBuilder {
  readonly #random: () => number
  readonly #s = new ExprBuilder()
  readonly #buffers: TypedArray[] = []
  readonly #specs: BufferSpec[] = []
  readonly #sizes: number[] = []
  readonly #isSymbolic: boolean
  readonly #kind: Kind
  readonly #type: 'f32' | 'f64' | 'i32'

  constructor(random: () => number, kind: Kind) {
    this.#random = random
    this.#kind = kind
    this.#isSymbolic = this.#chance(0.5)
    const isWide = this.#chance(0.2)
    this.#type = kind === 'byte' ? 'i32' : isWide && kind === 'float' ? 'f64' : 'f32'
  }

  build(): RandomCase {
    const s = this.#s
    const batch = this.#axes(this.#chance(0.3) ? 1 : 0, 3)
    const rows = this.#axes(this.#chance(0.3) ? 2 : 1, 20)
    const columns = this.#axes(this.#chance(0.3) ? 2 : 1, 40)
    const depth = this.#axes(this.#chance(0.4) ? 2 : 1, 40)
    const a = this.#operand([...batch, ...rows], depth, rows)
    const b = this.#operand([...batch, ...columns], depth, columns)
    const product = this.#chance(0.5) ? s.mul(a, b) : s.mul(b, a)
    const sum = s.reduce(
      'add',
      depth.map((x) => x.axis),
      product,
    )
    const accumulate = this.#chance(0.15)
    const all = this.#shuffle([...batch, ...rows, ...columns])
    const { index, length } = this.#layout(all)
    const value = this.#epilogue(sum, { index, length }, rows, columns)
    const dtype = this.#chance(0.15) && this.#type === 'f32' ? this.#half() : this.#whole()
    const buffer = this.#buffer(dtype, length, accumulate ? 'update' : 'write')
    const axes = this.#shuffle([...batch, ...rows, ...columns]).map((x) => x.axis)
    const group: Group = {
      name: 'random',
      axes,
      buffers: this.#specs,
      stores: [{ buffer, index, value, ...(accumulate && { accumulate: true }) }],
      checks: [],
      params: [this.#type],
      sizeCount: this.#sizes.length,
    }
    return {
      s,
      group,
      buffers: this.#buffers,
      sizes: this.#sizes,
      params: [this.#type === 'i32' ? 3 : 0.75],
    }
  }

  #half(): DType {
    return this.#kind === 'bfloat16' ? 'bfloat16' : 'float16'
  }

  /** The dtype that holds sums as they are. */
  #whole(): DType {
    return dtypeOf[this.#type]
  }

  #small(): DType {
    if (this.#kind === 'byte') return this.#chance(0.5) ? 'int8' : 'uint8'
    return this.#kind === 'bfloat16' || this.#chance(0.2) ? this.#half() : this.#whole()
  }

  #chance(p: number): boolean {
    return this.#random() < p
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n)
  }

  #shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.#below(i + 1)
      ;[items[i], items[j]] = [items[j]!, items[i]!]
    }
    return items
  }

  #size(value: number): Size {
    if (!this.#isSymbolic) return value
    return { slot: this.#sizes.push(value) - 1 }
  }

  #axes(count: number, most: number): Sized[] {
    return Array.from({ length: count }, () => {
      const extent = 1 + this.#below(Math.ceil(most ** (1 / count)))
      return { axis: this.#s.axis(this.#size(extent)), extent }
    })
  }

  // Row-major over the axes in this order; some innermost strides are not one.
  #layout(axes: readonly Sized[]): { index: Index; length: number } {
    const step = this.#chance(0.1) ? 2 : 1
    let length = step
    const terms = axes.toReversed().map(({ axis, extent }) => {
      const stride = length === 1 ? 1 : this.#size(length)
      length *= extent
      return { index: this.#s.at(axis), stride }
    })
    return { index: { offset: 0, terms: terms.toReversed() }, length }
  }

  #operand(outside: readonly Sized[], depth: readonly Sized[], own: readonly Sized[]): Expr {
    const s = this.#s
    const isWindow = this.#chance(this.#kind === 'float' ? 0.4 : 0.15)
    const slid = own[own.length - 1]!
    const sliding = depth[depth.length - 1]!
    const dtype = this.#type === 'f64' ? 'float64' : this.#small()
    let load: Expr
    if (isWindow) {
      // One dimension that the last own axis and the last summed one walk together, padded at both ends.
      const step = this.#chance(0.3) ? 2 : 1
      const pad = this.#below(3)
      const extent = Math.max(1, (slid.extent - 1) * step + sliding.extent - 2 * pad)
      const rest = [...outside.filter((x) => x !== slid), ...depth.filter((x) => x !== sliding)]
      const at = s.sub(s.add(s.mul(s.at(slid.axis), step), s.at(sliding.axis)), pad)
      const { index, length } = this.#layout(this.#shuffle(rest))
      const inside = s.and(s.le(s.like(at, 0), at), s.lt(at, s.size(this.#size(extent))))
      const terms = index.terms.map((t) => ({
        ...t,
        stride: this.#scaled(t.stride, extent),
      }))
      const buffer = this.#buffer(dtype, length * extent)
      load = s.load(
        buffer,
        dtype,
        { offset: 0, terms: [...terms, { index: at, stride: 1 }] },
        inside,
      )
    } else {
      const { index, length } = this.#layout(this.#shuffle([...outside, ...depth]))
      const odd = s.eq(s.and(s.add(s.at(slid.axis), s.at(sliding.axis)), 1), 0)
      const guard = this.#chance(this.#kind === 'float' ? 0.15 : 0.05) ? odd : undefined
      load = s.load(this.#buffer(dtype, length), dtype, index, guard)
    }
    const kind = this.#below(this.#kind === 'float' ? 6 : 20)
    if (kind === 0) return s.mul(load, s.param(this.#type, 0))
    if (kind === 1) return s.max(load, 0)
    return load
  }

  #scaled(stride: Size, by: number): Size {
    return typeof stride === 'number'
      ? this.#size(stride * by)
      : this.#size(this.#sizes[stride.slot]! * by)
  }

  #epilogue(
    sum: Expr,
    out: { index: Index; length: number },
    rows: readonly Sized[],
    columns: readonly Sized[],
  ): Expr {
    const s = this.#s
    const dtype = this.#whole()
    let value = sum
    const bias = (axes: readonly Sized[]) => {
      const { index, length } = this.#layout(axes)
      return s.load(this.#buffer(dtype, length), dtype, index)
    }
    if (this.#chance(0.3)) value = s.add(value, bias(columns))
    if (this.#chance(0.2)) value = s.mul(value, bias(rows))
    if (this.#chance(0.2))
      value = s.add(value, s.load(this.#buffer(dtype, out.length), dtype, out.index))
    if (this.#chance(0.2)) value = s.max(value, 0)
    if (this.#chance(0.1) && this.#type === 'f32') value = s.tanh(value)
    if (this.#chance(0.1)) value = s.add(value, s.convert(s.at(columns[0]!.axis), this.#type))
    return value
  }

  #buffer(dtype: DType, length: number, access: BufferSpec['access'] = 'read'): number {
    const values = Array.from({ length }, () => this.#random() - 0.5)
    const bytes = values.map((x) => Math.floor(256 * x))
    const make = {
      float64: () => Float64Array.from(values),
      float32: () => Float32Array.from(values),
      float16: () => Uint16Array.from(values, numberToHalf),
      bfloat16: () => Uint16Array.from(values, numberToBfloat),
      int8: () => Int8Array.from(bytes),
      uint8: () => Uint8Array.from(bytes),
      int32: () => Int32Array.from(bytes),
    }
    this.#buffers.push(make[dtype as keyof typeof make]())
    return this.#specs.push({ dtype, access }) - 1
  }
}

const dtypeOf = { f32: 'float32', f64: 'float64', i32: 'int32' } as const

/** How far results of a dtype and compute type may be apart. */
export const toleranceOf = (dtype: DType, type: ScalarType): number =>
  type === 'i32'
    ? 0
    : dtype === 'bfloat16'
      ? 1e-2
      : dtype === 'float16'
        ? 2e-3
        : type === 'f64'
          ? 1e-12
          : 2e-5
