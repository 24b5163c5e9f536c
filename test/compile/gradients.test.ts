/** @file Compiled functions in the middle of eager ones: backward() through them, and what they save for it. */
import { describe, expect, test } from 'vitest'
import {
  compile,
  Generator,
  grad,
  GradError,
  gradients,
  manualSeed,
  noGrad,
  ones,
  rand,
  randn,
  tensor,
  tidy,
  type CompiledProgram,
  type Tensor,
} from 'tandem'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'

const leaf = (values: number[]) => tensor(values).requireGrad()
const asIs = <F>(f: F): F => f

/** Trains a model eagerly and with its forward compiled, and compares everything. */
function checkTraining(build: () => nn.Layer, input: () => Tensor, steps = 3): void {
  const run = (wrap: typeof asIs) => {
    manualSeed(1)
    const model = build()
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
    const forward = wrap((x: Tensor) => model.forward(x))
    const losses = []
    for (let i = 0; i < steps; i++) {
      const x = input()
      if (x.dtype === 'float32') x.requireGrad()
      optimizer.zeroGrad()
      const loss = forward(x).pow(2).mean()
      loss.backward()
      losses.push(loss.itemSync(), x.grad?.toArraySync())
      optimizer.step()
    }
    return [losses, Object.values(model.stateDict()).map((t) => t.toArraySync())]
  }
  expect(run((f) => compile(f as never) as typeof f)).toEqual(run(asIs))
}

describe('training with a compiled forward is that with an eager one', () => {
  test('of a perceptron', () =>
    checkTraining(
      () => new nn.Sequential(new nn.Linear(5, 7), new nn.GELU(), new nn.Linear(7, 3)),
      () => randn([4, 5]),
    ))
  test('with batch norm and dropout', () =>
    checkTraining(
      () =>
        new nn.Sequential(
          new nn.Linear(5, 8),
          new nn.BatchNorm1d(8),
          new nn.ReLU(),
          new nn.Dropout(0.5),
          new nn.Linear(8, 2),
        ),
      () => randn([6, 5]),
    ))
  test('of convolutions', () =>
    checkTraining(
      () =>
        new nn.Sequential(
          new nn.Conv2d(1, 4, 3),
          new nn.Tanh(),
          new nn.MaxPool2d(2),
          new nn.Flatten(),
          new nn.Linear(36, 2),
        ),
      () => randn([2, 1, 8, 8]),
    ))
  test('of an embedding and attention', () => {
    class Net extends nn.Module {
      embedding = new nn.Embedding(10, 8)
      norm = new nn.LayerNorm(8)
      attention = new nn.MultiheadAttention(8, 2)
      forward(x: Tensor) {
        const h = this.norm.forward(this.embedding.forward(x))
        const out = this.attention.forward(h, h, h) as Tensor | [Tensor]
        return Array.isArray(out) ? out[0] : out
      }
    }
    checkTraining(
      () => new Net(),
      () => rand([2, 6]).mul(10).cast('int32'),
    )
  })
})

