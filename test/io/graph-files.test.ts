/** @file Saved graphs: the same predictions after a round trip, in this process and another; what cannot be saved. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  compile,
  cond,
  manualSeed,
  noGrad,
  ones,
  rand,
  randn,
  tensor,
  whileLoop,
  zeros,
  type Tensor,
} from 'tandem'
import { graphToBytes, loadGraph, saveGraph, type GraphSignature } from 'tandem/io'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'
import { childPrograms } from '../backend/child-programs.ts'
import { serveFolder } from '../../scripts/static-server.ts'
import { readableBackends } from '../devices.ts'

let folder = ''
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'tandem-graph-'))))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const bits = (t: Tensor) => [t.dtype, t.shape, [...t.dataSync()].map(String)]

class ConvNet extends nn.Module {
  features = new nn.Sequential(
    new nn.Conv2d(1, 8, 3, { padding: 1 }),
    new nn.BatchNorm2d(8),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(8, 16, 3, { padding: 1, stride: 2 }),
    new nn.ReLU(),
    new nn.Dropout(0.5),
  )
  classifier = new nn.Linear(16 * 7 * 7, 10)

  forward(x: Tensor) {
    return this.classifier.forward(this.features.forward(x).flatten({ startAxis: 1 }))
  }
}

class Transformer extends nn.Module {
  embedding = new nn.Embedding(11, 16)
  encoder = new nn.TransformerEncoderLayer(16, 2, { dimFeedforward: 32 })
  out = new nn.Linear(16, 11)

  forward(tokens: Tensor) {
    return this.out.forward(this.encoder.forward(this.embedding.forward(tokens))).softmax()
  }
}

const tokens = () =>
  tensor(
    [
      [1, 5, 10, 0],
      [2, 2, 7, 3],
    ],
    { dtype: 'int32' },
  )

describe('a round trip predicts the same to the bit', () => {
  const networks = {
    'an MLP': () => [
      new nn.Sequential(
        new nn.Linear(6, 8),
        new nn.GELU(),
        new nn.LayerNorm(8),
        new nn.Linear(8, 3),
      ),
      randn([5, 6]),
    ],
    'a convolutional network': () => [new ConvNet(), randn([2, 1, 28, 28])],
    'a transformer': () => [new Transformer(), tokens()],
    'a recurrent step of transposed convolutions': () => [
      new nn.ConvTranspose2d(3, 2, 3, { stride: 2 }),
      randn([1, 3, 5, 5]),
    ],
  } satisfies Record<string, () => [nn.Module, Tensor]>

  for (const [name, make] of Object.entries(networks))
    for (const form of ['network.safetensors', 'network'])
      test(`${name}, as ${form}`, async () => {
        manualSeed(1)
        const [model, x] = make() as [nn.Module & { forward(x: Tensor): Tensor }, Tensor]
        const path = join(folder, form)
        await saveGraph(model, path, { signatures: { predict: { inputs: { x } } } })
        expect(model.training).toBe(true)
        const graph = await loadGraph(path)
        model.eval()
        const compiled = compile((x: Tensor) => model.forward(x))
        const eager = noGrad(() => model.forward(x))
        const wanted = noGrad(() => compiled(x))
        const found = graph.run('predict', { x })
        expect(bits(found)).toEqual(bits(wanted))
        expect(found.sub(eager).abs().max().itemSync()).toBeLessThan(1e-5)
        expect(found.requiresGrad).toBe(false)
      })
})

const x3 = { inputs: { x: { shape: [3] } } }

describe('functions', () => {
  test('several signatures share weights, and say what they take and return', async () => {
    const model = new Transformer()
    const signatures = {
      scores: { inputs: { tokens: tokens() } },
      all: {
        inputs: { tokens: tokens(), scale: { shape: [], dtype: 'float64' } },
        fn: (tokens: Tensor, scale: Tensor) => {
          const embedded = model.embedding.forward(tokens)
          return { embedded, more: [embedded.mul(scale), -0, NaN, 'text', null, true], tokens }
        },
      },
    } satisfies Record<string, GraphSignature>
    const graph = await loadGraph(await graphToBytes(model, signatures))
    expect(graph.signatures['all']).toEqual({
      inputs: {
        tokens: { shape: [2, 4], dtype: 'int32' },
        scale: { shape: [], dtype: 'float64' },
      },
      outputs: {
        embedded: { shape: [2, 4, 16], dtype: 'float32' },
        more: [{ shape: [2, 4, 16], dtype: 'float32' }, -0, NaN, 'text', null, true],
        tokens: { shape: [2, 4], dtype: 'int32' },
      },
    })
    expect(Object.keys(graph.weights).sort()).toEqual(Object.keys(model.stateDict()).sort())
    const scale = tensor(3, { dtype: 'float64' })
    const { more, tokens: same } = graph.run<{ more: [Tensor]; tokens: Tensor }>('all', {
      scale,
      tokens: tokens(),
    })
    expect(bits(more[0])).toEqual(bits(model.embedding.forward(tokens()).detach().mul(scale)))
    expect(bits(same)).toEqual(bits(tokens()))
  })

  test('a parameter under two names, views of it and of constants are saved once', async () => {
    const table = randn([4, 6])
    class Tied extends nn.Module {
      first = new nn.Linear(3, 4, { bias: false })
      second = this.first
      forward(x: Tensor) {
        const { weight } = this.first
        const shifted = x
          .add(table.slice([1, 2], [0, 3]))
          .add(table.transpose(0, 1).slice(2, [0, 3]))
        return this.second.forward(shifted.add(weight.detach().slice(0))).matmul(weight)
      }
    }
    const model = new Tied()
    const x = randn([1, 3])
    const inputs = { x }
    const bytes = await graphToBytes(model, {
      a: { inputs },
      b: { inputs, fn: (x) => x.add(table.transpose(0, 1).slice([0, 3]).sum()).mul(table.sum()) },
    })
    const graph = await loadGraph(bytes)
    expect(Object.keys(graph.weights)).toEqual(['constant0', 'first.weight'])
    expect(bits(graph.run('a', { x }))).toEqual(bits(noGrad(() => model.forward(x))))
  })

  test('draw random numbers of the same stream', async () => {
    const fn = (x: Tensor) => [x.add(randn([3])), rand([2, 2]), x.add(rand([3]))]
    const graph = await loadGraph(await graphToBytes(fn, { fn: x3 }))
    manualSeed(7)
    const wanted = [fn(zeros([3])), fn(zeros([3]))].map((list) => list.map(bits))
    manualSeed(7)
    const found = [1, 2].map(() => graph.run<Tensor[]>('fn', { x: zeros([3]) }).map(bits))
    expect(found).toEqual(wanted)
  })

  test('branch and loop', async () => {
    const scale = new nn.Parameter(tensor(2))
    const fn = (x: Tensor) =>
      whileLoop(
        (a) => a.max().lt(100),
        (a) =>
          cond(
            a.sum().gt(10),
            (b) => b.mul(scale),
            (b) => b.add(1),
            [a],
          ),
        x,
      )
    const graph = await loadGraph(await graphToBytes(fn, { fn: x3 }))
    for (const x of [tensor([1, 2, 3]), tensor([200, 0, 0]), tensor([-5, 20, 1])])
      expect(bits(graph.run('fn', { x }))).toEqual(bits(noGrad(() => fn(x))))
    expect(Object.keys(graph.weights)).toEqual(['parameter0'])
  })

  test('run on every backend, each with weights of its own', async () => {
    const model = new nn.Linear(3, 2)
    const x = randn([1, 3])
    const graph = await loadGraph(await graphToBytes(model, { fn: { inputs: { x } } }))
    const wanted = noGrad(() => model.forward(x)).dataSync()
    for (const device of readableBackends) {
      const found = graph.run('fn', { x: x.to(device) })
      expect(found.device).toBe(device)
      found.dataSync().forEach((y, i) => expect(y).toBeCloseTo(Number(wanted[i]), 5))
    }
    const there = await loadGraph(await graphToBytes(model, { fn: { inputs: { x } } }), {
      device: 'reference',
    })
    expect(there.weights['weight']!.device).toBe('reference')
  })

  test('a compiled function, and one without inputs', async () => {
    const graph = await loadGraph(
      await graphToBytes(
        compile((x: Tensor) => x.exp()),
        {
          exp: x3,
          five: { inputs: {}, fn: () => ones([2]).mul(5) },
        },
      ),
    )
    expect(graph.run('exp', { x: zeros([3]) }).toArraySync()).toEqual([1, 1, 1])
    expect(graph.run('five', {}).toArraySync()).toEqual([5, 5])
  })
})

describe('what cannot be saved is refused', () => {
  const norm = new nn.BatchNorm1d(3)
  const parameter = new nn.Parameter(ones([3]))
  const optimizer = new optim.SGD([parameter], { lr: 1 })
  const refused: Record<string, [fn: (x: Tensor) => unknown, message: RegExp]> = {
    'batch norm in training': [
      (x) => norm.forward(x.reshape([1, 3]).expand([2, 3])),
      /signature 'fn': the function changes a Buffer, a Buffer, a Buffer, as in training/,
    ],
    dropout: [(x) => x.dropout(), /the function runs dropout as in training. Pass the module/],
    'the step of an optimizer': [
      (x) => {
        parameter.grad = x
        optimizer.step()
        return x
      },
      /the function (changes a Parameter|computes gradients)/,
    ],
    promises: [(x) => Promise.resolve(x), /the function returned a promise/],
    'dates in the result': [() => ({ at: new Date() }), /Date/],
    'reading elements': [(x) => x.mul(x.sum().itemSync()), /reads the elements of a tensor/],
  }
  for (const [what, [fn, message]] of Object.entries(refused))
    test(what, () => expect(graphToBytes(fn, { fn: x3 })).rejects.toThrow(message))

  test('signatures that are none', async () => {
    const model = new nn.ReLU()
    const bytes = (signatures: unknown) => graphToBytes(model, signatures as never)
    await expect(bytes(undefined)).rejects.toThrow('there are no signatures')
    await expect(bytes({})).rejects.toThrow('there are no signatures')
    await expect(bytes({ a: {} })).rejects.toThrow("signature 'a': no inputs")
    await expect(bytes({ a: { inputs: { x: { shape: [1.5] } } } })).rejects.toThrow('whole sizes')
    await expect(bytes({ a: { inputs: { x: { shape: [{ axis: 'n' }] } } } })).rejects.toThrow()
    await expect(bytes({ a: { input: {} } })).rejects.toThrow("unknown option 'input'")
    await expect(graphToBytes(3 as never, { a: x3 })).rejects.toThrow(
      'expected a module or a function',
    )
  })
})

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

describe('a call with wrong inputs says what is expected', () => {
  const load = async () => loadGraph(await graphToBytes((x: Tensor) => x.mul(2), { fn: x3 }))
  const wrong: Record<string, [name: string, inputs: unknown, message: string]> = {
    name: ['other', { x: zeros([3]) }, "there is no signature 'other'. Expected one of fn"],
    missing: ['fn', {}, "input 'x' is missing. Expected x: float32 [3]"],
    unknown: ['fn', { x: zeros([3]), y: zeros([3]) }, "there is no input 'y'"],
    shape: ['fn', { x: zeros([4]) }, "input 'x' is float32 [4]. Expected float32 [3]"],
    dtype: ['fn', { x: zeros([3], { dtype: 'int32' }) }, "cast it: x.cast('float32')"],
    array: ['fn', { x: [1, 2, 3] }, "input 'x' is of type object"],
    'no names': ['fn', zeros([3]), 'inputs go by their names'],
  }
  for (const [what, [name, inputs, message]] of Object.entries(wrong))
    test(what, async () => {
      const graph = await load()
      expect(() => graph.run(name, inputs as never)).toThrow(message)
    })

  test('inside of a compiled function', async () => {
    const graph = await load()
    const f = compile((x: Tensor) => graph.run('fn', { x }))
    expect(() => f(zeros([3]))).toThrow('cannot become a part of another program')
  })
})

describe('files', () => {
  const model = new nn.Linear(3, 2)
  const signatures = { fn: { inputs: { x: { shape: [1, 3] } } } }

  test('are written whole, and replaced', async () => {
    const path = join(folder, 'replaced')
    await saveGraph(model, path, { signatures })
    await saveGraph(new nn.Linear(3, 2), `${path}/`, { signatures })
    expect(readdirSync(path).sort()).toEqual(['graph.json', 'weights.safetensors'])
    // The same graph, so that either's weights belong to it.
    expect((await loadGraph(path)).run('fn', { x: zeros([1, 3]) }).shape).toEqual([1, 2])
    await saveGraph(model, join(folder, 'other'), {
      signatures: { ...signatures, two: { inputs: { x: { shape: [2, 3] } } } },
    })
    const weights = readFileSync(join(folder, 'other', 'weights.safetensors'))
    writeFileSync(join(path, 'weights.safetensors'), weights)
    await expect(loadGraph(path)).rejects.toThrow('was not saved with the graph.json beside it')
  })

  test('missing, and of another kind', async () => {
    await expect(loadGraph(join(folder, 'none'))).rejects.toThrow('there is no file')
    await expect(loadGraph('')).rejects.toThrow('the path is empty')
    await expect(loadGraph(3 as never)).rejects.toThrow('the path is of type number')
    const { toSafetensors } = await import('tandem/io')
    await expect(loadGraph(await toSafetensors(model))).rejects.toThrow('no graph in the bytes')
  })

  test('behind an address', async () => {
    await saveGraph(model, join(folder, 'served'), { signatures })
    await saveGraph(model, join(folder, 'served.safetensors'), { signatures })
    const server = await serveFolder(folder)
    try {
      for (const name of ['served', 'served/', 'served.safetensors'])
        expect((await loadGraph(new URL(name, server.url))).weights['bias']!.shape).toEqual([2])
      await expect(loadGraph(new URL('none', server.url))).rejects.toThrow('404')
    } finally {
      await server.close()
    }
  })

  test('a process that knows only loadGraph predicts the same', async () => {
    manualSeed(5)
    const network = new ConvNet()
    const optimizer = new optim.Adam(network.parameters(), { lr: 1e-2 })
    const x = randn([4, 1, 28, 28])
    const y = tensor([1, 2, 3, 4], { dtype: 'int32' })
    for (let i = 0; i < 3; i++) {
      optimizer.zeroGrad()
      network.forward(x).crossEntropy(y).backward()
      optimizer.step()
    }
    await saveGraph(network, join(folder, 'cnn'), { signatures: { predict: { inputs: { x } } } })
    const wanted = (await loadGraph(join(folder, 'cnn'))).run('predict', { x })
    // The input travels as a weight.
    await saveGraph(() => x.neg(), join(folder, 'x.safetensors'), {
      signatures: { x: { inputs: {} } },
    })
    const child = await childPrograms(`export { loadGraph } from '@/src/io/index.ts'`)
    try {
      const { output, complaint } = await child.run(`
        import { loadGraph } from './library.mjs'
        const graph = await loadGraph(${JSON.stringify(join(folder, 'cnn'))})
        const { constant0: x } = (await loadGraph(${JSON.stringify(join(folder, 'x.safetensors'))})).weights
        console.log(JSON.stringify([...await graph.run('predict', { x }).data()].map(String)))
      `)
      expect(complaint).toBe('')
      expect(JSON.parse(output)).toEqual(bits(wanted)[2])
    } finally {
      child.remove()
    }
  })
})
