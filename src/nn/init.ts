/** @file Starting values of parameters. */
import { formatShape, type Shape } from '../core/shape.ts'
import * as create from '../ops/create.ts'
import { where } from '../ops/select.ts'
import * as random from '../ops/random.ts'
import type { Cell } from '../tensor/cell.ts'
import type { Generator } from '../tensor/random.ts'
import { noGrad } from '../tensor/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ShapeError, ValueError } from '../util/errors.ts'
import { checkChoice } from './checks.ts'

interface Drawn {
  /** The stream to draw from; default the one that `manualSeed` seeds. */
  readonly generator?: Generator
}

export interface UniformInitOptions extends Drawn {
  /** Default 0. */
  readonly low?: number
  /** Default 1. */
  readonly high?: number
}

/**
 * Uniform numbers from low to high. Returns the parameter.
 *
 * @example
 * const { weight } = new nn.Linear(2, 2)
 * nn.init.uniform(weight, { low: 3, high: 3 })
 * weight // -> tensor([[3, 3], [3, 3]], float32, cpu, requiresGrad)
 */
export function uniform<C extends Cell>(cell: C, options: UniformInitOptions = {}): C {
  return set(cell, random.uniform(cell.shape, { ...options, ...placeOf(cell) }))
}

export interface NormalInitOptions extends Drawn {
  /** Default 0. */
  readonly mean?: number
  /** Standard deviation; default 1. */
  readonly std?: number
}

/**
 * Numbers of a normal distribution. Returns the parameter.
 *
 * @example
 * nn.init.normal(new nn.Parameter(tensor([0, 0])), { mean: 5, std: 0 }) // -> tensor([5, 5], float32, cpu, requiresGrad)
 */
export function normal<C extends Cell>(cell: C, options: NormalInitOptions = {}): C {
  return set(cell, random.normal(cell.shape, { ...options, ...placeOf(cell) }))
}

/**
 * One value everywhere. Returns the parameter.
 *
 * @example
 * nn.init.constant(new nn.Parameter(tensor([0, 0])), 7) // -> tensor([7, 7], float32, cpu, requiresGrad)
 */
export function constant<C extends Cell>(cell: C, value: number): C {
  return set(cell, create.full(cell.shape, value, placeOf(cell)))
}

/**
 * Zeros. Returns the parameter.
 *
 * @example
 * nn.init.zeros(new nn.Parameter(tensor([1, 1]))) // -> tensor([0, 0], float32, cpu, requiresGrad)
 */
export function zeros<C extends Cell>(cell: C): C {
  return constant(cell, 0)
}

/**
 * Ones. Returns the parameter.
 *
 * @example
 * nn.init.ones(new nn.Parameter(tensor([0, 0]))) // -> tensor([1, 1], float32, cpu, requiresGrad)
 */
export function ones<C extends Cell>(cell: C): C {
  return constant(cell, 1)
}

const gains = {
  linear: () => 1,
  sigmoid: () => 1,
  tanh: () => 5 / 3,
  relu: () => Math.SQRT2,
  leakyRelu: (slope: number) => Math.sqrt(2 / (1 + slope ** 2)),
  selu: () => 3 / 4,
} satisfies Record<string, (slope: number) => number>

/** The functions whose gain is known. */
export type Nonlinearity = keyof typeof gains

/**
 * By how much to scale weights so that signals keep their size through a nonlinearity. `slope` is that
 * of leakyRelu below 0; default 0.01. PyTorch's values. Throws a ValueError for an unknown name.
 *
 * @example
 * nn.init.calculateGain('tanh').toFixed(3) // -> 1.667
 */
export function calculateGain(nonlinearity: Nonlinearity, slope = 0.01): number {
  const names = Object.keys(gains) as Nonlinearity[]
  return gains[checkChoice('calculateGain', 'nonlinearity', nonlinearity, names)](slope)
}

export interface XavierOptions extends Drawn {
  /** Default 1; see `calculateGain`. */
  readonly gain?: number
}

/**
 * Uniform numbers within +-gain sqrt(6 / (fanIn + fanOut)) (Glorot and Bengio, 2010). Returns the
 * parameter. Throws a ShapeError below two axes.
 *
 * @example
 * nn.init.xavierUniform(new nn.Linear(8, 4).weight).abs().max().itemSync() <= 0.71 // -> true
 */
export function xavierUniform<C extends Cell>(cell: C, options: XavierOptions = {}): C {
  checkOptions('xavierUniform', options, ['gain', 'generator'])
  const bound = Math.sqrt(3) * xavierDeviation('xavierUniform', cell, options)
  return uniform(cell, { low: -bound, high: bound, ...drawnBy(options) })
}

