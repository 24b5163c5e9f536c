/** @file compile(): forms of arguments, what is traced again, state, gradients left behind, random draws. */
import { describe, expect, test } from 'vitest'
import {
  compile,
  Generator,
  ones,
  rand,
  randn,
  tensor,
  withConfig,
  zeros,
  type Tensor,
} from 'tandem'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'

const leaf = (values: number[]) => tensor(values).requireGrad()

describe('arguments and results', () => {
  test('are nested as they like', () => {
    const f = compile(({ a, list }: { a: Tensor; list: [Tensor, { b: Tensor }] }, k: number) => ({
      sum: a.add(list[0]).add(list[1].b.mul(k)),
      same: [a, 'text', null, undefined, k, true],
    }))
    const a = tensor([1, 2])
    const result = f({ a, list: [tensor([10, 20]), { b: tensor([1, 1]) }] }, 3)
    expect(result.sum.toArraySync()).toEqual([14, 25])
    expect((result.same[0] as Tensor).toArraySync()).toEqual([1, 2])
    expect(result.same.slice(1)).toEqual(['text', null, undefined, 3, true])
  })

  test('may be missing altogether', () => {
    let runs = 0
    const f = compile(() => {
      runs++
    })
    expect(f()).toBe(undefined)
    f()
    expect(runs).toBe(1)
    expect(compile(() => ones([2]))().toArraySync()).toEqual([1, 1])
  })

  test('views go in and come out', () => {
    const f = compile((x: Tensor) => [x.transpose(), x.slice([0, 1]), x.mul(2).transpose()])
    const x = tensor([
      [1, 2],
      [3, 4],
    ]).transpose()
    const [back, first, doubled] = f(x)
    expect(back!.toArraySync()).toEqual([
      [1, 2],
      [3, 4],
    ])
    expect(first!.toArraySync()).toEqual([[1, 3]])
    expect(doubled!.toArraySync()).toEqual([
      [2, 4],
      [6, 8],
    ])
  })

  test('a result may be returned twice, and beside its views', () => {
    const f = compile((x: Tensor) => {
      const y = x.add(1)
      return [y, y, y.slice([1, 2])]
    })
    expect(f(tensor([1, 2])).map((t) => t.toArraySync())).toEqual([[2, 3], [2, 3], [3]])
  })

  test('an argument may stand in two places', () => {
    const f = compile((a: Tensor, { b }: { b: Tensor }) => {
      a.mul(b).sum().backward()
      return a === b
    })
    const x = leaf([3])
    expect(f(x, { b: x })).toBe(true)
    expect(x.grad!.itemSync()).toBe(6)
    expect(f(x, { b: tensor([5]) })).toBe(false)
    expect(x.grad!.itemSync()).toBe(11)
  })

  test('a parameter returned is the parameter', () => {
    const w = new nn.Parameter(tensor([1]))
    expect(compile(() => ({ w: w.assign(w.detach().add(1)) }))().w).toBe(w)
    expect(w.itemSync()).toBe(2)
  })

  test('results of one run stay when another follows', () => {
    const f = compile((x: Tensor) => x.mul(2))
    const first = f(tensor([1]))
    f(tensor([5]))
    expect(first.itemSync()).toBe(2)
  })

  test('all dtypes, empty and 0-d tensors', () => {
    const f = compile((x: Tensor) => [x.cast('float64').add(1), x])
    for (const dtype of ['bool', 'int32', 'float16', 'float64', 'uint8'] as const)
      expect(f(tensor([1, 0], { dtype }))[0]!.toArraySync()).toEqual([2, 1])
    expect(f(zeros([0, 3]))[0]!.shape).toEqual([0, 3])
    expect(f(tensor(4))[0]!.itemSync()).toBe(5)
  })
})

