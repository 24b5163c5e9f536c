/** @file A few readable kernels as snapshots, group and program side by side: what a refactor changes shows here. */
import { expect, test } from 'vitest'
import { canonicalize } from '../../src/codegen/canonical.ts'
import { KernelBuilder } from '../../src/codegen/kernel-builder.ts'
import { layoutOf } from '../../src/core/layout.ts'
import type { DType } from '../../src/core/dtype.ts'
import { printGroup } from '../../src/ir/print-group.ts'
import { printKernel } from '../../src/ir/print-loops.ts'
import { compileWasm } from '../../src/target/wasm/compile.ts'
import { wasmTraits } from '../../src/target/wasm/traits.ts'

const operand = (shape: number[], dtype: DType = 'float32') => ({ dtype, layout: layoutOf(shape) })

function printed(k: KernelBuilder, specialize = false): string {
  const { s, group } = k.finish()
  const ready = canonicalize(s, group, specialize).group
  const { kernel } = compileWasm(s, ready, wasmTraits({ relaxedSimd: false }), true)
  return `${printGroup(ready)}\n\n${printKernel(kernel)}`
}

test('a sum over the last axis', () => {
  const k = new KernelBuilder('sum', [operand([30, 200]), operand([30])])
  const [row] = k.axes([30])
  const [j] = k.inner([200])
  k.store(1, [row!], k.reduce('add', [j!], k.load(0, [row!, j!])))
  expect(printed(k)).toMatchSnapshot()
})

test('a softmax over rows', () => {
  const k = new KernelBuilder('softmax', [operand([30, 200]), operand([30, 200])])
  const [row, j] = k.axes([30, 200])
  const [a, b] = [k.inner([200])[0]!, k.inner([200])[0]!]
  const top = k.reduce('max', [a], k.load(0, [row!, a]))
  const total = k.reduce('add', [b], k.s.exp(k.s.sub(k.load(0, [row!, b]), top)))
  k.store(1, [row!, j!], k.s.div(k.s.exp(k.s.sub(k.load(0, [row!, j!]), top)), total))
  expect(printGroup(canonicalize(k.s, k.finish().group, false).group)).toMatchSnapshot()
})

test('a transposed and broadcast sum, read in squares and written in rows', () => {
  const x = { dtype: 'float32', layout: layoutOf([40, 30], [1, 40]) } as const
  const k = new KernelBuilder('add', [x, operand([30]), operand([40, 30])])
  const axes = k.axes([40, 30])
  k.store(2, axes, k.s.add(k.load(0, axes), k.load(1, axes)))
  expect(printed(k)).toMatchSnapshot()
})
