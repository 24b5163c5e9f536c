/** @file Fused attention: sizes of several blocks, layouts, masks that hide everything, memory, threads. */
import { describe, expect, test } from 'vitest'
import {
  DTypeError,
  Generator,
  getNumThreads,
  grad,
  gradcheck,
  memoryStats,
  noGrad,
  randn,
  scaledDotProductAttention,
  setNumThreads,
  ShapeError,
  tensor,
  tidy,
  zeros,
  type AttentionOptions,
  type DType,
  type Shape,
  type Tensor,
} from 'tandem'
import { operators } from '../../src/ops/define.ts'
import { attentionWeights } from '../../src/ops/attention-weights.ts'
import { defaultDevice, readableBackends } from '../devices.ts'

const compiled = readableBackends.filter((name) => name !== 'reference')

type Numbers = Float64Array

/** Attention and its gradients for sum(out * g), in plain loops, for one example [L, E], [S, E], [S, F]. */
function naive(
  { q, k, v, g }: Record<'q' | 'k' | 'v' | 'g', Numbers>,
  [length, keys, features, mixed]: readonly [number, number, number, number],
  scoreAt: (i: number, j: number) => number = () => 0,
) {
  const scale = 1 / Math.sqrt(features)
  const out = new Float64Array(length * mixed)
  const [dq, dk, dv] = [q, k, v].map((x) => new Float64Array(x.length)) as [
    Numbers,
    Numbers,
    Numbers,
  ]
  const dot = (a: Numbers, i: number, b: Numbers, j: number, n: number) => {
    let sum = 0
    for (let e = 0; e < n; e++) sum += a[i * n + e]! * b[j * n + e]!
    return sum
  }
  for (let i = 0; i < length; i++) {
    const scores = Array.from(
      { length: keys },
      (_, j) => scale * dot(q, i, k, j, features) + scoreAt(i, j),
    )
    const top = Math.max(...scores)
    if (top === -Infinity) continue
    const exps = scores.map((s) => Math.exp(s - top))
    const total = exps.reduce((a, b) => a + b, 0)
    const weights = exps.map((x) => x / total)
    for (let j = 0; j < keys; j++)
      for (let f = 0; f < mixed; f++) out[i * mixed + f]! += weights[j]! * v[j * mixed + f]!
    const delta = dot(g, i, out, i, mixed)
    for (let j = 0; j < keys; j++) {
      const slope = scale * weights[j]! * (dot(g, i, v, j, mixed) - delta)
      for (let e = 0; e < features; e++) {
        dq[i * features + e]! += slope * k[j * features + e]!
        dk[j * features + e]! += slope * q[i * features + e]!
      }
      for (let f = 0; f < mixed; f++) dv[j * mixed + f]! += weights[j]! * g[i * mixed + f]!
    }
  }
  return { out, dq, dk, dv }
}

const numbers = (x: Tensor): Numbers =>
  Float64Array.from(x.cast('float64').dataSync() as Float64Array)

function expectClose(actual: Tensor, expected: Numbers, tolerance: number): void {
  const found = numbers(actual)
  expect(found.length).toBe(expected.length)
  let worst = 0
  found.forEach((x, i) => {
    const error = Math.abs(x - expected[i]!) / (1 + Math.abs(expected[i]!))
    worst = Number.isNaN(error) ? Infinity : Math.max(worst, error)
  })
  expect(worst).toBeLessThan(tolerance)
}

const leaf = (shape: Shape, dtype: DType, device: string): Tensor =>
  randn(shape, { dtype, device }).requireGrad()

const hidden = -Infinity

