/** @file Rows of the convolutions. */
import {
  conv1d,
  conv2d,
  conv3d,
  convTranspose1d,
  convTranspose2d,
  grad,
  ones,
  ShapeError,
  ValueError,
  zeros,
  type Tensor,
} from 'tandem'
import { plain, PlainArray, positions } from './plain.ts'
import { floats, type Row, type Sample } from './row.ts'

type List = number | readonly number[]

interface Options {
  stride?: List
  padding?: List | 'same' | 'valid'
  outputPadding?: List
  dilation?: List
  groups?: number
}

const of = (value: List, axis: number): number => (typeof value === 'number' ? value : value[axis]!)

function windows({ stride = 1, padding = 0, dilation = 1 }: Options, kernel: readonly number[]) {
  const pads = kernel.map((k, i) => {
    const total = of(dilation, i) * (k - 1)
    if (padding === 'same') return [Math.floor(total / 2), Math.ceil(total / 2)] as const
    const p = padding === 'valid' ? 0 : of(padding, i)
    return [p, p] as const
  })
  return kernel.map((_, i) => ({
    stride: of(stride, i),
    dilation: of(dilation, i),
    before: pads[i]![0],
    after: pads[i]![1],
  }))
}

/** The definition, tap by tap. */
function reference(x: PlainArray, w: PlainArray, ...rest: unknown[]): PlainArray {
  const bias = rest[0] instanceof PlainArray ? rest[0] : undefined
  const options = ((bias ? rest[1] : rest[0]) ?? {}) as Options
  const [n, , ...sizes] = x.shape as [number, number, ...number[]]
  const [co, perGroup, ...kernel] = w.shape as [number, number, ...number[]]
  const { groups = 1 } = options
  const win = windows(options, kernel)
  const counts = sizes.map((size, i) => {
    const { stride, dilation, before, after } = win[i]!
    return Math.floor((size + before + after - dilation * (kernel[i]! - 1) - 1) / stride) + 1
  })
  return plain([n, co, ...counts], (b, c, ...o) => {
    let total = bias?.at(c) ?? 0
    const first = Math.floor(c / (co / groups)) * perGroup
    for (const [ci, ...k] of positions([perGroup, ...kernel]) as [number, ...number[]][]) {
      const at = o.map((p, i) => p * win[i]!.stride + k[i]! * win[i]!.dilation - win[i]!.before)
      if (at.some((p, i) => p < 0 || p >= sizes[i]!)) continue
      total += x.at(b, first + ci, ...at) * w.at(c, ci, ...k)
    }
    return total
  })
}

/** Every element of x spreads over a window of the result. */
function transposedReference(x: PlainArray, w: PlainArray, ...rest: unknown[]): PlainArray {
  const bias = rest[0] instanceof PlainArray ? rest[0] : undefined
  const options = ((bias ? rest[1] : rest[0]) ?? {}) as Options
  const { outputPadding = 0, groups = 1 } = options
  const [n, ci, ...counts] = x.shape as [number, number, ...number[]]
  const [, perGroup, ...kernel] = w.shape as [number, number, ...number[]]
  const win = windows(options, kernel)
  const sizes = counts.map((count, i) => {
    const { stride, dilation, before } = win[i]!
    const span = dilation * (kernel[i]! - 1) + 1
    return (count - 1) * stride + span - 2 * before + of(outputPadding, i)
  })
  const totals = new Map<string, number>()
  for (const [b, c, ...o] of positions(x.shape) as [number, number, ...number[]][])
    for (const [d, ...k] of positions([perGroup, ...kernel]) as [number, ...number[]][]) {
      const at = o.map((p, i) => p * win[i]!.stride + k[i]! * win[i]!.dilation - win[i]!.before)
      const channel = Math.floor(c / (ci / groups)) * perGroup + d
      const key = [b, channel, ...at].join()
      totals.set(key, (totals.get(key) ?? 0) + x.at(b, c, ...o) * w.at(c, d, ...k))
    }
  return plain(
    [n, perGroup * groups, ...sizes],
    (...p) => (totals.get(p.join()) ?? 0) + (bias?.at(p[1]!) ?? 0),
  )
}

const sample = (x: number[], w: number[], options: Options = {}, grad = true): Sample => ({
  inputs: [x, w],
  args: [options],
  grad,
})

const withBias =
  (f: (x: Tensor, w: Tensor, options: { bias: Tensor }) => Tensor) =>
  (x: Tensor, w: Tensor, bias: Tensor, options: Options) =>
    f(x, w, { ...options, bias } as { bias: Tensor })

/** The first samples in every dtype, the others in one: they differ in their windows only. */
const thrifty = (samples: readonly Sample[]): Sample[] =>
  samples.map((s, i) => (i < 3 ? s : { ...s, dtypes: ['float32'] }))