/**
 * Normal numbers of standard deviation gain sqrt(2 / (fanIn + fanOut)) (Glorot and Bengio, 2010).
 * Returns the parameter. Throws a ShapeError below two axes.
 *
 * @example
 * nn.init.xavierNormal(new nn.Linear(8, 4).weight).shape // -> [4, 8]
 */
export function xavierNormal<C extends Cell>(cell: C, options: XavierOptions = {}): C {
  checkOptions('xavierNormal', options, ['gain', 'generator'])
  return normal(cell, {
    std: xavierDeviation('xavierNormal', cell, options),
    ...drawnBy(options),
  })
}

function xavierDeviation(where: string, cell: Cell, { gain = 1 }: XavierOptions): number {
  const { fanIn, fanOut } = fansOf(where, cell.shape)
  return gain * Math.sqrt(2 / (fanIn + fanOut))
}

export interface KaimingOptions extends Drawn {
  /** Slope of leakyRelu below 0; default 0. */
  readonly a?: number
  /** Keep the size of the signal going forward ('fanIn', the default) or of gradients going back. */
  readonly mode?: 'fanIn' | 'fanOut'
  /** What follows the layer; default 'leakyRelu'. */
  readonly nonlinearity?: Nonlinearity
}

/**
 * Uniform numbers within +-gain sqrt(3 / fan) (He et al., 2015). Returns the parameter. Throws a
 * ShapeError below two axes.
 *
 * @example
 * nn.init.kaimingUniform(new nn.Linear(8, 4).weight, { nonlinearity: 'relu' }).shape // -> [4, 8]
 */
export function kaimingUniform<C extends Cell>(cell: C, options: KaimingOptions = {}): C {
  const bound = Math.sqrt(3) * kaimingDeviation('kaimingUniform', cell, options)
  return uniform(cell, { low: -bound, high: bound, ...drawnBy(options) })
}

/**
 * Normal numbers of standard deviation gain / sqrt(fan) (He et al., 2015). Returns the parameter.
 * Throws a ShapeError below two axes.
 *
 * @example
 * nn.init.kaimingNormal(new nn.Linear(8, 4).weight, { mode: 'fanOut' }).shape // -> [4, 8]
 */
export function kaimingNormal<C extends Cell>(cell: C, options: KaimingOptions = {}): C {
  return normal(cell, {
    std: kaimingDeviation('kaimingNormal', cell, options),
    ...drawnBy(options),
  })
}

function kaimingDeviation(where: string, cell: Cell, options: KaimingOptions): number {
  checkOptions(where, options, ['a', 'mode', 'nonlinearity', 'generator'])
  const { a = 0, mode = 'fanIn', nonlinearity = 'leakyRelu' } = options
  checkChoice(where, 'mode', mode, ['fanIn', 'fanOut'])
  return calculateGain(nonlinearity, a) / Math.sqrt(fansOf(where, cell.shape)[mode])
}

export interface TruncNormalOptions extends NormalInitOptions {
  /** Smallest value; default -2. */
  readonly low?: number
  /** Largest value; default 2. */
  readonly high?: number
}

/**
 * Numbers of a normal distribution as far as they lie between low and high. Returns the parameter.
 * Throws a ValueError unless low < high.
 *
 * @example
 * nn.init.truncNormal(new nn.Linear(9, 9).weight, { std: 5 }).abs().max().itemSync() <= 2 // -> true
 */
export function truncNormal<C extends Cell>(cell: C, options: TruncNormalOptions = {}): C {
  checkOptions('truncNormal', options, ['mean', 'std', 'low', 'high', 'generator'])
  const { mean = 0, std = 1, low = -2, high = 2 } = options
  if (!(low < high) || !(std > 0))
    throw new ValueError(
      `truncNormal: expected low < high and std > 0, received low ${low}, high ${high} and std ${std}`,
    )
  // Uniform between the values of the distribution function at both ends, taken back through it.
  const ends = [low, high].map((x) => errorFunction((x - mean) / (std * Math.SQRT2)))
  const value = noGrad(() => {
    const place = { ...placeOf(cell), dtype: 'float32' as const }
    const u = random.uniform(cell.shape, {
      low: Math.max(ends[0]!, -1 + 2 ** -23),
      high: Math.min(ends[1]!, 1 - 2 ** -23),
      ...drawnBy(options),
      ...place,
    })
    const x = inverseErrorFunction(u)
      .mul(std * Math.SQRT2)
      .add(mean)
    return x.clamp({ min: low, max: high }).cast(cell.dtype)
  })
  return set(cell, value)
}