describe('gradients', () => {
  test('of several results, nested, used or not', () => {
    const f = compile((x: Tensor, y: Tensor) => ({
      product: x.mul(y),
      list: [x.exp(), y.argmax()] as const,
      y,
      cut: x.mul(3).detach(),
    }))
    const [x, y] = [leaf([1, 2]), leaf([3, 4])]
    const out = f(x, y)
    expect([out.product, ...out.list, out.y, out.cut].map((t) => t.requiresGrad)).toEqual([
      true,
      true,
      false,
      true,
      false,
    ])
    out.product.sum().backward()
    expect(x.grad!.toArraySync()).toEqual([3, 4])
    expect(y.grad!.toArraySync()).toEqual([1, 2])
    const again = f(x, y)
    again.y.mul(10).sum().add(again.list[0].sum().mul(0)).backward()
    expect(x.grad!.toArraySync()).toEqual([3, 4])
    expect(y.grad!.toArraySync()).toEqual([11, 12])
  })

  test('go on to where an argument came from, and to tensors outside', () => {
    const w = leaf([2])
    const h = w.mul(5)
    const f = compile((x: Tensor) => x.mul(h).mul(w))
    f(w.mul(3)).sum().backward()
    // 3 w · 5 w · w
    expect(w.grad!.itemSync()).toBe(3 * 15 * 4)
  })

  test('through two compiled functions', () => {
    const f = compile((x: Tensor) => x.mul(x))
    const x = leaf([3])
    f(f(x)).sum().backward()
    expect(x.grad!.itemSync()).toBe(4 * 27)
    expect(f.programs.length).toBe(1)
  })

  test('for gradients() and grad()', () => {
    const w = new nn.Parameter(tensor([2]))
    const f = compile((x: Tensor) => x.mul(x).mul(w).sum())
    const x = leaf([3])
    expect(gradients([f(x)], [w, x]).map((g) => g!.toArraySync())).toEqual([[9], [12]])
    expect(grad(f)(tensor([1])).toArraySync()).toEqual([4])
    expect([w.grad, x.grad]).toEqual([undefined, undefined])
  })

  test('once, or as often as the graph is retained', () => {
    const x = leaf([3])
    const y = compile((t: Tensor) => t.mul(t))(x).sum()
    y.backward({ retainGraph: true })
    y.backward()
    expect(x.grad!.itemSync()).toBe(12)
    expect(() => y.backward()).toThrow(/already released/)
  })

  test('of gradients only inside', () => {
    const square = (t: Tensor) => t.mul(t).mul(t).sum()
    const x = leaf([2])
    expect(() => compile(square)(x).backward({ createGraph: true })).toThrow(GradError)
    expect(() => grad((t: Tensor) => grad(compile(square))(t).sum())(x)).toThrow(/grad\(\)/)
    compile((t: Tensor) => grad(square)(t).sum())(x).backward()
    expect(x.grad!.itemSync()).toBe(12)
  })

  test('not without recording, nor where nothing wants them', () => {
    const x = leaf([1])
    const f = compile((t: Tensor) => t.mul(2))
    expect(noGrad(() => f(x)).requiresGrad).toBe(false)
    expect(f(tensor([1])).requiresGrad).toBe(false)
    expect(f(x).requiresGrad).toBe(true)
    expect(f.programs.map((p) => p.backward === undefined)).toEqual([true, true, false])
  })

  test('are those of the values at the time of the call', () => {
    const w = new nn.Parameter(tensor([2]))
    const optimizer = new optim.SGD([w], { lr: 1 })
    const f = compile((x: Tensor) => w.mul(w).mul(x))
    const y = f(tensor([1])).sum()
    w.grad = tensor([1])
    optimizer.step()
    w.grad = undefined
    y.backward()
    expect(w.itemSync()).toBe(1)
    expect(w.grad!.itemSync()).toBe(4)
  })

  test('also where the function itself replaces the value', () => {
    const run = (wrap: typeof asIs) => {
      const w = new nn.Parameter(tensor([2]))
      const f = wrap(() => {
        const y = w.mul(w)
        w.assign(w.detach().add(1))
        return y.mul(w)
      })
      return [0, 1, 2].map(() => {
        w.grad = undefined
        f().sum().backward()
        return [w.grad!.itemSync(), w.itemSync()]
      })
    }
    expect(run((f) => compile(f as never) as typeof f)).toEqual(run(asIs))
  })

  test('and a backward() inside', () => {
    const w = new nn.Parameter(tensor([2]))
    const f = compile((x: Tensor) => {
      const loss = w.mul(x).sum()
      loss.backward()
      return [loss, loss.mul(2), w.mul(10).mul(x)] as const
    })
    const [loss, doubled, other] = f(tensor([3]))
    expect(w.grad!.itemSync()).toBe(3)
    expect([loss, doubled, other].map((t) => t.itemSync())).toEqual([6, 12, 60])
    // Their tape is gone, as it is eagerly.
    expect([loss.requiresGrad, doubled.requiresGrad]).toEqual([false, false])
    other.sum().backward()
    expect(w.grad!.itemSync()).toBe(33)
  })

  test('hooks are called once, inside or outside', () => {
    const calls: string[] = []
    const hook = (name: string) => (g: Tensor) => {
      calls.push(name)
      return g.mul(2)
    }
    const w = new nn.Parameter(tensor([1]))
    w.registerHook(hook('parameter'))
    const before = leaf([1])
    const h = before.mul(1)
    h.registerHook(hook('before'))
    const f = compile((x: Tensor) => x.mul(w).mul(h))
    const y = f(tensor([3]))
    y.registerHook(hook('result'))
    y.sum().backward()
    expect(calls.sort()).toEqual(['before', 'parameter', 'result'])
    expect([w.grad!.itemSync(), before.grad!.itemSync()]).toEqual([12, 12])
  })

  test('draws in hooks follow those of the function', () => {
    const run = (wrap: typeof asIs) => {
      const generator = new Generator(5)
      const f = wrap((x: Tensor) => {
        const y = x.mul(rand([2], { generator }))
        y.registerHook((g) => g.mul(rand([2], { generator })))
        return y.dropout({ p: 0.5, generator })
      })
      return [1, 2].map(() => {
        const x = leaf([1, 2])
        f(x).sum().backward()
        return x.grad!.toArraySync()
      })
    }
    expect(run((f) => compile(f as never) as typeof f)).toEqual(run(asIs))
  })

  test('a hook cannot take the gradient of a result out', () => {
    const kept = new nn.Buffer(ones([1]))
    const f = compile((x: Tensor) => {
      const y = x.mul(2)
      y.registerHook((g) => void kept.assign(g.detach()))
      return y
    })
    expect(() => f(leaf([1]))).toThrow(/a hook keeps a gradient/)
    expect(kept.itemSync()).toBe(1)
  })

  test('inside tidy', () => {
    const w = new nn.Parameter(randn([8, 8]))
    const f = compile((x: Tensor) => x.matmul(w).exp().matmul(w))
    const x = randn([4, 8]).requireGrad()
    tidy(() => {
      const y = tidy(() => f(x)).sum()
      y.backward()
    })
    const [got, gw] = [x.grad!.toArraySync(), w.grad!.toArraySync()]
    x.grad = w.grad = undefined
    x.matmul(w).exp().matmul(w).sum().backward()
    expect([got, gw]).toEqual([x.grad!.toArraySync(), w.grad!.toArraySync()])
  })
})

