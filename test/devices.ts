/** @file Where the tests compute: the default device, and every backend whose results can be read. */
import { currentBackend } from 'tandem'
import { backendNames, getBackend } from '../src/backend/backend.ts'

/** `cpu` where machine code can run, else `wasm`, unless TANDEM_BACKEND names another. */
export const defaultDevice = currentBackend().name

/** Backends whose results can be read at once, and are results. */
export const readableBackends = backendNames().filter(
  (name) => name !== 'null' && getBackend(name).synchronous,
)
