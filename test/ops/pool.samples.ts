/** @file Rows of pooling. */
import {
  adaptiveAvgPool2d,
  avgPool1d,
  avgPool2d,
  DTypeError,
  globalAvgPool,
  maxPool1d,
  maxPool2d,
  ones,
  ShapeError,
  ValueError,
  type Tensor,
} from 'tandem'
import { plain, positions, type PlainArray } from './plain.ts'
import { floats, ints, type Row, type Sample } from './row.ts'

type List = number | readonly number[]

interface Options {
  kernelSize: List
  stride?: List
  padding?: List
  dilation?: List
  ceilMode?: boolean
  countIncludePad?: boolean
}

const of = (value: List, axis: number): number => (typeof value === 'number' ? value : value[axis]!)

/** The elements under each window, and how many it would have with the zeros of the padding. */
function pooling(f: (values: number[], padded: number) => number) {
  return (x: PlainArray, options: Options): PlainArray => {
    const [n, channels, ...sizes] = x.shape as [number, number, ...number[]]
    const windows = sizes.map((size, i) => {
      const kernel = of(options.kernelSize, i)
      const stride = of(options.stride ?? options.kernelSize, i)
      const padding = of(options.padding ?? 0, i)
      const dilation = of(options.dilation ?? 1, i)
      const rest = (size + 2 * padding - dilation * (kernel - 1) - 1) / stride
      let count = (options.ceilMode ? Math.ceil(rest) : Math.floor(rest)) + 1
      if (options.ceilMode && (count - 1) * stride >= size + padding) count--
      return { size, kernel, stride, padding, dilation, count }
    })
    return plain([n, channels, ...windows.map((w) => w.count)], (b, c, ...o) => {
      const values: number[] = []
      let padded = 0
      for (const tap of positions(windows.map((w) => w.kernel))) {
        const at = windows.map((w, i) => o[i]! * w.stride + tap[i]! * w.dilation - w.padding)
        if (at.every((p, i) => p < windows[i]!.size + windows[i]!.padding)) padded++
        if (at.every((p, i) => p >= 0 && p < windows[i]!.size)) values.push(x.at(b, c, ...at))
      }
      return f(values, padded)
    })
  }
}

const total = (values: number[]) => values.reduce((a, b) => a + b, 0)
const largest = pooling((values) =>
  values.some(Number.isNaN) ? NaN : values.reduce((a, b) => Math.max(a, b)),
)
const average = (x: PlainArray, options: Options) =>
  pooling(
    (values, padded) =>
      total(values) / (options.countIncludePad === false ? values.length : padded),
  )(x, options)

const sample = (shape: number[], options: Options, rest: Partial<Sample> = {}): Sample => ({
  inputs: [{ shape, distinct: true }],
  args: [options],
  ...rest,
})

const usual: readonly Options[] = [
  { kernelSize: 2 },
  { kernelSize: 3, stride: 1 },
  { kernelSize: 3, stride: 2, padding: 1 },
  { kernelSize: 2, ceilMode: true },
  { kernelSize: 3, stride: 2, padding: 1, ceilMode: true },
]
const over = (shape: number[], all: readonly Options[]): Sample[] =>
  all.map((options, i) => sample(shape, options, i === 0 ? {} : { dtypes: ['float32'] }))

const withoutOnnx = 'the positions of maxima occur in gradients only'
const toFloat = (dtype: string) => (dtype.startsWith('int') ? 'float32' : dtype) as 'float32'

