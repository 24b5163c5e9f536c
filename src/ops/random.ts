/** @file Tensors of random numbers: the same for a seed on every backend. */
import type { KernelBuilder } from '../codegen/kernel-builder.ts'
import { checkDType, dtypes, isFloat, type DType } from '../core/dtype.ts'
import { checkShape, sizeOf, type Shape } from '../core/shape.ts'
import type { Axis, Expr } from '../ir/expr.ts'
import { dispatch, dispatchOn } from '../tensor/dispatch.ts'
import type { Op } from '../tensor/op.ts'
import {
  defaultGenerator,
  Generator,
  integerExpr,
  normalExpr,
  permutation,
  randomWords,
  uniformExpr,
  type Draw,
} from '../tensor/random.ts'
import { Tensor } from '../tensor/tensor.ts'
import { tracing } from '../tensor/tracing.ts'
import { checkOptions, DTypeError, ValueError } from '../util/errors.ts'
import { currentBackend, fromTypedArray, type TensorOptions } from './create.ts'
import { defineOp } from './define.ts'

export interface RandomOptions extends TensorOptions {
  /** The stream to draw from; default the one that `manualSeed` seeds. */
  readonly generator?: Generator
}

type RandomAttributes = { readonly size: number; readonly dtype: DType }

/** A kernel over a flat output. Its params are the four numbers of the draw, then those of the distribution. */
function randomOp(
  name: string,
  onnx: string | undefined,
  value: (k: KernelBuilder, at: Axis, dtype: DType) => Expr,
): Op<RandomAttributes> {
  return defineOp<RandomAttributes>({
    name,
    kind: 'random',
    onnx,
    infer: (_, { size, dtype }) => [{ shape: [size], dtype }],
    lower({ attributes: { size, dtype }, kernel, out }) {
      const k = kernel()
      const [at] = k.axes([size])
      k.store(out(), [at!], value(k, at!, dtype))
      return [k.finish()]
    },
  })
}

/** The first param after the four of the draw. */
const own = 4

const uniformOp = randomOp('uniform', 'RandomUniform', (k, at, dtype) => {
  const { s } = k
  const type = dtypes[dtype].compute
  const [low, high] = [0, 1].map((i) => s.convert(k.param(own + i), type)) as [Expr, Expr]
  const x = s.add(s.mul(uniformExpr(s, randomWords(k, at, 0), dtype), s.sub(high, low)), low)
  // The sum may round up to the end that is excluded.
  return s.select(s.ge(x, high), low, x)
})

const normalOp = randomOp('normal', 'RandomNormal', (k, at, dtype) => {
  const { s } = k
  const type = dtypes[dtype].compute
  const x = normalExpr(s, randomWords(k, at, 0), type)
  return s.add(s.mul(x, s.convert(k.param(own + 1), type)), s.convert(k.param(own), type))
})

const randintOp = randomOp('randint', undefined, (k, at) => {
  const param = (i: number) => k.s.convert(k.param(own + i), 'i32')
  const x = integerExpr(k.s, randomWords(k, at, 0), [param(1), param(2)])
  return k.s.add(x, param(0))
})

const coinsOp = randomOp('coins', undefined, (k, at) => {
  const { s } = k
  const u = uniformExpr(s, randomWords(k, at, 0), 'float32')
  return s.lt(u, s.convert(k.param(own), 'f32'))
})

function create(
  op: Op<RandomAttributes>,
  shape: Shape,
  params: readonly number[],
  options: RandomOptions,
  dtype: DType,
): Tensor {
  const size = sizeOf(shape)
  const inputs = [...generatorOf(op.name, options).draw(size), ...params]
  const backend = currentBackend(options.device)
  const flat = dispatchOn(backend, op, inputs, { size, dtype }, `${size}${dtype}`)[0]!
  return shape.length === 1 ? flat! : flat!.reshape(shape)
}

