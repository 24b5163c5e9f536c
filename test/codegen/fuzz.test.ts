/** @file Random kernels, the same in every run; scripts/fuzz-kernels.ts runs others for as long as wanted. */
import { expect, test } from 'vitest'
import { fuzzSeed } from './fuzz/run-fuzz.ts'

test.each(Array.from({ length: 12 }, (_, i) => i))('kernels, ten from seed %i0', (tens) => {
  for (let seed = 10 * tens; seed < 10 * tens + 10; seed++)
    expect(fuzzSeed('kernel', seed), `seed ${seed}`).toBeUndefined()
})
