/** @file Runs the checks of every op: one row in a `*.samples.ts` file drives them all. */
import { describe, test } from 'vitest'
import { testRow } from './harness.ts'
import { readRows } from './rows.ts'

for (const { file, rows, problem } of await readRows())
  describe(file, () => {
    test('loads', () => {
      if (problem !== undefined) throw problem
    })
    for (const row of rows) testRow(row)
  })
