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
import { bits, ConvNet, tokens, Transformer } from './saved-models.ts'

let folder = ''
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'tandem-graph-'))))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

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
