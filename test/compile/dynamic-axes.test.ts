/** @file Dynamic axes: one trace for all sizes, the same values as operation by operation, and clear words otherwise. */
import { describe, expect, test } from 'vitest'
import {
  arange,
  cat,
  compile,
  DynamicAxesError,
  manualSeed,
  ones,
  rand,
  randint,
  randn,
  tensor,
  zeros,
  type DynamicAxes,
  type Tensor,
} from 'tandem'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'
import { Model } from 'tandem/train'

const sizes = [5, 3, 1, 8, 64]

/** Functions of tensors [n, 6] that compute with n. */
const functions: Record<string, (x: Tensor) => unknown> = {
  elementwise: (x) => x.mul(2).add(x.shape[0]!),
  mean: (x) => x.sum().div(x.shape[0]!),
  'average by hand': (x) => x.sum().mul(1 / (x.shape[0]! * 6)),
  'scale of a norm': (x) => x.mul(1 / Math.sqrt(x.shape[0]!)).mul(Math.sqrt(3 * x.shape[0]!)),
  'one less': (x) => x.sum({ axis: 0 }).mul(x.shape[0]! - 1),
  flatten: (x) => x.reshape([-1]).exp(),
  'other shape': (x) => x.reshape([2 * x.shape[0]!, 3]).softmax(),
  transpose: (x) => x.transpose(0, 1).matmul(x),
  'all pairs': (x) => x.matmul(x.transpose(0, 1)).softmax(),
  'all pairs in a row': (x) => x.matmul(x.transpose(0, 1)).reshape([x.shape[0]! ** 2]),
  'last row': (x) => x.slice(-1),
  'rows but the last': (x) => x.slice([0, x.shape[0]! - 1]).add(x.slice([1])),
  backwards: (x) => x.flip({ axis: 0 }).cumsum({ axis: 0 }),
  expand: (x) => x.sum({ axis: 1 }).unsqueeze(1).expand([x.shape[0]!, 4]),
  twice: (x) => cat([x, x.add(1)]).reshape([2, x.shape[0]!, 6]),
  'one more': (x) => cat([zeros([1, 6]), x]).mean({ axis: 0 }),
  positions: (x) => arange(x.shape[0]!).unsqueeze(1).mul(x),
  filled: (x) => ones([x.shape[0]!, x.shape[0]!]).tril().matmul(x),
  'one hot': (x) => x.argmax({ axis: 1 }).oneHot({ numClasses: 6 }).sum({ axis: 0 }),
  'plain numbers': (x) => ({ n: x.shape[0]!, twice: [x.size * 2], mean: x.mean() }),
  normalized: (x) => x.layerNorm({ normalizedShape: [6] }),
  'by columns': (x) =>
    x
      .sub(x.mean({ axis: 0 }))
      .pow(2)
      .sum({ axis: 0 }),
  dropout: (x) => x.dropout({ p: 0.3 }),
  noise: (x) => x.add(randn(x.shape)).mul(rand([x.shape[0]!, 1])),
}

const plain = (x: unknown): unknown =>
  JSON.parse(
    JSON.stringify(x, (_, item: unknown) =>
      typeof item === 'object' && item !== null && 'toArraySync' in item
        ? (item as Tensor).toArraySync()
        : item,
    ),
  )

function closeTo(found: unknown, wanted: unknown): void {
  if (typeof wanted === 'number') expect(found).toBeCloseTo(wanted, 4)
  else if (typeof wanted === 'object' && wanted !== null) {
    expect(Object.keys(found as object)).toEqual(Object.keys(wanted))
    for (const [key, item] of Object.entries(wanted))
      closeTo((found as Record<string, unknown>)[key], item)
  } else expect(found).toEqual(wanted)
}

