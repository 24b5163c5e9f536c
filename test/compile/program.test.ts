/** @file A compiled step as one program: the results of its kernels launched one by one, and what becomes of memory. */
import { afterEach, describe, expect, test } from 'vitest'
import {
  compile,
  getNumThreads,
  manualSeed,
  randn,
  noGrad,
  setNumThreads,
  tensor,
  tidy,
  zeros,
  type Tensor,
} from 'tandem'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'
import { withConfig } from '../../src/util/config.ts'
import { getBackend, type Backend } from '../../src/backend/backend.ts'
import { whyNoCpu } from '../../src/backend/cpu/index.ts'
import { readableBackends } from '../devices.ts'

const threads = getNumThreads()
afterEach(() => setNumThreads(threads))

/** Runs `body` with a backend that launches kernels one by one. */
function withLaunches<T>(device: string, body: () => T): T {
  const backend = getBackend(device) as { program?: Backend['program'] }
  Object.defineProperty(backend, 'program', { value: undefined, configurable: true })
  try {
    return body()
  } finally {
    delete backend.program
  }
}

/** Rows of a batch: the interpreter is slow. */
const rowsOn = (device: string) => (device === 'cpu' ? 64 : 6)

const int32 = (...values: number[]) => tensor(values, { dtype: 'int32' })

type Model = nn.Module & { forward(x: Tensor): Tensor }

const models = {
  mlp: (rows: number) => ({
    model: new nn.Sequential(new nn.Linear(40, 96), new nn.ReLU(), new nn.Linear(96, 10)) as Model,
    x: randn([rows, 40]),
  }),
  cnn: (rows: number) => ({
    model: new nn.Sequential(
      new nn.Conv2d(1, 6, 3),
      new nn.BatchNorm2d(6),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Flatten(),
      new nn.Linear(6 * 5 * 5, 10),
    ) as Model,
    x: randn([rows, 1, 12, 12]),
  }),
}

/** Losses of a few steps, and all parameters and buffers after them. */
function train(name: keyof typeof models, device: string, isCompiled: boolean): number[][] {
  manualSeed(3)
  const { model, x: data } = models[name](rowsOn(device))
  model.to(device)
  const x = data.to(device)
  const y = int32(...Array.from({ length: rowsOn(device) }, (_, i) => (i * 7) % 10)).to(device)
  const optimizer = new optim.Adam(model.parameters(), { lr: 1e-2 })
  const step = (x: Tensor, y: Tensor) => {
    optimizer.zeroGrad()
    const loss = model.forward(x).crossEntropy(y)
    loss.backward()
    optimizer.step()
    return loss
  }
  const run = isCompiled ? compile(step) : step
  const losses = Array.from({ length: 4 }, () => run(x, y).itemSync())
  const state = [...model.parameters(), ...model.buffers()]
  return [losses, ...state.map((t) => [...(t.dataSync() as Float32Array)])]
}

