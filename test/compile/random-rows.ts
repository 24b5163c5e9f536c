/** @file The operations that random programs are made of. */
import * as td from 'tandem'
import type { DType, Tensor } from 'tandem'
import { isFloat } from '../../src/core/dtype.ts'
import { broadcastShapes, sizeOf } from '../../src/core/shape.ts'

/** Chooses operands among the values so far, and options. */
export interface Chooser {
  /** From 0 up to, but not including, 1. */
  next(): number
  pick<T>(choices: readonly T[]): T
  /** One of the values so far, the latest most of the time. */
  value(): Tensor
  /** A value that fits a condition, if there is one. */
  find(condition: (t: Tensor) => boolean): Tensor | undefined
}

/** Makes one more value; undefined where the choices do not fit. */
export type Row = (choose: Chooser) => Tensor | undefined

/** Larger results are not made. */
const mostElements = 256

/** Products with these round in no other way when they are joined. */
const factors = [1, -1, 2, 0.5, -2, 0.25, 4, 1, 0, -0, NaN, Infinity]
const summands = [0, -0, 1, 3, -7, 0.5, 0]
const dtypes: DType[] = ['float32', 'float16', 'bfloat16', 'float64', 'int32', 'int8', 'uint8']
const allDTypes: DType[] = [...dtypes, 'int64', 'bool']

const broadcasts = (a: Tensor, b: Tensor): boolean => {
  try {
    return sizeOf(broadcastShapes('', a.shape, b.shape)) <= mostElements
  } catch {
    return false
  }
}

const mate = (choose: Chooser, x: Tensor) => choose.find((y) => broadcasts(x, y))!
const number = (choose: Chooser): Tensor | undefined => choose.find((t) => t.dtype !== 'bool')
const float = (choose: Chooser): Tensor | undefined => choose.find((t) => isFloat(t.dtype))

const unary =
  (f: (x: Tensor) => Tensor): Row =>
  (choose) => {
    const x = number(choose)
    return x && f(x)
  }
const smooth =
  (f: (x: Tensor) => Tensor): Row =>
  (choose) => {
    const x = float(choose)
    return x && f(x)
  }

/** With a tensor or, half of the time, a number, on either side. */
const binary =
  (f: (a: Tensor | number, b: Tensor | number) => Tensor, numbers: readonly number[]): Row =>
  (choose) => {
    const x = number(choose)
    if (x === undefined) return undefined
    const y =
      choose.next() < 0.5
        ? choose.pick(numbers)
        : choose.find((t) => t.dtype !== 'bool' && broadcasts(x, t))
    // Nothing fits one that is too large already.
    if (y === undefined) return undefined
    return choose.next() < 0.5 ? f(x, y) : f(y, x)
  }

const axisOf = (choose: Chooser, x: Tensor): number =>
  x.ndim === 0 ? -1 : Math.floor(choose.next() * x.ndim)

const reduction =
  (f: (x: Tensor, options: { axis: number; keepDims: boolean }) => Tensor): Row =>
  (choose) => {
    const x = number(choose)
    if (x === undefined || x.ndim === 0) return undefined
    return f(x, { axis: axisOf(choose, x), keepDims: choose.next() < 0.5 })
  }

function order(choose: Chooser, count: number): number[] {
  const axes = Array.from({ length: count }, (_, i) => ({ i, at: choose.next() }))
  return axes.sort((a, b) => a.at - b.at).map(({ i }) => i)
}

function reshape(choose: Chooser): Tensor {
  const x = choose.value()
  const shape: number[] = []
  let rest = x.size
  while (rest > 1 && shape.length < 3) {
    const divisors = Array.from({ length: rest }, (_, i) => i + 1).filter((n) => rest % n === 0)
    const n = choose.pick(divisors)
    shape.push(n)
    rest /= n
  }
  return x.reshape(rest === 1 && shape.length > 0 ? shape : [...shape, rest])
}

