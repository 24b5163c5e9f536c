/** @file The groups of matrix products and convolutions that the tests of contractions lower. */
import type { DType } from '../../src/core/dtype.ts'
import type { Axis, Expr, ExprBuilder, Index, Size } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'

/** offset + sum of axis * stride. */
export const at = (s: ExprBuilder, ...terms: [Axis, Size][]): Index => ({
  offset: 0,
  terms: terms.map(([a, stride]) => ({ index: s.at(a), stride })),
})

const read = (dtype: DType) => ({ dtype, access: 'read' }) as const

export interface ProductOptions {
  transposeA?: boolean
  transposeB?: boolean
  /** Buffers 2 and 3 of the epilogue: a bias per column, a residual of the output's shape. */
  bias?: boolean
  residual?: boolean
  relu?: boolean
  dtype?: 'float32' | 'float64'
  /** Of a and b, where they are small: float16 and bfloat16 with a float32, bytes with an int32 result. */
  dtypes?: readonly [DType, DType]
  batch?: boolean
}

/** out = epilogue(a x b); sizes travel in slots 0 (m), 1 (n), 2 (k) and 3 (batch), the batch strides in 4 to 6. */
export function product(s: ExprBuilder, options: ProductOptions = {}): Group {
  const { transposeA, transposeB } = options
  const isByte = options.dtypes?.[0] === 'int8' || options.dtypes?.[0] === 'uint8'
  const dtype: DType = options.dtype ?? (isByte ? 'int32' : 'float32')
  const [dtypeA, dtypeB] = options.dtypes ?? [dtype, dtype]
  const [M, N, K] = [{ slot: 0 }, { slot: 1 }, { slot: 2 }]
  const [m, n, k] = [s.axis(M), s.axis(N), s.axis(K)]
  const batch = options.batch ? [s.axis({ slot: 3 })] : []
  const batchTerm = (slot: number): [Axis, Size][] => batch.map((axis) => [axis, { slot }])
  const a = s.load(0, dtypeA, at(s, ...batchTerm(4), ...pair(transposeA, [m, K], [k, M])))
  const b = s.load(1, dtypeB, at(s, ...batchTerm(5), ...pair(transposeB, [k, N], [n, K])))
  let value: Expr = s.reduce('add', [k], s.mul(a, b))
  const out = at(s, ...batchTerm(6), [m, N], [n, 1])
  const extra: Group['buffers'][number][] = []
  const operand = (index: Index): Expr => s.load(1 + extra.push(read(dtype)), dtype, index)
  if (options.bias) value = s.add(value, operand(at(s, [n, 1])))
  if (options.residual) value = s.add(value, operand(out))
  if (options.relu) value = s.max(value, 0)
  return {
    name: 'product',
    axes: [...batch, m, n],
    buffers: [read(dtypeA), read(dtypeB), ...extra, { dtype, access: 'write' }],
    stores: [{ buffer: 2 + extra.length, index: out, value }],
    checks: [],
    params: [],
    sizeCount: options.batch ? 7 : 3,
  }
}

// [outer, inner] walked row by row, or with the roles of the two axes exchanged.
function pair(
  transposed: boolean | undefined,
  plain: [Axis, Size],
  other: [Axis, Size],
): [Axis, Size][] {
  const [outer, inner] = transposed ? [other, plain] : [plain, other]
  return [
    [outer[0], outer[1]],
    [inner[0], 1],
  ]
}

export interface ConvShape {
  images: number
  inputs: number
  outputs: number
  height: number
  width: number
  kernel: number
  stride?: number
  padding?: number
}

