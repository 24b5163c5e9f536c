/** @file Random calls of operations: any family, dtype, rank and layout, of sizes drawn apart from the rest. */
import * as td from 'tandem'
import type { DType, Tensor } from 'tandem'

/** Draws numbers; the same seed gives the same ones. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** From 0 up to, but not including, 1 (Mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let x = this.#state
    x = Math.imul(x ^ (x >>> 15), x | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number from `low` to `high`, both included. */
  whole(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1))
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.whole(0, choices.length - 1)]!
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }
}

/** A call that is ready to be made, any number of times. */
export interface RandomCall {
  /** What is called on what, without sizes. */
  readonly key: string
  readonly inputs: readonly Tensor[]
  /** The call, on these inputs or on copies of them. */
  run(inputs: readonly Tensor[]): Tensor
}

/** Where a call gets its choices and its tensors from. */
interface Source {
  /** Decides about everything but sizes. */
  readonly structure: Random
  readonly sizes: Random
}

type Unary = (x: Tensor) => Tensor
type Binary = (a: Tensor, b: Tensor) => Tensor

const { neg, abs, sign, square, sqrt, rsqrt, reciprocal, floor, ceil, trunc, round } = td
const { exp, expm1, log, log1p, sin, cos, tan, atan, tanh, erf, isNaN } = td
const rounding = { neg, abs, sign, square, sqrt, rsqrt, reciprocal, floor, ceil, trunc, round }
const functions = { exp, expm1, log, log1p, sin, cos, tan, atan, tanh, erf, isNaN }
const { sigmoid, silu, gelu, softplus, relu, elu, selu, mish, hardSwish } = td
const activations = { sigmoid, silu, gelu, softplus, relu, elu, selu, mish, hardSwish }
const UNARY: Record<string, Unary> = { ...rounding, ...functions, ...activations }
const { add, sub, mul, maximum, minimum, eq, ne, lt, le, gt, ge } = td
const BINARY: Record<string, Binary> = { add, sub, mul, maximum, minimum, eq, ne, lt, le, gt, ge }
const { div, atan2, logaddexp, pow } = td
const FLOAT_BINARY: Record<string, Binary> = { ...BINARY, div, atan2, logaddexp, pow }
const { sum, mean, prod, max, min, variance } = td
const REDUCTIONS = { sum, mean, prod, max, min, variance }

const FLOATS: readonly DType[] = ['float32', 'float32', 'float32', 'float64', 'float16', 'bfloat16']
const NUMBERS: readonly DType[] = [...FLOATS, 'int32', 'int8', 'uint8', 'int64']

type Family = (source: Source) => RandomCall

