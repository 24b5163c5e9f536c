/** @file Tensors of positions: their dtypes, the check that they lie inside an axis, and the error when one does not. */
import type { KernelBuilder, Position } from '../codegen/kernel-builder.ts'
import { dtypes, promote, type DType } from '../core/dtype.ts'
import { formatShape } from '../core/shape.ts'
import type { Expr } from '../ir/expr.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { DTypeError, ValueError } from '../util/errors.ts'

/** Throws a DTypeError unless a tensor can hold positions. */
export function checkPositionDType(where: string, name: string, index: Tensor): void {
  if (dtypes[index.dtype].kind === 'int') return
  throw new DTypeError(
    `${where}: ${name} is ${index.dtype}. Positions are integers (int32, int64 or uint8); cast them: ${name}.cast('int32')`,
  )
}

/** Throws a DTypeError when adding `src` would lose its fractions or its range. */
export function checkAddable(where: string, x: DType, src: DType): void {
  if (promote(x, src) !== x)
    throw new DTypeError(
      `${where}: src is ${src}, which does not fit into x of dtype ${x}. Cast one: src.cast('${x}') or x.cast('${promote(x, src)}')`,
    )
}

/** A loaded position as an i32 expression; the kernel checks that it lies inside `extent`. */
export function checkedPosition(k: KernelBuilder, raw: Expr, extent: number): Expr {
  const { s } = k
  k.check(s.and(s.le(0, raw), s.lt(raw, s.convert(s.size(extent), raw.type))))
  return s.convert(raw, 'i32')
}

/** Positions in which one expression stands for `count` axes from `at` on. */
export function replaceAxes(
  axes: readonly Position[],
  at: number,
  count: number,
  position: Expr,
): Position[] {
  return [...axes.slice(0, at), position, ...axes.slice(at + count)]
}

/** The error for positions of which one is not inside 0 .. extent - 1. */
export function outOfRange(where: string, index: Tensor, extent: number, what: string): ValueError {
  const range =
    extent === 0
      ? 'There are no positions at all'
      : `Expected whole numbers from 0 to ${extent - 1}; mend the data`
  const limits = `${what} of size ${extent}. ${range}`
  if (!index.backend.synchronous) return new ValueError(`${where}: a position is outside ${limits}`)
  const values = index.dataSync()
  const at = values.findIndex((value: number | bigint) => value < 0 || value >= extent)
  const place: number[] = []
  let rest = at
  for (const n of index.shape.toReversed()) {
    place.unshift(rest % n)
    rest = Math.floor(rest / n)
  }
  const hint =
    values[at]! < 0 ? '. Negative positions do not count from the end here: add the size' : ''
  return new ValueError(
    `${where}: position ${values[at]} (at index${formatShape(place)}) is outside ${limits}${hint}`,
  )
}
