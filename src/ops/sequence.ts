/** @file Tensors of numbers in sequence, identity matrices and grids. */
import { checkDType, dtypes, type DType } from '../core/dtype.ts'
import { dispatchOn } from '../tensor/dispatch.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { tracing } from '../tensor/tracing.ts'
import { checkOptions, ShapeError, ValueError } from '../util/errors.ts'
import { currentBackend, fromTypedArray, type TensorOptions } from './create.ts'
import { checkTensor, defineOp } from './define.ts'

/**
 * Numbers from `start` (default 0) up to but not including `end`, `step` (default 1) apart. float32 unless
 * `dtype` says otherwise, as `tensor`. PyTorch's `arange`. Throws a ValueError for a step of 0 or one that
 * leads away from the end.
 *
 * @example
 * arange(3) // -> tensor([0, 1, 2], float32, cpu)
 * arange(1, 2, 0.5) // -> tensor([1.0, 1.5], float32, cpu)
 * arange(5, 0, -2, { dtype: 'int32' }) // -> tensor([5, 3, 1], int32, cpu)
 */
export function arange(end: number, options?: TensorOptions): Tensor
export function arange(start: number, end: number, options?: TensorOptions): Tensor
export function arange(start: number, end: number, step: number, options?: TensorOptions): Tensor
export function arange(...given: (number | TensorOptions | undefined)[]): Tensor {
  const numbers = given.filter((x) => typeof x === 'number')
  const options = given.find((x) => typeof x === 'object') ?? {}
  const [start, end, step = 1] = numbers.length === 1 ? [0, numbers[0]!] : numbers
  if (start === undefined || end === undefined || ![start, end, step].every(Number.isFinite))
    throw new ValueError(
      `arange: received ${given.map((x) => (typeof x === 'object' ? 'options' : String(x))).join(', ')}. Expected finite numbers: arange(end), arange(start, end) or arange(start, end, step)`,
    )
  const count = Math.ceil((end - start) / step)
  if (step === 0 || count < 0)
    throw new ValueError(
      `arange: steps of ${step} do not lead from ${start} to ${end}. Expected a step ${end < start ? 'below' : 'above'} 0`,
    )
  if (tracing !== undefined) return traced(start, step, count, options)
  const values = Float64Array.from({ length: count }, (_, i) => start + i * step)
  return sequence('arange', values, options)
}

/**
 * `steps` numbers at equal distances from `start` to `end`, both included. float32 unless `dtype` says
 * otherwise. PyTorch's `linspace`. Throws a ValueError for a negative number of steps.
 *
 * @example
 * linspace(0, 1, 5) // -> tensor([0.00, 0.25, 0.50, 0.75, 1.00], float32, cpu)
 */
export function linspace(
  start: number,
  end: number,
  steps: number,
  options: TensorOptions = {},
): Tensor {
  if (![start, end].every(Number.isFinite))
    throw new ValueError(`linspace: from ${start} to ${end}. Expected finite numbers`)
  checkCount('linspace', 'steps', steps)
  // From both ends towards the middle, so that both are met exactly.
  const step = steps > 1 ? (end - start) / (steps - 1) : 0
  const values = Float64Array.from({ length: steps }, (_, i) =>
    2 * i < steps ? start + i * step : end - (steps - 1 - i) * step,
  )
  return sequence('linspace', values, options)
}

/**
 * The matrix [rows, columns] with ones on the main diagonal; `columns` defaults to `rows`. PyTorch's
 * `eye`.
 *
 * @example
 * eye(2) // -> tensor([[1, 0], [0, 1]], float32, cpu)
 */
export function eye(rows: number, columns = rows, options: TensorOptions = {}): Tensor {
  checkCount('eye', 'rows', rows)
  checkCount('eye', 'columns', columns)
  const values = new Float64Array(rows * columns)
  for (let i = 0; i < Math.min(rows, columns); i++) values[i * columns + i] = 1
  return sequence('eye', values, options).reshape([rows, columns])
}

export interface MeshgridOptions {
  /** Whether the first tensor runs along axis 0 ('ij', default) or along axis 1 ('xy'). */
  readonly indexing?: 'ij' | 'xy'
}

/**
 * Coordinates of a grid: one tensor per 1-d tensor given, all of the shape of the grid, each running along
 * its own axis. Views. PyTorch's `meshgrid`. Throws a ShapeError for tensors with other than one axis.
 *
 * @example
 * const [x, y] = meshgrid([arange(2), arange(3)])
 * x // -> tensor([[0, 0, 0], [1, 1, 1]], float32, cpu)
 * y // -> tensor([[0, 1, 2], [0, 1, 2]], float32, cpu)
 */
export function meshgrid(tensors: readonly Tensor[], options: MeshgridOptions = {}): Tensor[] {
  checkOptions('meshgrid', options, ['indexing'])
  const { indexing = 'ij' } = options
  if (indexing !== 'ij' && indexing !== 'xy')
    throw new ValueError(`meshgrid: indexing is '${String(indexing)}'. Expected 'ij' or 'xy'`)
  tensors.forEach((x, i) => {
    checkTensor('meshgrid', `tensors[${i}]`, x)
    if (x.ndim !== 1)
      throw new ShapeError(`meshgrid: tensor ${i} has ${x.ndim} axes. Expected 1; flatten it`)
  })
  const shape = tensors.map((x) => x.size)
  const grids = tensors.map((x, i) =>
    x.reshape(shape.map((_, a) => (a === i ? -1 : 1))).expand(shape),
  )
  return indexing === 'xy' && tensors.length > 1 ? grids.map((x) => x.transpose(0, 1)) : grids
}

type ArangeAttributes = { readonly size: number; readonly dtype: DType }

const arangeOp = defineOp<ArangeAttributes>({
  name: 'arange',
  kind: 'elementwise',
  onnx: 'Range',
  infer: (_, { size, dtype }) => [{ shape: [size], dtype }],
  lower({ attributes: { size, dtype }, kernel, out }) {
    const k = kernel()
    const { s } = k
    const [at] = k.axes([size])
    const [start, step] = [k.param(0), k.param(1)].map((x) => s.convert(x, 'f64'))
    const value = s.add(start!, s.mul(s.convert(k.at(at!), 'f64'), step!))
    k.store(out(), [at!], s.convert(value, dtypes[dtype].compute))
    return [k.finish()]
  },
})

// In a program the numbers are computed, for as many as there will be.
function traced(start: number, step: number, size: number, options: TensorOptions): Tensor {
  checkOptions('arange', options, ['dtype', 'device'])
  const dtype = checkDType('arange', options.dtype ?? 'float32')
  const backend = currentBackend(options.device)
  return dispatchOn(backend, arangeOp, [start, step], { size, dtype }, `${size}${dtype}`)[0]!
}

function sequence(
  where: string,
  values: Float64Array<ArrayBuffer>,
  options: TensorOptions,
): Tensor {
  checkOptions(where, options, ['dtype', 'device'])
  const { dtype = 'float32', device } = options
  checkDType(where, dtype)
  return fromTypedArray(
    values,
    [values.length],
    device === undefined ? { dtype } : { dtype, device },
  )
}

function checkCount(where: string, name: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 0) return
  throw new ValueError(`${where}: ${name} is ${String(value)}. Expected a whole number >= 0`)
}