const FAMILIES: Record<string, Family> = {
  unary(source) {
    const name = source.structure.pick(Object.keys(UNARY))
    const [x, text] = randomTensor(source, source.structure.pick(FLOATS), randomShape(source))
    return { key: `${name}(${text})`, inputs: [x], run: ([a]) => UNARY[name]!(a!) }
  },

  binary(source) {
    const { structure } = source
    const [dtypeA, dtypeB] = [structure.pick(NUMBERS), structure.pick(NUMBERS)]
    const isFloat = FLOATS.includes(dtypeA) && FLOATS.includes(dtypeB)
    const table = isFloat ? FLOAT_BINARY : BINARY
    const name = structure.pick(Object.keys(table))
    const shape = randomShape(source)
    const [a, textA] = randomTensor(source, dtypeA, shape)
    const [b, textB] = randomTensor(source, dtypeB, broadcastable(source, shape))
    return {
      key: `${name}(${textA}, ${textB})`,
      inputs: [a, b],
      run: ([left, right]) => table[name]!(left!, right!),
    }
  },

  reduction(source) {
    const { structure } = source
    const name = structure.pick(Object.keys(REDUCTIONS)) as keyof typeof REDUCTIONS
    const shape = randomShape(source, 1)
    const axis = shape.flatMap((_, i) => (structure.chance(0.5) ? [i] : []))
    const keepDims = structure.chance(0.3)
    const [x, text] = randomTensor(source, structure.pick(FLOATS), shape)
    return {
      key: `${name}(${text}, ${axis.join()}, ${keepDims})`,
      inputs: [x],
      run: ([a]) => REDUCTIONS[name](a!, { axis, keepDims }),
    }
  },

  row(source) {
    const { structure } = source
    const shape = randomShape(source, 1)
    const axis = structure.whole(0, shape.length - 1)
    const calls: Record<string, Unary> = {
      softmax: (x) => td.softmax(x, { axis }),
      logSoftmax: (x) => td.logSoftmax(x, { axis }),
      argmax: (x) => td.argmax(x, { axis }),
      cumsum: (x) => td.cumsum(x, { axis }),
      layerNorm: (x) => td.layerNorm(x),
    }
    const name = structure.pick(Object.keys(calls))
    const [x, text] = randomTensor(source, structure.pick(FLOATS), shape)
    return { key: `${name}(${text}, ${axis})`, inputs: [x], run: ([a]) => calls[name]!(a!) }
  },

  matmul(source) {
    const { structure } = source
    const [m, k, n] = [randomSize(source), randomSize(source), randomSize(source)]
    const leading = structure.chance(0.3) ? [randomSize(source)] : []
    const dtype = structure.pick(FLOATS)
    const [a, textA] = randomTensor(source, dtype, [...leading, m, k])
    const [b, textB] = randomTensor(
      source,
      dtype,
      structure.chance(0.5) ? [...leading, k, n] : [k, n],
    )
    return {
      key: `matmul(${textA}, ${textB})`,
      inputs: [a, b],
      run: ([left, right]) => td.matmul(left!, right!),
    }
  },

  conv(source) {
    const { structure, sizes } = source
    const kernel = structure.pick([1, 2, 3])
    const stride = structure.pick([1, 1, 2])
    const padding = structure.whole(0, kernel - 1)
    const dtype = structure.pick(['float32', 'float32', 'float64'] as const)
    const [channels, outChannels] = [sizes.whole(2, 9), sizes.whole(2, 9)]
    const [x, textX] = randomTensor(source, dtype, [
      sizes.whole(2, 4),
      channels,
      sizes.whole(3, 12),
      sizes.whole(3, 12),
    ])
    const [w, textW] = randomTensor(source, dtype, [outChannels, channels, kernel, kernel])
    return {
      key: `conv2d(${textX}, ${textW}, ${kernel}, ${stride}, ${padding})`,
      inputs: [x, w],
      run: ([image, weight]) => td.conv2d(image!, weight!, { stride, padding }),
    }
  },

  select(source) {
    const { structure } = source
    const shape = randomShape(source)
    const dtype = structure.pick(FLOATS)
    const [a, textA] = randomTensor(source, dtype, shape)
    const [b, textB] = randomTensor(source, dtype, broadcastable(source, shape))
    return {
      key: `where(${textA} > 0, ${textA}, ${textB})`,
      inputs: [td.gt(a, 0), a, b],
      run: ([condition, left, right]) => td.where(condition!, left!, right!),
    }
  },

  move(source) {
    const { structure, sizes } = source
    const shape = randomShape(source, 1)
    const axis = structure.whole(0, shape.length - 1)
    const widths = shape.map(() => [sizes.whole(0, 3), sizes.whole(0, 3)] as const)
    const calls: Record<string, (a: Tensor, b: Tensor) => Tensor> = {
      cat: (a, b) => td.cat([a, b], { axis }),
      stack: (a, b) => td.stack([a, b], { axis }),
      pad: (a) => td.pad(a, widths, { value: 0.5 }),
      cast: (a) => td.cast(a, target),
      contiguous: (a) => td.contiguous(a.permute(a.shape.map((_, i) => i).reverse())),
    }
    const target = structure.pick(NUMBERS)
    const name = structure.pick(Object.keys(calls))
    const dtype = structure.pick(NUMBERS)
    const [a, textA] = randomTensor(source, dtype, shape)
    const [b, textB] = randomTensor(source, dtype, shape)
    return {
      key: `${name}(${textA}, ${textB}, ${axis}, ${target})`,
      inputs: [a, b],
      run: ([left, right]) => calls[name]!(left!, right!),
    }
  },
}