describe('a program is made for each', () => {
  const counted = <F extends (...args: never[]) => unknown>(fn: F) => {
    let traces = 0
    const f = compile(((...args: never[]) => {
      traces++
      return fn(...args)
    }) as F)
    return { f, traces: () => traces }
  }

  test('shape, dtype, structure and value', () => {
    const { f, traces } = counted((x: unknown, k?: unknown) => {
      const t = Array.isArray(x) ? (x[0] as Tensor) : (x as Tensor)
      return typeof k === 'number' ? t.mul(k) : t
    })
    const calls: unknown[][] = [
      [ones([2])],
      [ones([3])],
      [ones([2, 1])],
      [ones([2], { dtype: 'int32' })],
      [[ones([2])]],
      [ones([2]), 1],
      [ones([2]), 2],
      [ones([2]), -0],
      [ones([2]), 0],
      [ones([2]), NaN],
      [ones([2]), '1'],
      [ones([2]), true],
      [ones([2]), null],
      [ones([2]), { a: 1 }],
      [ones([2]), { b: 1 }],
      [ones([2]), []],
      [ones([2]).requireGrad()],
    ]
    for (const args of calls) f(...(args as [unknown]))
    expect(traces()).toBe(calls.length)
    for (const args of calls) f(...(args as [unknown]))
    expect(traces()).toBe(calls.length)
    expect(f.programs.length).toBe(calls.length)
  })

  test('mode of training', () => {
    const dropout = new nn.Dropout(0.5)
    const { f, traces } = counted((x: Tensor) => dropout.forward(x))
    const x = ones([100])
    const zerosIn = (t: Tensor) => t.eq(0).cast('int32').sum().itemSync()
    expect(zerosIn(f(x))).toBeGreaterThan(0)
    dropout.eval()
    expect(zerosIn(f(x))).toBe(0)
    dropout.train()
    expect(zerosIn(f(x))).toBeGreaterThan(0)
    expect(traces()).toBe(2)
  })

  test('whether gradients are recorded, and which parameters want them', () => {
    const layer = new nn.Linear(2, 1)
    const { f, traces } = counted((x: Tensor) => {
      layer.zeroGrad()
      layer.forward(x).sum().backward()
    })
    const x = ones([1, 2])
    f(x)
    layer.weight.requireGrad(false)
    f(x)
    expect(layer.weight.grad).toBe(undefined)
    expect(layer.bias!.grad!.toArraySync()).toEqual([1])
    layer.weight.requireGrad()
    f(x)
    expect(layer.weight.grad!.toArraySync()).toEqual([[1, 1]])
    expect(traces()).toBe(2)
  })

  test('hook that comes or goes', () => {
    const w = new nn.Parameter(tensor([1]))
    const { f, traces } = counted(() => {
      w.grad = undefined
      w.mul(3).sum().backward()
    })
    const gradient = () => {
      f()
      return w.grad!.itemSync()
    }
    expect(gradient()).toBe(3)
    const remove = w.registerHook((g) => g.mul(10))
    expect(gradient()).toBe(30)
    remove()
    expect(gradient()).toBe(3)
    expect(traces()).toBeLessThan(4)
  })

  test('dtype and device of a model', () => {
    const layer = new nn.Linear(2, 1)
    const f = compile((x: Tensor) => layer.forward(x).detach())
    expect(f(ones([1, 2])).dtype).toBe('float32')
    layer.cast('float64')
    expect(f(ones([1, 2], { dtype: 'float64' })).dtype).toBe('float64')
    layer.to('reference').cast('float32')
    const x = ones([1, 2], { device: 'reference' })
    expect(f(x).device).toBe('reference')
    expect(f(x).toArraySync()).toEqual(layer.forward(x).toArraySync())
  })

  test('and the one used least lately is dropped after 32', () => {
    const { f, traces } = counted((x: Tensor) => x.mul(2))
    for (let n = 1; n <= 32; n++) f(ones([n]))
    f(ones([1]))
    f(ones([33]))
    expect(f.programs.length).toBe(32)
    expect(traces()).toBe(33)
    f(ones([1]))
    expect(traces()).toBe(33)
    f(ones([2]))
    expect(traces()).toBe(34)
  })

  test('device, also without arguments', () => {
    const { f, traces } = counted(() => ones([1]))
    expect(f().device).not.toBe('reference')
    withConfig({ backend: 'reference' }, () => expect(f().device).toBe('reference'))
    expect(traces()).toBe(2)
    const w = new nn.Parameter(tensor([2], { device: 'reference' }))
    expect(compile(() => w.mul(2).detach())().device).toBe('reference')
  })
})

