/** @file What is special about single layers: running statistics, padding rows, weights of losses, starting values. */
import { describe, expect, test } from 'vitest'
import { manualSeed, ones, tensor, zeros } from 'tandem'
import * as nn from 'tandem/nn'
import { numbers } from './check-layer.ts'

describe('batch norm', () => {
  const x = tensor([
    [1, 10],
    [3, 30],
    [8, 20],
  ])
  // Means 4 and 20; unbiased variances 13 and 100.
  test('running statistics move by the momentum, with the unbiased variance', () => {
    const layer = new nn.BatchNorm1d(2, { momentum: 0.5 })
    layer.forward(x)
    expect(layer.runningMean!.toArraySync()).toEqual([2, 10])
    const [first, second] = layer.runningVar!.toArraySync() as number[]
    expect(first).toBeCloseTo(7, 4)
    expect(second).toBeCloseTo(50.5, 3)
    layer.forward(x)
    expect(layer.runningMean!.toArraySync()).toEqual([3, 15])
    expect(layer.numBatchesTracked!.itemSync()).toBe(2)
  })

  test('momentum null averages all batches', () => {
    const layer = new nn.BatchNorm1d(2, { momentum: null })
    layer.forward(x)
    layer.forward(x.mul(3))
    expect(layer.runningMean!.toArraySync()).toEqual([8, 40])
  })

  test('evaluation uses them and leaves them', () => {
    const layer = new nn.BatchNorm1d(2, { eps: 1e-12 }).eval()
    layer.loadStateDict({
      ...layer.stateDict(),
      runningMean: tensor([1, 10]),
      runningVar: tensor([4, 100]),
    })
    expect(layer.forward(x).toArraySync()).toEqual([
      [0, 0],
      [1, 2],
      [3.5, 1],
    ])
    expect(layer.numBatchesTracked!.itemSync()).toBe(0)
  })

  test('without running statistics evaluation uses the batch', () => {
    const layer = new nn.BatchNorm1d(2, { trackRunningStats: false, affine: false })
    const trained = layer.forward(x).toArraySync()
    expect(layer.eval().forward(x).toArraySync()).toEqual(trained)
    expect(layer.stateDict()).toEqual({})
  })

  test('statistics are buffers: no gradient, no parameter', () => {
    const layer = new nn.BatchNorm2d(3)
    expect(layer.namedParameters().map(([n]) => n)).toEqual(['weight', 'bias'])
    layer
      .forward(numbers([2, 3, 4, 4]))
      .sum()
      .backward()
    expect(layer.buffers().every((b) => b.grad === undefined && !b.requiresGrad)).toBe(true)
  })
})

test('the padding row of an embedding is zero and gets no gradient', () => {
  const layer = new nn.Embedding(4, 2, { paddingIndex: 1 })
  expect((layer.weight.toArraySync() as number[][])[1]).toEqual([0, 0])
  layer
    .forward(tensor([1, 2, 2], { dtype: 'int32' }))
    .sum()
    .backward()
  expect(layer.weight.grad!.toArraySync()).toEqual([
    [0, 0],
    [0, 0],
    [2, 2],
    [0, 0],
  ])
})

describe('losses', () => {
  test('weights are buffers: saved, moved and used', () => {
    const loss = new nn.CrossEntropyLoss({ weight: tensor([1, 0]), reduction: 'sum' })
    expect(Object.keys(loss.stateDict())).toEqual(['weight'])
    expect(String(loss)).toBe('CrossEntropyLoss(reduction=sum)')
    const logits = tensor([
      [0, 0],
      [0, 0],
    ])
    const labels = tensor([0, 1], { dtype: 'int32' })
    expect(loss.forward(logits, labels).itemSync()).toBeCloseTo(Math.LN2, 6)
    loss.to('reference')
    expect(loss.forward(logits.to('reference'), labels.to('reference')).device).toBe('reference')
  })

  test('all of them run and give one number', () => {
    const [x, t] = [tensor([0.2, 0.7]), tensor([0, 1])]
    const losses = [
      new nn.MSELoss(),
      new nn.L1Loss(),
      new nn.HuberLoss({ delta: 0.5 }),
      new nn.SmoothL1Loss({ beta: 0.5 }),
      new nn.BCELoss({ weight: tensor([1, 2]) }),
      new nn.BCEWithLogitsLoss({ posWeight: tensor(2) }),
      new nn.KLDivLoss({ reduction: 'sum', logTarget: false }),
    ]
    for (const loss of losses) expect(loss.forward(x, t).shape, String(loss)).toEqual([])
  })

  test('options are checked when the loss is made', () => {
    expect(() => new nn.MSELoss({ reduction: 'max' as never })).toThrow(
      "MSELoss: reduction must be one of 'mean', 'sum', 'none', received \"max\"",
    )
    expect(() => new nn.MSELoss({ weight: ones([1]) } as never)).toThrow("unknown option 'weight'")
  })
})