function generatorOf(where: string, { generator }: RandomOptions): Generator {
  if (generator === undefined) return defaultGenerator
  if (generator instanceof Generator) return generator
  throw new ValueError(`${where}: generator is not a Generator. Make one: new Generator(seed)`)
}

function checkRandom(
  where: string,
  shape: Shape,
  options: RandomOptions,
  more: readonly string[] = [],
): DType {
  checkShape(where, shape, tracing && Infinity)
  checkOptions(where, options, ['dtype', 'device', 'generator', ...more])
  return checkDType(where, options.dtype ?? 'float32')
}

function checkFloat(where: string, dtype: DType, instead: string): void {
  if (isFloat(dtype)) return
  throw new DTypeError(`${where}: dtype ${dtype} cannot hold fractions. Use a float, or ${instead}`)
}

function checkFinite(where: string, numbers: Readonly<Record<string, number>>): void {
  for (const [name, x] of Object.entries(numbers))
    if (!Number.isFinite(x))
      throw new ValueError(`${where}: ${name} must be a finite number, received ${String(x)}`)
}

/**
 * Uniform random numbers, 0 <= x < 1, exact multiples of 2^-24 (float64: 2^-53). Throws a DTypeError
 * for dtypes other than floats.
 *
 * @example
 * rand([2, 3]).shape // -> [2, 3]
 */
export function rand(shape: Shape, options: RandomOptions = {}): Tensor {
  const dtype = checkRandom('rand', shape, options)
  checkFloat('rand', dtype, 'randint for whole numbers')
  return create(uniformOp, shape, [0, 1], options, dtype)
}

/**
 * Random numbers of the standard normal distribution (Box-Muller over 31 bits: none is beyond 6.6).
 * Throws a DTypeError for dtypes other than floats.
 *
 * @example
 * randn([2, 3]).dtype // -> 'float32'
 */
export function randn(shape: Shape, options: RandomOptions = {}): Tensor {
  const dtype = checkRandom('randn', shape, options)
  checkFloat('randn', dtype, 'randint for whole numbers')
  return create(normalOp, shape, [0, 1], options, dtype)
}

/**
 * Random whole numbers, low <= x < high, int32 unless `dtype` says otherwise. No value is more likely
 * than another by more than one part in 2^32. Throws a ValueError unless low < high are whole and
 * within int32.
 *
 * @example
 * randint(0, 10, [2, 3]).dtype // -> 'int32'
 */
export function randint(
  low: number,
  high: number,
  shape: Shape,
  options: RandomOptions = {},
): Tensor {
  checkRandom('randint', shape, options)
  const isInside = (x: number) => Number.isInteger(x) && x >= -(2 ** 31) && x <= 2 ** 31
  if (!isInside(low) || !isInside(high) || low >= high)
    throw new ValueError(
      `randint: expected whole numbers low < high from -2^31 to 2^31, received ${String(low)} and ${String(high)}. high itself is not drawn`,
    )
  const range = high - low
  const halves = [Math.floor(range / 2 ** 16), range % 2 ** 16]
  return create(randintOp, shape, [low, ...halves], options, options.dtype ?? 'int32')
}

export interface UniformOptions extends RandomOptions {
  /** Smallest value; default 0. */
  readonly low?: number
  /** End of the range, not drawn itself (unless a 16-bit dtype rounds to it); default 1. */
  readonly high?: number
}

/**
 * Uniform random numbers, low <= x < high. Throws a ValueError unless low <= high, a DTypeError for
 * dtypes other than floats.
 *
 * @example
 * uniform([1000], { low: -1, high: 1 }).min().itemSync() >= -1 // -> true
 */
export function uniform(shape: Shape, options: UniformOptions = {}): Tensor {
  const dtype = checkRandom('uniform', shape, options, ['low', 'high'])
  checkFloat('uniform', dtype, 'randint for whole numbers')
  const { low = 0, high = 1 } = options
  checkFinite('uniform', { low, high })
  if (low > high)
    throw new ValueError(`uniform: low ${low} is more than high ${high}. Exchange them`)
  return create(uniformOp, shape, [low, high], options, dtype)
}

