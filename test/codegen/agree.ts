/** @file Compares what lowered kernels compute, on every kind of target, with what the group means. */
import { expect } from 'vitest'
import type { TargetTraits } from '../../src/codegen/target-traits.ts'
import type { TypedArray } from '../../src/core/dtype.ts'
import type { ExprBuilder } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'
import { readElement } from '../../src/ir/interpret.ts'
import { runX86, x86Targets } from './run-x86.ts'
import { runInterpreted, runLoops, runWasm, targetOf, type Run } from './run-group.ts'

type Outcome = ReturnType<typeof runInterpreted>

/** WebAssembly agrees with the interpreter; returns its kernel. */
export function agreesOnWasm(
  s: ExprBuilder,
  group: Group,
  run: Run,
  tolerance: number,
  traits?: TargetTraits,
) {
  const got = runWasm(s, group, run, traits)
  compare(group, runInterpreted(group, run), got, tolerance, 'wasm')
  return got.kernel
}

/** So do the loops made for registers of 16 to 64 bytes, with scalar and with masked tails. */
export function agreesInLoops(s: ExprBuilder, group: Group, run: Run, tolerance: number): void {
  const want = runInterpreted(group, run)
  for (const bytes of [16, 32, 64] as const)
    for (const tail of ['scalar', 'mask'] as const)
      for (const hasDots of [false, true]) {
        const got = runLoops(s, group, run, targetOf(bytes, tail, hasDots))
        const where = `${bytes} bytes, ${tail} tail${hasDots ? ', dots' : ''}`
        compare(group, want, got, tolerance, where)
      }
  agreesOnX86(s, group, run, tolerance)
}

/** So does machine code, its iterations taken at once or in parts. */
export function agreesOnX86(s: ExprBuilder, group: Group, run: Run, tolerance: number): void {
  const want = runInterpreted(group, run)
  for (const { name, features } of x86Targets)
    for (const split of [1, 3]) {
      const got = runX86(s, group, run, features, split)
      compare(group, want, got, tolerance, `${name} in ${split}`)
    }
}

function compare(group: Group, want: Outcome, got: Outcome, tolerance: number, where: string) {
  expect(got.ok).toBe(want.ok)
  group.buffers.forEach((b, i) => {
    if (b.access === 'read') return
    const read = (elements: TypedArray, k: number) =>
      Number(readElement({ elements, offset: 0 }, b.dtype, k))
    for (let k = 0; k < want.buffers[i]!.length; k++) {
      const x = read(want.buffers[i]!, k)
      const y = read(got.buffers[i]!, k)
      if (Object.is(x, y) || Math.abs(x - y) <= tolerance * (1 + Math.abs(x))) continue
      throw new Error(`buffer ${i}[${k}]: interpreter ${x}, ${where} ${y}`)
    }
  })
}
