/** @file Chains of contractions, as attention and its gradients make them, on every kind of target. */
import { describe, expect, test } from 'vitest'
import 'tandem'
import { canonicalize } from '../../src/codegen/canonical.ts'
import { isBounded } from '../../src/codegen/chain-blocks.ts'
import { matchChain } from '../../src/codegen/chain-pattern.ts'
import { KernelBuilder, type Operand } from '../../src/codegen/kernel-builder.ts'
import { dtypes, type DType } from '../../src/core/dtype.ts'
import { layoutOf, type Layout } from '../../src/core/layout.ts'
import { broadcastShapes, type Shape } from '../../src/core/shape.ts'
import type { Group } from '../../src/ir/group.ts'
import type { ExprBuilder } from '../../src/ir/expr.ts'
import { printGroup } from '../../src/ir/print-group.ts'
import { operators } from '../../src/ops/define.ts'
import type { InputSpec, LowerContext, Op } from '../../src/tensor/op.ts'
import type { Attributes } from '../../src/tensor/types.ts'
import { agreesInLoops, agreesOnWasm } from './agree.ts'

interface Case {
  readonly batch?: Shape
  readonly length: number
  readonly keys: number
  readonly features: number
  readonly mixed: number
  readonly isCausal?: boolean
  readonly mask?: { readonly shape: Shape; readonly dtype: DType }
  readonly dtype?: DType
  readonly hasDropout?: boolean
}

const cases: [string, Case][] = [
  ['plain', { length: 21, keys: 37, features: 5, mixed: 4 }],
  ['causal', { batch: [2], length: 34, keys: 34, features: 4, mixed: 4, isCausal: true }],
  ['causal, more keys', { length: 14, keys: 37, features: 2, mixed: 17, isCausal: true }],
  ['causal, more queries', { length: 37, keys: 19, features: 3, mixed: 2, isCausal: true }],
  [
    'a mask of bools',
    {
      batch: [2, 2],
      length: 13,
      keys: 21,
      features: 3,
      mixed: 5,
      mask: { shape: [13, 21], dtype: 'bool' },
    },
  ],
  [
    'padding, causal',
    {
      batch: [2, 2],
      length: 18,
      keys: 18,
      features: 4,
      mixed: 4,
      isCausal: true,
      mask: { shape: [2, 1, 1, 18], dtype: 'bool' },
    },
  ],
  [
    'an added mask',
    { length: 15, keys: 23, features: 3, mixed: 20, mask: { shape: [15, 23], dtype: 'float32' } },
  ],
  [
    'dropout',
    { batch: [2], length: 14, keys: 35, features: 3, mixed: 3, isCausal: true, hasDropout: true },
  ],
  ['float64', { length: 15, keys: 29, features: 3, mixed: 9, isCausal: true, dtype: 'float64' }],
]

interface Made {
  readonly s: ExprBuilder
  readonly group: Group
  readonly sizes: readonly number[]
  readonly lengths: readonly number[]
}

/** The kernels of an op for inputs of these shapes, made canonical. */
function kernelsOf(
  name: string,
  shapes: readonly (readonly [Shape, DType])[],
  attributes: Attributes,
  layout: (shape: Shape) => Layout = layoutOf,
): Made[] {
  const op = operators.get(name) as Op
  const operandOf = (shape: Shape, dtype: DType): Operand => ({ layout: layoutOf(shape), dtype })
  const inputs: InputSpec[] = shapes.map(([shape, dtype]) => ({
    layout: layout(shape),
    dtype,
    shape,
    ndim: shape.length,
    scalar: undefined,
  }))
  const scale: InputSpec = {
    ...operandOf([], 'float32'),
    shape: [],
    ndim: -1,
    scalar: 'f64',
  }
  const numbers = attributes['dropout'] === undefined ? [scale] : Array<InputSpec>(6).fill(scale)
  const specs = [...inputs, ...numbers]
  const outputs = op.infer(specs, attributes).map((x) => operandOf(x.shape, x.dtype))
  const operands = [...specs, ...outputs]
  const context: LowerContext<Attributes> = {
    attributes,
    inputs: specs,
    outputs,
    out: (i = 0) => specs.length + i,
    temporary: (shape, dtype) => operands.push(operandOf(shape, dtype)) - 1,
    kernel: (kernelName = name) =>
      new KernelBuilder(
        kernelName,
        operands,
        numbers.map(() => 'f64'),
      ),
  }
  return op.lower(context).map(({ s, group, operands: used }) => {
    const made = canonicalize(s, group, op.specialize ?? false)
    return { ...made, s, lengths: used.map((i) => operands[i]!.layout.size) }
  })
}

function inputsOf(c: Case): (readonly [Shape, DType])[] {
  const { batch = [], length, keys, features, mixed, mask, dtype = 'float32' } = c
  return [
    [[...batch, length, features], dtype],
    [[...batch, keys, features], dtype],
    [[...batch, keys, mixed], dtype],
    ...(mask ? [[mask.shape, mask.dtype] as const] : []),
  ]
}

function check({ s, group, sizes, lengths }: Made): void {
  const buffers = group.buffers.map(({ dtype }, i) => {
    const random = Array.from({ length: lengths[i]! }, () => Math.random() - 0.5)
    const values = dtype === 'bool' ? random.map((x) => Number(x > -0.2)) : random
    return new dtypes[dtype].array(values as never)
  })
  const params = [0.7, 3, 5, 7, 0, 0.4].slice(0, group.params.length)
  const run = { buffers, sizes: [...sizes], params }
  const isWide = group.buffers.some(({ dtype }) => dtype === 'float64')
  agreesOnWasm(s, group, run, isWide ? 1e-13 : 1e-5)
  agreesInLoops(s, group, run, isWide ? 1e-13 : 1e-5)
}