function slice(choose: Chooser): Tensor {
  const x = choose.value()
  return x.slice(
    ...x.shape.map((n) => {
      if (n === 0 || choose.next() < 0.4) return null
      const start = Math.floor(choose.next() * n)
      if (choose.next() < 0.3) return start
      return choose.pick([
        [start, null],
        [start, n, 2],
        [start, null, -1],
        [0, start + 1],
      ] as const)
    }),
  )
}

function matmul(choose: Chooser): Tensor | undefined {
  const x = choose.find((t) => t.ndim >= 2 && t.ndim <= 3 && t.dtype !== 'bool')
  if (x === undefined) return undefined
  const y = choose.find(
    (t) => t.ndim === 2 && t.shape[0] === x.shape[x.ndim - 1] && t.dtype !== 'bool',
  )
  return x.matmul(y ?? x.transpose())
}

/** A layer with weights of its own, and what is usually behind it, on x as a batch of one or two axes less. */
function affine(choose: Chooser): Tensor | undefined {
  const x = choose.find((t) => t.dtype === 'float32' && t.ndim >= 1 && t.size > 0)
  if (x === undefined) return undefined
  const { device } = x
  const weights = (...shape: number[]) =>
    td.arange(sizeOf(shape), { device }).mul(0.7).sin().reshape(shape)
  const channels = 1 + Math.floor(choose.next() * 4)
  const statistics = {
    mean: weights(channels),
    variance: weights(channels).square().add(0.5),
    weight: weights(channels).add(1),
  }
  const bias = choose.next() < 0.5 ? weights(channels).add(0.3) : undefined
  const isImage = x.ndim === 4
  const y = isImage
    ? td.conv2d(x, weights(channels, x.shape[1]!, 1, 1), { ...(bias && { bias }) })
    : td.linear(x, weights(channels, x.shape[x.ndim - 1]!), bias)
  if (y.ndim !== 2 && !isImage) return y.mul(weights(channels)).add(weights(channels).neg())
  return td.batchNorm(y, { ...statistics, ...(bias && { bias }) })
}

/** Small changes of the operands change these a little. */
const gentle: Record<string, Row> = {
  neg: unary((x) => x.neg()),
  abs: unary((x) => x.abs()),
  relu: unary((x) => x.relu()),
  tanh: smooth((x) => x.tanh()),
  sigmoid: smooth((x) => x.sigmoid()),
  square: smooth((x) => x.tanh().square()),
  add: binary((a, b) => td.add(a, b), summands),
  sub: binary((a, b) => td.sub(a, b), summands),
  mul: binary((a, b) => td.mul(a, b), factors.slice(0, 9)),
  // The same twice, in other words and in the same.
  sameTwice: smooth((x) => x.tanh().mul(2).add(x.tanh().mul(2)).mul(0.25)),
  half: smooth((x) => x.mul(0.5).mul(0.25)),
  maximum: binary((a, b) => td.maximum(a, b), summands),
  minimum: (choose) => {
    const x = choose.value()
    return td.minimum(x, choose.next() < 0.2 ? x : mate(choose, x))
  },
  sum: reduction((x, options) => x.sum(options)),
  mean: reduction((x, options) => x.cast('float32').mean(options)),
  max: reduction((x, options) => x.max(options)),
  softmax: (choose) => {
    const x = float(choose)
    return x && x.ndim > 0 && x.size > 0 ? x.softmax({ axis: axisOf(choose, x) }) : undefined
  },
  cumsum: (choose) => {
    const x = float(choose)
    return x && x.ndim > 0 ? x.cumsum({ axis: axisOf(choose, x) }) : undefined
  },
  matmul,
  affine,
  permute: (choose) => {
    const x = choose.value()
    return x.permute(order(choose, x.ndim))
  },
  permuteBack: (choose) => {
    const x = number(choose)
    if (x === undefined) return undefined
    const axes = order(choose, x.ndim)
    const y = x.permute(axes).relu().mul(2)
    return y.permute(axes.map((_, i) => axes.indexOf(i)))
  },
  reshape,
  flatten: (choose) => choose.value().flatten(),
  slice,
  flip: (choose) => choose.value().flip(),
  unsqueeze: (choose) => {
    const x = choose.value()
    return x.ndim < 4 ? x.unsqueeze(Math.floor(choose.next() * (x.ndim + 1))) : undefined
  },
  expand: (choose) => {
    const x = choose.value()
    const shape = x.shape.map((n) => (n === 1 ? 3 : n))
    if (x.ndim < 4 && choose.next() < 0.5) shape.unshift(2)
    return sizeOf(shape) <= mostElements ? x.expand(shape) : undefined
  },
  ofExpanded: (choose) => {
    const x = float(choose)
    if (x === undefined || x.size * 2 > mostElements || x.ndim > 3) return undefined
    return x
      .expand([2, ...x.shape])
      .tanh()
      .mul(2)
  },
  cat: (choose) => {
    const x = choose.find((t) => t.ndim > 0)
    return x && x.size * 2 <= mostElements
      ? td.cat([x, x.flip()], { axis: axisOf(choose, x) })
      : undefined
  },
  tril: (choose) => choose.find((t) => t.ndim >= 2)?.tril(),
  copy: (choose) => choose.value().contiguous(),
  clone: (choose) => choose.value().clone(),
  widen: (choose) => {
    const x = float(choose)
    return x?.cast(choose.pick(['float32', 'float64']))
  },
  throughFloat32: (choose) => {
    const x = float(choose)?.cast(choose.pick(['float16', 'bfloat16']))
    if (x === undefined) return undefined
    const y = choose.next() < 0.5 ? x.cast('float32').relu() : x.cast('float32').mul(0.5)
    return y.cast(x.dtype)
  },
  where: (choose) => {
    const x = number(choose)
    const condition = x && choose.find((t) => t.dtype === 'bool' && broadcasts(t, x))
    return condition && td.where(condition, x, choose.next() < 0.3 ? x : 0)
  },
}

