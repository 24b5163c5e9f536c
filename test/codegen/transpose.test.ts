/** @file Copies that read along one axis and write along another, with guards and arithmetic on the way. */
import { describe, expect, test } from 'vitest'
import { canonicalize } from '../../src/codegen/canonical.ts'
import { KernelBuilder, type Operand } from '../../src/codegen/kernel-builder.ts'
import { matchTranspose } from '../../src/codegen/transpose-pattern.ts'
import { dtypes, type DType, type TypedArray } from '../../src/core/dtype.ts'
import { layoutOf } from '../../src/core/layout.ts'
import type { Expr, ExprBuilder } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'
import { printGroup } from '../../src/ir/print-group.ts'
import { agreesInLoops, agreesOnWasm } from './agree.ts'
import { Choices } from './fuzz/choices.ts'
import { randomData } from './fuzz/random-data.ts'
import { targetOf, type Run } from './run-group.ts'

const extents = [16, 4, 7, 8, 17, 33, 1, 5, 32, 49, 12, 3]
const kinds: readonly DType[] = ['float32', 'float32', 'int32', 'bfloat16', 'float16', 'int8', 'uint8', 'float64', 'bool']

interface Case {
  readonly s: ExprBuilder
  readonly group: Group
  readonly buffers: readonly TypedArray[]
}

/** A copy into the order of its axes from an operand in another order, padded, and with others on the way. */
function randomCopy(c: Choices): Case {
  const dtype = c.pick(kinds)
  const { array, bytes } = dtypes[dtype]
  const count = c.pick([2, 3, 4])
  const shape: number[] = []
  let points = 1
  for (let i = 0; i < count; i++) {
    const n = c.pick(extents.filter((x) => x * points <= 3000))
    shape.push(n)
    points *= n
  }
  const pads = shape.map(() => (c.chance(0.2) ? c.pick([[1, 1], [0, 2], [2, 0]] as const) : [0, 0]))
  const operands: Operand[] = []
  const buffers: TypedArray[] = []
  const add = (order: readonly number[], sizes: readonly number[], used: boolean): number => {
    // Sometimes rows of more elements than are read.
    const strides: number[] = sizes.map(() => 0)
    let stride = 1
    for (const i of order.toReversed()) {
      strides[i] = stride
      stride *= sizes[i]! + (c.chance(0.1) ? 1 : 0)
    }
    const data = used ? randomData(dtype, stride, 'small', c.below(1 << 16)) : new array(new ArrayBuffer(stride * bytes))
    buffers.push(data)
    return operands.push({ dtype, layout: layoutOf(sizes, strides) }) - 1
  }
  const plain = shape.map((_, i) => i)
  const order = c.shuffle(plain)
  const inner = shape.map((n, i) => Math.max(1, n - pads[i]![0]! - pads[i]![1]!))
  const reads = Array.from({ length: c.pick([1, 1, 2]) }, () => add(order, inner, true))
  const others = Array.from({ length: c.pick([0, 0, 1, 2]) }, () => {
    const sizes = c.chance(0.5) ? shape : shape.map((n, i) => (i === c.below(count) ? n : 1))
    return { operand: add(plain, sizes, true), sizes }
  })
  const outs = Array.from({ length: c.pick([1, 1, 1, 2]) }, () => add(plain, shape, false))
  const k = new KernelBuilder('copy', operands)
  const { s } = k
  const axes = k.axes(shape)
  const positions = axes.map((axis, i) => ({ axis, step: 1, offset: -pads[i]![0]! }))
  const otherwise = c.pick([0, 0, 1])
  const guard = k.inside(inner, positions)
  const loads = reads.map((operand) => k.load(operand, positions, guard, otherwise))
  const more = others.map(({ operand, sizes }) =>
    k.load(operand, axes.map((axis, i) => (sizes[i] === 1 ? s.const('i32', 0) : axis))),
  )
  const values = outs.map(() => [...loads, ...more].reduce((x, y) => mix(c, s, x, y)))
  values.forEach((value, i) => k.store(outs[i]!, axes, c.chance(0.3) && value.type !== 'bool' ? s.max(value, 0) : value))
  const { group, operands: used } = k.finish()
  return { s, group, buffers: used.map((i) => buffers[i]!) }
}

// Nothing that is rounded.
function mix(c: Choices, s: ExprBuilder, x: Expr, y: Expr): Expr {
  if (x.type === 'bool') return s.xor(x, y)
  if (c.chance(0.3)) return s.select(s.lt(0, y), x, 0)
  return c.chance(0.3) ? s.max(x, y) : s.sub(x, y)
}

describe('transposes agree with the interpreter', () => {
  test.each(Array.from({ length: 16 }, (_, i) => i))('ten copies from seed %i0', (tens) => {
    for (let seed = 10 * tens; seed < 10 * tens + 10; seed++) {
      const c = Choices.seeded(seed + 1)
      const made = randomCopy(c)
      const { group, sizes } = canonicalize(made.s, made.group, c.chance(0.5))
      const run: Run = { buffers: [...made.buffers], sizes: [...sizes], params: [] }
      try {
      agreesOnWasm(made.s, group, run, 0)
      agreesInLoops(made.s, group, run, 0)
      } catch (e) { console.log(printGroup(group), (e as Error).stack); throw new Error(`seed ${seed}: ` + (e as Error).message) }
    }
  })
})
