/** @file checkpoint(): the same gradients from less memory, eagerly and in programs. */
import { describe, expect, test } from 'vitest'
import {
  checkpoint,
  compile,
  Generator,
  grad,
  GradError,
  gradients,
  manualSeed,
  noGrad,
  randn,
  tensor,
  tidy,
  type Tensor,
} from 'tandem'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'

type Layers = readonly ((x: Tensor) => Tensor)[]
type Run = (layers: Layers, x: Tensor) => Tensor

const plainly: Run = (layers, x) => layers.reduce((h, layer) => layer(h), x)
const oneByOne: Run = (layers, x) => layers.reduce((h, layer) => checkpoint(layer, h), x)
const atOnce: Run = (layers, x) => checkpoint((h: Tensor) => plainly(layers, h), x)
const nested: Run = (layers, x) =>
  checkpoint((h: Tensor) => {
    const half = layers.length >> 1
    return oneByOne(layers.slice(half), atOnce(layers.slice(0, half), h))
  }, x)

/** Losses, gradients and state after some steps of a net with draws and running statistics. */
function train(run: Run, isCompiled: boolean) {
  manualSeed(2)
  const generator = new Generator(7)
  const blocks = Array.from(
    { length: 4 },
    () => new nn.Sequential(new nn.Linear(6, 6), new nn.BatchNorm1d(6), new nn.GELU()),
  )
  const model = new nn.ModuleList(blocks)
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 })
  const layers = blocks.map(
    (block) => (x: Tensor) => block.forward(x).dropout({ p: 0.3, generator }),
  )
  const plain = (x: Tensor) => {
    optimizer.zeroGrad()
    const loss = run(layers, x).pow(2).mean()
    loss.backward()
    optimizer.step()
    return loss.detach()
  }
  const step = isCompiled ? compile(plain) : plain
  const losses = [0, 1, 2].map(() => step(randn([5, 6])).itemSync())
  const state = Object.values(model.stateDict()).map((t) => t.toArraySync())
  return { losses, state, grads: model.parameters().map((p) => p.grad!.toArraySync()) }
}

describe('training is the same', () => {
  const expected = train(plainly, false)
  for (const [name, run] of Object.entries({ oneByOne, atOnce, nested }))
    for (const isCompiled of [false, true])
      test(`${name}, ${isCompiled ? 'compiled' : 'eager'}`, () => {
        expect(train(run, isCompiled)).toEqual(expected)
      })
})

describe('memory', () => {
  const deep = (run: Run) => {
    const blocks = Array.from(
      { length: 12 },
      () => new nn.Sequential(new nn.Linear(16, 64), new nn.Tanh(), new nn.Linear(64, 16)),
    )
    const layers = blocks.map((block) => (x: Tensor) => block.forward(x).tanh())
    const parameters = blocks.flatMap((block) => block.parameters())
    return { parameters, forward: (x: Tensor) => run(layers, x) }
  }

  test('of a program is smaller for a deep network', () => {
    const arena = (run: Run) => {
      const { parameters, forward } = deep(run)
      const optimizer = new optim.SGD(parameters, { lr: 0.1 })
      const step = compile((x: Tensor) => {
        optimizer.zeroGrad()
        forward(x).sum().backward()
        optimizer.step()
      })
      step(randn([128, 16]))
      return step.programs[0]!.arenaBytes
    }
    expect(arena(oneByOne)).toBeLessThan(arena(plainly) / 2)
  })

  test('between a compiled forward and backward is smaller, too', () => {
    const saved = (run: Run) => {
      const { forward } = deep(run)
      const f = compile(forward)
      const x = randn([128, 16]).requireGrad()
      f(x).sum().backward()
      const { outputs } = f.programs[0]!.graph
      return { grad: x.grad!.shape, count: outputs.length }
    }
    // Beside the result: what goes from one block to the next.
    expect(saved(oneByOne).count).toBeLessThanOrEqual(12)
    expect(saved(plainly).count).toBeGreaterThanOrEqual(24)
  })

  test('the tape keeps the argument only', () => {
    const kept: Tensor[] = []
    const f = (x: Tensor) => {
      const a = x.exp()
      const b = a.mul(a)
      kept.push(a, b)
      return b.sin()
    }
    const x = tensor([1, 2]).requireGrad()
    const y = checkpoint(f, x)
    expect(kept.map((t) => t.storage.saves)).toEqual([0, 0])
    expect(x.storage.saves).toBe(1)
    y.sum().backward()
    expect(kept.length).toBe(4)
    expect(kept.map((t) => t.storage.saves)).toEqual([0, 0, 0, 0])
    expect(x.storage.saves).toBe(0)
    const expected = grad((t: Tensor) => f(t).sum())(x).toArraySync()
    expect(x.grad!.toArraySync()).toEqual(expected)
  })

  test('inside tidy the argument stays', () => {
    const x = tensor([1, 2]).requireGrad()
    tidy(() => {
      const y = tidy(() => checkpoint((h: Tensor) => h.mul(h), x.mul(2)))
      y.sum().backward()
    })
    expect(x.grad!.toArraySync()).toEqual([8, 16])
  })
})

