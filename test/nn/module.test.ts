/** @file What every Module can do: registration by fields, state, modes, freezing, hooks, printing. */
import { describe, expect, test } from 'vitest'
import { noGrad, ones, tensor, tidy, zeros, type Tensor } from 'tandem'
import * as nn from 'tandem/nn'

class Scale extends nn.Module {
  weight: nn.Parameter
  seen = new nn.Buffer(tensor([0]))
  constructor(value: number) {
    super()
    this.weight = new nn.Parameter(tensor([value]))
  }
  forward(x: Tensor): Tensor {
    return x.mul(this.weight)
  }
  override extraRepr() {
    return `size=${this.weight.size}`
  }
}

class Net extends nn.Module {
  first = new Scale(2)
  second = new Scale(3)
  bias = new nn.Parameter(tensor([1]))
  forward(x: Tensor): Tensor {
    return this.second.forward(this.first.forward(x)).add(this.bias)
  }
}

describe('registration', () => {
  test('names are the paths of the fields', () => {
    const net = new Net()
    expect(net.namedParameters().map(([n]) => n)).toEqual(['bias', 'first.weight', 'second.weight'])
    expect(net.namedBuffers().map(([n]) => n)).toEqual(['first.seen', 'second.seen'])
    expect(net.namedModules().map(([n]) => n)).toEqual(['', 'first', 'second'])
    expect(net.namedChildren().map(([n]) => n)).toEqual(['first', 'second'])
    expect(net.children()).toEqual([net.first, net.second])
  })

  test('something shared counts once, but is saved under each name', () => {
    const net = new Net()
    net.second = net.first
    expect(net.parameters()).toHaveLength(2)
    expect(Object.keys(net.stateDict())).toEqual([
      'bias',
      'first.weight',
      'first.seen',
      'second.weight',
      'second.seen',
    ])
  })

  test('an array of modules is an error, not a silent loss', () => {
    class Trap extends nn.Module {
      blocks: unknown = [new Scale(1), new Scale(2)]
      forward(x: Tensor) {
        return x
      }
    }
    expect(() => new Trap().parameters()).toThrow(
      "Trap: field 'blocks' is an array with a Scale inside, which would be neither trained nor saved. Use new nn.ModuleList([...]), or a #private field to leave it out on purpose",
    )
    const trap = new Trap()
    trap.blocks = { a: new nn.Parameter(tensor([1])) }
    expect(() => trap.stateDict()).toThrow('a Parameter inside')
    trap.blocks = new Map([['a', new Scale(1)]])
    expect(() => trap.train()).toThrow('ModuleDict')
    trap.blocks = [1, 2, { deep: [3] }]
    expect(trap.parameters()).toEqual([])
  })

  test('a second name for something registered is fine', () => {
    class Named extends nn.Module {
      a = new Scale(1)
      all = [this.a, this.a.weight]
      forward(x: Tensor) {
        return x
      }
    }
    expect(new Named().parameters()).toHaveLength(1)
  })

  test('private fields belong to nobody', () => {
    class Private extends nn.Module {
      #teacher = new Scale(1)
      forward(x: Tensor) {
        return this.#teacher.forward(x)
      }
    }
    expect(new Private().parameters()).toEqual([])
  })

  test('a module that contains itself is refused', () => {
    const net = new Net()
    Object.assign(net.first, { parent: net })
    expect(() => net.parameters()).toThrow('Net: a module contains itself: Net > Scale > Net')
    expect(() => net.stateDict()).toThrow('contains itself')
    expect(() => net.toString()).toThrow('contains itself')
  })
})

describe('state', () => {
  test('a round trip gives the same model', () => {
    const [a, b] = [new Net(), new Net()]
    a.first.weight.assign(tensor([7]))
    a.second.seen.assign(tensor([5]))
    expect(b.loadStateDict(a.stateDict())).toEqual({ missingKeys: [], unexpectedKeys: [] })
    expect(b.forward(tensor([2])).itemSync()).toBe(43)
    expect(b.second.seen.itemSync()).toBe(5)
  })

  test('what was saved does not change afterwards', () => {
    const net = new Net()
    const state = net.stateDict()
    net.bias.assign(tensor([9]))
    expect(state['bias']!.itemSync()).toBe(1)
    net.loadStateDict(state)
    state['bias']!.dispose()
    expect(net.bias.itemSync()).toBe(1)
  })

  test('all that does not fit is listed at once and nothing is loaded', () => {
    const net = new Net()
    const { bias: _, ...state } = net.stateDict()
    state['first.weight'] = zeros([2])
    state['second.weight'] = zeros([1], { dtype: 'float64' })
    state['second.seen'] = tensor([8])
    state['more'] = zeros([1])
    expect(() => net.loadStateDict(state)).toThrow(
      `loadStateDict: the state does not fit Net; nothing was loaded.
  missing keys: 'bias'
  unexpected keys: 'more'
  'first.weight' has shape [2], expected [1]
  'second.weight' has dtype float64, expected float32
Expected what stateDict() of the same model gives; { strict: false } tolerates missing and unexpected keys`,
    )
    expect(net.second.seen.itemSync()).toBe(0)
    expect(() => net.loadStateDict(state, { strict: false })).toThrow('has shape [2]')
  })

  test('not strict: keys that do not match are reported', () => {
    const net = new Net()
    expect(net.loadStateDict({ bias: tensor([4]), x: tensor([1]) }, { strict: false })).toEqual({
      missingKeys: ['first.weight', 'first.seen', 'second.weight', 'second.seen'],
      unexpectedKeys: ['x'],
    })
    expect(net.bias.itemSync()).toBe(4)
    expect(() => net.loadStateDict({}, { strickt: true } as object)).toThrow(
      "did you mean 'strict'",
    )
  })
})