describe('one trace serves all sizes', () => {
  for (const [name, fn] of Object.entries(functions))
    test(name, () => {
      let calls = 0
      const compiled = compile((x: Tensor) => (calls++, fn(x)), { dynamicAxes: [0] })
      for (const n of sizes) {
        if (name === 'rows but the last' && n === 1) continue
        const x = randn([n, 6])
        manualSeed(n)
        const wanted = plain(fn(x))
        manualSeed(n)
        closeTo(plain(compiled(x)), wanted)
      }
      expect(calls).toBe(1)
      expect(compiled.traces.count).toBe(1)
    })

  test('several axes, of several arguments', () => {
    const attend = (q: Tensor, { k }: { k: Tensor }) => {
      const scale = 1 / Math.sqrt(q.shape[2]!)
      return q.matmul(k.transpose(1, 2)).mul(scale).softmax().matmul(k)
    }
    const compiled = compile(attend, {
      dynamicAxes: {
        0: { 0: 'batch', 1: 'queries' },
        '0.k': [],
        '1.k': { 0: 'batch', 1: 'keys' },
      } as DynamicAxes,
    })
    expect(() => compiled(randn([2, 3, 4]), { k: randn([2, 5, 4]) })).toThrow(
      /dynamicAxes names '0\.k', which is no tensor that it takes\. Expected '0', '1\.k'/,
    )
    const named = compile(attend, {
      dynamicAxes: { 0: { 0: 'batch', 1: 'queries' }, '1.k': { 0: 'batch', 1: 'keys' } },
    })
    for (const [b, n, m] of [
      [2, 3, 5],
      [1, 1, 1],
      [4, 2, 7],
    ] as const) {
      const [q, k] = [randn([b, n, 4]), randn([b, m, 4])]
      closeTo(named(q, { k }).toArraySync(), attend(q, { k }).toArraySync())
    }
    expect(named.traces.count).toBe(1)
    expect(() => named(randn([2, 3, 4]), { k: randn([3, 5, 4]) })).toThrow(
      /axis 'batch' has size 2 in 0 and 3 in 1\.k/,
    )
  })

  test('gradients from outside', () => {
    const w = new nn.Parameter(randn([6, 2]))
    const f = compile((x: Tensor) => x.matmul(w).square().mean(), { dynamicAxes: [0] })
    for (const n of sizes) {
      const x = randn([n, 6]).requireGrad()
      const gradients = [f, (t: Tensor) => t.matmul(w).square().mean()].map((fn) => {
        x.grad = w.grad = undefined
        fn(x).backward()
        return [x.grad!, w.grad!].map((g: Tensor) => g.toArraySync())
      })
      closeTo(gradients[0], gradients[1])
    }
    expect(f.traces.count).toBe(1)
  })

  test('numbers that somebody wrote down are none of the sizes', () => {
    let calls = 0
    const written = [1e9, -1e9, 2 ** 31, 50257, 0.044715, 1 / 3, Math.sqrt(0.5), 1 / Math.sqrt(48)]
    const f = compile((x: Tensor) => (calls++, written.reduce((sum, c) => sum.add(x.mul(c)), x)), {
      dynamicAxes: [0],
    })
    for (const n of sizes) expect(f(zeros([n])).shape).toEqual([n])
    expect(calls).toBe(1)
  })

  test('a number that could be anything is compared with a second trace', () => {
    let calls = 0
    const scale = Math.exp(0.7) / Math.PI
    const f = compile((x: Tensor) => (calls++, x.mul(scale)), { dynamicAxes: [0] })
    for (const n of sizes) closeTo(f(ones([n])).toArraySync(), Array(n).fill(scale))
    expect(calls).toBe(2)
    expect(f.traces.count).toBe(2)
  })
})

test('training steps of all sizes are those of eager code, to the last bit', () => {
  const make = () => {
    manualSeed(1)
    const model = new nn.Sequential(
      new nn.Conv2d(1, 3, 3, { padding: 1 }),
      new nn.BatchNorm2d(3),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Flatten(),
      new nn.Dropout(0.2),
      new nn.Linear(27, 4),
    )
    const optimizer = new optim.Adam(model.parameters(), { lr: 1e-2 })
    const step = (x: Tensor, y: Tensor) => {
      const loss = model.forward(x).crossEntropy(y)
      optimizer.zeroGrad()
      loss.backward()
      optimizer.step()
      return loss
    }
    return { model, step }
  }
  const batches = sizes.map((n) => [rand([n, 1, 6, 6]), randint(0, 4, [n])] as const)
  const [eager, compiled] = [false, true].map((isCompiled) => {
    const { model, step } = make()
    let calls = 0
    const counted = (x: Tensor, y: Tensor) => (calls++, step(x, y))
    const run = isCompiled ? compile(counted, { dynamicAxes: [0] }) : counted
    const losses = batches.map(([x, y]) => run(x, y).itemSync())
    const state = Object.values(model.stateDict()).map((t) => [...t.dataSync()])
    expect(calls).toBe(isCompiled ? 1 : batches.length)
    return { losses, state }
  })
  expect(compiled).toEqual(eager)
})