describe('state', () => {
  test('a parameter changed outside is seen, and one changed inside, too', () => {
    const w = new nn.Parameter(tensor([1]))
    const f = compile(() => {
      w.assign(w.detach().mul(2))
      return w.detach().add(0.5)
    })
    expect(f().itemSync()).toBe(2.5)
    expect(w.itemSync()).toBe(2)
    w.assign(tensor([10]))
    expect(f().itemSync()).toBe(20.5)
    expect(w.itemSync()).toBe(20)
  })

  test('two cells swap their values', () => {
    const a = new nn.Buffer(tensor([1]))
    const b = new nn.Buffer(tensor([2]))
    const swap = compile(() => {
      const was = a.detach()
      a.assign(b.detach())
      b.assign(was)
    })
    swap()
    expect([a.itemSync(), b.itemSync()]).toEqual([2, 1])
    swap()
    expect([a.itemSync(), b.itemSync()]).toEqual([1, 2])
    const step = compile(() => {
      a.assign(a.detach().add(1))
      b.assign(b.detach().add(1))
    })
    for (let i = 0; i < 10; i++) (i % 3 === 0 ? step : swap)()
    expect([a.itemSync(), b.itemSync()]).toEqual([5, 6])
    a.assign(tensor([7]))
    expect(b.itemSync()).toBe(6)
  })

  test('two cells get one value, and go ways of their own afterwards', () => {
    const a = new nn.Parameter(tensor([1]))
    const b = new nn.Parameter(tensor([2]))
    const f = compile(() => {
      const sum = a.add(b).detach()
      a.assign(sum)
      b.assign(sum)
      return sum
    })
    const sum = f()
    const optimizer = new optim.SGD([a], { lr: 1 })
    a.sum().backward()
    optimizer.step()
    expect([a.itemSync(), b.itemSync(), sum.itemSync()]).toEqual([2, 3, 3])
    f()
    expect([a.itemSync(), b.itemSync(), sum.itemSync()]).toEqual([5, 5, 3])
  })

  test('a cell is assigned an argument, a constant, a view', () => {
    const cell = new nn.Buffer(zeros([2]))
    const constant = tensor([5, 6])
    const wide = tensor([
      [1, 2],
      [3, 4],
    ])
    const set = compile((x: Tensor, which: string) => {
      cell.assign({ x, constant, view: wide.transpose().slice([0, 1]).squeeze() }[which]!)
    })
    const x = tensor([8, 9])
    set(x, 'x')
    expect(cell.toArraySync()).toEqual([8, 9])
    set(x, 'constant')
    expect(cell.toArraySync()).toEqual([5, 6])
    set(x, 'view')
    expect(cell.toArraySync()).toEqual([1, 3])
    set(tensor([0, 0, 8, 9]).slice([2, 4]), 'x')
    expect(cell.toArraySync()).toEqual([8, 9])
    // In place, if at all, happens to the cell alone.
    for (const which of ['x', 'constant']) {
      set(x, which)
      const p = new nn.Parameter(cell.detach())
      const optimizer = new optim.SGD([p], { lr: 1 })
      p.sum().backward()
      optimizer.step()
    }
    expect(x.toArraySync()).toEqual([8, 9])
    expect(constant.toArraySync()).toEqual([5, 6])
  })

  const stepOf = (w: nn.Parameter, result: (loss: Tensor) => Tensor) => {
    const optimizer = new optim.SGD([w], { lr: 1 })
    return compile(() => {
      optimizer.zeroGrad()
      const before = w.detach()
      const loss = w.mul(w).sum()
      loss.backward()
      optimizer.step()
      return [before, result(loss)] as const
    })
  }

  test('a parameter returned before and after its update', () => {
    const w = new nn.Parameter(tensor([1, 2]))
    const step = stepOf(w, () => w.detach())
    const [before, after] = step()
    expect(before.toArraySync()).toEqual([1, 2])
    expect(after.toArraySync()).toEqual([-1, -2])
    for (let i = 0; i < 4; i++) {
      const [old, young] = step()
      expect(old.toArraySync()).toEqual(i % 2 === 0 ? [-1, -2] : [1, 2])
      expect(young.toArraySync()).toEqual(w.toArraySync())
    }
    expect(after.toArraySync()).toEqual([-1, -2])
    expect(before.toArraySync()).toEqual([1, 2])
  })

  test('views of a parameter, taken outside before the step, keep their values', () => {
    const w = new nn.Parameter(tensor([1, 2]))
    const view = w.detach().slice([0, 1])
    const step = stepOf(w, () => view.add(w.detach().slice([0, 1])))
    expect(step()[1].itemSync()).toBe(0)
    expect(view.itemSync()).toBe(1)
    expect(w.toArraySync()).toEqual([-1, -2])
    expect(step()[1].itemSync()).toBe(2)
  })

  test('what was computed from it before keeps its gradient', () => {
    const w = new nn.Parameter(tensor([3]))
    const y = w.mul(w).sum()
    stepOf(w, (loss) => loss.detach())()
    w.grad = undefined
    y.backward()
    expect(w.grad!.itemSync()).toBe(6)
  })

  test('a parameter may be an argument', () => {
    const optimizer = (w: nn.Parameter) => new optim.SGD([w], { lr: 1 })
    const w = new nn.Parameter(tensor([1]))
    const step = compile((p: nn.Parameter) => {
      p.mul(3).sum().backward()
      optimizer(p).step()
      return p.detach()
    })
    expect(step(w).itemSync()).toBe(-2)
    expect(w.itemSync()).toBe(-2)
    expect(w.grad!.itemSync()).toBe(3)
    const v = new nn.Parameter(tensor([10]))
    expect(step(v).itemSync()).toBe(7)
    expect([w.itemSync(), v.itemSync()]).toEqual([-2, 7])
  })

  test('running statistics of batch norm', () => {
    const build = () => new nn.BatchNorm1d(3)
    const [eager, compiled] = [build(), build()]
    const f = compile((x: Tensor) => compiled.forward(x).detach())
    for (let i = 0; i < 3; i++) {
      const x = randn([8, 3])
      expect(f(x).toArraySync()).toEqual(eager.forward(x).toArraySync())
    }
    const state = (m: nn.Module) => Object.values(m.stateDict()).map((t) => t.toArraySync())
    expect(state(compiled)).toEqual(state(eager))
    eager.eval()
    compiled.eval()
    const x = randn([8, 3])
    expect(f(x).toArraySync()).toEqual(eager.forward(x).toArraySync())
  })

  test('a module made inside is a part of the program', () => {
    const f = compile((x: Tensor) => {
      const cell = new nn.Buffer(x.mul(2))
      cell.assign(cell.add(1))
      return cell.mul(new nn.Buffer(ones([2])))
    })
    expect(f(tensor([1, 2])).toArraySync()).toEqual([3, 5])
    expect(f(tensor([5, 6])).toArraySync()).toEqual([11, 13])
  })
})

