/** @file Results that go at once where they would be copied to: which copies go, which stay, and the same bits. */
import { describe, expect, test } from 'vitest'
import { cat, compile, grad, randn, scaledDotProductAttention, type Tensor } from 'tandem'
import { Random } from '../../scripts/random-op.ts'
import { fuse } from '../../src/compile/fuse.ts'
import { scheduleGraph } from '../../src/compile/schedule.ts'
import { readableBackends } from '../devices.ts'

const numbers = (t: Tensor) => [...t.dataSync()]
const [batch, heads, length, features] = [2, 3, 5, 4] as const

/** [batch, length, heads, features] as [batch, heads, length, features]. */
const split = (x: Tensor) => x.reshape([batch, length, heads, features]).permute([0, 2, 1, 3])
const joined = (x: Tensor) => x.permute([0, 2, 1, 3]).reshape([batch, length, heads * features])
const attend = (x: Tensor, y: Tensor, isCausal = true) =>
  scaledDotProductAttention(split(x), split(y), split(x.add(1)), { isCausal })

describe.each(readableBackends)('on %s', (device) => {
  const make = () => randn([batch, length, heads * features], { device })
  const [a, b, w] = [make(), make(), randn([heads * features, heads * features], { device })]

  /** The kernels of a function, the results of which are those of its operations. */
  const kernels = (f: (x: Tensor, y: Tensor) => Tensor | readonly Tensor[]): string[] => {
    const compiled = compile((x: Tensor, y: Tensor) => [f(x, y)].flat())
    const [got, wanted] = [compiled(a, b), [f(a, b)].flat()]
    expect(got.map(numbers)).toEqual(wanted.map(numbers))
    const { graph } = compiled.programs[0]!
    const schedule = fuse(graph, scheduleGraph(graph))
    return schedule.kernels.map((kernel) => ('step' in kernel ? kernel.step.group.name : ''))
  }

  test('heads are put side by side by attention itself', () => {
    expect(kernels((x, y) => joined(attend(x, y)).matmul(w))).toEqual([
      'add',
      'attention+copy',
      'matmul',
    ])
  })

  test('who reads the first order finds it in the second', () => {
    const both = (x: Tensor, y: Tensor) => {
      const mixed = attend(x, y)
      return [joined(mixed).matmul(w), mixed.sum({ axis: 3 }).mul(2)]
    }
    expect(kernels(both)).toEqual(['add', 'attention+copy', 'matmul', 'sum+mul'])
  })

  test('gradients of parts are stored as parts', () => {
    const loss = (q: Tensor, k: Tensor, v: Tensor) =>
      joined(scaledDotProductAttention(split(q), split(k), split(v)))
        .matmul(w)
        .mul(a)
        .sum()
    const projected = (x: Tensor, y: Tensor) => {
      const whole = cat([x, y, x.mul(y)], { axis: 2 })
      const parts = [0, 12, 24].map((from) => whole.slice([], [], [from, from + 12]))
      const gradients = grad(loss, { argument: [0, 1, 2] })(parts[0]!, parts[1]!, parts[2]!)
      return cat(gradients, { axis: 2 }).matmul(cat([w, w, w]))
    }
    const names = kernels(projected)
    expect(names.filter((name) => name.startsWith('copy'))).toEqual([])
    expect(names.filter((name) => name.startsWith('attentionBackward+'))).toHaveLength(1)
  })

  test('what leaves the program in either order stays as it is', () => {
    const last = (x: Tensor, y: Tensor) => joined(attend(x, y)).contiguous()
    expect(kernels(last)).toEqual(['add', 'attention', 'copy'])
    const first = (x: Tensor, y: Tensor) => {
      const mixed = attend(x, y)
      return [mixed, joined(mixed).matmul(w)]
    }
    expect(kernels(first)).toEqual(['add', 'attention', 'copy', 'matmul'])
  })

  test('who reads it with a guard, or in another way, has its order', () => {
    const pooled = (x: Tensor, y: Tensor) => {
      const mixed = attend(x, y)
      return [joined(mixed).matmul(w), mixed.avgPool2d({ kernelSize: 3, stride: 1, padding: 1 })]
    }
    expect(kernels(pooled)).toContain('copy')
    const flat = (x: Tensor, y: Tensor) => {
      const mixed = attend(x, y)
      return [joined(mixed).matmul(w), mixed.reshape([10, 12]).matmul(w)]
    }
    expect(kernels(flat)).toContain('copy')
  })

  test('memory that is larger is not taken earlier, nor kept for longer', () => {
    const far = (x: Tensor, y: Tensor) => {
      const early = joined(attend(x, y))
      const late = joined(attend(y, early.matmul(w)))
      return cat([early, late, x], { axis: 1 }).mul(2).sum({ axis: 1 }).matmul(w)
    }
    expect(kernels(far)).toEqual(expect.arrayContaining(['attention', 'copy+cat']))
  })

  test('random orders, parts and readers give the same bits', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = new Random(seed)
      const axes = [0, 1, 2, 3]
      const orders = [0, 1, 2].map(() => {
        const rest = [...axes]
        return axes.map(() => rest.splice(random.whole(0, rest.length - 1), 1)[0]!)
      })
      const [at, along, reader] = [random.whole(0, 3), random.whole(0, 3), random.whole(0, 4)]
      const isCausal = random.chance(0.5)
      const f = (x: Tensor, y: Tensor) => {
        const mixed = attend(x, y, isCausal)
        const copies = orders.map((order) => mixed.permute(order).contiguous())
        const other = attend(y, x).permute(orders[0]!)
        const whole = cat([copies[0]!, other, copies[0]!], { axis: at })
        const read = [
          () => mixed.sum({ axis: along }),
          () => mixed.mul(copies[1]!.reshape(mixed.shape)),
          () => mixed.slice([], [], [1, 4]).exp(),
          () => mixed.flip({ axis: along }).add(mixed),
          () => mixed.cumsum({ axis: along }),
        ][reader]!()
        return [whole.sum({ axis: along }), read, copies[2]!.mul(2).cumsum({ axis: 0 })]
      }
      kernels(f)
    }
  })
})
