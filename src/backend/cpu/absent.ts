/** @file What stands for the cpu backend in browsers, which cannot run machine code: bundles are smaller without it. */
import { DeviceError } from '../../util/errors.ts'
import type { Backend } from '../backend.ts'

/** Why the backend cannot run here. */
export function whyNoCpu(): string {
  return 'browsers run no machine code'
}

/** Throws a DeviceError. */
export function openCpu(): Backend {
  throw new DeviceError(`the cpu backend cannot run here: ${whyNoCpu()}`)
}
