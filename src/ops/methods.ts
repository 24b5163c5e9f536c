/** @file Gives every op its method form, and the tensor floor the few ops it needs. */
import { isFloat } from '../core/dtype.ts'
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
    if (g.dtype === dtype && sameShape(g.shape, shape)) return g
    if (!isFloat(dtype)) return g
    const cast = g.dtype === dtype ? g : g.cast(dtype)
    if (sameShape(cast.shape, shape)) return cast
    const added = cast.ndim - shape.length
    const stretched: number[] = []
    cast.shape.forEach((n, i) => {
      if (i < added || (shape[i - added] === 1 && n !== 1)) stretched.push(i)
    })
    const areLeading = stretched.length === added
    const sum = cast.sum({
      axis: stretched.length === 1 ? stretched[0]! : stretched,
      keepDims: !areLeading,
    })
    return areLeading ? sum : sum.reshape(shape)
  },
  contiguous: (t) => t.contiguous(),
  clone: (t) => t.clone(),
})
