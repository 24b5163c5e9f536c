/** @file What the first call of its kind costs: kernels of random operations, dtypes, ranks and layouts. */

import type { Figure } from './report.ts'
import { settings } from './settings.ts'

const KINDS = settings.quick ? 100 : 600
/** Kinds before the first that counts, so that the compiler itself has been compiled. */
const WARM_UP = settings.quick ? 50 : 300

/** Measures anew what `npm run -s bench -- compile` prints. */
export async function figures(): Promise<Figure[]> {
  const { Random, randomCall } = await import('../scripts/random-op.ts')
  const seen = new Set<string>()
  const times: Record<'first' | 'resized' | 'again', number[]> = {
    first: [],
    resized: [],
    again: [],
  }
  for (let seed = 1; seen.size < WARM_UP + KINDS; seed++) {
    // The same structure seed gives the same kind of call, of other sizes.
    const call = randomCall(new Random(seed), new Random(1e6 + seed))
    const resized = randomCall(new Random(seed), new Random(2e6 + seed))
    if (seen.has(call.key)) continue
    seen.add(call.key)
    const milliseconds = [call, resized, call].map((one) => {
      const begin = performance.now()
      one.run(one.inputs)
      return performance.now() - begin
    })
    if (seen.size <= WARM_UP) continue
    times.first.push(milliseconds[0]!)
    times.resized.push(milliseconds[1]!)
    times.again.push(milliseconds[2]!)
  }
  const at = (values: readonly number[], quantile: number) =>
    values.toSorted((a, b) => a - b)[Math.floor(quantile * (values.length - 1))]!
  const figure = (name: string, values: readonly number[], quantile = 0.5): Figure => ({
    name,
    unit: 'ms',
    value: at(values, quantile),
  })
  return [
    figure(`first call of a kind, median of ${KINDS}`, times.first),
    figure('first call of a kind, 90th percentile', times.first, 0.9),
    figure('first call of other sizes, median', times.resized),
    figure('second call, median', times.again),
  ]
}
