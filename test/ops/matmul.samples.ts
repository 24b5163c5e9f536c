/** @file Rows of the matrix products. */
import { matmul, ones, ShapeError, type DType } from 'tandem'
import { broadcast, plain, PlainArray } from './plain.ts'
import { all, type Row } from './row.ts'

/** Sums of products, straight from the definition. */
export function naiveMatmul(a: PlainArray, b: PlainArray): PlainArray {
  const left = a.shape.length === 1 ? new PlainArray([1, ...a.shape], a.data) : a
  const right = b.shape.length === 1 ? new PlainArray([...b.shape, 1], b.data) : b
  const leading = (x: PlainArray) => new PlainArray(x.shape.slice(0, -2), [])
  const batch = broadcast(leading(left), leading(right))
  const inner = left.shape.at(-1)!
  const product = plain([...batch, left.shape.at(-2)!, right.shape.at(-1)!], (...index) => {
    const [n, m] = [index.pop()!, index.pop()!]
    let total = 0
    for (let k = 0; k < inner; k++) total += left.at(...index, m, k) * right.at(...index, k, n)
    return total
  })
  const dropped = (a.shape.length === 1 ? [-2] : []).concat(b.shape.length === 1 ? [-1] : [])
  const shape = product.shape.filter((_, i) => !dropped.includes(i - product.shape.length))
  return new PlainArray(shape, product.data)
}

const productDType = (dtype: DType): DType =>
  ['int8', 'uint8', 'bool'].includes(dtype) ? 'int32' : dtype

export const rows: Row[] = [
  {
    op: 'matmul',
    call: matmul,
    reference: naiveMatmul,
    dtypes: all,
    result: productDType,
    tolerance: { float32: 1e-5, float64: 1e-13 },
    samples: [
      {
        inputs: [
          [3, 4],
          [4, 5],
        ],
      },
      {
        inputs: [
          [17, 9],
          [9, 21],
        ],
        grad: false,
      },
      {
        inputs: [
          [2, 1, 3, 4],
          [5, 4, 2],
        ],
      },
      { inputs: [[4], [4, 3]] },
      { inputs: [[2, 3, 4], [4]] },
      { inputs: [[4], [4]] },
      {
        inputs: [
          [0, 4],
          [4, 3],
        ],
        grad: false,
      },
      {
        inputs: [
          [3, 0],
          [0, 2],
        ],
        grad: false,
      },
    ],
    errors: [
      {
        what: 'inner sizes that differ',
        call: () => ones([2, 3]).matmul(ones([4, 3])),
        error: ShapeError,
        message: /matmul: inner sizes differ: a \[2, 3\] x b \[4, 3\].*transpose b\?/,
      },
      {
        what: 'a 0-d operand',
        call: () => ones([]).matmul(ones([2])),
        error: ShapeError,
        message: /matmul: expected operands of at least 1 axis.*Use mul/,
      },
    ],
  },
]
