import { describe, expect, test } from 'vitest'
import { compile, fromTypedArray, ones, profile, tensor, withConfig } from 'tandem'
import { profiling, setProfiler } from '../../src/backend/profiling.ts'
import { groupOf } from '../../src/tensor/plan.ts'
import { workOf } from '../../src/ir/work.ts'
import type { Group } from '../../src/ir/group.ts'

describe('profile', () => {
  test('counts launches, eager ones and those of compiled programs', () => {
    const x = ones([8, 8])
    const eager = profile(() => {
      for (let i = 0; i < 3; i++) x.matmul(x)
    })
    expect(eager.kernels.map(({ name, calls, over }) => ({ name, calls, over }))).toEqual([
      { name: 'matmul', calls: 3, over: '8 x 8 of 8' },
    ])
    const step = compile((a: typeof x) => a.mul(2).add(1).relu())
    step(x)
    const compiled = profile(() => step(x))
    expect(compiled.kernels).toHaveLength(1)
    expect(compiled.kernels[0]).toMatchObject({ name: 'mul+add+relu', calls: 1, share: 1 })
    expect(step(x).toArraySync()).toEqual(x.mul(2).add(1).relu().toArraySync())
  })

  test('tells sizes of one kernel apart', () => {
    const report = profile(() => [ones([100]).exp(), ones([200]).exp()])
    const sizes = report.kernels.filter(({ name }) => name === 'exp').map(({ over }) => over)
    expect(sizes.toSorted()).toEqual(['100', '200'])
  })

  test('prints a table', () => {
    const lines = String(profile(() => ones([4]).add(1).exp())).split('\n')
    expect(lines[0]).toMatch(
      /^2 launches of 2 kernels on \w+, \d+ threads?: [\d.]+ ms of [\d.]+ ms$/,
    )
    expect(lines[1]).toMatch(/^limits: [\d.]+ GFLOP\/s, [\d.]+ GB\/s of memory$/)
    expect(lines[2]).toMatch(/^kernel +over +calls +ms +share +GFLOP\/s +GB\/s +of limit$/)
    expect(lines.slice(3)).toHaveLength(2)
  })

  test('gives a trace of all launches in their order', () => {
    const report = profile(() => ones([4]).add(1).exp())
    const { traceEvents } = JSON.parse(report.toChromeTrace()) as {
      traceEvents: { name: string; ph: string; ts: number; dur: number }[]
    }
    expect(traceEvents.map(({ name }) => name)).toEqual(['add', 'exp'])
    for (const { ph, dur } of traceEvents) expect([ph, dur >= 0]).toEqual(['X', true])
    expect(traceEvents[1]!.ts).toBeGreaterThanOrEqual(traceEvents[0]!.ts)
  })

  test('watches until a promise is settled, and not afterwards', async () => {
    const report = await profile(async () => {
      await Promise.resolve()
      ones([4]).exp()
    })
    expect(report.kernels.map(({ name }) => name)).toContain('exp')
    expect(profiling).toBeUndefined()
  })

  test('ends with the error of the function', async () => {
    const fail = () => {
      throw new Error('no')
    }
    expect(() => profile(fail)).toThrow('no')
    await expect(profile(() => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(profiling).toBeUndefined()
  })

  test('works on every synchronous backend', () => {
    withConfig({ backend: 'reference' }, () => {
      const report = profile(() => ones([4]).add(1).exp())
      expect(report.device).toBe('reference, 1 thread')
      expect(report.kernels).toHaveLength(2)
    })
  })
})

/** The groups and sizes that `run` launches. */
function launched(run: () => unknown): { group: Group; sizes: readonly number[] }[] {
  const all: { group: Group; sizes: readonly number[] }[] = []
  setProfiler({
    launch(executable, blocks, offsets, sizes, params) {
      all.push({ group: groupOf(executable)!, sizes })
      return executable.launch(blocks, offsets, sizes, params)
    },
  })
  try {
    run()
  } finally {
    setProfiler(undefined)
  }
  return all
}

describe('the work of kernels', () => {
  const work = (run: () => unknown) => launched(run).map(({ group, sizes }) => workOf(group, sizes))
  const x = ones([20, 30])

  test.each([
    ['a product', () => x.matmul(ones([30, 40])), 2 * 20 * 30 * 40, 4 * (600 + 1200 + 800)],
    ['a sum of two', () => x.add(x), 600, 4 * 1800],
    ['a row added', () => x.add(ones([30])), 600, 4 * (600 + 30 + 600)],
    ['sums of rows', () => x.sum({ axis: 1 }), 600, 4 * 620],
    ['a maximum', () => x.relu(), 600, 4 * 1200],
    ['integers', () => tensor([1, 2], { dtype: 'int32' }).add(1), 0, 16],
    ['a flipped copy', () => x.flip({ axis: 0 }).contiguous(), 0, 4 * 1200],
    [
      'a window',
      () => fromTypedArray(new Float32Array(100), [1, 1, 100]).conv1d(ones([1, 1, 3])),
      2 * 98 * 3,
      4 * (100 + 3 + 98),
    ],
  ] as const)('%s', (_, run, operations, bytes) => {
    expect(work(run).at(-1)).toEqual({ operations, bytes })
  })
})
