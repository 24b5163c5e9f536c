/** @file Which kernels a program has: chains whose results are read several times are one, and what is wanted stays. */
import { describe, expect, test } from 'vitest'
import { compile, randn, type Tensor } from 'tandem'
import { readableBackends } from '../devices.ts'

const numbers = (t: Tensor) => [...t.dataSync()]

/** Ten operations, of which several read one result. */
const chain = (a: Tensor, b: Tensor) => {
  const x = a.mul(2).add(b).maximum(0).sub(0.5)
  return x.mul(b).sub(a).abs().minimum(0.75).mul(x).add(a)
}

describe.each(readableBackends)('on %s', (device) => {
  const [a, b] = [randn([40, 7], { device }), randn([40, 7], { device })]

  test('a chain that reads one of its results twice is one kernel', () => {
    const f = compile(chain)
    expect(numbers(f(a, b))).toEqual(numbers(chain(a, b)))
    expect(f.programs[0]!.kernelCount).toBe(1)
    expect(f.programs[0]!.arenaBytes).toBe(0)
  })

  test('a running sum over all of what was turned round is a kernel of its own', () => {
    const running = (x: Tensor) => x.flip({ axis: 0 }).reshape([-1]).cumsum({ axis: 0 })
    const f = compile(running)
    expect(numbers(f(a))).toEqual(numbers(running(a)))
    expect(f.programs[0]!.kernelCount).toBe(2)
  })

  test('what is returned as well is stored', () => {
    const both = (x: Tensor, y: Tensor) => {
      const sum = x.add(y)
      return [sum, sum.mul(y).exp().sub(sum)] as const
    }
    const f = compile(both)
    expect(f(a, b).map(numbers)).toEqual(both(a, b).map(numbers))
    expect(f.programs[0]!.kernelCount).toBe(1)
  })

  test('what a sum reads, too', () => {
    const all = (x: Tensor, y: Tensor) => {
      const z = x.mul(y).add(1)
      const w = z.mul(x).exp()
      return [w.sub(z), z.sum({ axis: 1 }), w.sum()] as const
    }
    const f = compile(all)
    expect(f(a, b).map(numbers)).toEqual(all(a, b).map(numbers))
  })
})
