/** @file Random kernels in group form: several stores, accumulation, checks, anything inside. */
import { dtypes, type DType, type TypedArray } from '../../../src/core/dtype.ts'
import { ExprBuilder, type Expr } from '../../../src/ir/expr.ts'
import type { Group, Store } from '../../../src/ir/group.ts'
import { Buffers, type Sized } from './random-buffers.ts'
import type { Choices } from './choices.ts'
import { randomData } from './random-data.ts'
import { RandomExprs, type Float } from './random-expr.ts'

export interface KernelCase {
  readonly s: ExprBuilder
  readonly group: Group
  readonly buffers: TypedArray[]
  readonly sizes: number[]
  readonly params: number[]
  /** Per buffer: how far a float may be off; 0 where every bit counts. */
  readonly tolerances: readonly number[]
  /** All sizes are part of the group, so that it can be made canonical. */
  readonly isStatic: boolean
}

const outer = [3, 1, 2, 5, 8, 17, 33, 4, 9, 16, 64, 100, 130, 0]
const mostPoints = 1600

const stored: readonly DType[] = [
  ...(['float32', 'int32', 'float64', 'int64', 'bool', 'float16', 'bfloat16'] as const),
  ...(['int8', 'uint8'] as const),
]

export function randomKernel(c: Choices): KernelCase {
  const s = new ExprBuilder()
  const buffers = new Buffers(c, s)
  const axes: Sized[] = []
  let points = 1
  const wanted = c.pick([1, 2, 2, 3, 1, 0])
  for (let i = 0; i < wanted; i++) {
    const fits = outer.filter((n) => n * points <= mostPoints)
    const sized = buffers.axis(c.pick(fits))
    axes.push(sized)
    points *= Math.max(1, sized.extent)
  }
  const exprs = new RandomExprs(c, s, buffers)
  const tolerances = new Map<number, number>()
  const fuel = () => c.pick([1, 2, 4, 7, 12])
  const plain = (): Store => {
    const type = exprs.type()
    const fits = stored.filter((dtype) => dtypes[dtype].compute === type)
    const dtype = c.chance(0.7) ? c.pick(fits) : c.pick(stored)
    const { compute, array } = dtypes[dtype]
    const { index, length } = buffers.layout(axes)
    const isRough = (compute === 'f32' || compute === 'f64') && c.chance(0.3)
    let value: Expr = isRough
      ? exprs.rough(compute as Float, fuel(), axes)
      : exprs.expr(compute, fuel(), axes)
    // What is written may depend on what was there.
    const updates = c.chance(0.15)
    const data = updates
      ? randomData(dtype, length, 'small', c.below(1 << 16))
      : new array(new ArrayBuffer(length * dtypes[dtype].bytes))
    const buffer = buffers.add(dtype, data, updates ? 'update' : 'write')
    if (updates) {
      const before = s.load(buffer, dtype, index)
      exprs.offer(before)
      value = c.chance(0.3) && !isRough ? before : mixed(s, value, before)
    }
    if (isRough) tolerances.set(buffer, toleranceOf(dtype))
    return { buffer, index, value }
  }
  const adding = (): Store => {
    const dtype = c.pick(['float32', 'int32', 'float64', 'int64', 'float16', 'uint8'] as const)
    const type = dtypes[dtype].compute
    const some = axes.filter(() => c.chance(0.5))
    let { index, length } = buffers.layout(some)
    if (c.chance(0.5)) {
      const count = 1 + c.below(6)
      const at = exprs.indexBelow(count, axes)
      const stride = length === 1 ? 1 : buffers.size(length)
      index = { offset: index.offset, terms: [...index.terms, { index: at, stride }] }
      length *= count
    }
    const data = randomData(dtype, length, 'small', c.below(1 << 16))
    const buffer = buffers.add(dtype, data, 'update')
    const value = exprs.addend(type, fuel(), axes, dtype === 'float16' ? 1 : 4)
    return { buffer, index, value, accumulate: true }
  }
  const stores = Array.from({ length: c.pick([1, 1, 2, 3]) }, () =>
    c.chance(0.12) ? adding() : plain(),
  )
  const checks = c.chance(0.08)
    ? Array.from({ length: c.pick([1, 2]) }, () => {
        const sure = s.le(s.like(exprs.load('i32', axes), -2147483648), exprs.expr('i32', 1, axes))
        return c.chance(0.3) ? sure : s.or(sure, exprs.expr('bool', c.below(4), axes))
      })
    : []
  if (c.chance(0.05)) checks.push(exprs.expr('bool', c.below(4), axes))
  const group: Group = {
    name: 'random',
    axes: axes.map((x) => x.axis),
    buffers: buffers.specs,
    stores,
    checks,
    params: exprs.params,
    sizeCount: buffers.sizes.length,
  }
  return {
    s,
    group,
    buffers: buffers.arrays,
    sizes: buffers.sizes,
    params: exprs.paramValues,
    tolerances: group.buffers.map((_, i) => tolerances.get(i) ?? 0),
    isStatic: buffers.isStatic,
  }
}

// Both are used, and a float stays as exact as it was.
function mixed(s: ExprBuilder, value: Expr, before: Expr): Expr {
  return value.type === 'bool' ? s.xor(value, before) : s.max(value, before)
}

const toleranceOf = (dtype: DType): number =>
  dtype === 'float64' ? 1e-9 : dtype === 'float32' ? 2e-4 : dtype === 'float16' ? 4e-3 : 3e-2