export const rows: Row[] = [
  {
    op: 'maxPool',
    covers: ['maxPool2d'],
    call: maxPool2d,
    reference: largest,
    dtypes: [...floats, ...ints],
    samples: [
      ...over(
        [2, 2, 7, 6],
        [
          ...usual,
          { kernelSize: 2, dilation: 2, stride: 1 },
          { kernelSize: [3, 2], stride: [2, 1] },
          { kernelSize: [5, 6], stride: 1 },
        ],
      ),
      sample([1, 2, 9, 40], { kernelSize: 2 }, { dtypes: ['float32'], grad: false }),
      sample([2, 1, 6, 75], { kernelSize: 3, stride: 2 }, { dtypes: ['float32'] }),
      sample([0, 2, 4, 4], { kernelSize: 2 }, { dtypes: ['float32'], grad: false }),
      {
        inputs: [
          {
            shape: [1, 1, 2, 4],
            values: [NaN, 1, -Infinity, -Infinity, 2, 3, -Infinity, -Infinity],
          },
        ],
        args: [{ kernelSize: 2 }],
        dtypes: floats,
        grad: false,
      },
    ],
    errors: [
      {
        what: 'a window larger than the image',
        call: () => maxPool2d(ones([1, 1, 3, 5]), { kernelSize: 4 }),
        error: ShapeError,
        message: /maxPool2d: a window of 4 does not fit into axis -2 of size 3\. Use a smaller/,
      },
      {
        what: 'no kernelSize',
        call: () => maxPool2d(ones([1, 1, 3, 5]), {} as never),
        error: ValueError,
        message: /maxPool2d: no kernelSize/,
      },
      {
        what: 'padding of more than half a window',
        call: () => maxPool2d(ones([1, 1, 3, 5]), { kernelSize: 2, padding: 2 }),
        error: ValueError,
        message: /maxPool2d: padding \[2, 2\] is more than half of kernelSize \[2, 2\]/,
      },
      {
        what: 'bool',
        call: () => maxPool2d(ones([1, 1, 2, 2]).cast('bool'), { kernelSize: 2 }),
        error: DTypeError,
        message: /maxPool2d: x is bool/,
      },
      {
        what: 'an unknown option',
        call: () => maxPool2d(ones([1, 1, 2, 2]), { kernelSize: 2, strides: 2 } as never),
        error: ValueError,
        message: /maxPool2d: unknown option 'strides'.*did you mean 'stride'/,
      },
    ],
  },
  {
    op: 'maxPool1d',
    call: maxPool1d,
    reference: largest,
    samples: over([2, 2, 9], usual),
  },
  {
    op: 'maxPoolGrad',
    withoutOnnx,
    note: 'the first of equal elements gets the gradient, or the first NaN',
    call: (x: Tensor, g: Tensor, options: { kernelSize: number; stride: number }) => {
      const leaf = x.detach().requireGrad()
      maxPool2d(leaf, options).backward({ gradient: g })
      return leaf.grad!.clone()
    },
    reference: (x: PlainArray, g: PlainArray, { stride }: { stride: number }) => {
      const totals = new Map<string, number>()
      for (const [n, c, i, j] of positions(g.shape) as [number, number, number, number][]) {
        const window = positions([2, 2]).map(([a, b]) => [i * stride + a!, j * stride + b!])
        const values = window.map((at) => x.at(n, c, ...at))
        const isLargest = (value: number) => Object.is(value, Math.max(...values))
        const key = [n, c, ...window[values.findIndex(isLargest)]!].join()
        totals.set(key, (totals.get(key) ?? 0) + g.at(n, c, i, j))
      }
      return plain(x.shape, (...at) => totals.get(at.join()) ?? 0)
    },
    dtypes: ['float32', 'float64'],
    grad: false,
    samples: [
      {
        inputs: [
          {
            shape: [1, 2, 4, 6],
            low: 0,
            high: 2,
            values: Array.from({ length: 48 }, (_, i) => (i * 7) % 3),
          },
          [1, 2, 2, 3],
        ],
        args: [{ kernelSize: 2, stride: 2 }],
      },
      {
        inputs: [
          { shape: [1, 2, 4, 6], values: Array.from({ length: 48 }, (_, i) => (i * 5) % 4) },
          [1, 2, 3, 5],
        ],
        args: [{ kernelSize: 2, stride: 1 }],
      },
      ...[1, 2].map((stride) => ({
        inputs: [
          {
            shape: [1, 2, 4, 70],
            values: Array.from({ length: 560 }, (_, i) => ((i * i) % 11 === 3 ? NaN : (i * 7) % 5)),
          },
          [1, 2, stride === 1 ? 3 : 2, stride === 1 ? 69 : 35],
        ],
        args: [{ kernelSize: 2, stride }],
      })),
    ],
  },
  {
    op: 'avgPool2d',
    call: avgPool2d,
    reference: average,
    dtypes: [...floats, 'int32'],
    result: toFloat,
    samples: over(
      [2, 2, 7, 6],
      [
        ...usual,
        { kernelSize: 3, padding: 1, countIncludePad: false },
        { kernelSize: 3, stride: 2, padding: 1, ceilMode: true, countIncludePad: false },
        { kernelSize: [3, 2], stride: [2, 1] },
      ],
    ),
    errors: [
      {
        what: 'a vector for an image',
        call: () => avgPool2d(ones([5, 5]), { kernelSize: 2 }),
        error: ShapeError,
        message: /avgPool2d: x has shape \[5, 5\]/,
      },
    ],
  },
  {
    op: 'avgPool1d',
    call: avgPool1d,
    reference: average,
    samples: over([2, 2, 9], usual),
  },
  {
    op: 'adaptiveAvgPool2d',
    call: adaptiveAvgPool2d,
    reference: (x: PlainArray, size: List) => {
      const sizes = x.shape.slice(2)
      return plain([...x.shape.slice(0, 2), of(size, 0), of(size, 1)], (n, c, ...o) => {
        const ranges = sizes.map((m, i) => {
          const begin = Math.floor((o[i]! * m) / of(size, i))
          return { begin, count: Math.ceil(((o[i]! + 1) * m) / of(size, i)) - begin }
        })
        const inner = positions(ranges.map((r) => r.count))
        return (
          total(inner.map((p) => x.at(n, c, ...p.map((q, i) => q + ranges[i]!.begin)))) /
          inner.length
        )
      })
    },
    tolerance: { float16: 4e-3 },
    dtypes: [...floats, 'int32'],
    result: toFloat,
    samples: [1, 3, [2, 3], [7, 6], [9, 4]].map((size) => ({
      inputs: [[2, 2, 7, 6]],
      args: [size],
    })),
    errors: [
      {
        what: 'a size of 0',
        call: () => adaptiveAvgPool2d(ones([1, 1, 2, 2]), 0),
        error: ValueError,
        message: /adaptiveAvgPool2d: size is 0/,
      },
    ],
  },
  {
    op: 'globalAvgPool',
    call: globalAvgPool,
    reference: (x: PlainArray) =>
      plain(x.shape.slice(0, 2), (n, c) => {
        const inner = positions(x.shape.slice(2))
        return total(inner.map((p) => x.at(n, c, ...p))) / inner.length
      }),
    samples: [{ inputs: [[2, 3, 4, 5]] }, { inputs: [[2, 3, 4]] }],
    errors: [
      {
        what: 'nothing to average',
        call: () => globalAvgPool(ones([2, 3])),
        error: ShapeError,
        message: /globalAvgPool: x has shape \[2, 3\]/,
      },
    ],
  },
]
