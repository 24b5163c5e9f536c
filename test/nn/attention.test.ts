/** @file Attention against its definition in plain loops. */
import { describe, expect, test } from 'vitest'
import { tensor, type Tensor } from 'tandem'
import * as nn from 'tandem/nn'
import { largest, numbers } from './check-layer.ts'

type Matrix = number[][]
const [features, heads] = [6, 2]

/** One example, [L, features]: project, attend head by head, join, project. `sees(i, j)` is added to the score. */
function naive(
  layer: nn.MultiheadAttention,
  query: Matrix,
  key: Matrix,
  value: Matrix,
  sees: (i: number, j: number, head: number) => number = () => 0,
): Matrix {
  const state = Object.fromEntries(
    Object.entries(layer.stateDict()).map(([name, t]) => [name, t.toArraySync()]),
  )
  const dense = (x: Matrix, weight: Matrix, bias: number[]): Matrix =>
    x.map((row) => weight.map((w, o) => w.reduce((sum, v, i) => sum + v * row[i]!, bias[o]!)))
  const project = (x: Matrix, part: number) =>
    dense(
      x,
      (state['inProjWeight'] as Matrix).slice(part * features, (part + 1) * features),
      (state['inProjBias'] as number[]).slice(part * features, (part + 1) * features),
    )
  const [q, k, v] = [project(query, 0), project(key, 1), project(value, 2)]
  const width = features / heads
  const joined = q.map((row, i) =>
    Array.from({ length: heads }, (_, h) => {
      const part = (r: number[]) => r.slice(h * width, (h + 1) * width)
      const scores = k.map(
        (other, j) =>
          part(row).reduce((sum, x, d) => sum + x * part(other)[d]!, 0) / Math.sqrt(width) +
          sees(i, j, h),
      )
      const top = Math.max(...scores)
      const exps = scores.map((s) => Math.exp(s - top))
      const total = exps.reduce((a, b) => a + b, 0)
      return part(v[0]!).map((_, d) =>
        exps.reduce((sum, e, j) => sum + (e / total) * part(v[j]!)[d]!, 0),
      )
    }).flat(),
  )
  return dense(joined, state['outProj.weight'] as Matrix, state['outProj.bias'] as number[])
}

const layer = new nn.MultiheadAttention(features, heads)
nn.init.uniform(layer.inProjBias!, { low: -1, high: 1 })
nn.init.uniform(layer.outProj.bias!, { low: -1, high: 1 })
const [query, key, value] = [numbers([2, 3, 6]), numbers([2, 4, 6], 2), numbers([2, 4, 6], 3)]
const list = (t: Tensor) => t.toArraySync() as Matrix[]
const expectClose = (actual: Tensor, expected: Matrix[]) =>
  expect(largest(actual.sub(tensor(expected)))).toBeLessThan(1e-5)
const hidden = -Infinity

describe('MultiheadAttention', () => {
  test('self-attention', () => {
    const expected = list(query).map((x) => naive(layer, x, x, x))
    expectClose(layer.forward(query), expected)
  })

  test('query, key and value of their own', () => {
    const expected = list(query).map((x, b) => naive(layer, x, list(key)[b]!, list(value)[b]!))
    expectClose(layer.forward(query, key, value), expected)
  })

  test('causal', () => {
    const expected = list(query).map((x) => naive(layer, x, x, x, (i, j) => (j > i ? hidden : 0)))
    expectClose(layer.forward(query, query, query, { isCausal: true }), expected)
  })

  test('masks: bool with padding, added scores, one per head', () => {
    const mask = tensor([
      [true, true, false, true],
      [true, false, true, true],
      [true, true, true, true],
    ])
    const keyPaddingMask = tensor([
      [false, false, false, true],
      [false, false, true, false],
    ])
    const sees = mask.toArraySync() as boolean[][]
    const padded = keyPaddingMask.toArraySync() as boolean[][]
    const both = list(query).map((x, b) =>
      naive(layer, x, list(key)[b]!, list(value)[b]!, (i, j) =>
        sees[i]![j]! && !padded[b]![j]! ? 0 : hidden,
      ),
    )
    expectClose(layer.forward(query, key, value, { mask, keyPaddingMask }), both)

    const scores = numbers([2, 2, 3, 4], 5)
    const added = scores.toArraySync() as number[][][][]
    const perHead = list(query).map((x, b) =>
      naive(layer, x, list(key)[b]!, list(value)[b]!, (i, j, h) =>
        padded[b]![j]! ? hidden : added[b]![h]![i]![j]!,
      ),
    )
    expectClose(layer.forward(query, key, value, { mask: scores, keyPaddingMask }), perHead)
    const perExample = list(query).map((x, b) =>
      naive(layer, x, list(key)[b]!, list(value)[b]!, (i, j) => added[b]![0]![i]![j]!),
    )
    expectClose(layer.forward(query, key, value, { mask: scores.slice(null, 0) }), perExample)
  })

  test('sequence first', () => {
    const other = new nn.MultiheadAttention(features, heads, { batchFirst: false })
    other.loadStateDict(layer.stateDict())
    const swapped = [query, key, value].map((x) => x.transpose(0, 1)) as [Tensor, Tensor, Tensor]
    const expected = list(query).map((x, b) => naive(layer, x, list(key)[b]!, list(value)[b]!))
    expectClose(other.forward(...swapped).transpose(0, 1), expected)
  })

  test('wrong masks are refused', () => {
    expect(() =>
      layer.forward(query, query, query, { keyPaddingMask: tensor([[1, 0, 0]]) }),
    ).toThrow('keyPaddingMask must be bool [batch, keys], received float32 [1, 3]')
    expect(() => layer.forward(query, query, query, { attnMask: query } as never)).toThrow(
      'unknown option',
    )
  })
})

test('TransformerEncoderLayer is its parts in order', () => {
  const block = new nn.TransformerEncoderLayer(features, heads, { dimFeedforward: 8 }).eval()
  const attended = block.norm1.forward(query.add(block.selfAttn.forward(query)))
  const fed = block.linear2.forward(block.linear1.forward(attended).relu())
  expect(largest(block.forward(query).sub(block.norm2.forward(attended.add(fed))))).toBe(0)
})
