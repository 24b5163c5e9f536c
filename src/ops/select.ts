/** @file Choosing between elements: where, clamp, and what replaces or blends them. */
import { dtypes, isFloat } from '../core/dtype.ts'
import { broadcastShapes } from '../core/shape.ts'
import type { Expr, ExprBuilder } from '../ir/expr.ts'
import { dispatch } from '../tensor/dispatch.ts'
import type { Op } from '../tensor/op.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, DTypeError, ValueError } from '../util/errors.ts'
import {
  checkOperands,
  checkTensor,
  defineOp,
  elementwise,
  promoteInputs,
  needsNumbers,
  type Operand,
} from './define.ts'

const whereOp: Op = defineOp({
  name: 'where',
  kind: 'elementwise',
  onnx: 'Where',
  infer(inputs) {
    const [condition, ...choices] = inputs
    if (condition!.dtype !== 'bool')
      throw new DTypeError(
        `where: the condition is ${condition!.dtype}. Expected bool; compare it first, for example x.ne(0)`,
      )
    const shape = broadcastShapes('where', ...inputs.map((x) => x.shape))
    return [{ shape, dtype: promoteInputs(choices) }]
  },
  lower({ inputs, outputs, kernel, out }) {
    const k = kernel()
    const axes = k.axes(outputs[0]!.layout.shape)
    const type = dtypes[outputs[0]!.dtype].compute
    let params = 0
    const choices = inputs
      .slice(1)
      .map((x, i) => (x.scalar === undefined ? k.load(i + 1, axes) : k.param(params++)))
      .map((x) => k.s.convert(x, type))
    k.store(out(), axes, k.s.select(k.load(0, axes), choices[0]!, choices[1]!))
    return [k.finish()]
  },
  vjp: ({ g, inputs: [condition], needs }) => [
    undefined,
    needs(1) ? dispatch(whereOp, [condition!, g, 0]) : undefined,
    needs(2) ? dispatch(whereOp, [condition!, 0, g]) : undefined,
  ],
  saves: 'inputs',
})

/**
 * Elements of `a` where the condition holds, else of `b`. All three broadcast; the dtypes of `a` and
 * `b` promote. Throws a DTypeError unless the condition is bool.
 *
 * @example
 * where(tensor([true, false]), tensor([1, 2]), 0) // -> tensor([1, 0], float32, cpu)
 */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  checkTensor('where', 'condition', condition)
  if (typeof a !== 'number') checkTensor('where', 'a', a)
  if (typeof b !== 'number') checkTensor('where', 'b', b)
  return dispatch(whereOp, [condition, a, b])
}

export interface ClampOptions {
  /** Lower bound; default none. */
  readonly min?: Operand
  /** Upper bound; default none. It wins where it lies below the lower one. */
  readonly max?: Operand
}

const zero = (s: ExprBuilder, g: Expr) => s.like(g, 0)
/** Where x is inside, bounds and NaN included. */
const notBelow = (s: ExprBuilder, x: Expr, min: Expr) => s.not(s.lt(x, min))
const notAbove = (s: ExprBuilder, x: Expr, max: Expr) => s.not(s.gt(x, max))

const clampMinOp = elementwise({
  name: 'clampMin',
  dtype: 'promote',
  onnx: 'Clip',
  scalar: (s, x, min) => s.max(x, min),
  partials: [
    (s, g, x, min) => s.select(notBelow(s, x, min), g, zero(s, g)),
    (s, g, x, min) => s.select(s.lt(x, min), g, zero(s, g)),
  ],
  refuse: needsNumbers,
})

const clampMaxOp = elementwise({
  name: 'clampMax',
  dtype: 'promote',
  onnx: 'Clip',
  scalar: (s, x, max) => s.min(x, max),
  partials: [
    (s, g, x, max) => s.select(notAbove(s, x, max), g, zero(s, g)),
    (s, g, x, max) => s.select(s.gt(x, max), g, zero(s, g)),
  ],
  refuse: needsNumbers,
})

