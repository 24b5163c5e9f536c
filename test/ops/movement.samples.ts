/** @file Rows of the views. */
import * as tandem from 'tandem'
import { ones, ShapeError, ValueError, type SliceRange, type Tensor } from 'tandem'
import { plain, PlainArray } from './plain.ts'
import { all, type Row } from './row.ts'

const x = ones([2, 3])

const permuted = (a: PlainArray, axes: readonly number[]): PlainArray =>
  plain(
    axes.map((axis) => a.shape.at(axis)!),
    (...index) => {
      const from: number[] = []
      axes.forEach((axis, i) => (from[axis < 0 ? axis + axes.length : axis] = index[i]!))
      return a.at(...from)
    },
  )

const transposed = (a: PlainArray, axis0 = -2, axis1 = -1): PlainArray => {
  const axes = a.shape.map((_, i) => i)
  const [i, j] = [axes.at(axis0)!, axes.at(axis1)!]
  axes[i] = j
  axes[j] = i
  return permuted(a, axes)
}

/** The same elements under a shape computed from the old one. */
const reshaped =
  <A extends readonly unknown[]>(shapeOf: (shape: readonly number[], ...args: A) => number[]) =>
  (a: PlainArray, ...args: A): PlainArray =>
    new PlainArray(shapeOf(a.shape, ...args), a.data)

/** Positions a range picks, by walking over them. */
function positionsOf(range: SliceRange, n: number): number[] {
  if (typeof range === 'number') return [range < 0 ? range + n : range]
  const [from, to, step = 1] = range ?? []
  const list = Array.from({ length: n }, (_, i) => i)
  const at = (p: number) => (p < 0 ? p + n : p)
  const found = step > 0 ? list : list.reverse()
  const isInside = (i: number) =>
    step > 0
      ? (from == null || i >= at(from)) && (to == null || i < at(to))
      : (from == null || i <= at(from)) && (to == null || i > at(to))
  return found.filter(isInside).filter((_, i) => i % Math.abs(step) === 0)
}

function sliced(a: PlainArray, ...ranges: readonly SliceRange[]): PlainArray {
  const picked = a.shape.map((n, i) => positionsOf(ranges[i] ?? null, n))
  const all = plain(
    picked.map((p) => p.length),
    (...index) => a.at(...index.map((i, axis) => picked[axis]![i]!)),
  )
  return new PlainArray(
    all.shape.filter((_, i) => typeof ranges[i] !== 'number'),
    all.data,
  )
}

