import { describe, expect, test } from 'vitest'
import type { TargetTraits } from '../../src/codegen/target-traits.ts'
import { ExprBuilder } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'
import { wasmTraits } from '../../src/target/wasm/traits.ts'
import { agreesInLoops, agreesOnWasm } from './agree.ts'
import { convolution, product, type ConvShape } from './contractions.ts'
import { randomContraction, toleranceOf } from './random-contraction.ts'

const random = (n: number) => Float32Array.from({ length: n }, () => Math.random() - 0.5)

describe('products', () => {
  test.each([
    [1, 1, 1],
    [5, 8, 4],
    [10, 16, 8],
    [7, 9, 3],
    [13, 21, 0],
    [3, 40, 700],
    [64, 10, 33],
    [33, 65, 17],
  ])('%i x %i x %i, every transposition', (m, n, k) => {
    for (const transposeA of [false, true])
      for (const transposeB of [false, true]) {
        const s = new ExprBuilder()
        const g = product(s, { transposeA, transposeB, bias: true, residual: true, relu: true })
        const buffers = [m * k, k * n, n, m * n, m * n].map(random)
        const kernel = agreesOnWasm(s, g, { buffers, sizes: [m, n, k] }, 2e-5)
        expect(kernel.scratchBytes).toBeGreaterThan(0)
      }
  })
})

const convolutions: [string, ConvShape][] = [
  ['3 x 3', { images: 2, inputs: 3, outputs: 5, height: 9, width: 11, kernel: 3, padding: 1 }],
  [
    '3 x 3 by twos',
    { images: 2, inputs: 3, outputs: 5, height: 9, width: 10, kernel: 3, padding: 1, stride: 2 },
  ],
  ['1 x 1', { images: 3, inputs: 6, outputs: 4, height: 5, width: 5, kernel: 1 }],
  ['5 x 5 unpadded', { images: 1, inputs: 3, outputs: 7, height: 12, width: 20, kernel: 5 }],
]
describe.each(convolutions)('convolution %s', (_name, shape) => {
  test.each(['forward', 'weight', 'input'] as const)('%s', (which) => {
    const s = new ExprBuilder()
    const { group, lengths } = convolution(s, shape, which)
    const kernel = agreesOnWasm(s, group, { buffers: lengths.map(random) }, 2e-5)
    expect(kernel.scratchBytes).toBeGreaterThan(0)
  })
})

// Caches so small that every case has several blocks in every direction.
const tinyCaches: TargetTraits = {
  ...wasmTraits({ relaxedSimd: false }),
  l1Bytes: 1024,
  l2Bytes: 2048,
}

const toleranceFor = (group: Group): number => {
  const { buffer, value } = group.stores[0]!
  return toleranceOf(group.buffers[buffer]!.dtype, value.type)
}

describe('random contractions', () => {
  test.each(Array.from({ length: 15 }, (_, i) => i))('on wasm, ten from seed %i0', (tens) => {
    for (let seed = 10 * tens; seed < 10 * tens + 10; seed++) {
      const { s, group, ...run } = randomContraction(seed)
      agreesOnWasm(s, group, run, toleranceFor(group))
      agreesOnWasm(s, group, run, toleranceFor(group), tinyCaches)
    }
  })
  describe.each(['bfloat16', 'byte'] as const)('of %s', (kind) => {
    test.each(Array.from({ length: 24 }, (_, i) => 2000 + i))('in loops, seed %i', (seed) => {
      const { s, group, ...run } = randomContraction(seed, kind)
      agreesInLoops(s, group, run, toleranceFor(group))
      agreesOnWasm(s, group, run, toleranceFor(group))
    })
  })
  test.each(Array.from({ length: 12 }, (_, i) => 1000 + i))('in loops, seed %i', (seed) => {
    const { s, group, ...run } = randomContraction(seed)
    agreesInLoops(s, group, run, toleranceFor(group))
  })
})
