/** @file Tracing: what cannot be traced, what the errors say, and that nothing is left changed. */
import { describe, expect, test } from 'vitest'
import { compile, DeviceError, ones, tensor, TraceError, ValueError, type Tensor } from 'tandem'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'

const message = (f: () => unknown): string => {
  try {
    f()
  } catch (error) {
    expect(error).toBeInstanceOf(TraceError)
    return (error as Error).message
  }
  throw new Error('nothing was thrown')
}

describe('reading elements while tracing', () => {
  const reads: Record<string, (x: Tensor) => unknown> = {
    itemSync: (x) => x.sum().itemSync(),
    dataSync: (x) => x.add(1).dataSync(),
    toArraySync: (x) => x.toArraySync(),
    'a comparison': (x) => ((x as unknown as number) > 0 ? x : x.neg()),
    arithmetic: (x) => x.mul((x as unknown as number) * 2),
  }
  for (const [name, read] of Object.entries(reads))
    test(`${name} names the line and the ways out`, () => {
      const text = message(() => compile((x: Tensor) => read(x))(tensor([1])))
      expect(text).toMatch(/trace\.test\.ts:\d+:\d+/)
      expect(text).toMatch(/cond\(\), whileLoop\(\) or scan\(\)/)
      expect(text).toMatch(/return the tensor/)
      expect(text).toMatch(/move the line out/)
    })

  test('item, data and toArray fail in their promise, and the function by returning one', async () => {
    for (const read of [
      (x: Tensor) => x.item(),
      (x: Tensor) => x.data(),
      (x: Tensor) => x.toArray(),
    ]) {
      let promise: Promise<unknown> = Promise.resolve()
      compile((x: Tensor) => {
        promise = read(x)
        promise.catch(() => undefined)
      })(tensor([1]))
      await expect(promise).rejects.toThrow(TraceError)
    }
    expect(message(() => compile(async (x: Tensor) => Promise.resolve(x))(tensor([1])))).toMatch(
      /returned a promise.*keep await outside/,
    )
  })

  test('the elements of what does not depend on arguments can be read', () => {
    const f = compile((x: Tensor) => x.mul(tensor([3]).itemSync()))
    expect(f(tensor([2])).itemSync()).toBe(6)
  })

  test('a parameter cannot be read either', () => {
    const w = new nn.Parameter(tensor([1]))
    expect(message(() => compile(() => w.mul(w.itemSync()).detach())())).toMatch(
      /reads the elements/,
    )
    expect(w.itemSync()).toBe(1)
  })

  test('printing shows that it is traced', () => {
    let text = ''
    compile((x: Tensor) => {
      text = `${String(x.reshape([2, 1]))}, ${x}`
    })(ones([2]))
    expect(text).toMatch(
      /^tensor\(traced, shape \[2, 1\], float32, \w+\), tensor\(traced, shape \[2\]/,
    )
  })
})

test('outside of a trace a comparison of tensors says what to write', () => {
  const x = tensor([1]) as unknown as number
  expect(() => x > 0).toThrow(ValueError)
  expect(() => x * 2).toThrow(/itemSync\(\)/)
  expect(() => x + 2).toThrow(/\.add\(/)
  expect(`${x}`).toMatch(/^tensor\(\[1\]/)
})

describe('leaks', () => {
  test('a traced tensor is of no use afterwards', () => {
    let leaked = ones([1])
    compile((x: Tensor) => {
      leaked = x.mul(2)
    })(ones([1]))
    const what = /made while a function was traced.*Return it/
    expect(message(() => leaked.itemSync())).toMatch(what)
    expect(message(() => leaked.add(1))).toMatch(what)
    expect(message(() => ones([1]).add(leaked))).toMatch(what)
    expect(message(() => compile(() => leaked.add(1))())).toMatch(/another trace/)
    const w = new nn.Buffer(ones([1]))
    expect(message(() => w.assign(leaked))).toMatch(what)
    expect(w.itemSync()).toBe(1)
    expect(String(leaked)).toMatch(/traced/)
  })

  test('an optimizer may keep what it made inside', () => {
    const w = new nn.Parameter(tensor([1]))
    let optimizer: optim.SGD | undefined
    const step = compile(() => {
      optimizer ??= new optim.SGD([w], { lr: 1, momentum: 0.5 })
      optimizer.zeroGrad()
      w.sum().backward()
      optimizer.step()
    })
    step()
    step()
    expect(w.itemSync()).toBe(1 - 1 - 1.5)
  })
})

describe('refuses', () => {
  test('what is no function', () => {
    expect(() => compile(new nn.Linear(1, 1) as never)).toThrow(/model\.forward/)
    expect(() => compile(null as never)).toThrow(ValueError)
    expect(() => compile(() => 1, { nmae: 'x' } as never)).toThrow(/did you mean 'name'/)
  })

  test('arguments and results that are neither tensors nor plain', () => {
    const f = compile((x: unknown) => x as string)
    expect(message(() => f(() => 1))).toMatch(/argument\[0\] is a function/)
    expect(message(() => f({ a: [new Map()] }))).toMatch(/argument\[0\]\.a\[0\] is a Map/)
    expect(message(() => f(Symbol('s')))).toMatch(/symbol/)
    const ring: unknown[] = []
    ring.push(ring)
    expect(message(() => f(ring))).toMatch(/contains itself/)
    expect(message(() => compile(() => new Set())())).toMatch(/the result is a Set/)
  })

  test('tensors on different devices', () => {
    const far = ones([1], { device: 'reference' })
    expect(() => compile((a: Tensor, b: Tensor) => a.add(b))(ones([1]), far)).toThrow(DeviceError)
    expect(() => compile((a: Tensor) => a.add(far))(ones([1]))).toThrow(/Move it: t\.to\(/)
    const cell = new nn.Buffer(far)
    expect(() => compile((a: Tensor) => a.add(cell))(ones([1]))).toThrow(DeviceError)
    expect(cell.itemSync()).toBe(1)
  })

  test('to change the dtype of a parameter', () => {
    const layer = new nn.Linear(1, 1)
    expect(message(() => compile(() => void layer.cast('float64'))())).toMatch(/dtype/)
    expect(layer.weight.dtype).toBe('float32')
    expect(layer.forward(ones([1, 1])).dtype).toBe('float32')
  })
})

describe('an error inside the function', () => {
  test('leaves everything as it was', () => {
    const run = (fails: boolean) => {
      const w = new nn.Parameter(tensor([1, 2]))
      const other = new nn.Parameter(tensor([3, 4]))
      const optimizer = new optim.SGD([w, other], { lr: 0.1, momentum: 0.9 })
      const schedule = new optim.ExponentialLR(optimizer, { gamma: 0.5 })
      const eager = () => {
        w.mul(other).sum().backward()
        optimizer.step()
        schedule.step()
      }
      eager()
      const kept = w.grad
      if (fails) {
        expect(() =>
          compile(() => {
            eager()
            optimizer.zeroGrad()
            other.assign(ones([2]))
            throw new RangeError('mine')
          })(),
        ).toThrow(new RangeError('mine'))
        expect(w.grad).toBe(kept)
        expect(optimizer.lr).toBe(0.05)
        expect(optimizer.stateDict().state[0]!.step).toBe(1)
      }
      const before = [w.toArraySync(), other.toArraySync(), other.grad!.toArraySync()]
      eager()
      return [before, w.toArraySync(), other.toArraySync(), schedule.stepCount]
    }
    expect(run(true)).toEqual(run(false))
  })

  test('in the first step of an optimizer, too', () => {
    const w = new nn.Parameter(tensor([1]))
    const optimizer = new optim.Adam([w], { lr: 0.1 })
    expect(() =>
      compile(() => {
        w.sum().backward()
        optimizer.step()
        w.add(ones([2, 2, 5]).add(ones([3])))
      })(),
    ).toThrow(/add/)
    expect(w.grad).toBe(undefined)
    w.sum().backward()
    optimizer.step()
    expect(w.itemSync()).toBeCloseTo(0.9)
  })

  test('of an op is that op’s own, at the line that called it', () => {
    try {
      compile((x: Tensor) => x.reshape([7]))(ones([2]))
      expect.unreachable()
    } catch (error) {
      expect((error as Error).message).toMatch(/^reshape/)
      expect((error as Error).stack!.split('\n')[1]).toMatch(/trace\.test\.ts/)
    }
  })

  test('a check that fails in a run is reported', () => {
    const f = compile((x: Tensor, i: Tensor) => x.indexSelect(0, i))
    const x = tensor([1, 2, 3])
    const at = (i: number) => tensor([i], { dtype: 'int32' })
    expect(f(x, at(2)).toArraySync()).toEqual([3])
    expect(() => f(x, at(9))).toThrow(/9|range/)
    expect(f(x, at(0)).toArraySync()).toEqual([1])
  })
})
