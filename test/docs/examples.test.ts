/** @file Runs every `@example` in src/, and checks that no public function or class goes without one. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { configure } from 'tandem'
import { extractExamples, listUndocumentedExports } from '../../scripts/examples.ts'
import { parseExample, runExample } from '../../scripts/run-examples.ts'
import { readSources } from '../../scripts/source-files.ts'
import { config } from '../../src/util/config.ts'
import { defaultDevice } from '../devices.ts'

const ROOT = join(import.meta.dirname, '../..')
const DOCUMENTED = ['tensor', 'ops', 'compile', 'nn', 'optim', 'data', 'io', 'vision', 'train']
const isReady = existsSync(join(ROOT, 'src/index.ts'))

const files = readSources(join(ROOT, 'src'))
const entries = isReady ? publicEntries() : {}

describe.skipIf(!isReady)('examples', async () => {
  // An example may choose another backend; the next one starts with the default again.
  const { backend } = config
  afterEach(() => configure({ backend }))

  const modules: Record<string, object> = {}
  for (const [name, path] of Object.entries(entries)) modules[name] = await importSource(path)
  const scope: Record<string, unknown> = { ...modules.tandem }
  for (const [name, module] of Object.entries(modules))
    if (name !== 'tandem') scope[name.replace('tandem/', '')] = module

  for (const [path, source] of files)
    for (const { symbol, code, run, line } of extractExamples(path, source))
      test(`${path}:${symbol}`, async () => {
        if (!run) return parseExample(code)
        const { manualSeed } = scope
        if (typeof manualSeed === 'function') manualSeed(0)
        try {
          // The names of its own file let an example show what only the library itself uses.
          const names = { ...scope, ...(await importSource(path)) }
          await runExample(code, names, modules, defaultDevice)
        } catch (error) {
          throw new Error(`src/${path}:${line}: ${String(error)}`, { cause: error })
        }
      })
})

test.skipIf(!isReady)('public functions and classes have a summary and an example', () => {
  const options = { folders: DOCUMENTED, entries: Object.values(entries) }
  expect(listUndocumentedExports(files, options)).toEqual([])
})

/** The entry points of package.json that exist, by the name users import, relative to src/. */
function publicEntries(): Record<string, string> {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    exports: Record<string, { source?: string }>
  }
  const found: Record<string, string> = {}
  for (const [subpath, { source }] of Object.entries(exports)) {
    const path = source?.replace('./src/', '')
    if (path !== undefined && files.has(path)) found[subpath.replace('.', 'tandem')] = path
  }
  return found
}

async function importSource(path: string): Promise<object> {
  return (await import(pathToFileURL(join(ROOT, 'src', path)).href)) as object
}