describe.each(compiled)('on %s', (device) => {
  const check = (
    [length, keys, features, mixed]: readonly [number, number, number, number],
    options: AttentionOptions = {},
    scoreAt?: (i: number, j: number) => number,
    dtype: DType = 'float32',
    tolerance = 1e-4,
  ) => {
    const q = leaf([length, features], dtype, device)
    const k = leaf([keys, features], dtype, device)
    const v = leaf([keys, mixed], dtype, device)
    const g = randn([length, mixed], { dtype, device })
    const out = scaledDotProductAttention(q, k, v, options)
    expect(out.dtype).toBe(dtype)
    out.backward({ gradient: g })
    const given = { q: numbers(q), k: numbers(k), v: numbers(v), g: numbers(g) }
    const want = naive(given, [length, keys, features, mixed], scoreAt)
    expectClose(out, want.out, tolerance)
    for (const [x, d] of [
      [q, want.dq],
      [k, want.dk],
      [v, want.dv],
    ] as const) {
      expect(x.grad!.dtype).toBe(dtype)
      expectClose(x.grad!, d, tolerance)
    }
  }

  test.each([
    [3, 3, 2, 2],
    [5, 100, 7, 11],
    [300, 9, 16, 5],
    [257, 300, 64, 64],
    [40, 1100, 33, 48],
    [700, 70, 80, 16],
    [30, 40, 100, 20],
    [20, 30, 8, 70],
  ] as const)('%i queries, %i keys, features %i and %i', (...sizes) => {
    check(sizes)
    check(sizes, { isCausal: true }, (i, j) => (j > i ? hidden : 0))
  })

  test.each([
    [1, 9, 4, 4],
    [2, 9, 4, 4],
    [9, 1, 4, 4],
    [9, 2, 4, 4],
    [9, 7, 1, 4],
    [9, 7, 4, 1],
    [1, 1, 1, 1],
  ] as const)('thin: %i queries, %i keys, features %i and %i', (...sizes) => {
    check(sizes)
    check(sizes, { isCausal: true }, (i, j) => (j > i ? hidden : 0))
  })

  test('float64', () => {
    check([45, 300, 20, 24], {}, undefined, 'float64', 1e-13)
    check([300, 200, 8, 8], { isCausal: true }, (i, j) => (j > i ? hidden : 0), 'float64', 1e-13)
  })

  test.each(['float16', 'bfloat16'] as const)('%s', (dtype) => {
    const tolerance = dtype === 'float16' ? 4e-3 : 4e-2
    check([45, 70, 20, 24], {}, undefined, dtype, tolerance)
  })

  test('masks: bools and added numbers, rows without any key', () => {
    const [length, keys] = [50, 90]
    const sees = (i: number, j: number) => i % 7 !== 3 && (i * 5 + j * 3) % 4 !== 0
    const rows = Array.from({ length }, (_, i) => Array.from({ length: keys }, (_j, j) => [i, j]))
    const mask = tensor(
      rows.map((row) => row.map(([i, j]) => sees(i!, j!))),
      { device },
    )
    const scores = (i: number, j: number) => (sees(i, j) ? 0 : hidden)
    check([length, keys, 16, 8], { mask }, scores)
    check([length, keys, 16, 8], { mask, isCausal: true }, (i, j) =>
      j > i ? hidden : scores(i, j),
    )
    const added = tensor(
      rows.map((row) => row.map(([i, j]) => (sees(i!, j!) ? Math.sin(i! + j!) : hidden))),
      { device },
    )
    check([length, keys, 16, 8], { mask: added }, (i, j) => (sees(i, j) ? Math.sin(i + j) : hidden))
  })

  test('large scores, and tops that rise from block to block', () => {
    const [length, keys, features] = [30, 800, 4]
    const q = zeros([length, features], { device }).add(30)
    const k = tensor(
      Array.from({ length: keys }, (_, j) => Array.from({ length: features }, () => j / 100)),
      { device },
    )
    const v = randn([keys, 4], { device })
    const out = scaledDotProductAttention(q, k, v)
    const given = { q: numbers(q), k: numbers(k), v: numbers(v), g: numbers(out) }
    expectClose(out, naive(given, [length, keys, features, 4]).out, 1e-3)
  })

  // Compared with the composition, which knows nothing of blocks.
  const agrees = (q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}) => {
    const { mask, isCausal = false, dropout = 0 } = options
    const scale = 1 / Math.sqrt(q.shape.at(-1)!)
    const streams = () => dropout > 0 && { generator: new Generator(3) }
    const run = (f: () => Tensor) => {
      for (const x of [q, k, v]) x.grad = undefined
      const out = f()
      out.mul(out.detach().add(1)).sum().backward()
      return [out, q.grad!, k.grad!, v.grad!]
    }
    const found = run(() => scaledDotProductAttention(q, k, v, { ...options, ...streams() }))
    const want = run(() =>
      attentionWeights(q, k, { ...(mask && { mask }), isCausal, scale })
        .dropout({ p: dropout, ...streams() })
        .matmul(v),
    )
    found.forEach((x, i) => expect(x.shape).toEqual(want[i]!.shape))
    found.forEach((x, i) => expectClose(x, numbers(want[i]!), 1e-4))
  }

  test('leading axes broadcast: one key and value for all heads, a query for all of a batch', () => {
    const of = (...shape: number[]) => leaf(shape, 'float32', device)
    agrees(of(2, 3, 20, 8), of(2, 1, 30, 8), of(2, 1, 30, 8))
    agrees(of(20, 8), of(2, 3, 30, 8), of(3, 30, 8), { isCausal: true })
    agrees(of(4, 20, 8), of(30, 8), of(30, 8))
    agrees(of(20, 8), of(30, 8), of(4, 30, 8))
    const mask = tensor([[[[true]]], [[[false]]]], { device })
    agrees(of(20, 8), of(3, 30, 8), of(30, 8), { mask })
  })

  test('heads as transposed views, of one tensor for all three', () => {
    const all = leaf([2, 40, 3 * 24], 'float32', device)
    const parts = () =>
      all.split(24, { axis: 2 }).map((x) => x.reshape([2, 40, 3, 8]).permute([0, 2, 1, 3])) as [
        Tensor,
        Tensor,
        Tensor,
      ]
    const run = (f: (q: Tensor, k: Tensor, v: Tensor) => Tensor) => {
      all.grad = undefined
      const out = f(...parts())
      out.permute([0, 2, 1, 3]).square().sum().backward()
      return [out, all.grad!]
    }
    const found = run((q, k, v) => scaledDotProductAttention(q, k, v, { isCausal: true }))
    const options = { isCausal: true, scale: 1 / Math.sqrt(8) }
    const want = run((q, k, v) => attentionWeights(q, k, options).matmul(v))
    found.forEach((x, i) => expectClose(x, numbers(want[i]!), 1e-4))
  })

  test('transposed, flipped and sliced operands', () => {
    const of = (...shape: number[]) => leaf(shape, 'float32', device)
    agrees(of(8, 20).transpose().detach().requireGrad(), of(30, 8), of(30, 8))
    const views = [
      of(8, 20).transpose().detach(),
      of(30, 8).flip({ axis: 0 }).detach(),
      of(30, 16).slice(null, [0, 16, 2]).detach(),
    ] as const
    const [q, k, v] = views.map((x) => x.requireGrad()) as [Tensor, Tensor, Tensor]
    agrees(q, k, v, { isCausal: true })
    const row = (...shape: number[]) =>
      of(...shape)
        .expand([30, 8])
        .detach()
        .requireGrad()
    agrees(of(20, 8), row(1, 8), row(30, 1))
    agrees(row(1, 8), row(30, 1), of(30, 8))
  })

  test('few heads of many keys: gradients in parts', () => {
    const of = (...shape: number[]) => leaf(shape, 'float32', device)
    agrees(of(8, 30, 8), of(8, 256, 8), of(8, 256, 8))
    agrees(of(4, 300, 8), of(4, 520, 8), of(4, 520, 8), { isCausal: true })
    agrees(of(17, 60, 8), of(17, 60, 8), of(17, 60, 8), { isCausal: true })
  })

  test('gradients for some inputs only', () => {
    const make = (wanted: boolean, ...shape: number[]) =>
      wanted ? leaf(shape, 'float32', device) : randn(shape, { device })
    for (const wants of [
      [true, false, false],
      [false, true, false],
      [false, false, true],
    ] as const) {
      const [q, k, v] = [make(wants[0], 20, 8), make(wants[1], 30, 8), make(wants[2], 30, 8)]
      scaledDotProductAttention(q, k, v).sum().backward()
      expect([q, k, v].map((x) => x.grad !== undefined)).toEqual(wants)
    }
  })

  test('dropout drops what it drops from the weights', () => {
    const of = (...shape: number[]) => leaf(shape, 'float32', device)
    agrees(of(30, 8), of(90, 8), of(90, 8), { dropout: 0.3 })
    agrees(of(2, 3, 40, 8), of(2, 1, 50, 8), of(2, 3, 50, 4), { dropout: 0.5, isCausal: true })
    agrees(of(4, 30, 8), of(4, 256, 8), of(4, 256, 8), { dropout: 0.2 })
    agrees(of(20, 8), of(30, 8), of(4, 30, 8), { dropout: 0.5 })
    const mask = tensor(
      Array.from({ length: 20 }, (_, i) => Array.from({ length: 30 }, (_j, j) => (i + j) % 3 > 0)),
      { device },
    )
    agrees(of(20, 8), of(30, 8), of(30, 8), { dropout: 0.5, mask })
    agrees(of(20, 8), of(30, 8), of(30, 8), { dropout: 1 })
  })

  test('empty', () => {
    const of = (...shape: number[]) => zeros(shape, { device })
    const attend = scaledDotProductAttention
    expect(attend(of(0, 4), of(5, 4), of(5, 2)).shape).toEqual([0, 2])
    expect(attend(of(0, 3, 4), of(0, 5, 4), of(0, 5, 2)).shape).toEqual([0, 3, 2])
    expect(attend(of(3, 4), of(5, 4), of(5, 0)).shape).toEqual([3, 0])
    expect(numbers(attend(of(3, 4), of(0, 4), of(0, 2)))).toEqual(new Float64Array(6))
  })

  test('a mask that wants a gradient gets one', () => {
    const [q, k, v] = [
      [20, 8],
      [30, 8],
      [30, 8],
    ].map((shape) => randn(shape, { device })) as [Tensor, Tensor, Tensor]
    const mask = leaf([20, 30], 'float32', device)
    scaledDotProductAttention(q, k, v, { mask }).square().sum().backward()
    expect(mask.grad!.shape).toEqual([20, 30])
  })
})