/** Small changes of the operands may change these much. */
const rough: Record<string, Row> = {
  exp: smooth((x) => x.exp()),
  sqrt: smooth((x) => x.sqrt()),
  floor: unary((x) => x.floor()),
  round: unary((x) => x.round()),
  sign: unary((x) => x.sign()),
  twice: (choose) => {
    const x = number(choose)
    const f = choose.pick<(t: Tensor) => Tensor>([
      (t) => t.abs(),
      (t) => t.neg(),
      (t) => t.relu(),
      (t) => t.ceil(),
      (t) => t.trunc(),
      (t) => t.sign(),
    ])
    return x && f(f(x))
  },
  even: (choose) => {
    const x = number(choose)
    const y = x && (choose.next() < 0.5 ? x.neg() : x.abs())
    return y && (choose.next() < 0.5 ? y.square() : y.abs())
  },
  addTwice: (choose) => number(choose)?.add(choose.pick(summands)).add(choose.pick(summands)),
  div: binary((a, b) => td.div(a, b), factors),
  hugeMul: binary((a, b) => td.mul(a, b), factors),
  pow: (choose) => {
    const x = number(choose)
    return x?.pow(choose.pick(isFloat(x.dtype) ? [2] : [1, 2, 3]))
  },
  negated: binary((a, b) => td.add(a, typeof b === 'number' ? -b : b.neg()), summands),
  lessNegated: binary((a, b) => td.sub(a, typeof b === 'number' ? -b : b.neg()), summands),
  bothNegated: (choose) => {
    const x = number(choose)
    const y = x && choose.find((t) => t.dtype !== 'bool' && broadcasts(t, x))
    return y && x.neg().mul(choose.next() < 0.5 ? y.neg() : choose.pick(factors))
  },
  less: (choose) => {
    const x = choose.value()
    return x.lt(choose.next() < 0.5 ? 0.5 : mate(choose, x))
  },
  equal: (choose) => {
    const x = choose.value()
    return x.eq(mate(choose, x))
  },
  cast: (choose) => choose.value().cast(choose.pick(allDTypes)),
  castTwice: (choose) => choose.value().cast(choose.pick(dtypes)).cast(choose.pick(allDTypes)),
}

/** By how they answer to small changes. */
export const rows = { gentle, rough }
