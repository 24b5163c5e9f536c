/** @file The same elements several times, and in another order. */
import { formatShape, normalizeAxis } from '../core/shape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ShapeError, ValueError } from '../util/errors.ts'
import { checkTensor } from './define.ts'
import { cat } from './join.ts'

/**
 * The whole tensor counts[i] times along axis i; more counts than axes add leading axes. PyTorch's
 * `Tensor.repeat`. Throws a ShapeError for fewer counts than axes.
 *
 * @example
 * repeat(tensor([1, 2]), [2, 2]) // -> tensor([[1, 2, 1, 2], [1, 2, 1, 2]], float32, cpu)
 */
export function repeat(x: Tensor, counts: readonly number[]): Tensor {
  checkTensor('repeat', 'x', x)
  checkCounts('repeat', counts)
  if (counts.length < x.ndim)
    throw new ShapeError(
      `repeat: ${counts.length} counts for the ${x.ndim} axes of ${formatShape(x.shape)}. Give at least one per axis, or use tile`,
    )
  const shape = [...Array.from({ length: counts.length - x.ndim }, () => 1), ...x.shape]
  // [n] becomes [1, n], stretches to [count, n] and is read as one axis.
  return x
    .reshape(shape.flatMap((n) => [1, n]))
    .expand(shape.flatMap((n, i) => [counts[i]!, n]))
    .reshape(shape.map((n, i) => n * counts[i]!))
}

/**
 * As `repeat`, but fewer counts than axes are for the last axes. NumPy's and PyTorch's `tile`.
 *
 * @example
 * tile(tensor([[1], [2]]), [3]) // -> tensor([[1, 1, 1], [2, 2, 2]], float32, cpu)
 */
export function tile(x: Tensor, counts: readonly number[]): Tensor {
  checkTensor('tile', 'x', x)
  checkCounts('tile', counts)
  const missing = Math.max(0, x.ndim - counts.length)
  return x.repeat([...Array.from({ length: missing }, () => 1), ...counts])
}

export interface RepeatInterleaveOptions {
  /** How often each element comes. */
  readonly repeats: number
  /** The axis along which it does; default all elements in row-major order. */
  readonly axis?: number
}

/**
 * Each element several times in a row. PyTorch's `repeat_interleave` with one count.
 *
 * @example
 * repeatInterleave(tensor([1, 2]), { repeats: 2 }) // -> tensor([1, 1, 2, 2], float32, cpu)
 */
export function repeatInterleave(x: Tensor, options: RepeatInterleaveOptions): Tensor {
  checkTensor('repeatInterleave', 'x', x)
  checkOptions('repeatInterleave', options, ['repeats', 'axis'])
  const { repeats, axis } = options
  checkCounts('repeatInterleave', [repeats])
  if (axis === undefined) return repeatInterleave(x.reshape([-1]), { repeats, axis: 0 })
  const at = normalizeAxis('repeatInterleave', axis, x.ndim)
  const stretched = x
    .unsqueeze(at + 1)
    .expand([...x.shape.slice(0, at + 1), repeats, ...x.shape.slice(at + 1)])
  return stretched.reshape(x.shape.map((n, i) => (i === at ? n * repeats : n)))
}

export interface RollOptions {
  /** How far elements move towards higher positions; one per axis. */
  readonly shifts: number | readonly number[]
  /** The axes along which they move; default all elements in row-major order. */
  readonly axis?: number | readonly number[]
}

/**
 * Elements moved along axes; those that fall off the end come back at the beginning. PyTorch's `roll`.
 * Throws a ValueError unless there is one shift per axis.
 *
 * @example
 * roll(tensor([1, 2, 3]), { shifts: 1 }) // -> tensor([3, 1, 2], float32, cpu)
 */
export function roll(x: Tensor, options: RollOptions): Tensor {
  checkTensor('roll', 'x', x)
  checkOptions('roll', options, ['shifts', 'axis'])
  const shifts = typeof options.shifts === 'number' ? [options.shifts] : options.shifts
  if (options.axis === undefined && shifts?.length === 1)
    return roll(x.reshape([-1]), { shifts, axis: 0 }).reshape(x.shape)
  const axes = typeof options.axis === 'number' ? [options.axis] : (options.axis ?? [])
  if (
    !Array.isArray(shifts) ||
    shifts.length !== axes.length ||
    !shifts.every((n) => Number.isSafeInteger(n))
  )
    throw new ValueError(
      `roll: shifts ${String(options.shifts)} for axes ${String(options.axis)}. Expected one whole number per axis`,
    )
  const moved = axes.reduce((y, axis, i) => rollAxis(y, axis, shifts[i]!), x)
  return moved === x ? x.clone() : moved
}

function rollAxis(x: Tensor, axis: number, shift: number): Tensor {
  const at = normalizeAxis('roll', axis, x.ndim)
  const size = x.shape[at]!
  const back = size === 0 ? 0 : ((shift % size) + size) % size
  if (back === 0) return x
  const [front, end] = x.split([size - back, back], { axis: at }) as [Tensor, Tensor]
  return cat([end, front], { axis: at })
}

function checkCounts(where: string, counts: readonly number[]): void {
  if (!Array.isArray(counts) || counts.some((n) => !Number.isSafeInteger(n) || n < 0))
    throw new ValueError(
      `${where}: counts are whole numbers >= 0, received ${Array.isArray(counts) ? formatShape(counts) : String(counts)}. Give one per axis`,
    )
}
