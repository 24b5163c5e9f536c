/** @file Random contractions: every role played by several axes, sides thin or at the edges of tiles, windows, gathers, prologues, epilogues. */
import { dtypes, type DType, type ScalarType } from '../../../src/core/dtype.ts'
import { ExprBuilder, type Expr } from '../../../src/ir/expr.ts'
import type { Group } from '../../../src/ir/group.ts'
import { Buffers, type Sized } from './random-buffers.ts'
import type { Choices } from './choices.ts'
import { dataKinds, randomData, randomIndices, type DataKind } from './random-data.ts'
import { RandomExprs } from './random-expr.ts'
import type { KernelCase } from './random-kernel.ts'

/** Sizes at the edges of tiles and vectors, and thin ones. */
const rowSizes = [3, 1, 2, 4, 5, 6, 7, 8, 11, 12, 13, 14, 16, 17, 24, 25, 29, 33, 0]
const columnSizes = [4, 1, 3, 8, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 65, 80, 7, 0]
const depthSizes = [2, 3, 1, 5, 8, 9, 16, 17, 31, 33, 64, 70, 130, 0]
/** Multiplications of one case. */
const mostPoints = 16_000

/** Dtypes of both operands and of the result. */
const kinds: readonly (readonly [DType, DType, DType])[] = [
  ['float32', 'float32', 'float32'],
  ['float64', 'float64', 'float64'],
  ['float16', 'float32', 'float32'],
  ['bfloat16', 'bfloat16', 'float32'],
  ['uint8', 'int8', 'int32'],
  ['int8', 'int8', 'int32'],
  ['bfloat16', 'float32', 'bfloat16'],
  ['float16', 'float16', 'float16'],
  ['uint8', 'uint8', 'int32'],
  ['int32', 'int32', 'int32'],
  ['int64', 'int64', 'int64'],
  ['float32', 'float32', 'float16'],
]

export function randomProduct(c: Choices): KernelCase {
  return new ProductBuilder(c).build()
}

class ProductBuilder {
  readonly #c: Choices
  readonly #s = new ExprBuilder()
  readonly #buffers: Buffers
  readonly #exprs: RandomExprs
  /** Sums of whole numbers are exact in any order. */
  readonly #isExact: boolean
  #room = mostPoints

  constructor(c: Choices) {
    this.#c = c
    this.#buffers = new Buffers(c, this.#s)
    this.#exprs = new RandomExprs(c, this.#s, this.#buffers, false)
    this.#isExact = !c.chance(0.3)
  }