export const rows: Row[] = [
  {
    op: 'reshape',
    call: tandem.reshape,
    view: true,
    dtypes: all,
    reference: reshaped((from, shape: readonly number[]) => {
      const known = shape.reduce((a, n) => (n === -1 ? a : a * n), 1)
      return shape.map((n) => (n === -1 ? from.reduce((a, b) => a * b, 1) / known : n))
    }),
    samples: [
      { inputs: [[2, 6]], args: [[3, 4]] },
      { inputs: [[2, 6]], args: [[2, -1, 2]] },
      { inputs: [[]], args: [[1, 1]] },
      { inputs: [[0, 3]], args: [[3, 0, 2]], grad: false },
    ],
    errors: [
      {
        what: 'another number of elements',
        call: () => x.reshape([4, 2]),
        error: ShapeError,
        message: /reshape: \[2, 3\] has 6 elements, which do not fit \[4, 2\]/,
      },
      {
        what: 'two unknown sizes',
        call: () => x.reshape([-1, -1]),
        error: ShapeError,
        message: /reshape: .*one may be -1/,
      },
    ],
  },
  {
    op: 'flatten',
    call: tandem.flatten,
    view: true,
    reference: reshaped(
      (from, { startAxis = 0, endAxis = from.length - 1 }: tandem.FlattenOptions = {}) =>
        from.length === 0
          ? [1]
          : [
              ...from.slice(0, startAxis),
              from.slice(startAxis, endAxis + 1).reduce((a, b) => a * b, 1),
              ...from.slice(endAxis + 1),
            ],
    ),
    samples: [
      { inputs: [[2, 3, 4]] },
      { inputs: [[2, 3, 4]], args: [{ startAxis: 1 }] },
      { inputs: [[2, 3, 4]], args: [{ endAxis: 1 }] },
      { inputs: [[]] },
      { inputs: [[0, 3]], grad: false },
    ],
    errors: [
      {
        what: 'axes in the wrong order',
        call: () => x.flatten({ startAxis: 1, endAxis: 0 }),
        error: ShapeError,
        message: /flatten: endAxis 0 comes before startAxis 1/,
      },
    ],
  },
  {
    op: 'permute',
    call: tandem.permute,
    view: true,
    dtypes: all,
    reference: permuted,
    samples: [
      { inputs: [[2, 3, 4]], args: [[2, 0, 1]] },
      { inputs: [[2, 3, 4]], args: [[-1, 1, 0]] },
      { inputs: [[]], args: [[]] },
      { inputs: [[0, 3]], args: [[1, 0]], grad: false },
    ],
    errors: [
      {
        what: 'a repeated axis',
        call: () => x.permute([0, 0]),
        error: ShapeError,
        message: /permute: \[0, 0\] is no order of the 2 axes of \[2, 3\]/,
      },
      {
        what: 'axes that are no array',
        call: () => x.permute(1 as never),
        error: ValueError,
        message: /permute: expected an array of axes, received 1/,
      },
    ],
  },
  {
    op: 'transpose',
    call: tandem.transpose,
    view: true,
    reference: transposed,
    samples: [
      { inputs: [[2, 3, 4]] },
      { inputs: [[2, 3, 4]], args: [0, -1] },
      { inputs: [[0, 3]], grad: false },
    ],
    errors: [
      {
        what: 'a vector',
        call: () => ones([3]).transpose(),
        error: ShapeError,
        message: /transpose: expected at least 2 axes, received shape \[3\]/,
      },
    ],
  },
  {
    op: 'expand',
    call: tandem.expand,
    view: true,
    dtypes: all,
    reference: (a: PlainArray, shape: readonly number[]) => {
      const skipped = shape.length - a.shape.length
      const target = shape.map((n, i) => (n === -1 ? a.shape[i - skipped]! : n))
      return plain(target, (...index) => a.at(...index))
    },
    samples: [
      { inputs: [[3, 1]], args: [[3, 4]] },
      { inputs: [[3, 1]], args: [[2, -1, 5]] },
      { inputs: [[]], args: [[2, 2]] },
      { inputs: [[1, 3]], args: [[0, 3]], grad: false },
    ],
    errors: [
      {
        what: 'an axis that cannot stretch',
        call: () => x.expand([4, 3]),
        error: ShapeError,
        message: /expand: /,
      },
    ],
  },
  {
    op: 'squeeze',
    call: tandem.squeeze,
    view: true,
    reference: reshaped((from, { axis }: tandem.SqueezeOptions = {}) =>
      from.filter((n, i) => (axis === undefined ? n !== 1 : i !== axis)),
    ),
    samples: [
      { inputs: [[1, 3, 1]] },
      { inputs: [[1, 3, 1]], args: [{ axis: 0 }] },
      { inputs: [[]] },
      { inputs: [[1, 0]], grad: false },
    ],
    errors: [
      {
        what: 'an axis of another size',
        call: () => x.squeeze({ axis: 1 }),
        error: ShapeError,
        message: /squeeze: axis 1 of \[2, 3\] has size 3/,
      },
    ],
  },
  {
    op: 'unsqueeze',
    call: tandem.unsqueeze,
    view: true,
    reference: reshaped((from, axis: number) =>
      from.toSpliced(axis < 0 ? from.length + 1 + axis : axis, 0, 1),
    ),
    samples: [
      { inputs: [[2, 3]], args: [1] },
      { inputs: [[2, 3]], args: [-1] },
      { inputs: [[]], args: [0] },
      { inputs: [[0]], args: [0], grad: false },
    ],
    errors: [
      {
        what: 'an axis out of range',
        call: () => x.unsqueeze(4),
        error: ShapeError,
        message: /unsqueeze: axis 4 is out of range/,
      },
    ],
  },
  {
    op: 'slice',
    call: tandem.slice,
    view: true,
    dtypes: all,
    reference: sliced,
    samples: [
      { inputs: [[4, 5]], args: [1] },
      { inputs: [[4, 5]], args: [-1, [1, 4]] },
      { inputs: [[4, 5]], args: [null, [0, 5, 2]] },
      {
        inputs: [[4, 7]],
        args: [
          [null, null, -1],
          [5, 1, -2],
        ],
      },
      { inputs: [[4, 5]], args: [[-3, -1]] },
      { inputs: [[4, 5]], args: [[3, 1]], grad: false },
      { inputs: [[]], args: [] },
      { inputs: [[0, 3]], args: [null, 1], grad: false },
    ],
    errors: [
      {
        what: 'a position outside',
        call: () => x.slice(2),
        error: ShapeError,
        message: /slice: position 2 is outside axis 0 of size 2\. Expected -2 to 1/,
      },
      {
        what: 'too many ranges',
        call: () => x.slice(0, 0, 0),
        error: ShapeError,
        message: /slice: 3 ranges for the 2 axes/,
      },
      {
        what: 'a step of 0',
        call: () => x.slice([0, 2, 0]),
        error: ValueError,
        message: /slice: the step is 0/,
      },
      {
        what: 'fractions',
        call: () => x.slice([0, 1.5]),
        error: ValueError,
        message: /slice: ranges are made of whole numbers, received 1\.5/,
      },
    ],
  },
  {
    op: 'flip',
    call: tandem.flip,
    view: true,
    dtypes: all,
    reference: (a: PlainArray, { axis }: tandem.FlipOptions = {}) =>
      plain(a.shape, (...index) =>
        a.at(...index.map((i, k) => (axis === undefined || axis === k ? a.shape[k]! - 1 - i : i))),
      ),
    samples: [
      { inputs: [[3, 4]] },
      { inputs: [[3, 4]], args: [{ axis: 1 }] },
      { inputs: [[]] },
      { inputs: [[0, 3]], grad: false },
    ],
    errors: [
      {
        what: 'an axis that does not exist',
        call: () => x.flip({ axis: 2 }),
        error: ShapeError,
        message: /flip: axis 2 is out of range/,
      },
    ],
  },
  // Gradients of views of views: each rule is met with strides that are not row-major.
  {
    op: 'slice',
    note: 'of other views',
    call: (a: Tensor) => a.transpose().flip({ axis: 0 }).slice([null, null, 2]).reshape([-1]),
    reference: (a: PlainArray) => {
      const turned = permuted(a, [1, 0])
      const part = sliced(turned, [null, null, -1])
      const picked = sliced(part, [0, null, 2])
      return new PlainArray([picked.data.length], picked.data)
    },
    view: true,
    samples: [{ inputs: [[3, 5]] }],
  },
]
