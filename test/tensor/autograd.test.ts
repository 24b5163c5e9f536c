/** @file The tape: accumulation, reuse, hooks, higher orders, custom rules, and what it keeps in memory. */
import { describe, expect, test } from 'vitest'
import {
  customGrad,
  enableGrad,
  grad,
  gradcheck,
  GradError,
  gradients,
  noGrad,
  ones,
  tensor,
  valueAndGrad,
  withConfig,
  type Tensor,
} from 'tandem'
import * as nn from 'tandem/nn'

const leaf = (values: number[]) => tensor(values).requireGrad()

describe('backward', () => {
  test('adds to .grad, call after call', () => {
    const x = leaf([1, 2])
    x.mul(3).sum().backward()
    x.mul(x).sum().backward()
    expect(x.grad!.toArraySync()).toEqual([5, 7])
  })

  test('reaches a leaf along several paths', () => {
    const x = leaf([2])
    const y = x.mul(x)
    y.mul(y).add(y).sum().backward() // x^4 + x^2
    expect(x.grad!.itemSync()).toBe(4 * 8 + 2 * 2)
  })

  test('runs once unless the graph is retained', () => {
    const x = leaf([3])
    const y = x.mul(x).sum()
    y.backward({ retainGraph: true })
    y.backward()
    expect(x.grad!.itemSync()).toBe(12)
    expect(() => y.backward()).toThrow(/already released.*retainGraph/)
  })

  test('needs a gradient for several elements, of the right shape', () => {
    const x = leaf([1, 2])
    expect(() => x.mul(2).backward()).toThrow(/2 elements.*\.sum\(\)/)
    expect(() => x.mul(2).backward({ gradient: ones([3]) })).toThrow(/Expected the same shape/)
    x.mul(2).backward({ gradient: tensor([1, 10]) })
    expect(x.grad!.toArraySync()).toEqual([2, 20])
  })

  test('complains when nothing requires a gradient', () => {
    expect(() => ones([1]).sum().backward()).toThrow(GradError)
  })

  test('a broadcast operand gets its gradient summed back', () => {
    const bias = leaf([1, 2, 3])
    const scale = tensor([[2], [3]]).requireGrad()
    ones([2, 3]).add(bias).mul(scale).sum().backward()
    expect(bias.grad!.toArraySync()).toEqual([5, 5, 5])
    expect(scale.grad!.toArraySync()).toEqual([[9], [9]])
  })

  test('parts of a split without a gradient count as zeros', () => {
    const x = leaf([1, 2, 3, 4])
    const [, middle, last] = x.split([1, 2, 1])
    middle!.mul(middle!).sum().add(last!.sum()).backward()
    expect(x.grad!.toArraySync()).toEqual([0, 4, 6, 1])
    expect(grad((t: Tensor) => t.unbind()[2]!)(tensor([1, 2, 3, 4])).toArraySync()).toEqual([
      0, 0, 1, 0,
    ])
  })

  test('gradients have the dtype of their leaf', () => {
    const half = tensor([1, 2], { dtype: 'float16' }).requireGrad()
    half
      .mul(tensor([3, 4]))
      .sum()
      .backward()
    expect(half.grad!.dtype).toBe('float16')
  })

  test('a deep chain does not overflow the stack', () => {
    const x = leaf([1])
    let y: Tensor = x
    for (let i = 0; i < 20_000; i++) y = y.add(0.5)
    y.sum().backward()
    expect(x.grad!.itemSync()).toBe(1)
  })
})

