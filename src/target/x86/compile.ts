/** @file Group to x86-64 machine code, with a look inside at each step for whoever asks. */
import { X86Assembler } from '../../asm/x86.ts'
import { lowerGroup } from '../../codegen/lower.ts'
import type { ExprBuilder } from '../../ir/expr.ts'
import { verifyGroup, type Group } from '../../ir/group.ts'
import type { Kernel } from '../../ir/loops.ts'
import { printKernel } from '../../ir/print-loops.ts'
import { verifyKernel } from '../../ir/verify-loops.ts'
import { config, debug } from '../../util/config.ts'
import { allocate } from './allocate.ts'
import { Selector } from './emit.ts'
import { encode } from './encode.ts'
import { shareDataOf, type ShareData } from './share.ts'
import { x86Traits, type X86Features } from './traits.ts'
import { verifyAllocation } from './verify-allocation.ts'

export interface CompiledKernel {
  readonly kernel: Kernel
  readonly code: Uint8Array<ArrayBuffer>
  /** How its iterations are shared among threads. */
  readonly share: ShareData
}

/** How code is made. */
export interface CodeOptions {
  /** Checks the loops and the registers on the way; on the debug ladder by default. */
  readonly verify?: boolean
  /** Whether results go past the caches; see Note [Streaming]. */
  readonly streams?: boolean
}

/** A kernel and its code. */
export function compileX86(
  s: ExprBuilder,
  group: Group,
  features: X86Features,
  { verify = config.debug > 0, streams = false }: CodeOptions = {},
): CompiledKernel {
  if (verify) verifyGroup(group)
  const kernel = lowerGroup(s, group, x86Traits(features))
  if (verify) verifyKernel(kernel)
  debug(4, () => printKernel(kernel))
  const code = emitX86(kernel, features, { verify, streams })
  debug(4, () => `${kernel.name}: ${code.length} bytes of machine code`)
  return { kernel, code, share: shareDataOf(kernel) }
}

/** The machine code of a kernel in loop form. */
export function emitX86(
  kernel: Kernel,
  features: X86Features,
  { verify = config.debug > 0, streams = false }: CodeOptions = {},
): Uint8Array<ArrayBuffer> {
  const asm = new X86Assembler({ listing: config.debug >= 5 })
  const program = new Selector(kernel, features, asm, streams).run()
  const vectorCount = features.avx512 ? 32 : 16
  const allocation = allocate(program, vectorCount, features.avx512 ? 64 : 32)
  if (verify) verifyAllocation(program, allocation, vectorCount)
  encode(program, allocation, features, asm)
  const code = asm.finish()
  debug(5, () => `${kernel.name}:\n${asm.listing()}`)
  return code
}
