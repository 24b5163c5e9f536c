/** @file Gives every op its method form, and the tensor floor the few ops it needs. */
import { dtypes } from '../core/dtype.ts'
import { sameShape } from '../core/shape.ts'
import { setEngineOps } from '../tensor/engine.ts'
import { Tensor } from '../tensor/tensor.ts'
import * as ops from './all.ts'
import { full } from './create.ts'

for (const [name, op] of Object.entries(ops)) {
  if (typeof op !== 'function') continue
  const f = op as (first: Tensor, ...rest: unknown[]) => unknown
  Object.defineProperty(Tensor.prototype, name, {
    // By argument count, so that the common calls make no array.
    value(this: Tensor, ...rest: unknown[]) {
      if (rest.length === 0) return f(this)
      return rest.length === 1 ? f(this, rest[0]) : f(this, ...rest)
    },
    writable: true,
    configurable: true,
  })
}

setEngineOps({
  add: (a, b) => a.add(b),
  onesLike: (t) => full(t.shape, 1, { dtype: t.dtype, device: t.device }),
  zerosLike: (t) => full(t.shape, 0, { dtype: t.dtype, device: t.device }),
  fit(g, shape, dtype) {
    if (dtypes[dtype].kind !== 'float') return g
    const cast = g.dtype === dtype ? g : g.cast(dtype)
    if (sameShape(cast.shape, shape)) return cast
    const added = cast.ndim - shape.length
    const stretched = cast.shape.flatMap((n, i) =>
      i < added || (shape[i - added] === 1 && n !== 1) ? [i] : [],
    )
    return cast.sum({ axis: stretched, keepDims: true }).reshape(shape)
  },
  contiguous: (t) => t.contiguous(),
})
