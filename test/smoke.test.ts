/** @file The shortest proof that the house stands: a few seconds, run before anything else. */
import { expect, test } from 'vitest'
import { ones, ShapeError, tensor } from 'tandem'
import { defaultDevice } from './devices.ts'

test('computes, differentiates and prints', () => {
  const a = tensor([
    [1, 2],
    [3, 4],
  ])
  expect(String(a.matmul(a.transpose()).add(1).sum({ axis: 0 }))).toBe(
    `tensor([18, 38], float32, ${defaultDevice})`,
  )
  const w = tensor([1, 2]).requireGrad()
  w.mul(w).sum().backward()
  expect(w.grad!.toArraySync()).toEqual([2, 4])
})

test('an error starts at the caller', () => {
  try {
    ones([2, 2]).matmul(ones([3, 2]))
    expect.unreachable()
  } catch (error) {
    expect(error).toBeInstanceOf(ShapeError)
    expect((error as Error).stack!.split('\n')[1]).toContain('smoke.test.ts')
  }
})