  build(): KernelCase {
    const c = this.#c
    const s = this.#s
    const [left, right, result] = c.pick(kinds)
    const type = dtypes[result].compute
    const columns = this.#axes(c.pick([1, 1, 2]), columnSizes)
    const depth = this.#axes(c.pick([1, 1, 2, 3]), depthSizes)
    const rows = this.#axes(c.pick([1, 1, 2]), rowSizes)
    const batch = this.#axes(c.pick([0, 0, 1, 2]), [2, 3, 1])
    const a = this.#operand(left, type, batch, rows, depth)
    const b = this.#operand(right, type, batch, columns, depth)
    const over = depth.map((x) => x.axis)
    const sum = s.reduce('add', over, c.chance(0.5) ? s.mul(a, b) : s.mul(b, a))
    const all = c.shuffle([...batch, ...rows, ...columns])
    const { index, length } = this.#buffers.layout(all)
    const isAdding = c.chance(0.15)
    const value = this.#epilogue(sum, batch, rows, columns)
    const data = isAdding
      ? randomData(result, length, 'small', c.below(1 << 16))
      : new dtypes[result].array(new ArrayBuffer(length * dtypes[result].bytes))
    const buffer = this.#buffers.add(result, data, isAdding ? 'update' : 'write')
    const group: Group = {
      name: 'product',
      axes: c.shuffle([...batch, ...rows, ...columns]).map((x) => x.axis),
      buffers: this.#buffers.specs,
      stores: [{ buffer, index, value, ...(isAdding && { accumulate: true as const }) }],
      checks: [],
      params: this.#exprs.params,
      sizeCount: this.#buffers.sizes.length,
    }
    return {
      s,
      group,
      buffers: this.#buffers.arrays,
      sizes: this.#buffers.sizes,
      params: this.#exprs.paramValues,
      tolerances: group.buffers.map((_, i) => (i === buffer ? this.#tolerance(result) : 0)),
      isStatic: this.#buffers.isStatic,
    }
  }

  #tolerance(dtype: DType): number {
    // Only the sign of a zero is left open: a sum over one point may be that point or 0 more.
    if (this.#isExact) return Number.MIN_VALUE
    const known: Partial<Record<DType, number>> = { float64: 1e-10, float16: 4e-3, bfloat16: 3e-2 }
    const isBfloat = this.#buffers.specs.some((x) => x.dtype === 'bfloat16')
    return Math.max(known[dtype] ?? 1e-4, isBfloat ? 3e-2 : 0)
  }

  #axes(count: number, sizes: readonly number[]): Sized[] {
    return Array.from({ length: count }, () => {
      const fits = sizes.filter((n) => n <= (count > 1 ? 17 : 200) && n <= this.#room)
      const extent = fits.length === 0 ? 1 : this.#c.pick(fits)
      this.#room /= Math.max(1, extent)
      return this.#buffers.axis(extent)
    })
  }

  #operand(
    dtype: DType,
    type: ScalarType,
    batch: readonly Sized[],
    own: readonly Sized[],
    depth: readonly Sized[],
  ): Expr {
    const c = this.#c
    const s = this.#s
    const scope = [...batch, ...own, ...depth]
    const kind = c.below(12)
    const isFloat = type === 'f32' || type === 'f64'
    if (kind === 11) return this.#exprs.addend(type, c.pick([2, 4, 7]), scope, 4)
    const read = () => {
      if (kind >= 8) return this.#window(dtype, batch, own, depth)
      if (kind === 7) return this.#gather(dtype, batch, own, depth)
      return this.#load(dtype, c.shuffle(scope))
    }
    const load = s.convert(read(), type)
    switch (c.below(10)) {
      case 9:
        return s.max(load, 0)
      case 8:
        return s.mul(load, this.#factor(type))
      case 7:
        return s.mul(load, s.convert(this.#load(dtype, own), type))
      case 6:
        return s.select(s.lt(load, s.like(load, 1)), s.neg(load), load)
      case 5:
        return isFloat && !this.#isExact ? s.tanh(load) : s.abs(load)
      default:
        return load
    }
  }

  #factor(type: ScalarType): Expr {
    this.#exprs.paramValues.push(this.#c.pick([2, 1, -1, 3]))
    return this.#s.param(type, this.#exprs.params.push(type) - 1)
  }

  #load(dtype: DType, axes: readonly Sized[]): Expr {
    const { index, length } = this.#buffers.layout(axes)
    const buffer = this.#buffers.reading(dtype, length, this.#kindsOf(dtype))
    if (length > 0 && this.#c.chance(0.08))
      return this.#s.load(buffer, dtype, index, this.#exprs.expr('bool', this.#c.below(3), axes))
    return this.#s.load(buffer, dtype, index)
  }

  // Integers wrap, so that their sums are exact whatever they are.
  #kindsOf(dtype: DType): readonly DataKind[] {
    if (dtypes[dtype].kind === 'int') return dataKinds
    return this.#isExact ? ['small'] : ['unit']
  }

  // Dimensions that an own axis and a summed one walk together, padded at both ends, or not.
  #window(
    dtype: DType,
    batch: readonly Sized[],
    own: readonly Sized[],
    depth: readonly Sized[],
  ): Expr {
    const c = this.#c
    const s = this.#s
    const count = Math.min(own.length, depth.length, 1 + Number(c.chance(0.4)))
    const taps = depth.slice(depth.length - count)
    const rest = [...batch, ...own.slice(0, -count), ...depth.slice(0, -count)]
    const places = own.slice(own.length - count).map((x, i) => {
      const tap = taps[i]!
      const [step, dilation] = [c.pick([1, 2, 1, 3]), c.pick([1, 1, 2])]
      const pad = c.pick([0, 1, 2])
      const span = (x.extent - 1) * step + (tap.extent - 1) * dilation + 1
      const extent = Math.max(1, span - 2 * pad)
      let at: Expr = s.at(x.axis)
      if (step > 1) at = s.mul(at, step)
      at = s.add(at, dilation > 1 ? s.mul(s.at(tap.axis), dilation) : s.at(tap.axis))
      if (pad > 0) at = s.sub(at, pad)
      // Without padding the window stays inside, unless one side is empty.
      const isGuarded = pad > 0 || span < 1
      const below = s.lt(at, s.size(this.#buffers.size(extent)))
      return { at, extent, guard: isGuarded ? s.and(s.le(s.like(at, 0), at), below) : undefined }
    })
    const { index, length } = this.#buffers.layout(rest)
    const terms = [...index.terms]
    let room = Math.max(1, length)
    for (const { at, extent } of places.toReversed()) {
      terms.push({ index: at, stride: room === 1 ? 1 : this.#buffers.size(room) })
      room *= extent
    }
    const buffer = this.#buffers.reading(dtype, room, this.#kindsOf(dtype))
    const guards = places.flatMap((x) => (x.guard ? [x.guard] : []))
    const guard = guards.length > 0 ? guards.reduce((x, y) => s.and(x, y)) : undefined
    return s.load(buffer, dtype, { offset: index.offset, terms }, guard)
  }

  #gather(
    dtype: DType,
    batch: readonly Sized[],
    own: readonly Sized[],
    depth: readonly Sized[],
  ): Expr {
    const c = this.#c
    const s = this.#s
    const through = c.pick([own.at(-1)!, depth.at(-1)!, own[0]!])
    const rest = [...batch, ...own, ...depth].filter((x) => x !== through)
    const count = 1 + c.below(9)
    const { index, length } = this.#buffers.layout(rest)
    const indices = randomIndices('int32', through.extent, count, c.below(1 << 16))
    const at = s.load(this.#buffers.add('int32', indices, 'read'), 'int32', {
      offset: 0,
      terms: [{ index: s.at(through.axis), stride: 1 }],
    })
    const buffer = this.#buffers.reading(dtype, length * count, this.#kindsOf(dtype))
    const stride = length === 1 ? 1 : this.#buffers.size(length)
    const terms = [...index.terms, { index: at, stride }]
    return s.load(buffer, dtype, { offset: index.offset, terms })
  }

  #epilogue(
    sum: Expr,
    batch: readonly Sized[],
    rows: readonly Sized[],
    columns: readonly Sized[],
  ): Expr {
    const c = this.#c
    const s = this.#s
    const { type } = sum
    let value = sum
    const over = (axes: readonly Sized[]) => this.#exprs.addend(type, c.pick([0, 0, 2]), axes, 4)
    for (let steps = c.pick([0, 0, 1, 2, 3]); steps > 0; steps--) {
      switch (c.below(8)) {
        case 0:
          value = s.add(value, over(columns))
          break
        case 1:
          value = s.add(value, over(rows))
          break
        case 2:
          value = s.add(value, over([...batch, ...rows, ...columns]))
          break
        case 3:
          value = s.max(value, 0)
          break
        case 4:
          value = s.mul(value, this.#factor(type))
          break
        case 5:
          value = this.#isExact ? s.sub(value, sum) : s.max(value, s.neg(sum))
          break
        case 6:
          value = s.select(this.#exprs.expr('bool', 2, [...rows, ...columns]), value, over(rows))
          break
        default:
          value = s.add(value, s.convert(s.at(c.pick([...rows, ...columns]).axis), type))
      }
    }
    return value
  }
}
