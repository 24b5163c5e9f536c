/** @file The conformance suite of optimizers: every one of them passes all of it. */
import { describe, expect, test, vi } from 'vitest'
import { currentBackend, tensor, type DType } from 'tandem'
import * as nn from 'tandem/nn'
import type { Optimizer } from 'tandem/optim'
import { readableBackends } from '../devices.ts'

/** The published update for one number: changes `state`, returns the new value. `t` counts from 1. */
export type Reference = (p: number, g: number, state: Record<string, number>, t: number) => number

export interface OptimizerSpec {
  readonly name: string
  readonly make: (params: readonly nn.Parameter[] | never[], options: object) => Optimizer
  /** Options under which a plain quadratic is minimised within 200 steps. */
  readonly converges: object
  readonly variants: readonly {
    readonly title: string
    readonly options: object
    readonly reference: Reference
  }[]
  readonly errors: readonly { readonly options: object; readonly message: RegExp }[]
}

const start = [0.5, -1.25, 2, 0, -3e-3]
/** A gradient sequence of mixed signs and sizes. */
const gradientAt = (t: number) => start.map((_, i) => Math.sin(3 * t + i) * 10 ** (i - 2))

function run(optimizer: Optimizer, p: nn.Parameter, from: number, to: number): void {
  for (let t = from; t <= to; t++) {
    optimizer.zeroGrad()
    p.grad = tensor(gradientAt(t), { dtype: p.dtype, device: p.device })
    optimizer.step()
  }
}