describe.each(readableBackends)('programs on %s', (device) => {
  /** A compiled function without arguments, which would say on what device. */
  const on = <T>(f: () => T): (() => T) => {
    const compiled = compile(f)
    return () => withConfig({ backend: device }, compiled)
  }

  test.each(Object.keys(models) as (keyof typeof models)[])(
    'a step of the %s gives the same bits as its kernels launched one by one',
    (name) => {
      const launched = withLaunches(device, () => train(name, device, true))
      expect(train(name, device, true)).toEqual(launched)
      const eager = train(name, device, false)
      launched.forEach((values, i) =>
        values.forEach((x, k) => expect(Math.abs(x - eager[i]![k]!)).toBeLessThan(2e-3)),
      )
    },
  )

  test('a check that fails is the complaint of its op, and nothing behind it is run', () => {
    manualSeed(1)
    const embedding = new nn.Embedding(5, 3)
    embedding.to(device)
    const optimizer = new optim.SGD(embedding.parameters(), { lr: 0.1 })
    const step = compile((index: Tensor) => {
      optimizer.zeroGrad()
      const loss = embedding.forward(index).square().sum()
      loss.backward()
      optimizer.step()
      return loss
    })
    const right = int32(0, 1, 4).to(device)
    step(right)
    const before = embedding.weight.toArraySync()
    for (let i = 0; i < 2; i++) {
      expect(() => step(int32(0, 7, 1).to(device))).toThrow(/embedding: .*7/)
      expect(embedding.weight.toArraySync()).toEqual(before)
    }
    step(right)
    expect(embedding.weight.toArraySync()).not.toEqual(before)
  })

  test('results leave for good: another run does not change them', () => {
    const f = compile((x: Tensor) => [x.mul(2), x.exp().sum()])
    const [a, b] = f(tensor([1, 2], { device }))
    const [c] = f(tensor([3, 4], { device }))
    expect([a!.toArraySync(), c!.toArraySync()]).toEqual([
      [2, 4],
      [6, 8],
    ])
    expect(b!.itemSync()).toBeCloseTo(Math.E + Math.E ** 2, 4)
  })

  test('a parameter is overwritten unless somebody reads it', () => {
    const weight = new nn.Parameter(tensor([1, 2, 3], { device }))
    const step = compile((x: Tensor) => {
      weight.assign(weight.mul(0.5).add(x).detach())
    })
    const x = tensor([1, 1, 1], { device })
    step(x)
    const block = weight.storage
    step(x)
    expect(weight.storage).toBe(block)
    const view = weight.detach()
    const kept = view.toArraySync()
    step(x)
    expect(weight.storage).not.toBe(block)
    expect(view.toArraySync()).toEqual(kept)
    expect(weight.toArraySync()).toEqual([1.875, 2, 2.125])
  })

  test('the old content of a parameter may be returned', () => {
    const weight = new nn.Parameter(tensor([1, 2, 3], { device }))
    const step = on(() => {
      const before = weight.detach()
      weight.assign(weight.mul(2).detach())
      return before
    })
    expect(step().toArraySync()).toEqual([1, 2, 3])
    expect(step().toArraySync()).toEqual([2, 4, 6])
    expect(weight.toArraySync()).toEqual([4, 8, 12])
  })

  test('buffers may swap their contents, and take that of an argument', () => {
    const a = new nn.Buffer(tensor([1, 2], { device }))
    const b = new nn.Buffer(tensor([3, 4], { device }))
    const swap = on(() => {
      const before = a.detach()
      a.assign(b)
      b.assign(before)
    })
    for (let i = 0; i < 3; i++) swap()
    expect([a.toArraySync(), b.toArraySync()]).toEqual([
      [3, 4],
      [1, 2],
    ])
    const take = compile((x: Tensor) => void a.assign(x))
    const rows = tensor(
      [
        [5, 6],
        [7, 8],
      ],
      { device },
    )
    take(rows.slice(1))
    swap()
    expect([a.toArraySync(), b.toArraySync(), rows.toArraySync()]).toEqual([
      [1, 2],
      [7, 8],
      [
        [5, 6],
        [7, 8],
      ],
    ])
  })

  test('gradients stay in their memory from run to run, unless somebody has seen them', () => {
    const weight = new nn.Parameter(tensor([1, 2], { device }))
    const step = compile((x: Tensor) => {
      weight.grad = undefined
      weight.mul(x).sum().backward()
    })
    const run = (...x: number[]) => {
      step(tensor(x, { device }))
      return weight.gradSlot!.storage
    }
    const block = run(1, 1)
    expect(run(2, 3)).toBe(block)
    const seen = weight.grad!
    expect(run(4, 5)).not.toBe(block)
    expect([seen.toArraySync(), weight.grad!.toArraySync()]).toEqual([
      [2, 3],
      [4, 5],
    ])
    const accumulate = compile((x: Tensor) => weight.mul(x).sum().backward())
    for (let i = 0; i < 3; i++) accumulate(tensor([1, 10], { device }))
    expect(weight.grad!.toArraySync()).toEqual([7, 35])
    expect(seen.toArraySync()).toEqual([2, 3])
  })

  test("a gradient that two leaves have, or that is returned, is nobody's own", () => {
    const [a, b] = [1, 2].map((x) => new nn.Parameter(tensor([x, x], { device })))
    const step = compile((x: Tensor) => {
      a!.grad = b!.grad = undefined
      a!.add(b!).mul(x).sum().backward()
      return a!.grad
    })
    const first = step(tensor([1, 2], { device })) as unknown as Tensor
    const second = step(tensor([3, 4], { device })) as unknown as Tensor
    const all = [first, second, a!.grad!, b!.grad!].map((t) => t.toArraySync())
    expect(all).toEqual([
      [1, 2],
      [3, 4],
      [3, 4],
      [3, 4],
    ])
  })

  test('another dtype of a parameter is another program', () => {
    const layer = new nn.Linear(2, 2)
    layer.to(device)
    const f = compile((x: Tensor) =>
      noGrad(() => layer.forward(x.cast(layer.weight.dtype)).cast('float32')),
    )
    const x = randn([3, 2]).to(device)
    const before = f(x)
    layer.cast('float64')
    const after = f(x)
    expect(f.programs.length).toBe(2)
    expect(after.sub(before).abs().max().itemSync()).toBeLessThan(1e-5)
  })

  test('tidy frees results that are not its own', () => {
    const f = compile((x: Tensor) => [x.add(1), x.add(2)])
    let lost: Tensor
    const kept = tidy(() => {
      const [a, b] = f(tensor([1], { device }))
      lost = b!
      return a!
    })
    expect(kept.toArraySync()).toEqual([2])
    if (device !== 'reference') expect(() => lost.toArraySync()).toThrow(/was freed/)
  })

  test('a reduction is not written over what it reads', () => {
    const f = compile((x: Tensor) => {
      const y = x.mul(2)
      return y
        .sub(y.max({ axis: 1, keepDims: true }))
        .exp()
        .softmax({ axis: 1 })
        .mul(y)
        .sum()
    })
    const x = randn([7, 33]).to(device)
    const y = x.mul(2)
    const expected = y
      .sub(y.max({ axis: 1, keepDims: true }))
      .exp()
      .softmax({ axis: 1 })
      .mul(y)
    for (let i = 0; i < 2; i++) expect(f(x).itemSync()).toBeCloseTo(expected.sum().itemSync(), 4)
  })
})

