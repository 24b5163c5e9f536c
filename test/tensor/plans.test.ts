/** @file The plans of ops and their kernels: shared, told apart, and given up when long unused. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { compile, tensor, type Tensor } from 'tandem'
import { registerBackend, type Executable } from '../../src/backend/backend.ts'
import { ReferenceBackend } from '../../src/backend/reference/index.ts'
import type { ExprBuilder } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'
import { dispatch } from '../../src/tensor/dispatch.ts'
import { makeOp } from '../../src/tensor/op.ts'
import { allPlans } from '../../src/tensor/plan-table.ts'

/** Counts compilations, and fails when a kernel runs after its release. */
class CountingBackend extends ReferenceBackend {
  override readonly name = 'counting'
  compiled = 0
  live = 0

  override compile(s: ExprBuilder, group: Group): Executable {
    const { name, launch } = super.compile(s, group)
    let isReleased = false
    this.compiled++
    this.live++
    return {
      name,
      launch: (...args) => {
        if (isReleased) throw new Error('a released kernel was launched')
        return launch(...args)
      },
      release: () => {
        expect(isReleased).toBe(false)
        isReleased = true
        this.live--
      },
    }
  }
}

const backend = new CountingBackend()
registerBackend('counting', () => backend)
const device = 'counting'

/** x + amount + number, the amount being part of the code. */
const shiftOp = makeOp<{ readonly amount: number }>({
  name: 'shift',
  kind: 'elementwise',
  onnx: undefined,
  infer: ([x]) => [{ shape: x!.shape, dtype: x!.dtype }],
  lower({ attributes, outputs, kernel, out }) {
    const k = kernel()
    const axes = k.axes(outputs[0]!.layout.shape)
    const sum = k.s.add(k.load(0, axes), k.s.convert(k.param(0), 'f32'))
    k.store(out(), axes, k.s.add(sum, attributes.amount))
    return [k.finish()]
  },
})

const shift = (x: Tensor, amount: number, number = 0): Tensor =>
  dispatch(shiftOp, [x, number], { amount }, `${amount}`)

const countIn = (body: () => void): number => {
  const before = backend.compiled
  body()
  return backend.compiled - before
}

/** Launches so many kernels of their own that all which nobody holds are given up. */
const pushOut = (from: number): void => {
  const x = tensor([1, 2], { device })
  for (let i = 0; i < 3000; i++) shift(x, from + i)
}

describe('plans', () => {
  test('calls that differ in sizes and numbers share a kernel', () => {
    const x = tensor([1, 2, 3], { device })
    const long = tensor([...Array(20).keys()], { device })
    const longer = tensor([...Array(30).keys()], { device })
    expect(countIn(() => shift(long, 0.5))).toBe(1)
    expect(countIn(() => [shift(long, 0.5, 7), shift(longer, 0.5)])).toBe(0)
    expect(shift(x, 0.5, 10).toArraySync()).toEqual([11.5, 12.5, 13.5])
    expect(shift(x, 0.5, 0.25).toArraySync()).toEqual([1.75, 2.75, 3.75])
  })

  test('attributes, dtypes and layouts are told apart', () => {
    const x = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { device },
    )
    expect(shift(x, 1).toArraySync()).toEqual([
      [2, 3],
      [4, 5],
    ])
    expect(shift(x, 2).toArraySync()).toEqual([
      [3, 4],
      [5, 6],
    ])
    expect(shift(x.transpose(), 1).toArraySync()).toEqual([
      [2, 4],
      [3, 5],
    ])
    expect(x.add(x.cast('float64')).dtype).toBe('float64')
    expect(x.add(x).dtype).toBe('float32')
    expect(x.cast('int32').add(1).dtype).toBe('int32')
    expect(x.cast('int32').add(1.5).dtype).toBe('float32')
  })

  test('a great number of kernels: those long unused are released, and made anew on demand', () => {
    const x = tensor([1, 2], { device })
    const first = (i: number): number => (shift(x, i).toArraySync() as number[])[0]!
    const count = 5000
    for (let i = 0; i < count; i++) {
      shift(x, i)
      // Never long unused.
      if (i % 100 === 0) shift(x, -1)
    }
    expect(backend.live).toBeLessThanOrEqual(2048)
    expect(countIn(() => shift(x, -1))).toBe(0)
    expect(countIn(() => shift(x, count - 1))).toBe(0)
    expect(countIn(() => expect(first(0)).toBe(1))).toBe(1)
    for (let i = 0; i < count; i += 97) expect(first(i)).toBe(1 + i)
  })

  test('a great number of shapes: plans stay bounded', () => {
    const x = tensor([[1]], { device })
    const compiled = countIn(() => {
      for (let n = 10; n < 9_000; n++) shift(x.expand([n, 0]), 3)
    })
    expect(compiled).toBe(0)
    expect(allPlans().length).toBeLessThanOrEqual(8192)
    expect(shift(x.expand([2, 3]), 3).toArraySync()).toEqual([
      [4, 4, 4],
      [4, 4, 4],
    ])
  })
})

describe('kernels of a compiled function', () => {
  const x = tensor([1, 2], { device })
  const make = (amount: number) => compile((x: Tensor) => shift(x, amount))

  test('are kept however many others there are', () => {
    const f = make(0.125)
    f(x)
    pushOut(1e5)
    expect(countIn(() => expect(f(x).toArraySync()).toEqual([1.125, 2.125]))).toBe(0)
    expect(countIn(() => shift(x, 0.125))).toBe(0)
    // Those that are held do not count among the many.
    expect(backend.live).toBeLessThanOrEqual(2049)
  })

  test('are given up when its program has given way to others', () => {
    const f = make(0.25)
    f(x)
    expect(countIn(() => shift(x, 0.25))).toBe(0)
    // A longer one is another kernel, the same for all of them.
    for (let n = 20; n < 60; n++) f(tensor(Array<number>(n).fill(1), { device }))
    pushOut(2e5)
    expect(countIn(() => shift(tensor(Array<number>(70).fill(1), { device }), 0.25))).toBe(0)
    expect(countIn(() => shift(x, 0.25))).toBe(1)
  })

  test('are given up when the collector has taken it', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    make(0.375)(x)
    for (let i = 0; i < 20; i++) {
      await new Promise((done) => setTimeout(done, 5))
      collect()
    }
    pushOut(3e5)
    expect(countIn(() => shift(x, 0.375))).toBe(1)
  })
})
