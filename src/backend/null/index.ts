/** @file The null backend: compiles every kernel for WebAssembly and runs none. Contents stay zero. */
import { lowerGroup } from '../../codegen/lower.ts'
import type { ExprBuilder } from '../../ir/expr.ts'
import type { Group } from '../../ir/group.ts'
import { emitWasm } from '../../target/wasm/emit.ts'
import { wasmTraits } from '../../target/wasm/traits.ts'
import { assert } from '../../util/errors.ts'
import type { Executable } from '../backend.ts'
import { ReferenceBackend } from '../reference/index.ts'

export class NullBackend extends ReferenceBackend {
  override readonly name = 'null'

  override compile(s: ExprBuilder, group: Group): Executable {
    const kernel = lowerGroup(s, group, wasmTraits({ relaxedSimd: false }))
    assert(WebAssembly.validate(emitWasm(kernel)), `invalid code for ${group.name}`)
    return { name: kernel.name, launch: () => true }
  }
}
