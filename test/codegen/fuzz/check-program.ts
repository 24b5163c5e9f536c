/** @file Runs a kernel in loop form as machine code or WebAssembly, and compares it with the loop interpreter. */
import { dtypes, type TypedArray } from '../../../src/core/dtype.ts'
import { interpretKernel } from '../../../src/ir/interpret-loops.ts'
import { printKernel } from '../../../src/ir/print-loops.ts'
import { verifyKernel } from '../../../src/ir/verify-loops.ts'
import { emitX86 } from '../../../src/target/x86/compile.ts'
import { shareOf } from '../../../src/target/x86/share.ts'
import { x86Traits } from '../../../src/target/x86/traits.ts'
import { wasmTraits } from '../../../src/target/wasm/traits.ts'
import { runWasmKernel } from '../run-group.ts'
import { runCode, x86Targets } from '../run-x86.ts'
import { difference, type Failure } from './check-kernel.ts'
import type { Choices } from './choices.ts'
import { withFused } from './fused.ts'
import { randomProgram, type ProgramCase } from './random-program.ts'

/** A program for one of the targets, with its check. */
export function programFor(c: Choices): { check(): Failure | undefined; print(): string } {
  const target = x86Targets.length === 0 ? undefined : [...x86Targets, undefined][c.below(4)]
  const traits = target ? x86Traits(target.features) : wasmTraits({ relaxedSimd: false })
  const program = randomProgram(c, traits)
  const name = target?.name ?? 'wasm'
  return {
    check: () =>
      withFused(() => {
        try {
          return checkProgram(program, name, target)
        } catch (error) {
          return { where: name, what: String(error instanceof Error ? error.stack : error) }
        }
      }),
    print: () =>
      [
        printKernel(program.kernel),
        `for ${name}, sizes ${program.sizes.join()}, params ${program.params.join()}`,
        ...program.buffers.map((b, i) => `b${i} = ${b.slice(0, 40).join()}...`),
      ].join('\n'),
  }
}

function checkProgram(
  { kernel, buffers, dtypes: types, sizes, params }: ProgramCase,
  name: string,
  target: (typeof x86Targets)[number] | undefined,
): Failure | undefined {
  verifyKernel(kernel)
  const copies = buffers.map((b) => b.slice() as TypedArray)
  const memories = copies.map((elements) => ({ elements, offset: 0 }))
  interpretKernel(kernel, { buffers: memories, sizes, params })
  const want = { buffers: copies, ok: true }
  const run = { buffers, sizes, params }
  const group = { buffers: types.map((dtype) => ({ dtype, access: 'update' }) as const) }
  const compare = (where: string, results: readonly ArrayBuffer[]): Failure | undefined => {
    const got = results.map((x, i) => new dtypes[types[i]!].array(x))
    const what = difference(
      group,
      want,
      { buffers: got, ok: true },
      types.map(() => 0),
    )
    return what === undefined ? undefined : { where, what }
  }
  if (target === undefined) return compare(name, runWasmKernel(kernel, run, []).results)
  const code = emitX86(kernel, target.features, { verify: true })
  const share = shareOf(kernel)
  const count = share.count(sizes)
  for (const split of share.isShared ? [1, 2] : [1]) {
    const failure = compare(name, runCode(kernel, code, run, [], count, split))
    if (failure) return failure
  }
  return undefined
}
