/** @file Asks the engine which WebAssembly features it has. */
import { ModuleBuilder } from '../../asm/wasm.ts'

let relaxed: boolean | undefined

/** Whether this engine has fused multiply-add on vectors (Node >= 22, current browsers). */
export function supportsRelaxedSimd(): boolean {
  if (relaxed === undefined) {
    const module = new ModuleBuilder()
    module.function('probe', ['v128'], ['v128'], (f) => {
      f.localGet(0).localGet(0).localGet(0).op('f32x4.relaxed_madd')
    })
    relaxed = WebAssembly.validate(module.finish())
  }
  return relaxed
}
