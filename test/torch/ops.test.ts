/** @file Ops against what PyTorch computes for the same inputs: values, dtypes, shapes and gradients. */
import { describe, expect, test } from 'vitest'
import { readFixture } from './fixture.ts'
import { caseName, runCase, variantsOf, type Case } from './run-case.ts'

const families = [
  'elementwise',
  'specials',
  'dtypes',
  'reduce',
  'matmul',
  'indexing',
  'conv',
  'norm',
  'loss',
  'attention',
  'large',
]

describe.each(families)('%s', (family) => {
  const cases = readFixture<Case[]>(family)
  for (const [i, recorded] of cases.entries()) {
    const name = caseName(recorded)
    // The interpreter is slow and shares everything but the code generator.
    const isChosen = i % 8 === 0 && family !== 'large'
    for (const variant of variantsOf(recorded, isChosen))
      test(`${name}${variant.label}`, () => {
        expect(runCase(recorded, variant)).toEqual([])
      })
  }
})