test('gradients of both orders through dropout', () => {
  const attend = (q: Tensor, k: Tensor, v: Tensor) =>
    scaledDotProductAttention(q, k, v, {
      dropout: 0.3,
      isCausal: true,
      generator: new Generator(11),
    }).mul(tensor([[1, -2, 3]], { dtype: 'float64' }))
  const given = [
    [6, 4],
    [8, 4],
    [8, 3],
  ].map((shape) => randn(shape, { dtype: 'float64' }))
  const f = (...x: Tensor[]) => attend(x[0]!, x[1]!, x[2]!).sum()
  gradcheck(f, given, { secondOrder: true, seed: 1 })
})

test('third derivatives', () => {
  const k = randn([5, 3], { dtype: 'float64' })
  const f = (q: Tensor) => scaledDotProductAttention(q, k, k.sin()).square().sum()
  const second = (q: Tensor) => grad((x: Tensor) => grad(f)(x).square().sum())(q).sum()
  gradcheck(second, [randn([4, 3], { dtype: 'float64' })], { seed: 2 })
})

test('the kernels are fused where they can be', () => {
  const { plans } = operators.get('attention')!
  const before = plans.plans().length
  const x = randn([123, 21])
  scaledDotProductAttention(x, x, x)
  expect(plans.plans().length).toBe(before + 1)
})

