/** @file Rows of the normalisations and of attention. */
import {
  batchNorm,
  DTypeError,
  groupNorm,
  instanceNorm,
  layerNorm,
  ones,
  rmsNorm,
  scaledDotProductAttention,
  ShapeError,
  tensor,
  ValueError,
  zeros,
  type AttentionOptions,
  type Tensor,
} from 'tandem'
import { plain, positions, type PlainArray } from './plain.ts'
import { type Row } from './row.ts'

interface Norm {
  /** Names the elements that are normalised together. */
  readonly group: (position: readonly number[]) => string
  readonly eps: number
  readonly centred?: boolean
  readonly weightAt?: (position: readonly number[]) => number
  readonly biasAt?: (position: readonly number[]) => number
}

function normalized(x: PlainArray, { group, eps, centred = true, weightAt, biasAt }: Norm) {
  const groups = new Map<string, number[]>()
  for (const p of positions(x.shape)) {
    const name = group(p)
    groups.set(name, [...(groups.get(name) ?? []), x.at(...p)])
  }
  const average = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length
  return plain(x.shape, (...p) => {
    const values = groups.get(group(p))!
    const mean = centred ? average(values) : 0
    const square = average(values.map((v) => (v - mean) ** 2))
    const y = (x.at(...p) - mean) / Math.sqrt(square + eps)
    return y * (weightAt?.(p) ?? 1) + (biasAt?.(p) ?? 0)
  })
}

const along =
  (parameter: PlainArray | undefined, from: number, to?: number) => (p: readonly number[]) =>
    parameter?.at(...p.slice(from, to)) ?? 0

const tolerance = { float32: 1e-5, float64: 1e-12, float16: 6e-3, bfloat16: 5e-2 }