describe('recording', () => {
  test('noGrad and detach stop it, enableGrad resumes it', () => {
    const x = leaf([1])
    expect(noGrad(() => x.mul(2)).requiresGrad).toBe(false)
    expect(noGrad(() => enableGrad(() => x.mul(2))).requiresGrad).toBe(true)
    expect(x.mul(2).detach().requiresGrad).toBe(false)
    expect(() => noGrad(async () => x.mul(2))).toThrow(/returned a promise/)
  })

  test('only floats, and only leaves, can be told to', () => {
    expect(() => tensor([1], { dtype: 'int32' }).requireGrad()).toThrow(/cast\('float32'\)/)
    expect(() => leaf([1]).mul(2).requireGrad(false)).toThrow(/detach/)
  })

  test('the tape lets go of what it saved', () => {
    const x = leaf([1, 2, 3])
    const y = x.mul(x)
    const z = y.exp().sum()
    expect(y.storage.saves + x.storage.saves).toBeGreaterThan(0)
    z.backward()
    expect(y.storage.saves + x.storage.saves + z.storage.saves).toBe(0)
  })

  test('and of what was saved beside the way of the gradient', () => {
    const x = leaf([1, 2])
    const y = x.exp()
    const cut = customGrad((a, b) => ({ value: a.add(b), gradient: (g) => [g, undefined] }))
    cut(x, y.mul(y)).sum().backward()
    expect(x.grad!.toArraySync()).toEqual([1, 1])
    expect(y.storage.saves).toBe(0)
  })

  test('keeps the value of a parameter as it was', () => {
    const w = new nn.Parameter(tensor([2]))
    const y = w.mul(w).mul(w).sum()
    w.assign(tensor([100]))
    const z = w.mul(w).sum()
    y.backward()
    expect(w.grad!.itemSync()).toBe(12)
    w.grad = undefined
    z.backward()
    expect(w.grad!.itemSync()).toBe(200)
  })

  test('what backward makes for itself is freed', () => {
    const x = tensor(Array.from({ length: 10_000 }, () => 1e-3)).requireGrad()
    const { backend } = x
    const loss = x.mul(x).exp().mul(x).sum()
    const before = backend.memoryStats().current
    loss.backward()
    // Only the gradient itself, 40 kB, is new.
    expect(backend.memoryStats().current - before).toBeLessThan(50_000)
  })
})

describe('a gradient that nobody else holds is overwritten', () => {
  const values = Array.from({ length: 40 }, (_, i) => (i - 15.5) / 8)
  const slope = (f: (x: number) => number, x: number) => (f(x + 1e-4) - f(x - 1e-4)) / 2e-4
  const check = (x: Tensor, f: (x: number) => number) => {
    const got = x.grad!.dataSync()
    values.forEach((value, i) => expect(got[i]).toBeCloseTo(slope(f, value), 2))
  }
  const logistic = (x: number) => 1 / (1 + Math.exp(-x))

  test('so that a chain needs one block', () => {
    const x = leaf(values)
    const y = x.sigmoid().tanh().sigmoid().exp().sum()
    const { allocate } = x.backend
    let count = 0
    x.backend.allocate = (bytes) => {
      if (bytes === 160) count++
      return allocate.call(x.backend, bytes)
    }
    y.backward()
    x.backend.allocate = allocate
    expect(count).toBe(1)
    check(x, (v) => Math.exp(logistic(Math.tanh(logistic(v)))))
  })

  test('but not one that goes two ways', () => {
    const x = leaf(values)
    const y = x.mul(2)
    y.sigmoid().add(y.tanh()).mul(y.sigmoid()).sum().backward()
    check(x, (v) => (logistic(2 * v) + Math.tanh(2 * v)) * logistic(2 * v))
  })

  test('nor one that a view of it passes on', () => {
    const x = leaf(values)
    const sum = x.reshape([5, 8]).add(x.tanh().reshape([5, 8]))
    sum.sigmoid().reshape([40]).mul(x.sigmoid()).sum().backward()
    check(x, (v) => logistic(v + Math.tanh(v)) * logistic(v))
  })

  test('nor one that user code has', () => {
    const x = leaf(values)
    const y = x.tanh()
    const z = y.sigmoid()
    const kept: Tensor[] = []
    z.registerHook((g) => void kept.push(g))
    const rule = customGrad((a) => ({ value: a, gradient: (g) => (kept.push(g), g) }))
    const g = ones([40])
    rule(z.exp()).backward({ gradient: g, retainGraph: true })
    check(x, (v) => Math.exp(logistic(Math.tanh(v))))
    expect(kept).toHaveLength(2)
    kept[1]!.dataSync().forEach((value, i) => {
      expect(value).toBeCloseTo(Math.exp(logistic(Math.tanh(values[i]!))), 4)
    })
    expect(kept[0]!.toArraySync()).toEqual(ones([40]).toArraySync())
    expect(g.toArraySync()).toEqual(ones([40]).toArraySync())
  })

  test('nor one that has become .grad', () => {
    const w = leaf(values)
    const x = leaf(values)
    // The gradient of the sum goes to the leaf as it is, and on to tanh.
    w.add(x.tanh()).sigmoid().sum().backward()
    const sums = values.map((v) => logistic(v + Math.tanh(v)))
    const got = [w.grad!.dataSync(), x.grad!.dataSync()]
    values.forEach((v, i) => {
      const outer = sums[i]! * (1 - sums[i]!)
      expect(got[0]![i]).toBeCloseTo(outer, 5)
      expect(got[1]![i]).toBeCloseTo(outer * (1 - Math.tanh(v) ** 2), 5)
    })
  })
})