describe('modes and gradients', () => {
  test('train and eval reach every module', () => {
    const net = new Net().eval()
    expect(net.modules().map((m) => m.training)).toEqual([false, false, false])
    expect(
      net
        .train()
        .modules()
        .every((m) => m.training),
    ).toBe(true)
  })

  test('freezing stops gradients, zeroGrad forgets them', () => {
    const net = new Net()
    net.first.requireGrad(false)
    net
      .forward(tensor([1]))
      .sum()
      .backward()
    expect(net.first.weight.grad).toBeUndefined()
    expect(net.second.weight.grad!.itemSync()).toBe(2)
    net.zeroGrad()
    expect(net.second.weight.grad).toBeUndefined()
    net.requireGrad()
    expect(net.parameters().every((p) => p.requiresGrad)).toBe(true)
  })

  test('a graph made before an assignment keeps the old value', () => {
    const net = new Net()
    const y = net.forward(tensor([1])).sum()
    net.first.weight.assign(tensor([100]))
    y.backward()
    expect(net.second.weight.grad!.itemSync()).toBe(2)
  })

  test('an assigned value survives tidy', () => {
    const p = new nn.Parameter(tensor([1, 2]))
    tidy(() => void p.assign(tensor([3, 4]).mul(2)))
    expect(p.toArraySync()).toEqual([6, 8])
    const made = tidy(() => ({ hidden: new Net() }))
    expect(made.hidden.bias.itemSync()).toBe(1)
  })

  test('an assigned view becomes a value of its own', () => {
    const p = new nn.Parameter(zeros([2, 2]))
    p.assign(
      tensor([
        [1, 2],
        [3, 4],
      ]).transpose(),
    )
    expect(p.strides).toEqual([2, 1])
    expect(p.toArraySync()).toEqual([
      [1, 3],
      [2, 4],
    ])
    p.assign(ones([3, 2, 2]).slice(1))
    expect(p.offset).toBe(0)
    expect(noGrad(() => p.sum()).itemSync()).toBe(4)
  })

  test('to and cast change every cell in place', () => {
    const net = new Net()
    const { weight } = net.first
    net.to('reference').cast('float64')
    expect(net.first.weight).toBe(weight)
    expect([weight.device, weight.dtype]).toEqual(['reference', 'float64'])
    expect(net.forward(tensor([1], { device: 'reference' })).itemSync()).toBe(7)
    expect(() => net.cast('int32')).toThrow("received 'int32'")
  })

  test('apply goes from the inside out', () => {
    const names: string[] = []
    new Net().apply((m) => names.push(m.constructor.name))
    expect(names).toEqual(['Scale', 'Scale', 'Net'])
  })
})

describe('hooks', () => {
  test('run with forward, see and replace inputs and output, and can be removed', () => {
    const scale = new Scale(2)
    const seen: unknown[] = []
    const removers = [
      scale.registerForwardPreHook((module, [x]) => {
        seen.push(module)
        return [x.add(1)]
      }),
      scale.registerForwardHook((_, [x], y) => {
        seen.push(x.itemSync(), y.itemSync())
        return y.mul(10)
      }),
      scale.registerForwardHook((_, __, y) => void seen.push(y.itemSync())),
    ]
    expect(scale.forward(tensor([1])).itemSync()).toBe(40)
    expect(seen).toEqual([scale, 2, 4, 40])
    expect(Object.keys(scale)).not.toContain('forward')
    for (const remove of removers) remove()
    removers[0]!()
    expect(scale.forward(tensor([1])).itemSync()).toBe(2)
    expect(Object.hasOwn(scale, 'forward')).toBe(false)
  })

  test('also where forward is an arrow function in a field', () => {
    class Arrow extends nn.Module {
      forward = (x: Tensor) => x.add(1)
    }
    const arrow = new Arrow()
    const original = arrow.forward
    const remove = arrow.registerForwardHook((_, __, y) => y.mul(2))
    expect(arrow.forward(tensor([1])).itemSync()).toBe(4)
    remove()
    expect(arrow.forward).toBe(original)
  })
})

describe('looks', () => {
  test('prints as a tree', () => {
    expect(String(new Net())).toBe(`Net(
  (first): Scale(size=1)
  (second): Scale(size=1)
)`)
  })

  test('summary lists layers in the order they run', () => {
    const net = new Net()
    net.first.requireGrad(false)
    net.second.train(false)
    expect(net.summary([4, 1])).toMatchInlineSnapshot(`
      "Net
      ----------------------------------------
      Layer           Output shape  Parameters
      ----------------------------------------
      first (Scale)   [4, 1]                 1
      second (Scale)  [4, 1]                 1
      Net             [4, 1]                 1
      ----------------------------------------
      Parameters: 3, of which 2 trainable"
    `)
    expect(net.summary()).toMatchInlineSnapshot(`
      "Net
      --------------------------
      Layer           Parameters
      --------------------------
      Net                      1
      first (Scale)            1
      second (Scale)           1
      --------------------------
      Parameters: 3, of which 2 trainable"
    `)
    expect(net.modules().map((m) => m.training)).toEqual([true, true, false])
  })
})
