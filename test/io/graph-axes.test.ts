/** @file Saved graphs with axes of any size: one graph for all of them, in words that say what does not fit. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, manualSeed, noGrad, ones, rand, randn, type Tensor } from 'tandem'
import { graphToBytes, loadGraph, saveGraph } from 'tandem/io'
import { bits, ConvNet, tokens, Transformer } from './saved-models.ts'

let folder = ''
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'tandem-graph-axes-'))))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('axes of any size', () => {
  const net = new ConvNet()
  const predict = { inputs: { x: { shape: [2, 1, 28, 28] } } }

  test('one graph for all batches, also noise and plain numbers', async () => {
    const fn = (x: Tensor) => ({
      scores: net.forward(x).softmax(),
      count: x.shape[0]! * 10,
      mean: net.forward(x).sum().div(x.shape[0]!),
      noise: rand([x.shape[0]!, 2]),
    })
    net.eval()
    const graph = await loadGraph(await graphToBytes(fn, { predict }, { x: { 0: 'batch' } }))
    const { inputs, outputs } = graph.signatures['predict']!
    expect(inputs).toEqual({ x: { shape: ['batch', 1, 28, 28], dtype: 'float32' } })
    expect((outputs as { count: unknown }).count).toBe('10 * batch')
    expect((outputs as { scores: unknown }).scores).toEqual({
      shape: ['batch', 10],
      dtype: 'float32',
    })
    for (const n of [2, 1, 7]) {
      const x = randn([n, 1, 28, 28])
      manualSeed(n)
      const wanted = noGrad(() => compile(fn)(x))
      manualSeed(n)
      const found = graph.run<ReturnType<typeof fn>>('predict', { x })
      expect(found.count).toBe(n * 10)
      for (const key of ['scores', 'mean', 'noise'] as const)
        expect(bits(found[key])).toEqual(bits(wanted[key]))
    }
    net.train()
  })

  test('several axes, attention over them', async () => {
    const transformer = new Transformer()
    const path = join(folder, 'any-length')
    const x = tokens()
    const dynamicAxes = { tokens: { 0: 'batch', 1: 'length' } }
    await saveGraph(transformer, path, {
      signatures: { predict: { inputs: { tokens: x } } },
      dynamicAxes,
    })
    const graph = await loadGraph(path)
    transformer.eval()
    for (const [n, length] of [x.shape as [number, number], [1, 3], [5, 9]]) {
      const given = rand([n!, length!]).mul(11).cast('int32')
      const found = graph.run('predict', { tokens: given })
      const wanted = noGrad(() => transformer.forward(given))
      expect(found.shape).toEqual(wanted.shape)
      expect(found.sub(wanted).abs().max().itemSync()).toBeLessThan(1e-5)
    }
  })

  test('windows: sizes that divide', async () => {
    const features = new ConvNet().features
    const axes = { x: { 2: 'height', 3: 'width' } }
    const graph = await loadGraph(await graphToBytes(features, { predict }, axes))
    expect(graph.signatures['predict']!.outputs).toEqual({
      shape: [2, 16, 'height / 4', 'width / 4'],
      dtype: 'float32',
    })
    features.eval()
    const x = randn([2, 1, 16, 40])
    const found = graph.run('predict', { x })
    expect(
      found
        .sub(noGrad(() => features.forward(x)))
        .abs()
        .max()
        .itemSync(),
    ).toBeLessThan(1e-5)
    expect(() => graph.run('predict', { x: randn([2, 1, 16, 41]) })).toThrow(
      /run: 'predict' cannot be computed for height = 16, width = 41/,
    )
  })

  test('calls with sizes that do not fit', async () => {
    const both = (x: Tensor, y: Tensor) => x.add(y)
    const shapes = { x: { shape: [2, 3] }, y: { shape: [2, 3] } }
    const graph = await loadGraph(await graphToBytes(both, { fn: { inputs: shapes } }, [0]))
    const run = (a: number[], b: number[]) => () => graph.run('fn', { x: ones(a), y: ones(b) })
    expect(run([5, 3], [5, 3])().shape).toEqual([5, 3])
    expect(run([5, 3], [4, 3])).toThrow(
      "input 'y' is float32 [4, 3]. Expected float32 [axis0, 3] with axis0 = 5",
    )
    expect(run([5, 4], [5, 4])).toThrow("input 'x' is float32 [5, 4]. Expected float32 [axis0, 3]")
  })

  test('functions for which sizes decide', async () => {
    const bytes = (fn: (x: Tensor) => unknown, axes: unknown = [0]) =>
      graphToBytes(fn, { fn: { inputs: { x: { shape: [4] } } } }, axes as never)
    await expect(bytes((x) => x.mul(Math.log(x.size)))).rejects.toThrow(
      "saveGraph: signature 'fn': it does something else at other sizes of axis0",
    )
    await expect(bytes((x) => x, { y: [0] })).rejects.toThrow(
      "dynamicAxes names 'y', which is no input. Expected 'x'",
    )
    await expect(bytes((x) => x, 0)).rejects.toThrow('dynamicAxes is 0')
    await expect(bytes((x) => x, { x: [1] })).rejects.toThrow("'x' of shape [4]: 1 is no axis")
  })

  test('documents with formulas that make no sense', async () => {
    const bytes = await graphToBytes(
      (x: Tensor) => x.reshape([-1]).mul(2 * x.shape[0]!),
      { fn: { inputs: { x: { shape: [2, 3] } } } },
      [0],
    )
    const text = new TextDecoder('latin1').decode(bytes)
    const damaged = async (from: string, to: string) => {
      expect(text).toContain(from)
      const changed = text.replaceAll(from, to.padEnd(from.length))
      return loadGraph(Uint8Array.from(changed, (c) => c.charCodeAt(0)))
    }
    const quoted = (name: string) => String.raw`[\"times\",3,[\"${name}\",1,0]]`
    await damaged(quoted('axis0'), quoted('axis0'))
    await expect(damaged(quoted('axis0'), quoted('axis1'))).rejects.toThrow('no axis "axis1"')
    await expect(damaged(String.raw`\"times\",3`, String.raw`\"timex\",3`)).rejects.toThrow(
      'unknown formula "timex". Expected times, over, root, overRoot',
    )
    await expect(damaged(quoted('axis0'), String.raw`[\"times\",3]`)).rejects.toThrow('0 factors')
    await expect(
      damaged(quoted('axis0'), String.raw`[\"times\",4,[\"axis0\",1,0]]`),
    ).rejects.toThrow('loadGraph')
  })
})