test('memory grows with the length, not with its square', () => {
  const peakOf = (length: number) => {
    const x = () => randn([2, length, 32]).requireGrad()
    const [q, k, v] = [x(), x(), x()]
    return tidy(() => {
      const before = memoryStats()
      scaledDotProductAttention(q, k, v, { isCausal: true }).sum().backward()
      return { used: memoryStats().current - before.current, peak: memoryStats().peak }
    })
  }
  peakOf(64)
  const [short, long] = [peakOf(1024), peakOf(4096)]
  // All scores would be 2 * 4096 * 4096 numbers, 134 MB.
  expect(long.peak - short.peak).toBeLessThan(40e6)
  expect(long.used).toBeLessThan(20 * 2 * 4096 * 32 * 4)
})

test.runIf(defaultDevice === 'cpu')('the same bits for any number of threads', () => {
  const before = getNumThreads()
  const given = [
    [3, 400, 16],
    [3, 512, 16],
    [3, 512, 16],
  ].map((shape) => randn(shape)) as [Tensor, Tensor, Tensor]
  const run = (threads: number) => {
    setNumThreads(threads)
    const [q, k, v] = given.map((x) => x.detach().requireGrad()) as [Tensor, Tensor, Tensor]
    const out = scaledDotProductAttention(q, k, v, { isCausal: true })
    out.square().sum().backward()
    return [out, q.grad!, k.grad!, v.grad!].map(numbers)
  }
  try {
    const one = run(1)
    expect(run(2)).toEqual(one)
    expect(run(3)).toEqual(one)
  } finally {
    setNumThreads(before)
  }
})

test('probabilities and masks that make no sense are refused', () => {
  const x = zeros([4, 4])
  const attend = (options: AttentionOptions) => () => scaledDotProductAttention(x, x, x, options)
  expect(attend({ dropout: 1.5 })).toThrow(/dropout is a probability from 0 to 1, received 1\.5/)
  expect(attend({ mask: zeros([3, 4]) })).toThrow(ShapeError)
})

test('integers are refused', () => {
  const x = zeros([3, 4], { dtype: 'int32' })
  expect(() => noGrad(() => scaledDotProductAttention(x, x, x))).toThrow(DTypeError)
})
