/** @file The measuring core of bench/: turns are interleaved, medians and ratios are right. */

import { describe, expect, test } from 'vitest'
import {
  measureCase,
  NotInstalled,
  planOf,
  ratioToBestPeer,
  type Case,
  type Setup,
} from '../../bench/harness.ts'
import { groupFigures, jsonLine, tableLines } from '../../bench/report.ts'

const PLAN = { warmUpSeconds: 0.002, batchSeconds: 0.001, rounds: 4 }

function caseOf(contenders: Record<string, Setup>, better: Case['better'] = 'higher'): Case {
  return { name: 'case', unit: better === 'higher' ? 'steps/s' : 'us', better, work: 2, contenders }
}

function noted(name: string, log: string[]): Setup {
  return async () => ({
    run: () => busyFor(0.0002),
    finish: () => void log.push(name),
    close: () => void log.push(`close ${name}`),
  })
}

function busyFor(seconds: number): void {
  const end = performance.now() + seconds * 1000
  while (performance.now() < end);
}

const stats = (median: number) => ({ median, min: median, max: median })

describe('measureCase', () => {
  test('contenders take turns, and are closed', async () => {
    const log: string[] = []
    await measureCase(caseOf({ a: noted('a', log), b: noted('b', log) }), PLAN, () => undefined)
    expect(log.slice(-10)).toEqual(['a', 'b', 'a', 'b', 'a', 'b', 'a', 'b', 'close a', 'close b'])
  })

  test('values are in the unit of the case', async () => {
    const setup: Setup = async () => ({ run: () => busyFor(0.001) })
    const rate = await measureCase(caseOf({ a: setup }), PLAN, () => undefined)
    expect(rate.a!.median).toBeLessThanOrEqual(2000)
    expect(rate.a!.median).toBeGreaterThan(200)
    const time = await measureCase(caseOf({ a: setup }, 'lower'), PLAN, () => undefined)
    expect(time.a!.median).toBeGreaterThanOrEqual(500)
    expect(time.a!.min).toBeLessThanOrEqual(time.a!.max)
  })

  test('a peer that is not installed is skipped, another error is not', async () => {
    const notes: string[] = []
    const missing = async () => Promise.reject(new NotInstalled('absent'))
    const result = await measureCase(
      caseOf({ a: noted('a', []), missing }),
      PLAN,
      (name, reason) => void notes.push(`${name}: ${reason}`),
    )
    expect(Object.keys(result)).toEqual(['a'])
    expect(notes).toEqual(['missing: absent'])
    const broken = async () => Promise.reject(new TypeError('broken'))
    await expect(measureCase(caseOf({ broken }), PLAN, () => undefined)).rejects.toThrow('broken')
  })
})

describe('contenders', () => {
  test('one in another process counts by its own clock', async () => {
    const counts: number[] = []
    const setup: Setup = async () => ({
      async batch(count) {
        counts.push(count)
        return count / 1000
      },
    })
    const { a } = await measureCase(caseOf({ a: setup }), PLAN, () => undefined)
    expect(a!.median).toBeCloseTo(2000)
    expect(counts.length).toBeGreaterThan(PLAN.rounds)
  })

  test('who computes something else is found out', async () => {
    const computing = (value: number) => async () => ({
      run: () => busyFor(0.0002),
      sample: () => [value, 2],
    })
    const agreeing = caseOf({ a: computing(1), b: noted('b', []), c: computing(1.0001) })
    await measureCase(agreeing, PLAN, () => undefined)
    const differing = caseOf({ a: computing(1), c: computing(1.1) })
    await expect(measureCase(differing, PLAN, () => undefined)).rejects.toThrow(
      'case: c computes [1.1, 2], a [1, 2]',
    )
  })

  test('threads that wait are given time to fall asleep', async () => {
    const setup: Setup = async () => ({ run: () => busyFor(0.0002), settle: 20 })
    const begin = performance.now()
    await measureCase(caseOf({ a: setup }), PLAN, () => undefined)
    expect(performance.now() - begin).toBeGreaterThan(75)
  })
})

test('a case has wishes about its plan, and a quick run shortens them', () => {
  const test = { ...caseOf({}), plan: { rounds: 9, warmUpSeconds: 0.1 } }
  expect(planOf(test, false)).toEqual({ rounds: 9, warmUpSeconds: 0.1, batchSeconds: 0.025 })
  expect(planOf(test, true)).toEqual({ rounds: 5, warmUpSeconds: 0.1, batchSeconds: 0.01 })
})

describe('results', () => {
  const result = { tandem: stats(40), slow: stats(10), fast: stats(20) }

  test('the ratio is to the best peer, and above 1 is better', () => {
    expect(ratioToBestPeer(caseOf({}), result)).toBe(2)
    expect(ratioToBestPeer(caseOf({}, 'lower'), result)).toBe(0.25)
    const noisy = { tandem: { median: 4, min: 1, max: 8 }, peer: { median: 2, min: 1, max: 16 } }
    expect(ratioToBestPeer(caseOf({}), noisy, 'best')).toBe(0.5)
    expect(ratioToBestPeer(caseOf({}, 'lower'), noisy, 'best')).toBe(1)
    expect(ratioToBestPeer(caseOf({}), { tandem: stats(40) })).toBeUndefined()
    expect(ratioToBestPeer(caseOf({}), { slow: stats(40) })).toBeUndefined()
  })

  test('as JSON', () => {
    expect(JSON.parse(jsonLine('gemm', caseOf({}), result))).toEqual({
      bench: 'gemm',
      case: 'case',
      unit: 'steps/s',
      tandem: 40,
      peers: { slow: 10, fast: 20 },
      ratio: 2,
      ratioOfBest: 2,
    })
    const context = { threads: 2, device: 'wasm', peak: 80 }
    expect(JSON.parse(jsonLine('gemm', caseOf({}), result, context))).toMatchObject({
      peak: 80,
      ofPeak: 0.5,
      threads: 2,
      device: 'wasm',
    })
    expect(JSON.parse(jsonLine('gemm', caseOf({}), { tandem: stats(1234.5678) }))).toEqual({
      bench: 'gemm',
      case: 'case',
      unit: 'steps/s',
      tandem: 1235,
    })
  })

  test('as a table', () => {
    expect(tableLines('gemm', caseOf({}), result)).toHaveLength(5)
    expect(tableLines('gemm', caseOf({}), result, { peak: 80 })[1]).toContain('50 % of the peak')
  })

  test('groups are summed up by geometric means', () => {
    const test = { ...caseOf({}), group: 'square' }
    const other = { tandem: stats(40), slow: stats(5), fast: stats(5) }
    const figures = groupFigures([
      { test, result },
      { test, result: other },
      { test: caseOf({}), result },
    ])
    expect(figures.map(({ name, value }) => [name, Number(value.toFixed(6))])).toEqual([
      ['square: ratio to the best peer, geometric mean of 2', 4],
      ['square: ratio of best rounds, geometric mean of 2', 4],
      ['square: ratio to slow, geometric mean of 2', 5.656854],
      ['square: ratio to fast, geometric mean of 2', 4],
    ])
  })
})