describe('programs on wasm', () => {
  test('survive being moved out of linear memory', () => {
    const wasm = { device: 'wasm' }
    const weight = new nn.Buffer(tensor([1, 2, 3], wasm))
    const table = tensor([10, 20, 30], wasm)
    const f = compile((index: Tensor, x: Tensor) => {
      weight.assign(weight.mul(2))
      return table
        .indexSelect(0, index)
        .mul(x.exp().sum({ keepDims: true }))
        .add(weight)
    })
    const index = int32(2, 0, 1).to('wasm')
    const run = () => f(index, tensor([0, 0], wasm)).toArraySync()
    expect(run()).toEqual([62, 24, 46])
    for (let round = 0; round < 3; round++) {
      // Forgotten at once, and several times what linear memory holds before the oldest go.
      for (let i = 0; i < 80; i++) zeros([1 << 20], wasm).add(1)
      const factor = 2 ** (round + 2)
      expect(run()).toEqual([60 + factor, 20 + 2 * factor, 40 + 3 * factor])
      expect(() => f(index.add(1), tensor([0], wasm))).toThrow(/indexSelect/)
      // What comes before the check has been done, as in a function that is not compiled.
      weight.assign(weight.mul(0.5))
    }
  })
})

describe.skipIf(whyNoCpu() !== undefined)('programs and threads', () => {
  test.each(Object.keys(models) as (keyof typeof models)[])(
    'the bits of the %s do not depend on the number of threads',
    (name) => {
      const results = [1, 2, 3].map((count) => {
        setNumThreads(count)
        return train(name, 'cpu', true)
      })
      expect(results[1]).toEqual(results[0])
      expect(results[2]).toEqual(results[0])
    },
  )

  test('the number of threads may change between runs', () => {
    const f = compile((x: Tensor) => x.matmul(x).tanh().matmul(x).sum({ axis: 0 }))
    const x = randn([200, 200]).mul(0.1).to('cpu')
    setNumThreads(1)
    const expected = f(x).dataSync()
    for (const count of [2, 1, 4, 3, 1, 2]) {
      setNumThreads(count)
      for (let i = 0; i < 20; i++) expect(f(x).dataSync()).toEqual(expected)
    }
  })
})