describe('saved values', () => {
  const savedOf = (f: { readonly programs: readonly CompiledProgram[] }) => {
    const [program] = f.programs
    const names = program!.backward!.graph.nodes.flatMap((n) => (n.kind === 'input' ? n.name : []))
    return {
      count: names.filter((name) => name.startsWith('saved')).length,
      made: program!.graph.outputs.length - 1,
    }
  }

  test('are none where the gradient reads none', () => {
    const f = compile((x: Tensor) => x.add(1).mul(3).reshape([-1]))
    f(ones([2, 2]).requireGrad())
    expect(savedOf(f)).toEqual({ count: 0, made: 0 })
  })

  test('are arguments and parameters as they are', () => {
    const w = new nn.Parameter(randn([3, 3]))
    const f = compile((x: Tensor) => x.matmul(w))
    f(ones([2, 3]).requireGrad())
    expect(savedOf(f)).toEqual({ count: 2, made: 0 })
  })

  test('are no cheap functions of others', () => {
    const w = new nn.Parameter(randn([3, 3]))
    const f = compile((x: Tensor) => x.matmul(w).gelu().mul(2).sin().transpose().matmul(x))
    f(ones([2, 3]).requireGrad())
    // x, w and x w: the rest is computed again.
    expect(savedOf(f)).toEqual({ count: 3, made: 1 })
  })
})
