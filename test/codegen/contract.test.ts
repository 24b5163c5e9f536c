import { describe, expect, test } from 'vitest'
import type { TargetTraits } from '../../src/codegen/target-traits.ts'
import type { TypedArray } from '../../src/core/dtype.ts'
import { ExprBuilder } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'
import { readElement } from '../../src/ir/interpret.ts'
import { wasmTraits } from '../../src/target/wasm/traits.ts'
import { convolution, product, type ConvShape } from './contractions.ts'
import { randomContraction, toleranceOf } from './random-contraction.ts'
import { runInterpreted, runWasm, type Run } from './run-group.ts'

function agree(
  s: ExprBuilder,
  g: Group,
  run: Run,
  { traits = wasmTraits({ relaxedSimd: false }), label = '' } = {},
) {
  const want = runInterpreted(g, run)
  const got = runWasm(s, g, run, traits)
  g.buffers.forEach((b, i) => {
    if (b.access === 'read') return
    const tolerance = toleranceOf(b.dtype, g.stores[0]!.value.type)
    const memory = (elements: TypedArray) => ({ elements, offset: 0 })
    const [w, h] = [memory(want.buffers[i]!), memory(got.buffers[i]!)]
    for (let k = 0; k < w.elements.length; k++) {
      const [x, y] = [w, h].map((m) => Number(readElement(m, b.dtype, k))) as [number, number]
      if (Object.is(x, y) || Math.abs(x - y) <= tolerance * (1 + Math.abs(x))) continue
      throw new Error(`${label} buffer ${i}[${k}]: interpreter ${x}, wasm ${y}`)
    }
  })
  return got.kernel
}

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
        expect(agree(s, g, { buffers, sizes: [m, n, k] }).scratchBytes).toBeGreaterThan(0)
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
    expect(agree(s, group, { buffers: lengths.map(random) }).scratchBytes).toBeGreaterThan(0)
  })
})

// Caches so small that every case has several blocks in every direction.
const tinyCaches: TargetTraits = {
  ...wasmTraits({ relaxedSimd: false }),
  l1Bytes: 1024,
  l2Bytes: 2048,
}

describe('random contractions', () => {
  test.each(Array.from({ length: 15 }, (_, i) => i))('seeds %i0 to %i9', (tens) => {
    for (let seed = 10 * tens; seed < 10 * tens + 10; seed++) {
      const { s, group, ...run } = randomContraction(seed)
      for (const traits of [wasmTraits({ relaxedSimd: false }), tinyCaches])
        agree(s, group, run, { traits, label: `seed ${seed}` })
    }
  })
})