// Abramowitz and Stegun 7.1.26: off by at most 1.5e-7, as much as float32 can tell.
function errorFunction(x: number): number {
  const t = 1 / (1 + 0.3275911 * Math.abs(x))
  const terms = [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592]
  const tail = terms.reduce((sum, c) => (sum + c) * t, 0) * Math.exp(-x * x)
  return Math.sign(x) * (1 - tail)
}

const central = [
  2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 2.1858087e-4, -1.25372503e-3,
  -4.17768164e-3, 0.246640727, 1.50140941,
]
const tails = [
  -2.00214257e-4, 1.00950558e-4, 1.34934322e-3, -3.67342844e-3, 5.73950773e-3, -7.6224613e-3,
  9.43887047e-3, 1.00167406, 2.83297682,
]

// Giles, "Approximating the erfinv function", 2010: relative error below 4e-7 in float32.
function inverseErrorFunction(x: Tensor): Tensor {
  const w = x.mul(x).neg().log1p().neg()
  const polynomial = (coefficients: readonly number[], at: Tensor) =>
    coefficients.slice(1).reduce((sum, c) => sum.mul(at).add(c), at.mul(0).add(coefficients[0]!))
  const inner = polynomial(central, w.sub(2.5))
  const outer = polynomial(tails, w.sqrt().sub(3))
  return where(w.lt(5), inner, outer).mul(x)
}

/**
 * A matrix with orthonormal rows or columns, whichever are fewer, times gain (Saxe et al., 2013); axes
 * after the first count as one. Returns the parameter. Throws a ShapeError below two axes.
 *
 * @example
 * const w = nn.init.orthogonal(new nn.Linear(3, 2).weight)
 * w.matmul(w.transpose()).sub(tensor([[1, 0], [0, 1]])).abs().max().itemSync() < 1e-6 // -> true
 */
export function orthogonal<C extends Cell>(cell: C, options: XavierOptions = {}): C {
  checkOptions('orthogonal', options, ['gain', 'generator'])
  const { shape } = cell
  fansOf('orthogonal', shape)
  const height = shape[0]!
  const width = cell.size / height
  const [count, length] = height < width ? [height, width] : [width, height]
  // On the interpreter, which can be read at once; the numbers are the same everywhere.
  const normals = random.randn([count, length], {
    dtype: 'float64',
    device: 'reference',
    ...drawnBy(options),
  })
  const rows = orthonormalRows(normals.dataSync() as Float64Array<ArrayBuffer>, count, length)
  const { gain = 1 } = options
  const flat = new Float64Array(cell.size)
  for (let r = 0; r < height; r++)
    for (let c = 0; c < width; c++)
      flat[r * width + c] = gain * (height < width ? rows[r]![c]! : rows[c]![r]!)
  return set(cell, create.fromTypedArray(flat, shape, placeOf(cell)))
}

// Gram-Schmidt, each row twice: once leaves errors that depend on the condition of the matrix.
function orthonormalRows(data: Float64Array, count: number, length: number): Float64Array[] {
  const rows: Float64Array[] = []
  for (let i = 0; i < count; i++) {
    const row = data.slice(i * length, (i + 1) * length)
    for (const before of [...rows, ...rows]) {
      const along = row.reduce((sum, x, j) => sum + x * before[j]!, 0)
      row.forEach((x, j) => (row[j] = x - along * before[j]!))
    }
    const norm = Math.hypot(...row)
    rows.push(row.map((x) => x / norm))
  }
  return rows
}

/** How many inputs feed each output, and the other way round: [out, in, ...window]. */
function fansOf(where: string, shape: Shape): { fanIn: number; fanOut: number } {
  if (shape.length < 2 || shape.includes(0))
    throw new ShapeError(
      `${where}: expected a weight of at least 2 axes, [out, in, ...window], received ${formatShape(shape)}. Use uniform, normal or constant for others`,
    )
  const window = shape.slice(2).reduce((a, b) => a * b, 1)
  return { fanIn: shape[1]! * window, fanOut: shape[0]! * window }
}

const placeOf = ({ dtype, device }: Cell) => ({ dtype, device })

const drawnBy = ({ generator }: Drawn): Drawn => (generator === undefined ? {} : { generator })

function set<C extends Cell>(cell: C, value: Tensor): C {
  cell.assign(value)
  // The value was made here, and nobody keeps it.
  cell.storage.shares = 1
  return cell
}
