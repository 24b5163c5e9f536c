/** @file The null backend: compiles and verifies every kernel for WebAssembly and runs none. Contents stay zero. */
import type { ExprBuilder } from '../../ir/expr.ts'
import type { Group } from '../../ir/group.ts'
import { compileWasm } from '../../target/wasm/compile.ts'
import { wasmTraits } from '../../target/wasm/traits.ts'
import { assert } from '../../util/errors.ts'
import type { Executable } from '../backend.ts'
import { ReferenceBackend } from '../reference/index.ts'

export class NullBackend extends ReferenceBackend {
  override readonly name = 'null'

  override compile(s: ExprBuilder, group: Group): Executable {
    const { kernel, bytes } = compileWasm(s, group, wasmTraits({ relaxedSimd: false }), true)
    assert(WebAssembly.validate(bytes), `invalid code for ${group.name}`)
    return { name: kernel.name, launch: () => true }
  }
}