export interface NormalOptions extends RandomOptions {
  /** Default 0. */
  readonly mean?: number
  /** Standard deviation; default 1. */
  readonly std?: number
}

/**
 * Random numbers of a normal distribution. Throws a ValueError for a negative `std`, a DTypeError for
 * dtypes other than floats.
 *
 * @example
 * normal([2], { mean: 5, std: 0 }) // -> tensor([5, 5], float32, cpu)
 */
export function normal(shape: Shape, options: NormalOptions = {}): Tensor {
  const dtype = checkRandom('normal', shape, options, ['mean', 'std'])
  checkFloat('normal', dtype, 'randint for whole numbers')
  const { mean = 0, std = 1 } = options
  checkFinite('normal', { mean, std })
  if (std < 0) throw new ValueError(`normal: std is ${std}. Expected a standard deviation >= 0`)
  return create(normalOp, shape, [mean, std], options, dtype)
}

/**
 * The numbers 0 to n - 1 in random order, int32 unless `dtype` says otherwise. Throws a ValueError
 * unless n is a whole number >= 0.
 *
 * @example
 * randperm(5).sum() // -> tensor(10, int32, cpu)
 */
export function randperm(n: number, options: RandomOptions = {}): Tensor {
  checkRandom('randperm', [n], options)
  const { dtype = 'int32', device } = options
  const order = permutation(n, generatorOf('randperm', options))
  return fromTypedArray(order, [n], { dtype, ...(device !== undefined && { device }) })
}

const bernoulliOp = defineOp<{ dtype: DType }>({
  name: 'bernoulli',
  kind: 'random',
  onnx: 'Bernoulli',
  infer: ([p], { dtype }) => [{ shape: p!.shape, dtype }],
  lower({ inputs, kernel, out }) {
    const k = kernel()
    const { s } = k
    const [at] = k.axes(inputs[0]!.shape)
    const p = s.convert(k.load(0, [at!]), 'f32')
    k.check(s.and(s.ge(p, 0), s.le(p, 1)))
    const u = uniformExpr(s, randomWords(k, at!, 0), 'float32')
    k.store(out(), [at!], s.lt(u, p))
    return [k.finish()]
  },
  complain: () =>
    new ValueError(
      'bernoulli: a probability is outside 0 to 1. Use sigmoid or clamp to bring it there',
    ),
})

/**
 * Ones with probability p, zeros otherwise: for each element of a tensor of probabilities (shape and
 * dtype of `p`), or of a shape for one probability (float32). `dtype` may say otherwise. Throws a
 * ValueError for probabilities outside 0 to 1.
 *
 * @example
 * bernoulli(tensor([0, 1])) // -> tensor([0, 1], float32, cpu)
 * bernoulli(1, [2], { dtype: 'bool' }) // -> tensor([true, true], bool, cpu)
 */
export function bernoulli(
  p: Tensor | number,
  shape: Shape = [],
  options: RandomOptions = {},
): Tensor {
  const dtype = checkRandom('bernoulli', shape, options)
  if (typeof p === 'number') {
    if (!(p >= 0 && p <= 1))
      throw new ValueError(`bernoulli: p is a probability from 0 to 1, received ${p}`)
    return create(coinsOp, shape, [p], options, dtype)
  }
  if (!(p instanceof Tensor) || shape.length > 0)
    throw new ValueError(
      'bernoulli: expected a number and a shape, or a tensor of probabilities alone. Expand the tensor for another shape',
    )
  const chosen = options.dtype ?? (isFloat(p.dtype) ? p.dtype : 'float32')
  const draw: Draw = generatorOf('bernoulli', options).draw(p.size)
  const flat = dispatch(bernoulliOp, [p.reshape([-1]), ...draw], { dtype: chosen }, chosen)
  return flat.reshape(p.shape)
}