describe('gradients are left in .grad', () => {
  test('and added up over calls, or forgotten', () => {
    const w = new nn.Parameter(tensor([1]))
    const f = compile((x: Tensor) => {
      w.mul(x).sum().backward()
    })
    f(tensor([2]))
    expect(w.grad!.itemSync()).toBe(2)
    f(tensor([3]))
    expect(w.grad!.itemSync()).toBe(5)
    w.grad = undefined
    f(tensor([4]))
    expect(w.grad!.itemSync()).toBe(4)
    w.grad = tensor([100])
    f(tensor([1]))
    expect(w.grad.itemSync()).toBe(101)
  })

  test('and dropped where the function ends without them', () => {
    const w = new nn.Parameter(tensor([1]))
    const f = compile(() => {
      w.mul(2).sum().backward()
      const g = w.grad!.mul(10)
      w.grad = undefined
      return g
    })
    expect(f().itemSync()).toBe(20)
    expect(w.grad).toBe(undefined)
    w.grad = tensor([1])
    expect(f().itemSync()).toBe(30)
    expect(w.grad).toBe(undefined)
  })

  test('of arguments and other leaves, too', () => {
    const outside = leaf([2])
    const f = compile((x: Tensor) => {
      x.mul(x).mul(outside).sum().backward()
      return x.grad!.mul(1)
    })
    const x = leaf([3])
    expect(f(x).itemSync()).toBe(12)
    expect(x.grad!.itemSync()).toBe(12)
    expect(outside.grad!.itemSync()).toBe(9)
    expect(f(x).itemSync()).toBe(24)
    expect(x.grad!.itemSync()).toBe(24)
    expect(outside.grad!.itemSync()).toBe(18)
    const other = leaf([1])
    expect(f(other).itemSync()).toBe(4)
    expect(other.grad!.itemSync()).toBe(4)
  })

  test('of what an argument was computed from', () => {
    const f = compile((x: Tensor) => {
      x.mul(x).sum().backward()
    })
    const w = leaf([2])
    f(w.mul(3))
    expect(w.grad!.itemSync()).toBe(36)
    f(w.mul(3))
    expect(w.grad!.itemSync()).toBe(72)
  })

  test('gradients of gradients inside', () => {
    const f = compile((x: Tensor) => {
      const y = x.mul(x).mul(x).sum()
      y.backward({ createGraph: true })
      const g = x.grad!
      x.grad = undefined
      g.sum().backward()
      return g.detach()
    })
    const x = leaf([2])
    expect(f(x).itemSync()).toBe(12)
    expect(x.grad!.itemSync()).toBe(12)
  })

  test('hooks change them, and see them traced', () => {
    const w = new nn.Parameter(tensor([1]))
    w.registerHook((g) => g.mul(2))
    const seen: string[] = []
    const f = compile((x: Tensor) => {
      w.grad = undefined
      const y = w.mul(x)
      y.registerHook((g) => void seen.push(String(g)))
      y.sum().backward()
    })
    f(tensor([3]))
    f(tensor([4]))
    expect(w.grad!.itemSync()).toBe(8)
    expect(seen).toEqual([expect.stringMatching(/^tensor\(traced, shape \[1\], float32/)])
  })
})

describe('every run', () => {
  test('draws numbers as the eager function does', () => {
    const run = (wrap: (f: (x: Tensor) => Tensor) => (x: Tensor) => Tensor) => {
      const generator = new Generator(3)
      const f = wrap((x) =>
        x
          .add(rand([4], { generator }))
          .add(randn([4], { generator }))
          .dropout({ p: 0.5, generator }),
      )
      return [1, 2, 3].map((k) => f(ones([4]).mul(k)).toArraySync())
    }
    expect(run((f) => compile(f))).toEqual(run((f) => f))
  })

  test('follows learning rate, schedule and step without being traced again', () => {
    const run = (isCompiled: boolean) => {
      const w = new nn.Parameter(tensor([1, -2, 3]))
      const optimizer = new optim.AdamW([w], { lr: 0.1, weightDecay: 0.01 })
      const schedule = new optim.StepLR(optimizer, { stepSize: 2, gamma: 0.5 })
      let traces = 0
      const plain = (x: Tensor) => {
        traces++
        optimizer.zeroGrad()
        const loss = w.mul(x).pow(2).sum()
        loss.backward()
        const norm = optim.clipGradNorm([w], 1)
        optimizer.step()
        schedule.step()
        return [loss.detach(), norm]
      }
      const step = isCompiled ? compile(plain) : plain
      const x = tensor([1, 2, 3])
      const losses = [0, 1, 2, 3, 4].map((i) => {
        if (i === 3) optimizer.lr = 0.3
        return step(x).map((t) => t.toArraySync())
      })
      const state = optimizer.stateDict()
      return {
        losses,
        rates: optimizer.lr,
        steps: [schedule.stepCount, state.state[0]!.step],
        slots: Object.values(state.state[0]!.slots).map((t) => t.toArraySync()),
        w: w.toArraySync(),
        grad: w.grad!.toArraySync(),
        traces: isCompiled ? traces : 1,
      }
    }
    expect(run(true)).toEqual(run(false))
  })

  for (const [name, make] of Object.entries({
    momentum: (p: nn.Parameter[]) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true }),
    rmsprop: (p: nn.Parameter[]) =>
      new optim.RMSprop(p, { lr: 0.1, momentum: 0.5, centered: true }),
    adagrad: (p: nn.Parameter[]) => new optim.Adagrad(p, { lr: 0.1, weightDecay: 0.1 }),
    amsgrad: (p: nn.Parameter[]) => new optim.Adam(p, { lr: 0.1, amsgrad: true }),
  }))
    test(`takes a step of ${name}, to be continued eagerly`, () => {
      const run = (isCompiled: (i: number) => boolean) => {
        const w = new nn.Parameter(tensor([1, -2, 3]))
        const optimizer = make([w])
        const plain = () => {
          optimizer.zeroGrad()
          w.pow(2).sum().backward()
          optimizer.step()
        }
        const compiled = compile(plain)
        for (let i = 0; i < 6; i++) (isCompiled(i) ? compiled : plain)()
        return w.toArraySync()
      }
      const eager = run(() => false)
      expect(run(() => true)).toEqual(eager)
      expect(run((i) => i % 2 === 0)).toEqual(eager)
      expect(run((i) => i % 2 === 1)).toEqual(eager)
    })

  test('changed settings of an optimizer take effect', () => {
    const w = new nn.Parameter(tensor([1]))
    const optimizer = new optim.SGD([w], { lr: 1 })
    const step = compile(() => {
      optimizer.zeroGrad()
      w.mul(0).sum().backward()
      optimizer.step()
    })
    step()
    expect(w.itemSync()).toBe(1)
    optimizer.paramGroups[0]!.weightDecay = 0.5
    step()
    expect(w.itemSync()).toBe(0.5)
  })
})