/** The three contractions of a convolution, with constant sizes: out, the weight's and the input's gradient. */
export function convolution(
  s: ExprBuilder,
  shape: ConvShape,
  which: 'forward' | 'weight' | 'input',
): { group: Group; lengths: number[]; flop: number } {
  const { images, inputs, outputs, height, width, kernel, stride = 1, padding = 0 } = shape
  const rows = Math.floor((height + 2 * padding - kernel) / stride) + 1
  const columns = Math.floor((width + 2 * padding - kernel) / stride) + 1
  const [n, ci, co] = [s.axis(images), s.axis(inputs), s.axis(outputs)]
  const [kh, kw] = [s.axis(kernel), s.axis(kernel)]
  const lengthX = images * inputs * height * width
  const lengthW = outputs * inputs * kernel * kernel
  const lengthY = images * outputs * rows * columns
  const flop = 2 * lengthY * inputs * kernel * kernel
  const w = s.load(
    1,
    'float32',
    at(s, [co, inputs * kernel ** 2], [ci, kernel ** 2], [kh, kernel], [kw, 1]),
  )
  const group = (axes: Axis[], index: Index, value: Expr, bias: boolean): Group => ({
    name: `conv_${which}`,
    axes,
    buffers: [
      read('float32'),
      read('float32'),
      ...(bias ? [read('float32')] : []),
      { dtype: 'float32', access: 'write' },
    ],
    stores: [{ buffer: bias ? 3 : 2, index, value }],
    checks: [],
    params: [],
    sizeCount: 0,
  })
  const inside = (x: Expr, extent: number) => s.and(s.le(s.like(x, 0), x), s.lt(x, extent))
  if (which === 'input') {
    const [ih, iw] = [s.axis(height), s.axis(width)]
    // y = (i + padding - k) / stride, where that is whole and inside.
    const from = (i: Axis, k: Axis, extent: number): [Expr, Expr] => {
      const up = s.sub(s.add(s.at(i), padding), s.at(k))
      if (stride === 1) return [up, inside(up, extent)]
      const y = s.div(up, stride)
      return [y, s.and(s.eq(s.rem(up, stride), 0), inside(y, extent))]
    }
    const [y, yInside] = from(ih, kh, rows)
    const [x, xInside] = from(iw, kw, columns)
    const index: Index = {
      offset: 0,
      terms: [
        { index: s.at(n), stride: outputs * rows * columns },
        { index: s.at(co), stride: rows * columns },
        { index: y, stride: columns },
        { index: x, stride: 1 },
      ],
    }
    const g = s.load(0, 'float32', index, s.and(yInside, xInside))
    const sum = s.reduce('add', [co, kh, kw], s.mul(g, w))
    const out = at(s, [n, inputs * height * width], [ci, height * width], [ih, width], [iw, 1])
    return {
      group: group([n, ci, ih, iw], out, sum, false),
      lengths: [lengthY, lengthW, lengthX],
      flop,
    }
  }
  const [oh, ow] = [s.axis(rows), s.axis(columns)]
  const ih = s.sub(s.add(s.mul(s.at(oh), stride), s.at(kh)), padding)
  const iw = s.sub(s.add(s.mul(s.at(ow), stride), s.at(kw)), padding)
  const index: Index = {
    offset: 0,
    terms: [
      { index: s.at(n), stride: inputs * height * width },
      { index: s.at(ci), stride: height * width },
      { index: ih, stride: width },
      { index: iw, stride: 1 },
    ],
  }
  const guard = padding > 0 ? s.and(inside(ih, height), inside(iw, width)) : undefined
  const x = s.load(0, 'float32', index, guard)
  const out = at(s, [n, outputs * rows * columns], [co, rows * columns], [oh, columns], [ow, 1])
  if (which === 'forward') {
    const bias = s.load(2, 'float32', at(s, [co, 1]))
    const value = s.max(s.add(s.reduce('add', [ci, kh, kw], s.mul(x, w)), bias), 0)
    return {
      group: group([n, co, oh, ow], out, value, true),
      lengths: [lengthX, lengthW, outputs, lengthY],
      flop,
    }
  }
  const g = s.load(1, 'float32', out)
  const sum = s.reduce('add', [n, oh, ow], s.mul(g, x))
  const weight = at(s, [co, inputs * kernel ** 2], [ci, kernel ** 2], [kh, kernel], [kw, 1])
  return {
    group: group([co, ci, kh, kw], weight, sum, false),
    lengths: [lengthX, lengthY, lengthW],
    flop,
  }
}
