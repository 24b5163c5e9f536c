/** @file ADD A BACKEND HERE: one line each. */
import { registerBackend } from './backend.ts'
import { NullBackend } from './null/index.ts'
import { ReferenceBackend } from './reference/index.ts'
import { WasmBackend } from './wasm/index.ts'

registerBackend('wasm', () => new WasmBackend())
registerBackend('reference', () => new ReferenceBackend())
registerBackend('null', () => new NullBackend())

/** The backend used when none is named. */
export const defaultBackendName = 'wasm'
