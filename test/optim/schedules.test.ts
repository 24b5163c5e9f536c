/** @file Schedules against PyTorch's formulas, and limits on gradients. */
import { describe, expect, test } from 'vitest'
import { tensor } from 'tandem'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'

const make = (lr = 1) => new optim.SGD([new nn.Parameter(tensor([1]))], { lr })

function rates(schedule: optim.Schedule, count: number): number[] {
  return Array.from({ length: count }, (_, i) => {
    if (i > 0) schedule.step()
    return Number(schedule.optimizer.paramGroups[0]!.lr.toFixed(6))
  })
}

describe('schedules', () => {
  // Values of torch.optim.lr_scheduler for the same options.
  test('StepLR', () =>
    expect(rates(new optim.StepLR(make(0.4), { stepSize: 2 }), 5)).toEqual([
      0.4, 0.4, 0.04, 0.04, 0.004,
    ]))
  test('ExponentialLR', () =>
    expect(rates(new optim.ExponentialLR(make(), { gamma: 0.9 }), 3)).toEqual([1, 0.9, 0.81]))
  test('CosineAnnealingLR', () =>
    expect(rates(new optim.CosineAnnealingLR(make(), { tMax: 2, etaMin: 0.2 }), 4)).toEqual([
      1, 0.6, 0.2, 0.6,
    ]))
  test('LinearLR', () =>
    expect(rates(new optim.LinearLR(make(0.3), { totalIters: 2 }), 4)).toEqual([
      0.1, 0.2, 0.3, 0.3,
    ]))
  test('LambdaLR', () =>
    expect(rates(new optim.LambdaLR(make(2), { lrLambda: (s) => 0.5 ** s }), 3)).toEqual([
      2, 1, 0.5,
    ]))

  test('groups keep their proportions', () => {
    const [p, q] = [new nn.Parameter(tensor([1])), new nn.Parameter(tensor([1]))]
    const optimizer = new optim.Adam([{ params: [p] }, { params: [q], lr: 0.2 }], { lr: 0.1 })
    new optim.ExponentialLR(optimizer, { gamma: 0.5 }).step()
    expect(optimizer.paramGroups.map((g) => g.lr)).toEqual([0.05, 0.1])
  })

  test('a saved state goes on', () => {
    const [a, b] = [make(), make()]
    const first = new optim.StepLR(a, { stepSize: 2 })
    rates(first, 4)
    const second = new optim.StepLR(b, { stepSize: 2 })
    b.loadStateDict(a.stateDict())
    second.loadStateDict(first.stateDict())
    first.step()
    second.step()
    expect([second.stepCount, b.lr]).toEqual([4, a.lr])
  })

  test('arguments that make no sense are refused', () => {
    expect(() => new optim.StepLR(make(), { stepSize: 0 })).toThrow(
      'StepLR: stepSize must be a whole',
    )
    expect(() => new optim.ExponentialLR(make(), { gama: 1 } as never)).toThrow(
      "did you mean 'gamma'",
    )
    expect(() => new optim.LambdaLR(make(), { lrLambda: 3 } as never)).toThrow('must be a function')
    const optimizer = make()
    const one = new optim.StepLR(optimizer, { stepSize: 1 })
    const sequence = (schedules: optim.Schedule[], milestones: number[]) => () =>
      new optim.SequentialLR(optimizer, { schedules, milestones })
    expect(sequence([one], [1])).toThrow('1 schedules and 1 milestones')
    expect(sequence([one, one, one], [2, 1])).toThrow('do not rise')
    expect(sequence([new optim.StepLR(make(), { stepSize: 1 })], [])).toThrow('another optimizer')
  })
})

describe('limits on gradients', () => {
  const withGrads = (...grads: number[][]) =>
    grads.map((g) => {
      const p = new nn.Parameter(tensor(g))
      p.grad = tensor(g)
      return p
    })

  test('the norm is that of all gradients together', () => {
    const ps = [...withGrads([3], [0, 4]), new nn.Parameter(tensor([7]))]
    expect(optim.clipGradNorm(ps, 10).itemSync()).toBe(5)
    expect(ps[0]!.grad!.itemSync()).toBe(3)
    expect(optim.clipGradNorm(ps, 1).itemSync()).toBe(5)
    expect(ps[0]!.grad!.itemSync()).toBeCloseTo(0.6, 5)
    expect(ps[2]!.grad).toBeUndefined()
  })

  test('other norms', () => {
    expect(optim.clipGradNorm(withGrads([3], [0, -4]), 9, { normType: Infinity }).itemSync()).toBe(
      4,
    )
    expect(optim.clipGradNorm(withGrads([3], [0, -4]), 9, { normType: 1 }).itemSync()).toBeCloseTo(
      7,
      5,
    )
    expect(optim.clipGradNorm([], 1).itemSync()).toBe(0)
  })

  test('what is not finite is not hidden', () => {
    const [p] = withGrads([NaN, 1])
    expect(optim.clipGradNorm([p!], 1).itemSync()).toBeNaN()
    expect(p!.grad!.toArraySync()).toEqual([NaN, NaN])
    const [q] = withGrads([NaN, 9])
    optim.clipGradValue([q!], 1)
    expect(q!.grad!.toArraySync()).toEqual([NaN, 1])
  })

  test('a gradient that two parameters share is scaled once for each', () => {
    const [p, q] = [new nn.Parameter(tensor([1])), new nn.Parameter(tensor([1]))]
    p.add(q).sum().backward()
    optim.clipGradNorm([p, q], Math.SQRT1_2)
    expect(p.grad!.itemSync()).toBeCloseTo(0.5, 5)
    expect(q.grad!.itemSync()).toBeCloseTo(0.5, 5)
  })

  test('arguments that make no sense are refused', () => {
    expect(() => optim.clipGradNorm([], -1)).toThrow('maxNorm must be a number of at least 0')
    expect(() => optim.clipGradNorm([], 1, { normType: 0 })).toThrow('normType must be above 0')
    expect(() => optim.clipGradValue([], NaN)).toThrow('received NaN')
  })
})
