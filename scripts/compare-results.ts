/** @file Whether two backends have computed the same, up to the rounding of a dtype. */
import type { DType, Tensor } from 'tandem'

/** How far apart results may be, relative to 1 + their size. */
export function dtypeTolerance(dtype: DType): number {
  if (dtype === 'float32') return 1e-4
  if (dtype === 'float64') return 1e-8
  if (dtype === 'float16') return 4e-3
  return dtype === 'bfloat16' ? 2e-2 : 0
}

/** The first place where two tensors differ, as text; undefined when they agree. */
export function firstDifference(
  result: Tensor,
  expected: Tensor,
  tolerance: number,
): string | undefined {
  const [kind, wanted] = [result, expected].map((x) => `${x.dtype} [${x.shape.join(', ')}]`)
  if (kind !== wanted) return `${kind} instead of ${wanted}`
  const [a, b] = [result.dataSync(), expected.dataSync()]
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [Number(a[i]), Number(b[i])]
    const isNear = Object.is(x, y) || x === y || Math.abs(x - y) <= tolerance * (1 + Math.abs(y))
    if (!isNear) return `element ${i} is ${x} instead of ${y}`
  }
  return undefined
}
