/** @file Finding examples in sources, and exports without documentation, on made-up files. */

import { describe, expect, test } from 'vitest'
import { extractExamples, listUndocumentedExports } from '../../scripts/examples.ts'

const SOURCE = `/** @file Not a doc comment of what follows. */

export function bare() {}

/**
 * Adds one.
 *
 * @example
 * addOne(1) // -> 2
 * @example
 * \`\`\`ts
 * const text = '@notATag'
 * @decorated class A {}
 * \`\`\`
 * Words after the fence.
 * @see bare
 */
export const addOne = (x: number) => x + 1

/** Only a summary. */
export class Box {
  /**
   * Opens it.
   * @example no-run
   * await box.open() /* slowly *\\/
   */
  open() {}
}

/** Not exported. @example never */
function hidden() {}

/**
 * Exported below.
 * @example one line
 */
function later() {}
export { later as afterwards }
`

test('examples are extracted with their symbols and lines', () => {
  expect(extractExamples('nn/a.ts', SOURCE)).toEqual([
    { file: 'nn/a.ts', symbol: 'addOne', code: 'addOne(1) // -> 2', run: true, line: 8 },
    {
      file: 'nn/a.ts',
      symbol: 'addOne #2',
      code: `const text = '@notATag'\n@decorated class A {}`,
      run: true,
      line: 10,
    },
    {
      file: 'nn/a.ts',
      symbol: 'Box.open',
      code: 'await box.open() /* slowly */',
      run: false,
      line: 24,
    },
    { file: 'nn/a.ts', symbol: 'later', code: 'one line', run: true, line: 35 },
  ])
})

describe('listUndocumentedExports', () => {
  const files = new Map([
    ['nn/a.ts', SOURCE],
    ['util/b.ts', 'export function elsewhere() {}'],
  ])

  test('names what lacks a summary or an example', () => {
    expect(listUndocumentedExports(files, { folders: ['nn'] })).toEqual([
      'src/nn/a.ts:3: bare lacks a summary and an @example',
      'src/nn/a.ts:21: Box lacks an @example',
    ])
  })

  test('looks only at what the entry points export, when they are given', () => {
    const table = new Map([
      ...files,
      [
        'index.ts',
        `export { bare as plain } from './nn/index.ts'\nexport type { Box } from './nn/a.ts'`,
      ],
      ['nn/index.ts', `export * from './a.ts'`],
      ['nn/c.ts', 'export function internal() {}'],
    ])
    const options = { folders: ['nn'], entries: ['index.ts'] }
    expect(listUndocumentedExports(table, options)).toEqual([
      'src/nn/a.ts:3: bare lacks a summary and an @example',
    ])
    expect(listUndocumentedExports(table, { ...options, entries: ['nn/index.ts'] })).toHaveLength(2)
  })

  test('overloads share one comment, and types need none', () => {
    const source = `/**
 * Does it.
 * @example
 * f(1)
 */
export function f(x: number): number
export function f(x: string): string
export function f(x: unknown) { return x }
export type T = number
export interface I { x: T }
export const TABLE = { a: 1 }
`
    expect(listUndocumentedExports(new Map([['nn/f.ts', source]]), { folders: ['nn'] })).toEqual([])
  })
})
