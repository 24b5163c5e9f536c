/** @file Derives the tests of an op from its row: values, dtypes, layouts, gradients, errors; on every backend. */
import { describe, test } from 'vitest'
import {
  checkCompiles,
  checkError,
  checkGradients,
  checkLayouts,
  checkValues,
  modes,
} from './checks.ts'
import { defaultDevice, readableBackends } from '../devices.ts'
import type { Row } from './row.ts'

/** Registers the tests of a row. */
export function testRow(row: Row): void {
  const { grad = true, errors = [] } = row
  describe(row.note === undefined ? row.op : `${row.op} (${row.note})`, () => {
    for (const mode of modes)
      for (const device of mode.isCostly ? [defaultDevice] : readableBackends)
        test.skipIf(mode.traces && row.eagerOnly !== undefined)(
          `values, ${mode.name} on ${device}`,
          () => checkValues(row, device, mode),
        )
    test('compiles', () => checkCompiles(row))
    if (row.layouts !== false) test('layouts', () => checkLayouts(row))
    if (grad !== false) test('gradient', () => checkGradients(row, 'first'))
    if (grad === true) test('second gradient', () => checkGradients(row, 'second'))
    for (const sample of errors) test(`error: ${sample.what}`, () => checkError(sample))
  })
}