test('a program may be as deep as it likes', () => {
  const f = compile((x: Tensor) => {
    let y = x
    for (let i = 0; i < 3000; i++) y = y.flip().add(1)
    return y
  })
  const x = leaf([1, 2])
  const y = f(x)
  expect(y.toArraySync()).toEqual([3001, 3002])
  y.sum().backward()
  expect(x.grad!.toArraySync()).toEqual([1, 1])
})

describe('within each other', () => {
  test('a compiled function inside another is a part of its program', () => {
    const inner = compile((x: Tensor) => x.mul(2))
    const outer = compile((x: Tensor) => inner(x).add(inner(x.add(1))))
    expect(outer(tensor([1])).itemSync()).toBe(6)
    expect(inner.programs.length).toBe(0)
    expect(outer.programs.length).toBe(1)
  })

  test('looks for NaN run the function itself', () => {
    const f = compile((x: Tensor) => x.log())
    expect(() => withConfig({ checkNaN: true }, () => f(tensor([-1])))).toThrow(/NaN/)
    expect(f.programs.length).toBe(0)
  })

  test('the name is that of the function, or the one given', () => {
    function named(x: Tensor) {
      return x
    }
    expect(compile(named).name).toBe('named')
    expect(compile(named, { name: 'other' }).name).toBe('other')
    const program = (() => {
      const f = compile((x: Tensor) => x.exp().sum())
      f(ones([4]))
      return f.programs[0]!
    })()
    expect(program.kernelCount).toBeGreaterThan(0)
    expect(program.arenaBytes).toBeGreaterThanOrEqual(0)
  })
})
