/** @file Random chains of views, and random broadcasts, against plain nested loops over positions. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { arange, type Tensor } from 'tandem'

/** A tensor together with what it should hold: a function from positions to values. */
interface Model {
  readonly tensor: Tensor
  readonly shape: readonly number[]
  readonly at: (position: readonly number[]) => number
}

const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)

function positions(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>(
    (list, n) => list.flatMap((p) => Array.from({ length: n }, (_, i) => [...p, i])),
    [[]],
  )
}

/** The position of the k-th element in row-major order. */
function unflatten(k: number, shape: readonly number[]): number[] {
  const position: number[] = []
  for (const n of shape.toReversed()) {
    position.unshift(k % n)
    k = Math.floor(k / n)
  }
  return position
}

function fresh(shape: readonly number[]): Model {
  const strides = shape.map((_, i) => sizeOf(shape.slice(i + 1)))
  return {
    tensor: arange(sizeOf(shape)).reshape([...shape]),
    shape,
    at: (p) => p.reduce((sum, i, axis) => sum + i * strides[axis]!, 0),
  }
}

type Change = (m: Model, random: number) => Model

const permute: Change = ({ tensor, shape, at }, random) => {
  const order = shape
    .map((_, i) => i)
    .sort((a, b) => ((a * 7 + random) % 5) - ((b * 7 + random) % 5))
  return {
    tensor: tensor.permute(order),
    shape: order.map((a) => shape[a]!),
    at: (p) => at(shape.map((_, a) => p[order.indexOf(a)]!)),
  }
}
const flip: Change = ({ tensor, shape, at }, random) => {
  if (shape.length === 0) return { tensor, shape, at }
  const axis = random % shape.length
  return {
    tensor: tensor.flip({ axis }),
    shape,
    at: (p) => at(p.map((i, a) => (a === axis ? shape[a]! - 1 - i : i))),
  }
}
const step: Change = ({ tensor, shape, at }, random) => {
  if (shape.length === 0) return { tensor, shape, at }
  const axis = random % shape.length
  const n = shape[axis]!
  const start = random % (n + 1)
  const stride = 1 + (random % 3)
  const count = Math.max(0, Math.ceil((n - start) / stride))
  return {
    tensor: tensor.slice(
      ...shape.map((_, a) => (a === axis ? ([start, null, stride] as const) : null)),
    ),
    shape: shape.map((m, a) => (a === axis ? count : m)),
    at: (p) => at(p.map((i, a) => (a === axis ? start + i * stride : i))),
  }
}
const pick: Change = ({ tensor, shape, at }, random) => {
  const axis = shape.length === 0 ? -1 : random % shape.length
  if (axis < 0 || shape[axis] === 0) return { tensor, shape, at }
  const i = random % shape[axis]!
  return {
    tensor: tensor.slice(...shape.map((_, a) => (a === axis ? i - shape[axis]! : null))),
    shape: shape.filter((_, a) => a !== axis),
    at: (p) => at([...p.slice(0, axis), i, ...p.slice(axis)]),
  }
}
const widen: Change = ({ tensor, shape, at }, random) => {
  const n = 1 + (random % 3)
  return {
    tensor: tensor.unsqueeze(0).expand([n, ...shape]),
    shape: [n, ...shape],
    at: (p) => at(p.slice(1)),
  }
}
const reshape: Change = ({ tensor, shape, at }) => {
  const flat = [sizeOf(shape)]
  return { tensor: tensor.reshape(flat), shape: flat, at: ([k]) => at(unflatten(k!, shape)) }
}

const changes: Change[] = [permute, flip, step, pick, widen, reshape]
const shapes = fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 4 })

test('any chain of views holds what its positions say', () => {
  const steps = fc.array(fc.tuple(fc.nat(changes.length - 1), fc.nat(50)), { maxLength: 6 })
  fc.assert(
    fc.property(shapes, steps, (shape, chain) => {
      const m = chain.reduce(
        (model, [which, random]) => changes[which]!(model, random),
        fresh(shape),
      )
      fc.pre(sizeOf(m.shape) <= 500)
      expect(m.tensor.shape).toEqual(m.shape)
      const want = positions(m.shape).map((p) => m.at(p))
      expect([...m.tensor.dataSync()]).toEqual(want)
      // And a kernel that reads through the view sees the same.
      expect([...m.tensor.mul(2).dataSync()]).toEqual(want.map((v) => v * 2))
    }),
    { numRuns: 150 },
  )
})

test('broadcasting follows the positions, for any pair of shapes that fit', () => {
  const dims = fc.array(
    fc.tuple(fc.integer({ min: 1, max: 4 }), fc.constantFrom('both', 'left', 'right')),
    { maxLength: 4 },
  )
  fc.assert(
    fc.property(dims, fc.nat(4), (pairs, cut) => {
      const left = pairs.map(([n, who]) => (who === 'right' ? 1 : n))
      const right = pairs
        .map(([n, who]) => (who === 'left' ? 1 : n))
        .slice(Math.min(cut, pairs.length))
      const [a, b] = [fresh(left), fresh(right)]
      const sum = a.tensor.add(b.tensor.mul(100))
      const offset = left.length - right.length
      const shape = left.map((n, i) => (i < offset ? n : Math.max(n, right[i - offset]!)))
      expect(sum.shape).toEqual(shape)
      const inside = (p: readonly number[], own: readonly number[]) =>
        own.map((n, i) => (n === 1 ? 0 : p[p.length - own.length + i]!))
      const want = positions(shape).map((p) => a.at(inside(p, left)) + 100 * b.at(inside(p, right)))
      expect([...sum.dataSync()]).toEqual(want)
    }),
    { numRuns: 100 },
  )
})

test('the gradient of a view goes back to the places it read', () => {
  const steps = fc.array(fc.tuple(fc.nat(changes.length - 1), fc.nat(50)), { maxLength: 4 })
  fc.assert(
    fc.property(shapes, steps, (shape, chain) => {
      const start = fresh(shape)
      start.tensor.requireGrad()
      const m = chain.reduce((model, [which, random]) => changes[which]!(model, random), start)
      fc.pre(sizeOf(m.shape) <= 300)
      if (!m.tensor.requiresGrad) return
      m.tensor.sum().backward()
      const want = new Array<number>(sizeOf(shape)).fill(0)
      for (const p of positions(m.shape)) want[m.at(p)]!++
      expect([...start.tensor.grad!.dataSync()]).toEqual(want)
    }),
    { numRuns: 80 },
  )
})