describe('a checkpoint', () => {
  test('may return several tensors, of which some are used', () => {
    const x = tensor([1, 2]).requireGrad()
    const [a, { b }] = checkpoint(
      (t: Tensor, k: number) => [t.exp(), { b: t.mul(t).mul(k) }] as const,
      x,
      3,
    )
    expect(a.requiresGrad).toBe(true)
    b.sum().backward()
    expect(x.grad!.toArraySync()).toEqual([6, 12])
  })

  test('works with gradients(), and twice where the graph is retained', () => {
    const w = new nn.Parameter(tensor([3]))
    const x = tensor([2]).requireGrad()
    const y = checkpoint((t: Tensor) => t.mul(t).mul(w).mul(w), x).sum()
    expect(gradients([y], [x, w], { retainGraph: true }).map((g) => g!.itemSync())).toEqual([
      36, 24,
    ])
    y.backward()
    expect([x.grad!.itemSync(), w.grad!.itemSync()]).toEqual([36, 24])
    expect(() => y.backward()).toThrow(/already released/)
  })

  test('does nothing without recording', () => {
    let runs = 0
    const f = (t: Tensor) => {
      runs++
      return t.mul(2)
    }
    noGrad(() => checkpoint(f, tensor([1]).requireGrad()))
    checkpoint(f, tensor([1]))
    expect(runs).toBe(2)
  })

  test('may contain compiled functions, and their draws and updates', () => {
    const run = (isCompiled: boolean) => {
      const generator = new Generator(3)
      const norm = new nn.BatchNorm1d(4)
      const f = (x: Tensor) => norm.forward(x).exp().dropout({ p: 0.5, generator }).sin()
      const g = isCompiled ? compile(f) : f
      return [1, 2, 3].map((k) => {
        const x = tensor([
          [1, 2, 3, 4],
          [k, 6, 8, 7],
        ]).requireGrad()
        checkpoint((t: Tensor) => g(t).mul(t), x)
          .sum()
          .backward()
        return [x.grad, norm.weight!.grad, norm.runningMean].map((t) => t!.toArraySync())
      })
    }
    expect(run(true)).toEqual(run(false))
  })

  test('has no second derivative', () => {
    const f = (t: Tensor) => checkpoint((h: Tensor) => h.mul(h).mul(h), t).sum()
    const x = tensor([2]).requireGrad()
    expect(() => grad((t: Tensor) => grad(f)(t).sum())(x)).toThrow(GradError)
    expect(() => compile(f)(x).backward({ createGraph: true })).toThrow(GradError)
  })

  test('must do the same each time', () => {
    let times = 0
    const x = tensor([2]).requireGrad()
    const y = checkpoint((t: Tensor) => (times++ === 0 ? t.exp() : t.sin().exp()), x)
    expect(() => y.sum().backward()).toThrow(/first exp, then sin, exp/)
    const generator = new Generator(1)
    let draws = 0
    const z = checkpoint((t: Tensor) => {
      for (let i = 0; i <= draws; i++) t = t.dropout({ p: 0.5, generator })
      draws++
      return t
    }, x)
    expect(() => z.sum().backward()).toThrow(/more random numbers/)
    expect(() => checkpoint(async (t: Tensor) => Promise.resolve(t), x)).toThrow(/promise/)
  })
})
