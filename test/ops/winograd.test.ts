/** @file Convolutions by Winograd's algorithm, against sums in float64 and against the plain sums of the same operator. */
import { describe, expect, test } from 'vitest'
import {
  compile,
  conv2d,
  convTranspose2d,
  profile,
  rand,
  randn,
  withConfig,
  type Tensor,
} from 'tandem'
import { fitsWinograd } from '../../src/ops/conv-winograd.ts'
import {
  inputMatrix,
  outputMatrix,
  tileEdge,
  windowMatrix,
  type Matrix,
} from '../../src/ops/winograd-transforms.ts'
import { defaultDevice, readableBackends } from '../devices.ts'

const times = (matrix: Matrix, x: readonly number[]) =>
  matrix.map((row) => row.reduce((sum, factor, i) => sum + factor * x[i]!, 0))

describe('the transforms', () => {
  test.each([
    [4, 3],
    [3, 4],
  ])('make %i outputs of windows of %i taps', (outputs, taps) => {
    const units = (n: number) =>
      Array.from({ length: n }, (_, at) => Array.from({ length: n }, (_, i) => +(i === at)))
    for (const [at, x] of units(tileEdge).entries())
      for (const [tap, w] of units(taps).entries()) {
        const [a, b] = [times(windowMatrix(taps), w), times(inputMatrix, x)]
        const y = times(
          outputMatrix(outputs),
          a.map((value, k) => value * b[k]!),
        )
        // Of units the sum of x[i + k] * w[k] is 1 where i + tap is at.
        y.forEach((value, i) => expect(value).toBeCloseTo(+(i + tap === at), 12))
      }
  })
})

/** A convolution and its gradients, in the shape that its result has. */
function results(convolve: () => Tensor, x: Tensor, w: Tensor): Tensor[] {
  const y = convolve()
  x.grad = w.grad = undefined
  y.mul(y).sum().backward()
  return [y.detach(), x.grad!, w.grad!]
}

/** The largest difference, of a typical element. */
function distance(a: Tensor, b: Tensor): number {
  const [x, y] = [a.cast('float64'), b.cast('float64')]
  return x.sub(y).abs().max().itemSync() / y.square().mean().sqrt().itemSync()
}

interface Shape {
  readonly batch: number
  readonly from: number
  readonly to: number
  readonly size: readonly [number, number]
  readonly padding: number
}

const shapes: Shape[] = [
  { batch: 2, from: 16, to: 16, size: [16, 16], padding: 1 },
  { batch: 3, from: 17, to: 33, size: [13, 15], padding: 0 },
  { batch: 2, from: 20, to: 16, size: [19, 30], padding: 2 },
  { batch: 32, from: 16, to: 16, size: [4, 4], padding: 1 },
  { batch: 9, from: 32, to: 16, size: [7, 7], padding: 1 },
]

const names = shapes.map(
  (shape) =>
    [
      `${shape.batch} x ${shape.from} -> ${shape.to} on ${shape.size.join(' x ')}, padding ${shape.padding}`,
      shape,
    ] as const,
)

describe.each(readableBackends)('on %s', (device) => {
  // The interpreter takes long over thousands of products: it has the smallest of all.
  const few = device === 'reference' ? names.slice(3, 4) : names
  test.each(few)('%s', (_, { batch, from, to, size, padding }) => {
    const x = randn([batch, from, ...size], { device }).requireGrad()
    const w = randn([to, from, 3, 3], { device }).requireGrad()
    const bias = randn([to], { device })
    const convolve = () => conv2d(x, w, { padding, bias })
    const fast = results(convolve, x, w)
    const plain = withConfig({ winograd: false }, () => results(convolve, x, w))
    const exact = withConfig({ winograd: false }, () => {
      const [x64, w64] = [x, w].map((t) => t.detach().cast('float64').requireGrad())
      return results(() => conv2d(x64!, w64!, { padding, bias: bias.cast('float64') }), x64!, w64!)
    })
    fast.forEach((found, i) => {
      expect(distance(found, exact[i]!)).toBeLessThan(3e-5)
      // It is another way to compute: not a single result is to the bit the same.
      expect(distance(found, plain[i]!)).toBeGreaterThan(0)
    })
  })
})

test('compiled results are those of eager code, to the bit', () => {
  const x = rand([4, 16, 12, 12]).requireGrad()
  const w = randn([32, 16, 3, 3]).requireGrad()
  const run = () => conv2d(x, w, { padding: 1 }).relu().add(1)
  const compiled = compile(run)
  const [eager, other] = [results(run, x, w), results(compiled, x, w)]
  eager.forEach((result, i) => expect(result.toArraySync()).toEqual(other[i]!.toArraySync()))
})

test('second derivatives go through the same operators', () => {
  const x = randn([2, 16, 16, 16]).requireGrad()
  const w = randn([16, 16, 3, 3]).requireGrad()
  const second = () => {
    x.grad = w.grad = undefined
    const y = conv2d(x, w, { padding: 1 })
    y.mul(y).sum().backward({ createGraph: true })
    const g = w.grad!
    x.grad = undefined
    g.mul(g).sum().backward()
    return x.grad!
  }
  const fast = second()
  const plain = withConfig({ winograd: false }, second)
  expect(distance(fast, plain)).toBeLessThan(1e-4)
})

test('a transposed convolution without strides is one too', () => {
  const x = randn([2, 16, 16, 16])
  const w = randn([16, 24, 3, 3])
  const run = () => convTranspose2d(x, w, { padding: 1 })
  expect(distance(run(), withConfig({ winograd: false }, run))).toBeLessThan(3e-5)
})

test.runIf(defaultDevice === 'cpu')('it is chosen where it pays, and can be set off', () => {
  const kernels = (channels: number) => {
    const x = rand([2, channels, 16, 16])
    const w = rand([32, channels, 3, 3])
    return profile(() => conv2d(x, w)).kernels.map(({ name }) => name)
  }
  expect(kernels(32)).toContain('winogradProduct')
  expect(kernels(3)).toEqual(['conv'])
  expect(withConfig({ winograd: false }, () => kernels(32))).toEqual(['conv'])
})

test('strides, dilation, groups, other windows, types and few tiles are left to the plain sum', () => {
  const fitting = {
    stride: [1, 1],
    dilation: [1, 1],
    groups: 1,
    window: [3, 3],
    dtype: 'float32',
    batch: 32,
    channels: [16, 16],
    sizes: [8, 8],
  } as const
  expect(fitsWinograd(fitting)).toBe(true)
  const others = [
    { stride: [2, 2] },
    { dilation: [1, 2] },
    { groups: 2 },
    { window: [5, 5] },
    { window: [3] },
    { dtype: 'float16' },
    { batch: 1 },
    { channels: [16, 8] },
    { sizes: [5, 5] },
  ] as const
  for (const other of others)
    expect(fitsWinograd({ ...fitting, ...other }), JSON.stringify(other)).toBe(false)
})
