/** @file The groups of matrix products and convolutions that the tests of contractions lower. */
import type { DType } from '../../src/core/dtype.ts'
import { ExprBuilder, type Axis, type Expr, type Index, type Size } from '../../src/ir/expr.ts'
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
  batch?: boolean
}

/** out = epilogue(a x b); sizes travel in slots 0 (m), 1 (n), 2 (k) and 3 (batch), the batch strides in 4 to 6. */
export function product(s: ExprBuilder, options: ProductOptions = {}): Group {
  const { dtype = 'float32', transposeA, transposeB } = options
  const [M, N, K]: Size[] = [{ slot: 0 }, { slot: 1 }, { slot: 2 }]
  const [m, n, k] = [s.axis(M), s.axis(N), s.axis(K)]
  const batch = options.batch ? [s.axis({ slot: 3 })] : []
  const batchTerm = (slot: number): [Axis, Size][] => batch.map((axis) => [axis, { slot }])
  const a = s.load(0, dtype, at(s, ...batchTerm(4), ...pair(transposeA, [m, K], [k, M])))
  const b = s.load(1, dtype, at(s, ...batchTerm(5), ...pair(transposeB, [k, N], [n, K])))
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
    buffers: [read(dtype), read(dtype), ...extra, { dtype, access: 'write' }],
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