const tolerance = { float32: 1e-5, float64: 1e-13, float16: 1e-2, bfloat16: 6e-2 }
const common = { reference, tolerance, dtypes: [...floats, 'int32'] as const }

export const rows: Row[] = [
  {
    ...common,
    op: 'conv',
    covers: ['conv2d'],
    call: conv2d,
    samples: thrifty([
      sample([2, 3, 6, 5], [4, 3, 3, 3]),
      sample([2, 2, 6, 7], [3, 2, 3, 3], { padding: 1 }),
      sample([1, 2, 7, 6], [3, 2, 3, 3], { padding: 1, stride: 2 }),
      sample([1, 2, 8, 7], [2, 2, 3, 2], { stride: [2, 1], padding: [1, 2] }),
      sample([1, 2, 9, 8], [2, 2, 3, 3], { dilation: 2, padding: 2 }),
      sample([1, 2, 9, 9], [2, 2, 2, 3], { dilation: [3, 2], stride: [1, 3] }),
      sample([2, 4, 5, 5], [6, 2, 3, 3], { groups: 2, padding: 1 }),
      sample([1, 3, 6, 6], [6, 1, 3, 3], { groups: 3, stride: 2, padding: 1 }),
      sample([1, 3, 4, 5], [5, 3, 1, 1]),
      sample([1, 1, 7, 7], [1, 1, 2, 2], { stride: 3 }),
      sample([1, 1, 10, 11], [2, 1, 5, 5], { stride: 5, padding: 2 }),
      sample([1, 2, 5, 6], [2, 2, 3, 4], { padding: 'same', dilation: 2 }),
      sample([0, 2, 5, 6], [2, 2, 3, 3], { padding: 'valid' }, false),
      sample([2, 5, 12, 9], [9, 5, 3, 3], { padding: 1 }, false),
      sample([2, 5, 12, 9], [9, 5, 3, 3], { padding: 1, stride: 2 }, false),
    ]),
    errors: [
      {
        what: 'channels that differ',
        call: () => conv2d(ones([1, 3, 5, 5]), ones([4, 2, 3, 3])),
        error: ShapeError,
        message:
          /conv2d: x \[1, 3, 5, 5\] has 3 channels, weight \[4, 2, 3, 3\] wants 2\. Expected weight \[outChannels, inChannels \/ groups/,
      },
      {
        what: 'a window larger than the image',
        call: () =>
          conv2d(ones([1, 1, 3, 5]), ones([1, 1, 3, 3]), { dilation: 2, padding: [0, 1] }),
        error: ShapeError,
        message:
          /conv2d: a window of 3 by dilation 2, spanning 5, does not fit into axis -2 of size 3\. Use/,
      },
      {
        what: 'groups that do not divide',
        call: () => conv2d(ones([1, 4, 5, 5]), ones([3, 2, 3, 3]), { groups: 2 }),
        error: ShapeError,
        message: /conv2d: 2 groups do not divide 3 outChannels/,
      },
      {
        what: 'a stride of 0',
        call: () => conv2d(ones([1, 1, 5, 5]), ones([1, 1, 3, 3]), { stride: [1, 0] }),
        error: ValueError,
        message: /conv2d: stride is \[1, 0\]\. Expected a whole number >= 1, or 2 of them/,
      },
      {
        what: 'same padding with a stride',
        call: () => conv2d(ones([1, 1, 5, 5]), ones([1, 1, 3, 3]), { padding: 'same', stride: 2 }),
        error: ValueError,
        message: /conv2d: padding 'same' with stride \[2, 2\]/,
      },
      {
        what: 'a vector for an image',
        call: () => conv2d(ones([5, 5]), ones([1, 1, 3, 3])),
        error: ShapeError,
        message: /conv2d: x has shape \[5, 5\]. Expected \[batch, channels, height, width\]/,
      },
      {
        what: 'a weight of other axes',
        call: () => conv2d(ones([1, 1, 5, 5]), ones([1, 3, 3])),
        error: ShapeError,
        message: /conv2d: weight has shape \[1, 3, 3\]. Expected 4 axes/,
      },
      {
        what: 'a bias of another size',
        call: () => conv2d(ones([1, 1, 5, 5]), ones([2, 1, 3, 3]), { bias: ones([3]) }),
        error: ShapeError,
        message: /conv2d: bias has shape \[3\]. Expected \[2\]/,
      },
    ],
  },
  {
    ...common,
    op: 'conv',
    note: 'with bias',
    call: withBias(conv2d),
    samples: [
      { inputs: [[2, 3, 6, 5], [4, 3, 3, 3], [4]], args: [{ padding: 1 }] },
      { inputs: [[1, 4, 6, 5], [4, 1, 3, 3], [4]], args: [{ groups: 4 }] },
    ],
  },
  {
    ...common,
    op: 'conv1d',
    call: conv1d,
    samples: [
      sample([2, 3, 9], [4, 3, 3], { stride: 2, padding: 1 }),
      sample([1, 2, 11], [2, 2, 3], { dilation: 3, padding: 2 }),
      sample([1, 2, 8], [3, 2, 4], { padding: 'same' }),
      sample([2, 4, 8], [6, 2, 3], { groups: 2, stride: 2, padding: 2 }),
    ],
  },
  {
    ...common,
    op: 'conv3d',
    call: conv3d,
    samples: [sample([1, 2, 4, 5, 4], [2, 2, 2, 3, 2], { padding: 1, stride: [1, 2, 1] })],
  },
  {
    op: 'conv1d',
    note: 'without a batch',
    call: (x: Tensor, w: Tensor) => conv1d(x, w),
    reference: (x: PlainArray, w: PlainArray) => {
      const { shape, data } = reference(new PlainArray([1, ...x.shape], x.data), w)
      return new PlainArray(shape.slice(1), data)
    },
    tolerance,
    samples: [
      {
        inputs: [
          [3, 9],
          [4, 3, 3],
        ],
      },
    ],
  },
  {
    op: 'convInputGrad',
    covers: ['convTranspose2d'],
    call: convTranspose2d,
    reference: transposedReference,
    tolerance,
    samples: thrifty([
      sample([1, 3, 4, 3], [3, 2, 3, 3]),
      sample([1, 2, 4, 3], [2, 3, 3, 3], { stride: 2, padding: 1, outputPadding: 1 }),
      sample([1, 4, 3, 3], [4, 1, 3, 2], { groups: 2, stride: [2, 1], dilation: 2 }),
      sample([1, 2, 3, 2], [2, 2, 2, 2], { stride: 3 }),
      sample([1, 2, 3, 2], [2, 1, 5, 6], { stride: 5, padding: 1 }),
      sample([2, 4, 9, 7], [4, 5, 4, 4], { stride: 2, padding: 1 }, false),
    ]),
    errors: [
      {
        what: 'channels that differ',
        call: () => convTranspose2d(ones([1, 3, 5, 5]), ones([4, 2, 3, 3])),
        error: ShapeError,
        message: /convTranspose2d: x \[1, 3, 5, 5\] has 3 channels, weight .* wants 4/,
      },
      {
        what: 'too much output padding',
        call: () =>
          convTranspose2d(ones([1, 1, 5, 5]), ones([1, 1, 3, 3]), { stride: 2, outputPadding: 2 }),
        error: ValueError,
        message: /convTranspose2d: outputPadding \[2, 2\] is not smaller than stride \[2, 2\]/,
      },
      {
        what: 'nothing left',
        call: () => convTranspose2d(ones([1, 1, 1, 1]), ones([1, 1, 3, 3]), { padding: 2 }),
        error: ShapeError,
        message: /convTranspose2d: padding \[2, 2\] leaves nothing/,
      },
    ],
  },
  {
    op: 'convWeightGrad',
    withoutOnnx: 'exporters write forward graphs, in which no gradient of a weight occurs',
    // Reached through the gradient of a convolution only.
    call: (x: Tensor, g: Tensor) =>
      grad((w: Tensor) => conv2d(x, w, { padding: 1 }).mul(g).sum(), { createGraph: true })(
        zeros([2, x.shape[1]!, 3, 3], { dtype: x.dtype, device: x.device }),
      ),
    reference: (x: PlainArray, g: PlainArray) =>
      plain([2, x.shape[1]!, 3, 3], (co, ci, kh, kw) => {
        let total = 0
        for (const [n, oh, ow] of positions([x.shape[0]!, ...g.shape.slice(2)]) as number[][]) {
          const [ih, iw] = [oh! + kh! - 1, ow! + kw! - 1]
          if (ih < 0 || iw < 0 || ih >= x.shape[2]! || iw >= x.shape[3]!) continue
          total += x.at(n!, ci!, ih, iw) * g.at(n!, co!, oh!, ow!)
        }
        return total
      }),
    tolerance: { ...tolerance, bfloat16: 0.1 },
    samples: [
      {
        inputs: [
          [3, 2, 5, 4],
          [3, 2, 5, 4],
        ],
      },
      {
        // So many positions are summed in two parts.
        inputs: [
          [4, 2, 18, 16],
          [4, 2, 18, 16],
        ],
      },
    ],
  },
  {
    op: 'convTranspose1d',
    call: withBias(convTranspose1d),
    reference: transposedReference,
    tolerance,
    samples: [
      { inputs: [[2, 3, 5], [3, 4, 3], [4]], args: [{ stride: 2, padding: 1, outputPadding: 1 }] },
    ],
  },
]