const clampOp = elementwise({
  name: 'clamp',
  dtype: 'promote',
  onnx: 'Clip',
  scalar: (s, x, min, max) => s.min(s.max(x, min), max),
  partials: [
    (s, g, x, min, max) => s.select(s.and(notBelow(s, x, min), notAbove(s, x, max)), g, zero(s, g)),
    (s, g, x, min, max) => s.select(s.and(s.lt(x, min), s.lt(min, max)), g, zero(s, g)),
    (s, g, x, min, max) => s.select(s.or(s.gt(x, max), s.lt(max, min)), g, zero(s, g)),
  ],
  refuse: needsNumbers,
})

/**
 * Limits elements to min..max, each a number or a tensor that broadcasts; dtypes promote and NaN
 * stays. The gradient passes inside, the bounds included. Throws a ValueError without any bound, and a
 * DTypeError for bools.
 *
 * @example
 * clamp(tensor([-1, 0.5, 2]), { min: 0, max: 1 }) // -> tensor([0.0, 0.5, 1.0], float32, cpu)
 */
export function clamp(x: Tensor, options: ClampOptions): Tensor {
  checkTensor('clamp', 'x', x)
  checkOptions('clamp', options, ['min', 'max'])
  const { min, max } = options ?? {}
  for (const [name, bound] of Object.entries({ min, max }))
    if (bound !== undefined && typeof bound !== 'number') checkTensor('clamp', name, bound)
  if (min !== undefined && max !== undefined) return dispatch(clampOp, [x, min, max])
  if (min !== undefined) return dispatch(clampMinOp, [x, min])
  if (max !== undefined) return dispatch(clampMaxOp, [x, max])
  throw new ValueError('clamp: no bound given. Expected { min }, { max } or both')
}

const lerpOp = elementwise({
  name: 'lerp',
  dtype: 'floating',
  // Measured from the nearer end, so that weights 0 and 1 give the ends themselves.
  scalar(s, start, end, weight) {
    const gap = s.sub(end, start)
    const fromStart = s.add(start, s.mul(weight, gap))
    const fromEnd = s.sub(end, s.mul(gap, s.sub(s.like(weight, 1), weight)))
    return s.select(s.lt(s.abs(weight), 0.5), fromStart, fromEnd)
  },
  partials: 'derived',
})

/**
 * start + weight (end - start): `start` at weight 0, `end` at weight 1. Shapes broadcast; integers
 * become float32.
 *
 * @example
 * lerp(tensor([0, 10]), tensor([10, 20]), 0.5) // -> tensor([5, 15], float32, cpu)
 */
export function lerp(start: Operand, end: Operand, weight: Operand): Tensor {
  checkOperands('lerp', start, end)
  if (typeof weight !== 'number') checkTensor('lerp', 'weight', weight)
  return dispatch(lerpOp, [start, end, weight])
}

export interface NanToNumOptions {
  /** What replaces NaN; default 0. */
  readonly nan?: number
  /** What replaces Infinity; default the largest number of the dtype. */
  readonly posInf?: number
  /** What replaces -Infinity; default the smallest number of the dtype. */
  readonly negInf?: number
}

const nanToNumOp = elementwise({
  name: 'nanToNum',
  dtype: 'promote',
  scalar(s, x, nan, posInf, negInf) {
    const finite = s.select(s.eq(x, -Infinity), negInf, s.select(s.eq(x, Infinity), posInf, x))
    return s.select(s.ne(x, x), nan, finite)
  },
  partials: [(s, g, x) => s.select(s.lt(s.abs(x), Infinity), g, s.like(g, 0))],
})

const largest = {
  float16: 65504,
  bfloat16: 2 ** 127 * (2 - 2 ** -7),
  float32: 2 ** 127 * (2 - 2 ** -23),
  float64: Number.MAX_VALUE,
}

/**
 * Replaces NaN and the infinities by numbers; no gradient flows through those. Shape and dtype of
 * `x`; integers have neither and come back as they are.
 *
 * @example
 * nanToNum(tensor([1, NaN, Infinity]), { posInf: 9 }) // -> tensor([1, 0, 9], float32, cpu)
 */
export function nanToNum(x: Tensor, options: NanToNumOptions = {}): Tensor {
  checkTensor('nanToNum', 'x', x)
  checkOptions('nanToNum', options, ['nan', 'posInf', 'negInf'])
  if (!isFloat(x.dtype)) return x.clone()
  const top = largest[x.dtype as keyof typeof largest]
  const { nan = 0, posInf = top, negInf = -top } = options
  return dispatch(nanToNumOp, [x, nan, posInf, negInf])
}
