/** @file The version in the code is the version of the package. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { version } from '../../src/util/version.ts'

test('package.json agrees', () => {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  expect((JSON.parse(text) as { version: string }).version).toBe(version)
})