describe('starting values', () => {
  const weight = () => new nn.Parameter(zeros([40, 50]))
  const moments = (p: nn.Parameter) =>
    [p.mean().itemSync(), p.std().itemSync(), p.abs().max().itemSync()] as const

  test('layers start as in PyTorch, from the seed', () => {
    manualSeed(5)
    const a = new nn.Linear(64, 32)
    manualSeed(5)
    const b = new nn.Linear(64, 32)
    expect(a.weight.toArraySync()).toEqual(b.weight.toArraySync())
    const [mean, std, top] = moments(a.weight)
    expect(Math.abs(mean)).toBeLessThan(0.01)
    expect(std).toBeCloseTo(1 / 8 / Math.sqrt(3), 2)
    expect(top).toBeLessThanOrEqual(1 / 8)
  })

  test('deviations follow the fans', () => {
    manualSeed(5)
    const cases: [nn.Parameter, number][] = [
      [nn.init.xavierUniform(weight()), Math.sqrt(2 / 90)],
      [nn.init.xavierNormal(weight(), { gain: 2 }), 2 * Math.sqrt(2 / 90)],
      [nn.init.kaimingUniform(weight(), { a: Math.sqrt(5) }), Math.sqrt(1 / 3 / 50)],
      [
        nn.init.kaimingNormal(weight(), { mode: 'fanOut', nonlinearity: 'relu' }),
        Math.sqrt(2 / 40),
      ],
      [nn.init.truncNormal(weight(), { std: 1, low: -50, high: 50 }), 1],
      [nn.init.truncNormal(weight()), 0.8796],
      [nn.init.normal(weight(), { std: 3 }), 3],
    ]
    for (const [p, expected] of cases) expect(moments(p)[1] / expected).toBeCloseTo(1, 1)
    expect(
      nn.init
        .kaimingUniform(new nn.Conv2d(4, 8, 3).weight, { a: 0 })
        .abs()
        .max()
        .itemSync(),
    ).toBeLessThanOrEqual(Math.sqrt(6 / 36))
  })

  test('a truncated normal keeps to its limits', () => {
    const [, , top] = moments(nn.init.truncNormal(weight(), { std: 5, low: -1, high: 2 }))
    expect(top).toBeLessThanOrEqual(2)
    expect(() => nn.init.truncNormal(weight(), { low: 3 })).toThrow('expected low < high')
  })

  test('orthogonal matrices are orthogonal either way', () => {
    for (const shape of [
      [4, 7],
      [7, 4],
      [6, 2, 3],
    ]) {
      const flat = nn.init
        .orthogonal(new nn.Parameter(zeros(shape)), { gain: 2 })
        .detach()
        .flatten({ startAxis: 1 })
      const square =
        flat.shape[0]! <= flat.shape[1]!
          ? flat.matmul(flat.transpose())
          : flat.transpose().matmul(flat)
      ;(square.toArraySync() as number[][]).forEach((row, i) =>
        row.forEach((value, j) => expect(value).toBeCloseTo(i === j ? 4 : 0, 5)),
      )
    }
  })

  test('what has no fans is refused', () => {
    expect(() => nn.init.xavierUniform(new nn.Parameter(zeros([3])))).toThrow(
      'xavierUniform: expected a weight of at least 2 axes, [out, in, ...window], received [3]',
    )
    expect(() => nn.init.calculateGain('swish' as never)).toThrow("one of 'linear', 'sigmoid'")
    expect(() => nn.init.kaimingNormal(weight(), { mode: 'fan_in' as never })).toThrow(
      "'fanIn', 'fanOut'",
    )
  })
})

test('the summary of an image classifier', () => {
  const net = new nn.Sequential(
    new nn.Conv2d(1, 4, 3, { padding: 1 }),
    new nn.BatchNorm2d(4),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Linear(196, 10),
  )
  expect(net.summary([1, 1, 14, 14])).toMatchInlineSnapshot(`
    "Sequential
    -------------------------------------------
    Layer            Output shape    Parameters
    -------------------------------------------
    0 (Conv2d)       [1, 4, 14, 14]          40
    1 (BatchNorm2d)  [1, 4, 14, 14]           8
    2 (ReLU)         [1, 4, 14, 14]           0
    3 (MaxPool2d)    [1, 4, 7, 7]             0
    4 (Flatten)      [1, 196]                 0
    5 (Linear)       [1, 10]              1,970
    -------------------------------------------
    Parameters: 2,018, of which 2,018 trainable"
  `)
  expect(String(net)).toMatchInlineSnapshot(`
    "Sequential(
      (0): Conv2d(1, 4, kernelSize=3, stride=1, padding=1)
      (1): BatchNorm2d(4, eps=0.00001, momentum=0.1, affine=true, trackRunningStats=true)
      (2): ReLU()
      (3): MaxPool2d(kernelSize=2, stride=2, padding=0)
      (4): Flatten(startAxis=1, endAxis=-1)
      (5): Linear(inFeatures=196, outFeatures=10, bias=true)
    )"
  `)
  expect(net.at(1).buffers()[2]!.itemSync()).toBe(0)
})
