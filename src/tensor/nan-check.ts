/** @file The NaN-tracing mode: stops at the first operation that makes a NaN out of numbers. */
import { dtypes } from '../core/dtype.ts'
import { formatShape } from '../core/shape.ts'
import { withConfig } from '../util/config.ts'
import { ValueError } from '../util/errors.ts'
import type { Tensor } from './tensor.ts'

/** Throws a ValueError, at the caller's line, when an output has a NaN and no input has one. */
export function checkForNaN(
  name: string,
  inputs: readonly (Tensor | number)[],
  outputs: readonly Tensor[],
): void {
  withConfig({ checkNaN: false }, () => {
    const bad = outputs.findIndex(hasNaN)
    if (bad < 0) return
    if (inputs.some((x) => (typeof x === 'number' ? Number.isNaN(x) : hasNaN(x)))) return
    const text = inputs
      .map((x) => (typeof x === 'number' ? `${x}` : formatShape(x.shape)))
      .join(', ')
    throw new ValueError(
      `${name}: made the first NaN, from inputs without one (${text}). Look at this call: a logarithm or root of a negative number, 0 / 0, or infinity - infinity`,
    )
  })
}

function hasNaN(t: Tensor): boolean {
  if (dtypes[t.dtype].kind !== 'float' || !t.backend.synchronous) return false
  return (t.dataSync() as Float32Array).some(Number.isNaN)
}
