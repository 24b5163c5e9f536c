/** @file Every op has a row, a documentation with an example, and an ONNX decision. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import * as tandem from 'tandem'
import { operators } from '../../src/ops/define.ts'
import * as functions from '../../src/ops/all.ts'
import { listUndocumentedExports } from '../../scripts/examples.ts'
import { readSources } from '../../scripts/source-files.ts'
import { readRows } from './rows.ts'

const rows = (await readRows()).flatMap((file) => file.rows)
const covered = new Set(rows.flatMap(({ op, covers = [] }) => [op, ...covers]))
const functionNames = Object.entries(functions).flatMap(([name, value]) =>
  typeof value === 'function' ? [name] : [],
)

test('every operator has a row', () => {
  expect([...operators.keys()].filter((name) => !covered.has(name))).toEqual([])
})

test('every function has a row', () => {
  expect(functionNames.filter((name) => !covered.has(name))).toEqual([])
})

test('every row is about something that exists', () => {
  const known = new Set([...operators.keys(), ...functionNames])
  // Creation functions take no tensor first, so they are not among `functions`.
  for (const name of Object.keys(tandem)) known.add(name)
  expect([...covered].filter((name) => !known.has(name))).toEqual([])
})

describe('ONNX', () => {
  test('every operator has a counterpart, or a row says why not', () => {
    const excused = new Set(
      rows.flatMap(({ op, covers = [], withoutOnnx }) =>
        withoutOnnx === undefined ? [] : [op, ...covers],
      ),
    )
    const undecided = [...operators.values()].filter((op) => op.onnx === undefined)
    expect(undecided.map((op) => op.name).filter((name) => !excused.has(name))).toEqual([])
  })

  test('no row excuses an operator that has one', () => {
    const stale = rows.filter(
      ({ op, covers = [], withoutOnnx }) =>
        withoutOnnx !== undefined &&
        [op, ...covers].every((name) => operators.get(name)?.onnx !== undefined),
    )
    expect(stale.map((row) => row.op)).toEqual([])
  })
})

test('every exported op has a summary and an example', () => {
  const files = readSources(join(import.meta.dirname, '../../src'))
  expect(listUndocumentedExports(files, { folders: ['ops'], entries: ['ops/all.ts'] })).toEqual([])
})
