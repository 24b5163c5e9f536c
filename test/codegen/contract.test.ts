import { describe, expect, test } from 'vitest'
import type { TargetTraits } from '../../src/codegen/target-traits.ts'
import { ExprBuilder } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'
import { wasmTraits } from '../../src/target/wasm/traits.ts'
import { x86Traits } from '../../src/target/x86/traits.ts'
import { describeMachineCode } from '../devices.ts'
import { agreesInLoops, agreesOnWasm } from './agree.ts'
import { convolution, product, type ConvShape } from './contractions.ts'
import { randomContraction, toleranceOf } from './random-contraction.ts'
import { runX86, x86Targets } from './run-x86.ts'

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

describeMachineCode('a tile that is asked for', () => {
  const s = new ExprBuilder()
  const sizes = [9, 33, 1100]
  const [m, n, k] = sizes as [number, number, number]
  const buffers = [m * k, k * n, n, m * n].map(random)
  const deep = { s, group: product(s, { bias: true }), buffers, sizes }
  const cases = [deep, ...[3001, 3002].map((seed) => randomContraction(seed))]

  test.each(x86Targets)('gives the same bits on $name', ({ features }) => {
    // Large enough for the depth of a block to follow the width of the usual tile.
    const roomy = { ...features, l1Bytes: 256 << 10 }
    for (const { s, group, ...run } of cases) {
      const bits = (g: Group) => {
        const last = runX86(s, g, run, roomy).buffers.at(-1)!
        return Buffer.from(last.buffer, last.byteOffset, last.byteLength).toString('hex')
      }
      const usual = bits(group)
      for (const tile of x86Traits(roomy).tiles)
        expect(bits({ ...group, tile }) === usual, JSON.stringify(tile)).toBe(true)
    }
  })
})