export const rows: Row[] = [
  {
    op: 'layerNorm',
    covers: ['normBackward', 'normParameters'],
    call: (x: Tensor, weight: Tensor, bias: Tensor, eps?: number) =>
      layerNorm(x, { weight, bias, ...(eps !== undefined && { eps }) }),
    reference: (x: PlainArray, w: PlainArray, b: PlainArray, eps = 1e-5) => {
      const outer = x.shape.length - w.shape.length
      return normalized(x, {
        group: (p) => p.slice(0, outer).join(),
        eps,
        weightAt: along(w, outer),
        biasAt: along(b, outer),
      })
    },
    samples: [
      { inputs: [[3, 5], [5], [5]] },
      {
        inputs: [
          [2, 3, 4],
          [3, 4],
          [3, 4],
        ],
        args: [0.1],
      },
      { inputs: [[2, 37], [37], [37]] },
      // Weight and bias get their gradients from parts of 24 rows.
      { inputs: [[2, 72, 3], [3], [3]] },
      { inputs: [[5], [5], [5]] },
      { inputs: [[0, 5], [5], [5]], grad: false },
    ],
    tolerance,
    withoutOnnx: 'gradients are not exported',
    errors: [
      {
        what: 'a weight that does not fit',
        call: () => layerNorm(ones([2, 3]), { weight: ones([4]) }),
        error: ShapeError,
        message: /layerNorm: x \[2, 3\] does not end in the normalised shape \[4\]/,
      },
      {
        what: 'weight and bias of different shapes',
        call: () => layerNorm(ones([2, 3]), { weight: ones([3]), bias: ones([2, 3]) }),
        error: ShapeError,
        message: /layerNorm: bias has shape \[2, 3\]\. Expected \[3\]/,
      },
      {
        what: 'integers',
        call: () => layerNorm(ones([2, 3], { dtype: 'int32' })),
        error: DTypeError,
        message: /layerNorm: x is int32\. Expected floats/,
      },
      {
        what: 'a negative eps',
        call: () => layerNorm(ones([2, 3]), { eps: -1 }),
        error: ValueError,
        message: /layerNorm: eps must be >= 0, received -1/,
      },
    ],
  },
  {
    op: 'layerNorm',
    note: 'no parameters',
    call: (x: Tensor) => layerNorm(x, { normalizedShape: x.shape.slice(1) }),
    reference: (x: PlainArray) => normalized(x, { group: (p) => `${p[0]}`, eps: 1e-5 }),
    samples: [{ inputs: [[3, 5]] }, { inputs: [[2, 3, 4]] }],
    tolerance,
  },
  {
    op: 'rmsNorm',
    call: (x: Tensor, weight: Tensor) => rmsNorm(x, { weight, eps: 0.01 }),
    reference: (x: PlainArray, w: PlainArray) => {
      const outer = x.shape.length - w.shape.length
      return normalized(x, {
        group: (p) => p.slice(0, outer).join(),
        eps: 0.01,
        centred: false,
        weightAt: along(w, outer),
      })
    },
    samples: [
      { inputs: [[3, 5], [5]] },
      {
        inputs: [
          [2, 3, 4],
          [3, 4],
        ],
      },
    ],
    tolerance,
  },
  {
    op: 'batchNorm',
    note: 'training',
    call: (x: Tensor, weight: Tensor, bias: Tensor) =>
      batchNorm(x, { weight, bias, training: true }),
    reference: (x: PlainArray, w: PlainArray, b: PlainArray) =>
      normalized(x, {
        group: (p) => `${p[1]}`,
        eps: 1e-5,
        weightAt: along(w, 1, 2),
        biasAt: along(b, 1, 2),
      }),
    samples: [{ inputs: [[5, 3], [3], [3]] }, { inputs: [[2, 3, 4, 5], [3], [3]] }],
    tolerance,
    withoutOnnx: 'models are exported for inference, where it is a Mul and an Add',
    errors: [
      {
        what: 'a single value per channel',
        call: () => batchNorm(ones([1, 3]), { training: true }),
        error: ValueError,
        message: /batchNorm: one value per channel in \[1, 3\]/,
      },
      {
        what: 'no channels',
        call: () => batchNorm(ones([3])),
        error: ShapeError,
        message: /batchNorm: expected \[N, channels, \.\.\.\], received \[3\]/,
      },
      {
        what: 'nothing to normalise by',
        call: () => batchNorm(ones([2, 3]), { training: false }),
        error: ValueError,
        message: /batchNorm: no mean and variance to normalise by/,
      },
    ],
  },
  {
    op: 'batchNorm',
    note: 'inference',
    call: (x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) =>
      batchNorm(x, { weight, bias, mean, variance }),
    reference: (x: PlainArray, ...[w, b, m, v]: PlainArray[]) =>
      plain(x.shape, (...p) => {
        const c = p[1]!
        return ((x.at(...p) - m!.at(c)) / Math.sqrt(v!.at(c) + 1e-5)) * w!.at(c) + b!.at(c)
      }),
    samples: [
      { inputs: [[5, 3], [3], [3], [3], { shape: [3], low: 0.2, high: 3 }] },
      { inputs: [[2, 3, 4], [3], [3], [3], { shape: [3], low: 0.2, high: 3 }] },
    ],
    tolerance: { ...tolerance, float16: 2e-2, bfloat16: 2e-1 },
  },
  {
    op: 'groupNorm',
    call: (x: Tensor, weight: Tensor, bias: Tensor, groups: number) =>
      groupNorm(x, { weight, bias, groups }),
    reference: (x: PlainArray, w: PlainArray, b: PlainArray, groups: number) =>
      normalized(x, {
        group: (p) => `${p[0]},${Math.floor(p[1]! / (x.shape[1]! / groups))}`,
        eps: 1e-5,
        weightAt: along(w, 1, 2),
        biasAt: along(b, 1, 2),
      }),
    samples: [
      { inputs: [[2, 4, 3], [4], [4]], args: [2] },
      { inputs: [[2, 6, 2, 3], [6], [6]], args: [3] },
      { inputs: [[3, 8], [8], [8]], args: [1] },
    ],
    tolerance,
    withoutOnnx: 'GroupNormalization wants parameters in other places: exporters write reshapes',
    errors: [
      {
        what: 'channels that do not divide',
        call: () => groupNorm(ones([2, 4, 3]), { groups: 3 }),
        error: ShapeError,
        message: /groupNorm: 4 channels do not divide into 3 groups/,
      },
    ],
  },
  {
    op: 'instanceNorm',
    call: (x: Tensor, weight: Tensor, bias: Tensor) => instanceNorm(x, { weight, bias }),
    reference: (x: PlainArray, w: PlainArray, b: PlainArray) =>
      normalized(x, {
        group: (p) => `${p[0]},${p[1]}`,
        eps: 1e-5,
        weightAt: along(w, 1, 2),
        biasAt: along(b, 1, 2),
      }),
    samples: [{ inputs: [[2, 3, 5], [3], [3]] }, { inputs: [[2, 3, 4, 2], [3], [3]] }],
    tolerance,
    errors: [
      {
        what: 'nothing to normalise over',
        call: () => instanceNorm(ones([2, 3])),
        error: ShapeError,
        message: /instanceNorm: expected \[N, channels, \.\.\.\] with at least 3 axes/,
      },
    ],
  },
  attentionRow(),
]

