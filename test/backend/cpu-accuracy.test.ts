/** @file Transcendental ops as machine code, under the switches of each project of vitest.config.ts: errors, special cases, lanes and single values. */
import { describe, expect, test } from 'vitest'
import { powerSamples, samples, unary, type Float } from '../ir/accuracy.ts'
import { preciseError } from '../ir/precise.ts'
import { describeMachineCode } from '../devices.ts'
import { everyPattern, results, worstError, worstPower } from './accuracy.ts'

/** Bounds in units of the last place. */
const most = { f32: 2, f64: 2.5, pow: 4 }

const arrayOf = (type: Float, values: number[]) =>
  type === 'f32' ? Float32Array.from(values) : Float64Array.from(values)
const points = { f32: Float32Array.from(samples('f32')), f64: Float64Array.from(samples('f64')) }
const dense = everyPattern(10_007)

describeMachineCode('accuracy', () => {
  describe.each(unary)('%s', (op) => {
    test('float32: every 10,007th of all, and where things change', () => {
      for (const x of [dense, points.f32]) {
        const { ulps, at } = worstError(op, x)
        expect(ulps, `${op}(${at})`).toBeLessThanOrEqual(most.f32)
      }
    })

    test('float64: against hundreds of bits', () => {
      const x = points.f64.filter((_, i) => i % 431 === 0)
      results(op, x).forEach((got, i) => {
        if (['sin', 'cos', 'tan'].includes(op) && Math.abs(x[i]!) > 1e5) return
        const error = preciseError(op, got, x[i]!)
        expect(error ?? 0, `${op}(${x[i]})`).toBeLessThanOrEqual(most.f64)
      })
    })

    test('float64: special cases as in JavaScript', () => {
      const { ulps, at } = worstError(op, points.f64)
      expect(ulps, `${op}(${at})`).toBeLessThanOrEqual(4)
    })

    test.each(['f32', 'f64'] as const)('%s: single values as in lanes', (type: Float) => {
      const x = points[type].filter((_, i) => i % 97 === 0)
      const all = results(op, x)
      for (let i = 0; i + 3 <= x.length; i += 3)
        expect(results(op, x.slice(i, i + 3))).toEqual(all.slice(i, i + 3))
    })
  })

  describe('pow', () => {
    test.each(['f32', 'f64'] as const)('%s', (type: Float) => {
      const pairs = powerSamples(type)
      const [x, y] = [0, 1].map((k) =>
        arrayOf(
          type,
          pairs.map((pair) => pair[k]!),
        ),
      )
      const { ulps, at } = worstPower(x!, y!)
      expect(ulps, `pow(${at})`).toBeLessThanOrEqual(most.pow)
    })

    test('the special cases of C', () => {
      for (const type of ['f32', 'f64'] as const) {
        const largestOdd = type === 'f32' ? 2 ** 24 - 1 : 2 ** 53 - 1
        const some = [0, 1, 2, 0.5, 3, 1.5, Infinity, 33, 1e20, largestOdd, 2 ** 60, 2 ** -140]
        const all = [...some, ...some.map((v) => -v), NaN]
        const x = arrayOf(
          type,
          all.flatMap(() => all),
        )
        const y = arrayOf(
          type,
          all.flatMap((v) => all.map(() => v)),
        )
        const { ulps, at } = worstPower(x, y)
        expect(ulps, `pow(${at})`).toBeLessThanOrEqual(most.pow)
      }
    })
  })
})
