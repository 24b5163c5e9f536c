/** @file Every pass, and all together, on random programs: the results are those of eager operations. */
import { expect, test } from 'vitest'
import { readableBackends } from '../devices.ts'
import { checkCompiled, findFailure } from './check-passes.ts'

// `node build/scripts/fuzz-programs.js 10000` runs more of them.
const count = 120

test.each(readableBackends)('on %s', (device) => {
  for (let seed = 1; seed <= count; seed++) expect(findFailure(seed, device)).toBeUndefined()
})

test.each(readableBackends)('compiled on %s', (device) => {
  for (let seed = 1; seed <= 40; seed++)
    expect(checkCompiled(seed, device), `seed ${seed}`).toBeUndefined()
})
