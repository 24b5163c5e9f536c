/** @file Rows of indexing: elements and slices picked by position, and added at positions. */
import {
  DTypeError,
  embedding,
  gather,
  indexAdd,
  indexSelect,
  maskedFill,
  oneHot,
  ones,
  scatterAdd,
  ShapeError,
  tensor,
  ValueError,
  zeros,
  type DType,
  type Tensor,
} from 'tandem'
import { plain, positions, type PlainArray } from './plain.ts'
import { all, floats, ints, type InputSpec, type Row } from './row.ts'

const index = (shape: readonly number[], high: number, dtype: DType = 'int32'): InputSpec => ({
  shape,
  low: 0,
  high,
  dtype,
})

const at = (values: number[], dtype: DType = 'int32') => tensor(values, { dtype })

/** Starts from `base` and adds src[position] at target(position), in row-major order. */
function adding(
  base: PlainArray,
  covered: readonly number[],
  src: PlainArray,
  target: (position: number[]) => number[],
): PlainArray {
  const totals = new Map<string, number>()
  for (const position of positions(covered)) {
    const key = target(position).join()
    totals.set(key, (totals.get(key) ?? base.at(...target(position))) + src.at(...position))
  }
  return plain(base.shape, (...p) => totals.get(p.join()) ?? base.at(...p))
}

const take = (x: PlainArray, axis: number, p: PlainArray): PlainArray =>
  plain(x.shape.toSpliced(axis, 1, ...p.shape), (...i) =>
    x.at(...i.toSpliced(axis, p.shape.length, p.at(...i.slice(axis, axis + p.shape.length)))),
  )

const noIntegers = {
  what: 'floats as positions',
  error: DTypeError,
  message: /index is float32\. Positions are integers.*index\.cast\('int32'\)/,
}