describe.each(cases)('%s', (_name, c) => {
  const { isCausal = false, mask, batch = [], length, mixed, dtype = 'float32' } = c
  const dropout = c.hasDropout && { dropout: { p: 0.4, draw: [3, 5, 7, 0] } }
  const attributes = { isCausal, hasMask: mask !== undefined, ...dropout }

  test('attention', () => {
    const [made, ...others] = kernelsOf('attention', inputsOf(c), attributes)
    expect(others).toEqual([])
    const chain = matchChain(made!.s, made!.group)!
    expect(chain.top).toBeDefined()
    expect(chain.bounds !== undefined).toBe(isCausal)
    check(made!)
  })

  test.each([
    ['all gradients', true, true],
    ['that of the queries', true, false],
    ['those of keys and values', false, true],
  ])('%s', (_what, wantsQ, wantsKV) => {
    const given: (readonly [Shape, DType])[] = [
      [[...batch, length, mixed], dtype],
      [[...batch, length, mixed], dtype],
      [[...batch, length], dtype],
      ...inputsOf(c),
    ]
    const [, made, ...others] = kernelsOf('attentionBackward', given, {
      ...attributes,
      wantsQ,
      wantsKV,
    })
    expect(others).toEqual([])
    const chain = matchChain(made!.s, made!.group)!
    expect(chain.products.length + chain.across.length).toBe(Number(wantsQ) + 2 * Number(wantsKV))
    expect(chain.bounds !== undefined).toBe(isCausal)
    check(made!)
  })
})

test('few heads of many keys: parts of the keys, and a sum', () => {
  const [queries, results, sums] = [
    [8, 5, 4],
    [8, 5, 4],
    [8, 5],
  ] as const
  const [keys, values] = [
    [8, 256, 4],
    [8, 256, 4],
  ] as const
  const shapes = [queries, results, sums, queries, keys, values]
  const steps = kernelsOf(
    'attentionBackward',
    shapes.map((shape) => [shape, 'float32'] as const),
    { isCausal: true, hasMask: false, wantsQ: true, wantsKV: true },
  )
  expect(steps.length).toBe(3)
  const { s, group } = steps[1]!
  const chain = matchChain(s, group)!
  expect(chain.across.length).toBe(1)
  expect(chain.bounds).toBeDefined()
})

/** A layout with its axes in any order in memory, some leading ones repeated, some walked backwards, some with gaps. */
function anyLayout(shape: Shape): Layout {
  const strides = shape.map(() => 0)
  const order = shape.map((_, i) => i).sort(() => Math.random() - 0.5)
  let stride = 1
  for (const axis of order) {
    const isRepeated = axis < shape.length - 2 && Math.random() < 0.3
    strides[axis] = isRepeated ? 0 : Math.random() < 0.2 ? -stride : stride
    if (!isRepeated) stride *= shape[axis]! + (Math.random() < 0.2 ? 3 : 0)
  }
  return layoutOf(shape, strides)
}

test('attention is recognised in every layout: without, it would be unbearably slow', () => {
  const pick = <T>(...choices: readonly T[]): T =>
    choices[Math.floor(Math.random() * choices.length)]!
  for (let i = 0; i < 300; i++) {
    const full = pick<Shape>([], [2], [3, 2], [1, 4], [2, 1, 3])
    // Leading axes may be missing or of size 1 in each input.
    const leading = () => full.slice(pick(0, 0, full.length)).map((n) => pick(n, n, 1))
    const [length, keys] = [pick(3, 16, 100, 384), pick(3, 16, 100, 384)]
    const [features, mixed] = [pick(2, 16, 33, 64), pick(2, 16, 33, 64)]
    const [q, k, v] = [leading(), leading(), leading()]
    const mask = pick<Shape | undefined>(undefined, [...leading(), pick(1, length), pick(1, keys)])
    const given: (readonly [Shape, DType])[] = [
      [[...q, length, features], 'float32'],
      [[...k, keys, features], 'float32'],
      [[...v, keys, mixed], 'float32'],
      ...(mask ? [[mask, pick<DType>('bool', 'float32')] as const] : []),
    ]
    const dropout = pick(undefined, { p: 0.5, draw: [1, 2, 3, 4] })
    const attributes = { isCausal: pick(true, false), hasMask: mask !== undefined, dropout }
    const where = JSON.stringify([given, attributes])
    const forward = kernelsOf('attention', given, attributes, anyLayout)
    const all = broadcastShapes('', ...given.map(([shape]) => shape.slice(0, -2)))
    const result = [[...all, length, mixed], 'float32'] as const
    const sums = [[...all, length], 'float32'] as const
    const [wantsQ, wantsKV] = pick([true, true], [true, false], [false, true])
    const backward = kernelsOf(
      'attentionBackward',
      [result, result, sums, ...given],
      { ...attributes, wantsQ, wantsKV },
      anyLayout,
    ).filter(({ group }) => group.name === 'attentionBackward')
    expect(forward.length + backward.length).toBeGreaterThan(1)
    for (const { s, group } of [...forward, ...backward]) {
      const chain = matchChain(s, group)
      expect(chain && isBounded(chain), `${where}\n${printGroup(group)}`).toBe(true)
    }
  }
})
