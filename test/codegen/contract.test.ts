import { describe, expect, test } from 'vitest'
import { ExprBuilder } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'
import { product } from './contractions.ts'
import { runInterpreted, runWasm, type Run } from './run-group.ts'

function agree(s: ExprBuilder, g: Group, run: Run, tolerance = 1e-5) {
  const want = runInterpreted(g, run)
  const got = runWasm(s, g, run)
  expect(got.kernel.scratchBytes).toBeGreaterThan(0)
  g.buffers.forEach((b, i) => {
    if (b.access === 'read') return
    const [w, h] = [want.buffers[i]!, got.buffers[i]!]
    for (let k = 0; k < w.length; k++) {
      const [x, y] = [Number(w[k]), Number(h[k])]
      if (Object.is(x, y) || Math.abs(x - y) <= tolerance * (1 + Math.abs(x))) continue
      throw new Error(`buffer ${i}[${k}]: interpreter ${x}, wasm ${y}`)
    }
  })
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
        agree(s, g, { buffers, sizes: [m, n, k] })
      }
  })
})