function attentionRow(): Row {
  // The reference sees numbers only: samples say whether the mask is one of bools.
  type Options = AttentionOptions & { isBool?: boolean }
  const maskOf = (rest: unknown[]) =>
    typeof rest[0] === 'object' && 'shape' in rest[0]! ? rest.shift() : undefined
  const q = ones([2, 3])
  return {
    op: 'scaledDotProductAttention',
    covers: ['causal', 'attention', 'attentionBackward'],
    withoutOnnx: 'attentionBackward is the gradient of attention, fused',
    call: (query: Tensor, key: Tensor, value: Tensor, ...rest: unknown[]) => {
      const mask = maskOf(rest) as Tensor | undefined
      const { isBool: _, ...options } = (rest[0] ?? {}) as Options
      return scaledDotProductAttention(query, key, value, { ...options, ...(mask && { mask }) })
    },
    reference: (query: PlainArray, key: PlainArray, value: PlainArray, ...rest: unknown[]) => {
      const mask = maskOf(rest) as PlainArray | undefined
      const { isCausal = false, isBool = false, scale } = (rest[0] ?? {}) as Options
      const [length, features] = query.shape.slice(-2) as [number, number]
      const keys = Array.from({ length: key.shape.at(-2)! }, (_, j) => j)
      const shape = [...query.shape.slice(0, -2), length, value.shape.at(-1)!]
      return plain(shape, (...p) => {
        const batch = p.slice(0, -2)
        const [i, f] = p.slice(-2) as [number, number]
        const scores = keys.map((j) => {
          if (isCausal && j > i) return -Infinity
          const m = mask?.at(...batch, i, j)
          if (isBool && m === 0) return -Infinity
          let dot = 0
          for (let e = 0; e < features; e++)
            dot += query.at(...batch, i, e) * key.at(...batch, j, e)
          return dot * (scale ?? 1 / Math.sqrt(features)) + (isBool ? 0 : (m ?? 0))
        })
        const top = Math.max(...scores)
        if (top === -Infinity) return 0
        const weights = scores.map((s) => Math.exp(s - top))
        const total = weights.reduce((a, b) => a + b, 0)
        return keys.reduce((sum, j) => sum + (weights[j]! / total) * value.at(...batch, j, f), 0)
      })
    },
    samples: [
      {
        inputs: [
          [3, 4],
          [5, 4],
          [5, 2],
        ],
      },
      {
        inputs: [
          [2, 3, 4],
          [2, 5, 4],
          [2, 5, 3],
        ],
        args: [{ isCausal: true }],
      },
      {
        inputs: [
          [2, 2, 3, 4],
          [2, 2, 3, 4],
          [2, 2, 3, 4],
        ],
        args: [{ scale: 0.7 }],
      },
      {
        inputs: [
          [2, 3, 4],
          [2, 5, 4],
          [2, 5, 3],
          [3, 5],
        ],
        args: [{}],
      },
      {
        inputs: [
          [3, 4],
          [3, 4],
          [3, 2],
          { shape: [3, 3], values: [1, 0, 1, 0, 0, 0, 0, 1, 1], dtype: 'bool' },
        ],
        args: [{ isBool: true }],
      },
      {
        inputs: [[3, 4], [3, 4], [3, 2], { shape: [1, 3], values: [0, 1, 1], dtype: 'bool' }],
        args: [{ isBool: true, isCausal: true }],
      },
      // Too thin for tiles: a composition.
      {
        inputs: [
          [1, 4],
          [5, 4],
          [5, 2],
        ].map((shape) => ({ shape })),
        args: [{ isCausal: true }],
      },
      {
        inputs: [
          [4, 4],
          [1, 4],
          [1, 2],
        ].map((shape) => ({ shape })),
      },
      // More columns than lanes, other features for values than for keys.
      {
        inputs: [
          [5, 3],
          [19, 3],
          [19, 6],
        ].map((shape) => ({ shape })),
      },
      // The mask is not differentiated, so its kernels are fused in every order.
      {
        inputs: [[2, 4, 3], [2, 6, 3], [2, 6, 3], { shape: [2, 4, 6], constant: true }],
        args: [{ isCausal: true }],
      },
    ],
    dtypes: ['float32', 'float64'],
    tolerance: { float32: 1e-5 },
    errors: [
      {
        what: 'features that differ',
        call: () => scaledDotProductAttention(q, ones([2, 4]), q),
        error: ShapeError,
        message: /queries and keys differ in their features: q \[2, 3\], k \[2, 4\], v \[2, 3\]/,
      },
      {
        what: 'more keys than values',
        call: () => scaledDotProductAttention(q, ones([4, 3]), q),
        error: ShapeError,
        message: /keys and values differ in number/,
      },
      {
        what: 'a mask of integers',
        call: () => scaledDotProductAttention(q, q, q, { mask: zeros([2, 2], { dtype: 'int32' }) }),
        error: DTypeError,
        message: /mask is int32\. Expected bool/,
      },
      {
        what: 'a vector',
        call: () => scaledDotProductAttention(tensor([1]), q, q),
        error: ShapeError,
        message: /q has shape \[1\]\. Expected at least \[length, features\]/,
      },
    ],
  }
}
