/** @file Rows of the affine map. */
import { linear, ones, DTypeError, ShapeError } from 'tandem'
import { naiveMatmul } from './matmul.samples.ts'
import { plain, type PlainArray } from './plain.ts'
import type { Row } from './row.ts'

function naiveLinear(x: PlainArray, weight: PlainArray, bias?: PlainArray): PlainArray {
  const [outFeatures, inFeatures] = weight.shape as [number, number]
  const transposed = plain([inFeatures, outFeatures], (i, o) => weight.at(o!, i!))
  const product = naiveMatmul(x, transposed)
  if (bias === undefined) return product
  return plain(product.shape, (...index) => product.at(...index) + bias.at(index.at(-1)!))
}

export const rows: Row[] = [
  {
    op: 'linear',
    call: linear,
    reference: naiveLinear,
    tolerance: { float32: 1e-5, float64: 1e-13 },
    samples: [
      { inputs: [[3, 4], [5, 4], [5]] },
      {
        inputs: [
          [3, 4],
          [5, 4],
        ],
      },
      { inputs: [[2, 3, 4], [5, 4], [5]] },
      { inputs: [[4], [3, 4], [3]] },
      { inputs: [[17, 9], [21, 9], [21]], grad: false },
      { inputs: [[0, 4], [3, 4], [3]], grad: false },
      { inputs: [[2, 0], [3, 0], [3]], grad: false },
    ],
    errors: [
      {
        what: 'features that differ',
        call: () => ones([2, 3]).linear(ones([3, 4])),
        error: ShapeError,
        message: /linear: x has 3 features, the weight takes 4.*transpose the weight\?/,
      },
      {
        what: 'a weight that is no matrix',
        call: () => ones([2, 3]).linear(ones([3])),
        error: ShapeError,
        message: /linear: expected x of at least 1 axis and weight/,
      },
      {
        what: 'a bias of another size',
        call: () => ones([2, 3]).linear(ones([4, 3]), ones([3])),
        error: ShapeError,
        message: /linear: bias \[3\] does not fit 4 outputs/,
      },
      {
        what: 'integers',
        call: () => ones([2, 3], { dtype: 'int32' }).linear(ones([4, 3], { dtype: 'int32' })),
        error: DTypeError,
        message: /linear: expected floating-point tensors, received int32, int32/,
      },
    ],
  },
]
