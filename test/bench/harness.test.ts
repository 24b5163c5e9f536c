/** @file The measuring core of bench/: turns are interleaved, medians and ratios are right. */

import { describe, expect, test } from 'vitest'
import {
  measureCase,
  NotInstalled,
  ratioToBestPeer,
  type Case,
  type Setup,
} from '../../bench/harness.ts'
import { jsonLine, tableLines } from '../../bench/report.ts'

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

describe('results', () => {
  const result = { tandem: stats(40), slow: stats(10), fast: stats(20) }

  test('the ratio is to the best peer, and above 1 is better', () => {
    expect(ratioToBestPeer(caseOf({}), result)).toBe(2)
    expect(ratioToBestPeer(caseOf({}, 'lower'), result)).toBe(0.25)
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
  })
})
