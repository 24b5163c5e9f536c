/** @file The op table on the cpu backend under the switches of one project of vitest.config.ts: AVX2 or AVX-512, threads, guards. */
import { describe, expect, test } from 'vitest'
import { tidy } from 'tandem'
import { openCpu, whyNoCpu } from '../../src/backend/cpu/index.ts'
import { config } from '../../src/util/config.ts'
import { checkLayouts, checkValues, modes } from './checks.ts'
import { readRows } from './rows.ts'

const reason = whyNot()
const files = await readRows()

test('the switches are in force', ({ skip }) => {
  skip(reason !== undefined, reason)
  const { features, pool } = openCpu()
  expect(features.avx512).toBe(config.cpu === 'avx512')
  expect([pool.threads, config.shareAll, config.streamAll, config.guard]).toEqual([
    2,
    true,
    true,
    true,
  ])
})

for (const { file, rows } of files)
  describe(file, () => {
    for (const row of rows) {
      const name = row.note === undefined ? row.op : `${row.op} (${row.note})`
      test(`${name}: values`, ({ skip }) => {
        skip(reason !== undefined, reason)
        for (const mode of modes)
          if (!mode.isCostly && !(mode.traces && row.eagerOnly))
            tidy(() => checkValues(row, 'cpu', mode))
      })
      if (row.layouts === false) continue
      test(`${name}: layouts`, ({ skip }) => {
        skip(reason !== undefined, reason)
        tidy(() => checkLayouts(row))
      })
    }
  })

test('both threads took part', ({ skip }) => {
  skip(reason !== undefined, reason)
  expect(openCpu().pool.started).toBe(2)
})

function whyNot(): string | undefined {
  const missing = whyNoCpu()
  if (missing !== undefined) return `the cpu backend cannot run here: ${missing}`
  if (config.cpu === 'avx512' && !openCpu().features.avx512) return 'the processor has no AVX-512'
  return undefined
}