describe('hooks', () => {
  test('see and replace gradients, of leaves and of results', () => {
    const x = leaf([1, 2])
    const y = x.mul(2)
    const seen: unknown[] = []
    y.registerHook((g) => void seen.push(g.toArraySync()))
    const remove = x.registerHook((g) => g.mul(10))
    y.mul(3).sum().backward()
    expect(seen).toEqual([[3, 3]])
    expect(x.grad!.toArraySync()).toEqual([60, 60])
    remove()
    x.mul(1).sum().backward()
    expect(x.grad!.toArraySync()).toEqual([61, 61])
  })

  test('what a hook keeps stays readable', () => {
    const x = leaf([1, 2])
    const y = x.mul(x)
    let kept: Tensor | undefined
    y.registerHook((g) => void (kept = g))
    y.mul(5).sum().backward()
    for (let i = 0; i < 100; i++) ones([2]).add(i)
    expect(kept!.toArraySync()).toEqual([5, 5])
  })

  test('must keep the shape', () => {
    const x = leaf([1, 2])
    x.registerHook(() => ones([3]))
    expect(() => x.sum().backward()).toThrow(/Return the same shape/)
  })

  test('may run backward through the same graph', () => {
    const x = leaf([3])
    const shared = x.mul(2)
    const inner = shared.mul(5).sum()
    const first = shared.mul(3)
    const second = shared.mul(7)
    // The gradient of `second` waits at `shared` while the hook runs backward through it.
    first.registerHook(() => inner.backward({ retainGraph: true }))
    first.add(second).sum().backward()
    expect(x.grad!.itemSync()).toBe(2 * 5 + 2 * (3 + 7))
  })

  test('that throw leave the graph as it was', () => {
    const x = leaf([3])
    const y = x.mul(x)
    let fails = true
    const remove = y.registerHook(() => {
      if (fails) throw new Error('not now')
    })
    const loss = y.mul(2).add(y).sum()
    expect(() => loss.backward({ retainGraph: true })).toThrow('not now')
    fails = false
    remove()
    expect(x.grad).toBeUndefined()
    loss.backward()
    expect(x.grad!.itemSync()).toBe(18)
  })
})

