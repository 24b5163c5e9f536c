/** @file Which kernels a program has: chains whose results are read several times are one, and what is wanted stays. */
import { describe, expect, test } from 'vitest'
import { compile, grad, randn, type Tensor } from 'tandem'
import { fuse } from '../../src/compile/fuse.ts'
import { scheduleGraph } from '../../src/compile/schedule.ts'
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

describe.each(readableBackends)('equal layers on %s', (device) => {
  const size = 12
  const norm = (x: Tensor) => x.layerNorm({ normalizedShape: [size] })

  const layers: readonly ((x: Tensor, w: Tensor) => Tensor)[] = [
    (x, w) => norm(x).matmul(w).gelu().add(x),
    // The same reduction twice in one kernel.
    (x, w) =>
      norm(x)
        .mul(norm(x.mul(w.slice(0))))
        .add(x),
    (x, w) => x.softmax({ axis: 1 }).add(x.matmul(w).softmax({ axis: 1 })),
    (x, w) =>
      x
        .sub(x.max({ axis: 1, keepDims: true }))
        .exp()
        .mul(x.matmul(w).tanh()),
    (x) => x.transpose().contiguous().reshape([5, size]).relu().add(1),
  ]

  test.each(layers.map((layer, i) => [i, layer] as const))(
    '%i: one more adds no kernel that is new, with the same bits',
    (_, layer) => {
      const weights = [1, 2, 3, 4].map(() => randn([size, size], { device }).mul(0.3))
      const results = (x: Tensor, count: number) => {
        const stack = (z: Tensor) => weights.slice(0, count).reduce((y, w) => layer(y, w), z)
        return [stack(x), grad((z: Tensor) => stack(z).sum())(x)]
      }
      const x = randn([5, size], { device })
      const f = compile(results)
      for (const count of [3, 4])
        expect(f(x, count).map(numbers)).toEqual(results(x, count).map(numbers))
      const [three, four] = f.programs.map(({ graph }) => {
        const { kernels } = fuse(graph, scheduleGraph(graph))
        return new Set(kernels.map((kernel) => 'step' in kernel && kernel.step.group)).size
      })
      expect(four).toBe(three)
    },
  )
})
