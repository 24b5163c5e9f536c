/** @file What a chain of layers frees while it runs and in backward, and that nothing is freed that somebody keeps. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { currentBackend, grad, noGrad, randn, tensor, tidy, type Tensor } from 'tandem'
import * as nn from 'tandem/nn'
import type { Block } from '../../src/backend/backend.ts'

/** The blocks that are made and those that are freed while `body` runs. */
function blocksIn(body: () => void): { readonly made: Set<Block>; readonly freed: Set<Block> } {
  const backend = currentBackend()
  const { allocate, free } = backend
  const made = new Set<Block>()
  const freed = new Set<Block>()
  backend.allocate = (bytes) => {
    const block = allocate.call(backend, bytes)
    made.add(block)
    return block
  }
  backend.free = (block) => {
    freed.add(block)
    free.call(backend, block)
  }
  try {
    body()
  } finally {
    Object.assign(backend, { allocate, free })
  }
  return { made, freed }
}

/** A layer that keeps what goes through it, and what was in it at the time. */
class Keeper extends nn.Module {
  #kept: { readonly t: Tensor; readonly values: unknown }[] = []
  readonly layer: nn.Layer

  constructor(layer: nn.Layer) {
    super()
    this.layer = layer
  }
  forward(x: Tensor): Tensor {
    const y = this.layer.forward(x)
    this.keep(x)
    this.keep(y)
    return y
  }
  keep(t: Tensor): void {
    this.#kept.push({ t, values: t.toArraySync() })
  }
  /** All is there, although memory was used again in the meantime. */
  check(): void {
    for (const { t } of this.#kept)
      for (let i = 0; i < 4; i++) if (t.size > 0) randn(t.shape).mul(2)
    for (const { t, values } of this.#kept) expect(t.toArraySync()).toEqual(values)
  }
}

const shape = [2, 3, 4, 4]

describe('a chain frees what only passes through it', () => {
  const chain = () => [
    new nn.Conv2d(3, 3, 3, { padding: 1 }),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Linear(12, 5),
    new nn.Tanh(),
  ]

  /** Bytes of what the first four layers give. */
  const activations = [4 * 2 * 3 * 4 * 4, 4 * 2 * 3 * 2 * 2]
  const isActivation = (block: Block) => activations.includes(block.bytes)

  test('at once without a tape', () => {
    const net = new nn.Sequential(...chain())
    const x = randn(shape)
    let y!: Tensor
    const { made, freed } = blocksIn(() => (y = noGrad(() => net.forward(x))))
    // relu writes over what the convolution gave.
    expect([...made].filter(isActivation)).toHaveLength(2)
    expect([...made].filter((block) => !freed.has(block))).toEqual([y.storage])
  })

  test('with the last entry of the tape that saved it', () => {
    const net = new nn.Sequential(...chain())
    const x = randn(shape)
    let y!: Tensor
    const forward = blocksIn(() => (y = net.forward(x)))
    const saved = [...forward.made].filter((block) => !forward.freed.has(block))
    // What relu gives, in the place of what the convolution gave, the maxima, and where they were.
    expect(saved.filter(isActivation)).toHaveLength(3)
    const g = randn([2, 5])
    const backward = blocksIn(() => y.backward({ gradient: g }))
    for (const block of saved) expect(backward.freed.has(block)).toBe(block !== y.storage)
    for (const block of backward.made)
      if (isActivation(block)) expect(backward.freed.has(block)).toBe(true)
  })

  test('not before the tape is released', () => {
    const net = new nn.Sequential(...chain())
    const x = randn(shape)
    const loss = net.forward(x).sum()
    loss.backward({ retainGraph: true })
    const first = net.parameters().map((p) => p.grad!.toArraySync())
    net.zeroGrad()
    loss.backward()
    expect(net.parameters().map((p) => p.grad!.toArraySync())).toEqual(first)
  })
})

describe('whoever keeps a tensor finds it again', () => {
  const ways: Record<string, (layer: nn.Layer, keeper: Keeper) => () => void> = {
    'a hook': (layer, keeper) =>
      layer.registerForwardHook((_, [x], y) => {
        keeper.keep(x as Tensor)
        keeper.keep(y as Tensor)
      }),
    'a hook before': (layer, keeper) =>
      layer.registerForwardPreHook((_, [x]) => keeper.keep(x as Tensor)),
    'a function on the instance': (layer, keeper) => {
      const inner = layer.forward.bind(layer)
      layer.forward = (x) => {
        keeper.keep(x)
        return inner(x)
      }
      return () => undefined
    },
    'a function on the prototype': (layer, keeper) => {
      const prototype = Object.getPrototypeOf(layer) as nn.Layer
      const inner = prototype.forward
      prototype.forward = function (x) {
        const y = inner.call(this, x)
        keeper.keep(y)
        return y
      }
      return () => (prototype.forward = inner)
    },
  }
  test.each(Object.keys(ways))('by %s', (name) => {
    for (let i = 0; i < 4; i++) {
      const layers = [new nn.ReLU(), new nn.Tanh(), new nn.Sigmoid(), new nn.Softplus()]
      const keeper = new Keeper(layers[i]!)
      const undo = ways[name]!(layers[i]!, keeper)
      const x = randn(shape).requireGrad()
      new nn.Sequential(...layers).forward(x).sum().backward()
      undo()
      keeper.check()
    }
  })

  test('of a class of their own', () => {
    const kept: Tensor[] = []
    class Kept extends nn.ReLU {
      override forward(x: Tensor): Tensor {
        kept.push(x)
        return super.forward(x)
      }
    }
    const x = tensor([-1, 0, 1, 2]).requireGrad()
    new nn.Sequential(new nn.Tanh(), new Kept(), new nn.Tanh()).forward(x).sum().backward()
    randn([4]).mul(2)
    expect(kept[0]!.dataSync()[3]).toBeCloseTo(Math.tanh(2))
  })

  const square: Record<string, () => nn.Layer> = {
    relu: () => new nn.ReLU(),
    tanh: () => new nn.Tanh(),
    softmax: () => new nn.Softmax(),
    linear: () => new nn.Linear(4, 4),
    identity: () => new nn.Identity(),
    flatten: () => new nn.Flatten({ startAxis: 0, endAxis: 0 }),
    dropout: () => new nn.Dropout(0).eval(),
    norm: () => new nn.LayerNorm(4),
  }
  test('in any chain', () => {
    const names = fc.constantFrom(...Object.keys(square))
    const parts = fc.record({ name: names, isKept: fc.boolean() })
    fc.assert(
      fc.property(fc.array(parts, { minLength: 1, maxLength: 7 }), (chosen) => {
        const layers = chosen.map(({ name }) => square[name]!())
        const keepers: Keeper[] = []
        const chain = layers.map((layer, i) => {
          if (!chosen[i]!.isKept) return layer
          keepers.push(new Keeper(layer))
          return keepers.at(-1)!
        })
        const values = randn([64, 4])
        const x = values.clone().requireGrad()
        const y = new nn.Sequential(...chain).forward(x)
        const result = y.toArraySync()
        y.square().sum().backward()
        for (const keeper of keepers) keeper.check()
        expect(y.toArraySync()).toEqual(result)
        const leaf = values.clone().requireGrad()
        layers
          .reduce((z, layer) => layer.forward(z), leaf)
          .square()
          .sum()
          .backward()
        expect(x.grad!.toArraySync()).toEqual(leaf.grad!.toArraySync())
        expect(x.toArraySync()).toEqual(values.toArraySync())
      }),
      { numRuns: 60 },
    )
  })

  test('gradients of gradients', () => {
    const layers = [new nn.Tanh(), new nn.Linear(4, 4), new nn.Sigmoid(), new nn.Tanh()]
    const net = new nn.Sequential(...layers)
    const plain = (x: Tensor) => layers.reduce((z, layer) => layer.forward(z), x)
    const second = (f: (x: Tensor) => Tensor) =>
      grad((x: Tensor) =>
        grad((z: Tensor) => f(z).sum())(x)
          .square()
          .sum(),
      )
    const x = randn([3, 4])
    expect(second((z) => net.forward(z))(x).toArraySync()).toEqual(second(plain)(x).toArraySync())
  })

  test('inside tidy', () => {
    const net = new nn.Sequential(new nn.Tanh(), new nn.Tanh(), new nn.ReLU(), new nn.Flatten())
    const x = randn(shape)
    const y = tidy(() => net.forward(x))
    expect(y.toArraySync()).toEqual(net.forward(x).toArraySync())
  })
})
