/** @file Where the tests compute: the default device, and every backend whose results can be read. */
import { describe } from 'vitest'
import { currentBackend } from 'tandem'
import { backendNames, getBackend } from '../src/backend/backend.ts'
import { whyNoCpu } from '../src/backend/cpu/index.ts'

/** `cpu` where machine code can run, else `wasm`, unless TANDEM_BACKEND names another. */
export const defaultDevice = currentBackend().name

/** Backends whose results can be read at once, and are results. */
export const readableBackends = backendNames().filter(
  (name) => name !== 'null' && getBackend(name).synchronous,
)

/** Registers tests that run machine code. Where that cannot be they are skipped, and their title says why. */
export function describeMachineCode(title: string, tests: () => void): void {
  const reason = whyNoCpu()
  if (reason === undefined) describe(title, tests)
  else describe.skip(`${title} (no machine code here: ${reason})`, tests)
}
