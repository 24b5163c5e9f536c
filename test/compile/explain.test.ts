import { afterEach, describe, expect, test, vi } from 'vitest'
import { compile, explain, noGrad, ones, randn, withConfig, type Tensor } from 'tandem'
import * as nn from 'tandem/nn'

describe('explain', () => {
  test('before the first call', () => {
    expect(explain(compile((x: Tensor) => x, { name: 'f' }))).toBe('f was not called yet.')
  })

  test('rejects what compile did not give', () => {
    expect(() => explain((() => 1) as never)).toThrow(
      /expected what compile\(\) gave.*another function/,
    )
    expect(() => explain(3 as never)).toThrow(/received number/)
  })

  test('of a function with gradients, says what backward() runs', () => {
    const w = ones([3, 4]).requireGrad()
    const f = compile((x: Tensor) => x.matmul(w).relu(), { name: 'forward' })
    f(ones([2, 3]))
    const [before, after] = explain(f).split('Its gradients, which backward() runs:')
    expect(before).toMatch(/matmul\+relu/)
    expect(before).not.toMatch(/relu\.grad/)
    expect(after).toMatch(/relu\.grad/)
  })

  test('says what was joined, and why not more', () => {
    const f = compile(
      (x: Tensor) =>
        x
          .mul(2)
          .relu()
          .sum({ axis: 1 })
          .matmul(ones([4, 3])),
      { name: 'f' },
    )
    f(ones([4, 4]))
    const lines = explain(f).split('\n')
    expect(lines.slice(0, 2)).toEqual(['f was traced once:', '  1. the first call'])
    expect(lines.find((line) => line.includes(' joins '))).toMatch(/joins mul, relu, sum;/)
    expect(lines.at(-1)).toMatch(/^ +apart from 0 .*: a product reads its operands many times$/)
  })

  test.each<[string, (x: Tensor) => Tensor, RegExp]>([
    ['both reduce', (x) => x.sum({ axis: 1 }).sum(), /both reduce/],
    ['a running sum', (x) => x.cumsum({ axis: 1 }).add(1), /it is a running sum/],
    [
      'elements that are read several times',
      (x) => x.exp().expand([3, 4, 4]).contiguous(),
      /each of its elements is read several times/,
    ],
    [
      'a result that is read elsewhere',
      (x) => x.exp().sum().add(x.exp().prod()),
      /it has results that are wanted elsewhere too|both reduce/,
    ],
  ])('%s', (_, compute, reason) => {
    const f = compile(compute)
    f(randn([4, 4]))
    expect(explain(f)).toMatch(reason)
  })
})

describe('reasons for tracing', () => {
  const reasonsOf = (f: { traces: { reasons: readonly string[] } }) => f.traces.reasons

  test('the form of a tensor', () => {
    const f = compile((x: Tensor) => x.add(1))
    f(ones([2]))
    f(ones([2]))
    f(ones([3]).requireGrad(false))
    const device = ones([1]).device
    expect(reasonsOf(f)).toEqual([
      'the first call',
      `tensor 0 of the arguments was float32 [2] on ${device}, is float32 [3] on ${device}`,
    ])
  })

  test('other values and structures', () => {
    const f = compile((x: Tensor, n: number) => x.add(n))
    f(ones([2]), 1)
    f(ones([2]), 2)
    expect(reasonsOf(f)[1]).toMatch(/another structure, or other values/)
  })

  test('whether gradients are recorded', () => {
    const f = compile((x: Tensor) => x.add(1))
    f(ones([2]))
    noGrad(() => f(ones([2])))
    expect(reasonsOf(f)[1]).toBe('gradients are not recorded now')
  })

  test('something outside', () => {
    const layer = new nn.Dropout(0.5)
    const f = compile((x: Tensor) => layer.forward(x))
    f(ones([2]))
    layer.eval()
    f(ones([2]))
    expect(reasonsOf(f)[1]).toMatch(/^something outside changed: .*training was true, is false$/)
    expect(f.traces.count).toBe(2)
  })
})

describe('the debug ladder', () => {
  afterEach(() => void vi.restoreAllMocks())

  const printed = (debug: number): string => {
    const print = vi.spyOn(console, 'error').mockImplementation(() => undefined)
    withConfig({ debug }, () =>
      compile((x: Tensor) => x.mul(3).add(2), { name: 'ladder' })(ones([7])),
    )
    return print.mock.calls.join('\n')
  }

  test('1 says that a program was made', () => {
    expect(printed(1)).toMatch(/compile: ladder: 1 kernels in/)
    expect(printed(1)).not.toContain('graph')
  })

  test('2 prints the reason, the graph and the kernels', () => {
    const text = printed(2)
    expect(text).toContain('compile: ladder is traced: the first call')
    expect(text).toMatch(
      /compile: graph\nprogram\(x0: float32\[7\]\) \{\n  const v0: float32\[7\] = mul\(x0, 3\)/,
    )
    expect(text).toContain('return [v1]')
    expect(text).toMatch(/compile: kernels\n +0 +mul\+add over 7/)
    expect(text).not.toContain('before fusion')
  })

  test('5 prints the kernels before fusion', () => {
    expect(printed(5)).toMatch(/kernels before fusion\n +0 +mul over 7.*\n +1 +add over 7/)
  })
})
