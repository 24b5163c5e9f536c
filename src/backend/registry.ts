/** @file ADD A BACKEND HERE: one line each. */
import { debug } from '../util/config.ts'
import { registerBackend } from './backend.ts'
// In browsers another module, see package.json.
import { openCpu, whyNoCpu } from '#cpu'
import { NullBackend } from './null/index.ts'
import { ReferenceBackend } from './reference/index.ts'
import { WasmBackend } from './wasm/index.ts'

registerBackend('cpu', openCpu, whyNoCpu)
registerBackend('wasm', () => new WasmBackend())
registerBackend('reference', () => new ReferenceBackend())
registerBackend('null', () => new NullBackend())

/** Whether machine code is what new tensors are computed with where it can run. */
const prefersCpu: boolean = true

let chosen: string | undefined

/** The backend used when none is named: `cpu` where it can run, else `wasm`. */
export function defaultBackendName(): string {
  return (chosen ??= choose())
}

function choose(): string {
  if (!prefersCpu) return 'wasm'
  const reason = whyNoCpu()
  if (reason !== undefined) debug(1, () => `using wasm: the cpu backend cannot run here: ${reason}`)
  return reason === undefined ? 'cpu' : 'wasm'
}