describe('sizes that decide are refused', () => {
  const refused = (fn: (x: Tensor) => unknown, message: RegExp) => {
    const f = compile(fn, { dynamicAxes: [0], name: 'f' })
    expect(() => f(randn([4, 4]))).toThrow(message)
    expect(() => f(randn([4, 4]))).toThrow(DynamicAxesError)
  }

  test('logarithms', () => {
    refused((x) => x.mul(Math.log(x.shape[0]!)), /something else at other sizes of axis0: a number/)
  })
  test('remainders', () => {
    refused((x) => x.slice([0, Math.floor(x.shape[0]! / 3)]), /something else at other sizes/)
  })
  test('remainders of halves and quarters, for the sizes that have them', () => {
    const halves = (x: Tensor) => x.slice([0, Math.floor(x.shape[0]! / 2)]).mul(2)
    const f = compile(halves, { dynamicAxes: [0], name: 'f' })
    for (const n of [4, 6, 2]) expect(f(ones([n, 2])).shape).toEqual([n / 2, 2])
    // The second trace tells a part of a size from a number.
    expect(f.traces.count).toBe(2)
    expect(() => f(ones([5, 2]))).toThrow(
      /it divides an axis by 2, which leaves a remainder for axis0 = 5\. Pad the data, or leave/,
    )
  })
  test('windows with strides and pooling', () => {
    const net = new nn.Sequential(
      new nn.Conv2d(1, 3, 3, { stride: 2, padding: 1 }),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
    )
    const f = compile((x: Tensor) => net.forward(x).mean({ axis: [2, 3] }), {
      dynamicAxes: { 0: { 0: 'batch', 2: 'height', 3: 'width' } },
    })
    for (const shape of [
      [1, 1, 8, 12],
      [3, 1, 16, 4],
    ]) {
      const x = randn(shape)
      closeTo(
        f(x).toArraySync(),
        net
          .forward(x)
          .mean({ axis: [2, 3] })
          .toArraySync(),
      )
    }
    // The second trace tells a part of a size from a number.
    expect(f.traces.count).toBe(2)
    expect(() => f(randn([1, 1, 6, 8]))).toThrow(/divides an axis by 4, .* height = 6, width = 8/)
  })
  test('loops', () => {
    refused((x) => {
      let sum = x.slice(0)
      for (let i = 1; i < x.shape[0]!; i++) sum = sum.add(x.slice(i))
      return sum
    }, /does it loop over a dynamic axis\?.*scan\(\)/)
  })
  test('data made of numbers', () => {
    refused(
      (x) => x.mul(tensor(Array.from({ length: x.shape[0]! }, (_, i) => [i]))),
      /data of shape .* was made in the function from JavaScript numbers/,
    )
  })
  test('a size that only this call has', () => {
    refused((x) => x.reshape([16]), /can be traced for the sizes of this call, but not for any/)
  })
  test('what is wrong at any size is said with the sizes of the call', () => {
    const f = compile((x: Tensor) => x.matmul(ones([5, 2])), { dynamicAxes: [0] })
    expect(() => f(ones([3, 4]))).toThrow(/\[3, 4\]/)
  })
  test('axes that are none', () => {
    expect(() => compile((x: Tensor) => x, { dynamicAxes: 0 as never })).toThrow(/dynamicAxes is 0/)
    expect(() => compile((x: Tensor) => x, { dynamicAxes: [-1] })(ones([2]))).toThrow(
      /-1 is no axis/,
    )
    expect(() => compile((x: Tensor) => x, { dynamicAxes: { 0: [1] } })(ones([2]))).toThrow(
      /'0' of shape \[2\]: 1 is no axis\. Expected whole numbers from 0 to 0/,
    )
    const none = { dynamicAxes: { 0: 0 as never } }
    expect(() => compile((x: Tensor) => x, none)(ones([2]))).toThrow(
      /dynamicAxes of '0' is 0\. Expected a list, \[0\], or names/,
    )
    expect(() => compile((x: Tensor) => x, { dynamicAxes: { 0: { 0: '' } } })(ones([2]))).toThrow(
      /axis 0 of '0' is named "". Expected letters and digits/,
    )
  })
})

test('fit goes on with a trace per size where a module needs one', async () => {
  class Halves extends nn.Module {
    readonly linear = new nn.Linear(3, 1)
    calls = 0
    forward(x: Tensor): Tensor {
      this.calls++
      const half = Math.ceil(x.shape[0]! / 2)
      return cat([this.linear.forward(x.slice([0, half])), this.linear.forward(x.slice([half]))])
    }
  }
  const module = new Halves()
  const model = new Model(module).compile({ optimizer: 'sgd', loss: 'meanSquaredError' })
  const [x, y] = [rand([9, 3]), rand([9, 1])]
  const { history } = await model.fit(x, y, { batchSize: 4, verbose: 0 })
  expect(history['loss']).toHaveLength(1)
  // At stand-ins twice, for batches of 4, then for the one of 1.
  expect(module.calls).toBe(2 + 1)
})