/** Registers the suite for one optimizer. */
export function checkOptimizer({ name, make, converges, variants, errors }: OptimizerSpec): void {
  describe(name, () => {
    const tolerance: Partial<Record<DType, number>> = { float64: 1e-12, float32: 1e-5 }
    for (const { title, options, reference } of variants)
      for (const device of readableBackends)
        test(`${title}: five steps of the published update, on ${device}`, () => {
          for (const [dtype, limit] of Object.entries(tolerance)) {
            const p = new nn.Parameter(tensor(start, { dtype: dtype as DType, device }))
            run(make([p], options), p, 1, 5)
            const expected = start.map((value, i) => {
              const state: Record<string, number> = {}
              for (let t = 1; t <= 5; t++) value = reference(value, gradientAt(t)[i]!, state, t)
              return value
            })
            const actual = p.toArraySync() as number[]
            expected.forEach((value, i) =>
              expect(Math.abs(actual[i]! - value), `${dtype} [${i}]`).toBeLessThan(
                limit * (1 + Math.abs(value)),
              ),
            )
          }
        })

    test('a quadratic is minimised', () => {
      const p = new nn.Parameter(tensor([3, -2]))
      const optimizer = make([p], converges)
      for (let i = 0; i < 200; i++) {
        optimizer.zeroGrad()
        p.add(-1).mul(p.add(-1)).sum().backward()
        optimizer.step()
      }
      for (const value of p.toArraySync() as number[]) expect(value).toBeCloseTo(1, 1)
    })

    test('a saved state goes on with the same steps', () => {
      for (const { options } of variants) {
        const [p, q] = [new nn.Parameter(tensor(start)), new nn.Parameter(tensor(start))]
        const first = make([p], options)
        run(first, p, 1, 3)
        const saved = first.stateDict()
        q.assign(p)
        const second = make([q], {})
        run(first, p, 4, 6)
        second.loadStateDict(saved)
        run(second, q, 4, 6)
        expect(q.toArraySync()).toEqual(p.toArraySync())
      }
    })

    test('groups have hyperparameters of their own', () => {
      const [p, q] = [new nn.Parameter(tensor([1])), new nn.Parameter(tensor([1]))]
      const optimizer = make([{ params: [p] }, { params: [q], lr: 0 }] as never, { lr: 0.1 })
      p.grad = tensor([1])
      q.grad = tensor([1])
      optimizer.step()
      expect(p.itemSync()).toBeLessThan(1)
      expect(q.itemSync()).toBe(1)
      expect(optimizer.lr).toBe(0.1)
      optimizer.lr = 0.2
      expect(optimizer.paramGroups.map((g) => g.lr)).toEqual([0.2, 0.2])
    })

    test('parameters without gradient stay, float16 and views as gradients work', () => {
      const p = new nn.Parameter(
        tensor(
          [
            [1, 2],
            [3, 4],
          ],
          { dtype: 'float16' },
        ),
      )
      const still = new nn.Parameter(tensor([5]))
      const optimizer = make([p, still], { lr: 0.1 })
      p.grad = tensor(
        [
          [1, 1],
          [2, 0],
        ],
        { dtype: 'float16' },
      ).transpose()
      optimizer.step()
      const [[a, b], [c, d]] = p.toArraySync() as [[number, number], [number, number]]
      expect([a < 1, b < 2, c < 3, d > 3.9]).toEqual([true, true, true, true])
      expect(still.itemSync()).toBe(5)
    })

    test('memory is updated in place, unless somebody still reads it', () => {
      const p = new nn.Parameter(tensor(start))
      const optimizer = make([p], { lr: 0.1 })
      run(optimizer, p, 1, 2)
      const { storage } = p
      run(optimizer, p, 3, 4)
      expect(p.storage).toBe(storage)
      const seen = p.detach()
      const before = seen.toArraySync()
      run(optimizer, p, 5, 5)
      expect(p.storage).not.toBe(storage)
      expect(seen.toArraySync()).toEqual(before)
      const loss = p.mul(p).sum()
      run(optimizer, p, 6, 6)
      p.grad = undefined
      const now = p.toArraySync()
      loss.backward()
      expect(p.grad!.toArraySync()).not.toEqual(now)
    })

    test('thousands of steps need no memory and compile nothing', () => {
      const backend = currentBackend()
      const compile = vi.spyOn(backend, 'compile')
      const p = new nn.Parameter(tensor(start))
      const gradient = tensor(gradientAt(1))
      const optimizer = make([p], { lr: 1e-3 })
      const step = () => {
        p.grad = gradient
        optimizer.step()
        optimizer.lr *= 0.999
      }
      for (let i = 0; i < 20; i++) step()
      const { storage } = p
      const { current } = backend.memoryStats()
      compile.mockClear()
      for (let i = 0; i < 2000; i++) step()
      expect(p.storage).toBe(storage)
      // The collector may meanwhile have freed what earlier tests forgot, never the reverse.
      expect(backend.memoryStats().current).toBeLessThanOrEqual(current)
      expect(compile).not.toHaveBeenCalled()
      compile.mockRestore()
    })

    test('arguments that make no sense are refused', () => {
      const p = new nn.Parameter(tensor([1]))
      for (const lr of [-1, NaN, Infinity, '1'])
        expect(() => make([p], { lr })).toThrow(`${name}: lr must be a finite number of at least 0`)
      expect(() => (make([p], {}).lr = -1)).toThrow('received -1')
      expect(() => make([], {})).toThrow(`${name}: the list of parameters is empty`)
      expect(() => make([tensor([1])] as never, {})).toThrow('entry 0 is a tensor, not a Parameter')
      expect(() => make(p as never, {})).toThrow('expected an array of parameters')
      expect(() => make([p, p], {})).toThrow('listed twice')
      expect(() => make([p], { learningRate: 1 })).toThrow("unknown option 'learningRate'")
      expect(() => make([{ params: [p], rl: 1 }] as never, {})).toThrow("did you mean 'lr'?")
      expect(() => make([{ params: [p] }, p] as never, {})).toThrow('are mixed in one list')
      for (const { options, message } of errors) expect(() => make([p], options)).toThrow(message)
    })

    test('a state that does not fit is refused', () => {
      const p = new nn.Parameter(tensor([1, 2]))
      const q = new nn.Parameter(tensor([1]))
      const saved = make([p, q], {}).stateDict()
      expect(() => make([p], {}).loadStateDict(saved)).toThrow(
        'saved groups of [2] parameters, this optimizer has [1]',
      )
    })
  })
}