/** Kernels of these may be made for sizes of their own, so that every other call is a new one. */
const RARE = ['conv', 'matmul']
const RARE_SHARE = 0.05

/** Draws a call: the same structure with other sizes is, as far as possible, the same kernel. */
export function randomCall(structure: Random, sizes: Random): RandomCall {
  const names = structure.chance(RARE_SHARE)
    ? RARE
    : Object.keys(FAMILIES).filter((name) => !RARE.includes(name))
  return FAMILIES[structure.pick(names)]!({ structure, sizes })
}

/** Mostly small, so that a call is over soon; sometimes beyond every tile and vector. */
function randomSize({ sizes }: Source): number {
  return sizes.chance(0.02) ? sizes.whole(100, 700) : sizes.whole(2, 12)
}

/** The longest axis by number of axes: the largest tensor is a matter of a megabyte. */
const LONGEST = [0, 5000, 300, 100, 40]

function randomShape(source: Source, least = 0): number[] {
  const ndim = source.structure.whole(least, 4)
  const shape = Array.from({ length: ndim }, () => source.sizes.whole(2, 9))
  if (ndim > 0 && source.sizes.chance(0.05))
    shape[source.sizes.whole(0, ndim - 1)] = source.sizes.whole(10, LONGEST[ndim]!)
  return shape
}

/** A shape that broadcasts to the given one: some axes are 1, or leading ones are missing. */
function broadcastable({ structure }: Source, shape: readonly number[]): number[] {
  if (structure.chance(0.5)) return [...shape]
  const missing = structure.whole(0, shape.length)
  return shape.slice(missing).map((size) => (structure.chance(0.4) ? 1 : size))
}

const POOL = Float32Array.from({ length: 100_000 }, (_, i) => (((7919 * i) % 1009) - 504) / 512)
const INTEGERS = Int32Array.from(POOL, (x) => Math.round(x * 50))

/** A tensor of a shape, contiguous or a view of a larger one; and what it is, as text without sizes. */
function randomTensor(source: Source, dtype: DType, shape: readonly number[]): [Tensor, string] {
  const { structure } = source
  const layout = structure.pick(['plain', 'plain', 'permuted', 'sliced', 'flipped'] as const)
  const text = `${dtype} ${shape.map((n) => (n === 1 ? '1' : '_')).join('x')} ${layout}`
  if (layout === 'permuted') {
    const order = shuffled(structure, shape.length)
    const stored = order.map((axis) => shape[axis]!)
    const inverse = order.map((_, axis) => order.indexOf(axis))
    return [freshTensor(source, dtype, stored).permute(inverse), `${text} ${order.join('')}`]
  }
  if (layout === 'sliced') {
    const step = structure.pick([1, 2])
    const wide = freshTensor(
      source,
      dtype,
      shape.map((n) => step * n + 1),
    )
    return [wide.slice(...shape.map((n) => [1, step * n + 1, step] as const)), `${text} ${step}`]
  }
  const plain = freshTensor(source, dtype, shape)
  if (layout === 'plain' || shape.length === 0) return [plain, text]
  const axis = structure.whole(0, shape.length - 1)
  return [plain.flip({ axis }), `${text} ${axis}`]
}

function freshTensor({ sizes }: Source, dtype: DType, shape: readonly number[]): Tensor {
  const count = shape.reduce((product, size) => product * size, 1)
  const from = sizes.whole(0, 5000)
  const pool = FLOATS.includes(dtype) ? POOL : INTEGERS
  const data =
    from + count <= pool.length ? pool.subarray(from, from + count) : repeated(pool, count)
  return td.fromTypedArray(data, shape, { dtype })
}

function repeated(pool: typeof POOL | typeof INTEGERS, count: number): typeof pool {
  const long = new (pool.constructor as typeof Float32Array)(count) as typeof pool
  for (let from = 0; from < count; from += pool.length)
    long.set(pool.subarray(0, Math.min(pool.length, count - from)), from)
  return long
}

function shuffled(random: Random, length: number): number[] {
  const order = Array.from({ length }, (_, i) => i)
  for (let i = length - 1; i > 0; i--) {
    const j = random.whole(0, i)
    ;[order[i], order[j]] = [order[j]!, order[i]!]
  }
  return order
}