describe('gradients as functions', () => {
  const cube = (x: Tensor) => x.mul(x).mul(x).sum()

  test('compose to any order', () => {
    const d1 = grad(cube)
    const d2 = grad((x: Tensor) => d1(x).sum())
    const d3 = grad((x: Tensor) => d2(x).sum())
    const d4 = grad((x: Tensor) => d3(x).sum())
    expect([d1, d2, d3, d4].map((d) => d(tensor([2])).itemSync())).toEqual([12, 12, 6, 0])
    expect(grad((x: Tensor) => x.detach().sum())(ones([1])).itemSync()).toBe(0)
  })

  test('take several arguments and leave .grad alone', () => {
    const a = leaf([2])
    const f = (x: Tensor, y: Tensor) => x.mul(y).mul(y).sum()
    const [da, db] = grad(f, { argument: [0, 1] })(a, tensor([3]))
    expect([da!.itemSync(), db!.itemSync()]).toEqual([9, 12])
    expect(a.grad).toBeUndefined()
    const [value, slope] = valueAndGrad(f, { argument: 1 })(a, tensor([3]))
    expect([value.itemSync(), slope.itemSync()]).toEqual([18, 12])
  })

  test('connect to the graph around them', () => {
    const x = leaf([3])
    grad(cube)(x).sum().backward() // d/dx 3x^2 = 6x
    expect(x.grad!.itemSync()).toBe(18)
  })

  test('a gradient penalty reaches a captured weight', () => {
    const w = leaf([2])
    const slope = grad((x: Tensor) => x.mul(x).mul(w).sum(), { createGraph: true })
    slope(tensor([3]))
      .sum()
      .backward() // d/dw 2 x w = 2 x
    expect(w.grad!.itemSync()).toBe(6)
  })

  test('gradients() gives undefined for what has no influence', () => {
    const [x, y] = [leaf([1]), leaf([1])]
    expect(gradients([x.mul(2).sum()], [x, y]).map((g) => g?.itemSync())).toEqual([2, undefined])
  })

  test('gradients() of a result in the middle', () => {
    const x = leaf([2])
    const y = x.mul(x)
    const [gy] = gradients([y.mul(y).sum()], [y])
    expect(gy!.itemSync()).toBe(8)
  })

  test('complain about what they cannot do', () => {
    expect(() => grad(cube)(3 as never)).toThrow(/argument 0 is not a tensor/)
    expect(() => grad((x: Tensor) => x.mul(2))(ones([2]))).toThrow(/2 elements/)
    expect(() => grad(cube, { argumnt: 0 } as never)).toThrow(/did you mean 'argument'/)
  })

  test('customGrad replaces the rule', () => {
    const straightThrough = customGrad((x) => ({
      value: x.gt(0).cast('float32'),
      gradient: (g) => g,
    }))
    const x = leaf([-1, 2])
    straightThrough(x)
      .mul(tensor([5, 7]))
      .sum()
      .backward()
    expect(x.grad!.toArraySync()).toEqual([5, 7])
    const wrong = customGrad((x) => ({ value: x, gradient: () => [] }))
    expect(() =>
      wrong(leaf([1]))
        .sum()
        .backward(),
    ).toThrow(/0 gradients for 1 inputs/)
  })
})

test('gradcheck accepts right rules and refuses wrong ones', () => {
  const x = tensor([0.3, -0.2], { dtype: 'float64' })
  expect(gradcheck((t) => t.mul(t).exp(), [x], { secondOrder: true })).toBe(true)
  const wrong = customGrad((t) => ({ value: t.mul(t), gradient: (g) => g.mul(3) }))
  expect(() => gradcheck(wrong, [x])).toThrow(/central differences/)
  expect(() => gradcheck((t) => t, [ones([2])])).toThrow(/float64/)
})

test('the NaN check names the op and the line', () => {
  const x = tensor([1, Infinity])
  const run = () => withConfig({ checkNaN: true }, () => x.mul(1).add(x.neg()).sum())
  expect(run).toThrow(/^add: made the first NaN/)
  try {
    run()
  } catch (error) {
    expect((error as Error).stack!.split('\n')[1]).toContain('autograd.test.ts')
  }
})