export const rows: Row[] = [
  {
    op: 'gather',
    call: (x: Tensor, p: Tensor, axis: number) => gather(x, axis, p),
    reference: (x: PlainArray, p: PlainArray, axis: number) =>
      plain(p.shape, (...i) => x.at(...i.with(axis, p.at(...i)))),
    dtypes: all,
    samples: [
      { inputs: [[3, 4], index([3, 6], 4)], args: [1] },
      { inputs: [[3, 4], index([5, 2], 3, 'int64')], args: [0] },
      { inputs: [[2, 3, 5], index([2, 1, 4], 3, 'uint8')], args: [1] },
      { inputs: [[3, 4], index([3, 0], 4)], args: [1], grad: false },
    ],
    errors: [
      { ...noIntegers, call: () => gather(ones([2]), 0, tensor([0])) },
      {
        what: 'a position past the end',
        call: () => gather(ones([2, 3]), 1, at([0, 1, 2, 3]).reshape([2, 2])),
        error: ValueError,
        message:
          /gather: position 3 \(at index\[1, 1\]\) is outside axis 1 of x of size 3\. Expected whole numbers from 0 to 2/,
      },
      {
        what: 'a negative position',
        call: () => gather(ones([3]), 0, at([1, -1], 'int64')),
        error: ValueError,
        message: /gather: position -1 \(at index\[1\]\).*add the size/,
      },
      {
        what: 'an index of other axes',
        call: () => gather(ones([2, 3]), 1, at([0, 1])),
        error: ShapeError,
        message: /gather: index \[2\] does not fit x \[2, 3\].*indexSelect/,
      },
    ],
  },
  {
    op: 'scatterAdd',
    call: (x: Tensor, p: Tensor, src: Tensor, axis: number) => scatterAdd(x, axis, p, src),
    reference: (x: PlainArray, p: PlainArray, src: PlainArray, axis: number) =>
      adding(x, p.shape, src, (i) => i.with(axis, p.at(...i))),
    dtypes: [...floats, ...ints],
    tolerance: { float16: 2e-2, bfloat16: 0.1 },
    samples: [
      { inputs: [[3, 4], index([3, 6], 4), [3, 6]], args: [1] },
      { inputs: [[2, 3], index([4, 2], 2, 'int64'), [5, 3]], args: [0] },
    ],
    errors: [
      { ...noIntegers, call: () => scatterAdd(ones([2]), 0, tensor([0]), ones([1])) },
      {
        what: 'a position past the end',
        call: () => scatterAdd(zeros([2]), 0, at([2]), ones([1])),
        error: ValueError,
        message: /scatterAdd: position 2 \(at index\[0\]\) is outside axis 0 of x of size 2/,
      },
      {
        what: 'too few elements to add',
        call: () => scatterAdd(zeros([2]), 0, at([0, 1]), ones([1])),
        error: ShapeError,
        message: /scatterAdd: src \[1\] does not cover index \[2\]/,
      },
      {
        what: 'floats into integers',
        call: () => scatterAdd(at([0, 0]), 0, at([0, 1]), ones([2])),
        error: DTypeError,
        message: /scatterAdd: src is float32, which does not fit into x of dtype int32/,
      },
    ],
  },
  {
    op: 'take',
    covers: ['indexSelect'],
    call: (x: Tensor, p: Tensor, axis: number) => indexSelect(x, axis, p),
    reference: (x: PlainArray, p: PlainArray, axis: number) => take(x, axis, p),
    dtypes: all,
    samples: [
      { inputs: [[3, 4], index([5], 3)], args: [0] },
      { inputs: [[3, 4], index([6], 4, 'uint8')], args: [1] },
      { inputs: [[2, 3, 37], index([4], 3, 'int64')], args: [1], grad: false },
      { inputs: [[3, 4], index([0], 4)], args: [1], grad: false },
    ],
    errors: [
      { ...noIntegers, call: () => indexSelect(ones([2]), 0, tensor([0])) },
      {
        what: 'an index of two axes',
        call: () => indexSelect(ones([2]), 0, at([0, 1]).reshape([2, 1])),
        error: ShapeError,
        message: /indexSelect: index has shape \[2, 1\]. Expected one axis.*gather/,
      },
      {
        what: 'a position past the end',
        call: () => indexSelect(ones([2, 3]), 1, at([0, 3])),
        error: ValueError,
        message: /indexSelect: position 3 \(at index\[1\]\) is outside axis 1 of x of size 3/,
      },
    ],
  },
  {
    op: 'embedding',
    call: embedding,
    reference: (weight: PlainArray, p: PlainArray) => take(weight, 0, p),
    samples: [
      { inputs: [[5, 4], index([2, 3], 5)] },
      { inputs: [[5, 17], index([], 5, 'int64')] },
      { inputs: [[5, 2, 3], index([4], 5)] },
    ],
    errors: [
      {
        what: 'a position outside the table',
        call: () => embedding(ones([10, 4]), at([3, 12])),
        error: ValueError,
        message: /embedding: position 12 \(at index\[1\]\) is outside the weight of size 10/,
      },
      {
        what: 'a paddingIndex outside the table',
        call: () => embedding(ones([10, 4]), at([3]), { paddingIndex: 10 }),
        error: ValueError,
        message: /embedding: paddingIndex 10 is no row of weight \[10, 4\]/,
      },
    ],
  },
  {
    op: 'embedding',
    note: 'rows without gradient',
    // What gradcheck cannot see, the padding row being constant: only the others move.
    call: (weight: Tensor, p: Tensor) =>
      embedding(
        weight.slice([1, null]).pad([
          [1, 0],
          [0, 0],
        ]),
        p,
        { paddingIndex: 0 },
      ),
    samples: [{ inputs: [[5, 4], index([2, 6], 5)] }],
  },
  {
    op: 'indexAdd',
    withoutOnnx:
      'ScatterND with a reduction covers it only for axis 0 and positions of another shape',
    call: (x: Tensor, p: Tensor, src: Tensor, axis: number) => indexAdd(x, axis, p, src),
    reference: (x: PlainArray, p: PlainArray, src: PlainArray, axis: number) =>
      adding(x, src.shape, src, (i) => i.with(axis, p.at(i[axis]!))),
    dtypes: [...floats, ...ints],
    tolerance: { float16: 2e-2, bfloat16: 0.1 },
    samples: [
      { inputs: [[3, 4], index([5], 3), [5, 4]], args: [0] },
      { inputs: [[2, 3, 19], index([4], 3), [2, 4, 19]], args: [1], grad: false },
      { inputs: [[3, 4], index([5], 4, 'int64'), [3, 5]], args: [1] },
    ],
    errors: [
      { ...noIntegers, call: () => indexAdd(ones([2]), 0, tensor([0]), ones([1])) },
      {
        what: 'slices of another shape',
        call: () => indexAdd(ones([2, 3]), 0, at([0]), ones([1, 4])),
        error: ShapeError,
        message: /indexAdd: src \[1, 4\] does not fit x \[2, 3\].*Expected \[1, 3\]/,
      },
      {
        what: 'a position past the end',
        call: () => indexAdd(ones([2, 3]), 0, at([5]), ones([1, 3])),
        error: ValueError,
        message: /indexAdd: position 5 \(at index\[0\]\) is outside axis 0 of x of size 2/,
      },
    ],
  },
  {
    op: 'oneHot',
    call: oneHot,
    reference: (p: PlainArray, { numClasses }: { numClasses: number }) =>
      plain([...p.shape, numClasses], (...i) => Number(p.at(...i.slice(0, -1)) === i.at(-1))),
    dtypes: ints,
    result: () => 'int32',
    grad: false,
    samples: [
      { inputs: [{ shape: [2, 5], low: 0, high: 4 }], args: [{ numClasses: 4 }] },
      { inputs: [{ shape: [], low: 0, high: 4 }], args: [{ numClasses: 21 }] },
    ],
    errors: [
      {
        what: 'no number of classes',
        call: () => oneHot(at([1]), {} as never),
        error: ValueError,
        message: /oneHot: numClasses is undefined/,
      },
      {
        what: 'a label that is no class',
        call: () => oneHot(at([1, 4]), { numClasses: 4 }),
        error: ValueError,
        message: /oneHot: position 4 \(at index\[1\]\) is outside numClasses of size 4/,
      },
    ],
  },
  {
    op: 'maskedFill',
    call: maskedFill,
    reference: (x: PlainArray, mask: PlainArray, value: number) =>
      plain(x.shape, (...i) => (mask.at(...i) ? value : x.at(...i))),
    dtypes: [...floats, ...ints],
    samples: [
      { inputs: [[3, 5], { shape: [3, 5], dtype: 'bool' }], args: [2] },
      {
        inputs: [[3, 5], { shape: [5], dtype: 'bool' }],
        args: [-Infinity],
        dtypes: floats,
        grad: false,
      },
    ],
    errors: [
      {
        what: 'a mask of numbers',
        call: () => maskedFill(ones([2]), ones([2]), 0),
        error: DTypeError,
        message: /maskedFill: mask is float32. Expected bool/,
      },
      {
        what: 'a mask larger than x',
        call: () => maskedFill(ones([2]), ones([3, 2]).cast('bool'), 0),
        error: ShapeError,
        message: /maskedFill: mask \[3, 2\] does not broadcast to x \[2\]/,
      },
      {
        what: 'a fraction for integers',
        call: () => maskedFill(at([1]), at([1]).cast('bool'), 0.5),
        error: DTypeError,
        message: /maskedFill: value 0\.5 does not fit dtype int32/,
      },
    ],
  },
]
