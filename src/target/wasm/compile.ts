/** @file Group to WebAssembly bytes, with a look inside at each step for whoever asks. */
import { lowerGroup } from '../../codegen/lower.ts'
import type { TargetTraits } from '../../codegen/target-traits.ts'
import type { ExprBuilder } from '../../ir/expr.ts'
import { verifyGroup, type Group } from '../../ir/group.ts'
import type { Kernel } from '../../ir/loops.ts'
import { printKernel } from '../../ir/print-loops.ts'
import { verifyKernel } from '../../ir/verify-loops.ts'
import { config, debug } from '../../util/config.ts'
import { emitWasm } from './emit.ts'

/** A kernel and its module. With `verify`, or on the debug ladder, both forms are checked on the way. */
export function compileWasm(
  s: ExprBuilder,
  group: Group,
  traits: TargetTraits,
  verify = config.debug > 0,
): { kernel: Kernel; bytes: Uint8Array<ArrayBuffer> } {
  if (verify) verifyGroup(group)
  const kernel = lowerGroup(s, group, traits)
  if (verify) verifyKernel(kernel)
  debug(4, () => printKernel(kernel))
  const bytes = emitWasm(kernel)
  debug(4, () => `${kernel.name}: ${bytes.length} bytes of WebAssembly`)
  debug(5, () => `${kernel.name}: ${hex(bytes)}`)
  return { kernel, bytes }
}

const hex = (bytes: Uint8Array) =>
  Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('')
