/** @file What a user waits for before anything runs: the page's scripts to load, and `import 'tandem'`. */

import { spawnSync } from 'node:child_process'
import { bundleBrowser } from '../scripts/bundle-browser.ts'
import type { Figure } from './report.ts'

/** Child processes of each kind. */
const RUNS = 10

/** Measures anew what `npm run -s bench -- size` prints. */
export async function figures(): Promise<Figure[]> {
  const files = await bundleBrowser('build/size')
  const gzipped = files.reduce((sum, file) => sum + file.gzipped, 0)
  return [
    { name: 'MNIST page and worker, gzipped', unit: 'kB', value: gzipped / 1000, limit: 150 },
    { name: "import 'tandem'", unit: 'ms', value: importTime('tandem'), limit: 60 },
  ]
}

/** Milliseconds to import a module in a new process, over those of an empty one: medians, taking turns. */
function importTime(module: string): number {
  const [empty, full]: [number[], number[]] = [[], []]
  for (let run = 0; run < RUNS; run++) {
    empty.push(timeScript(''))
    full.push(timeScript(`import ${JSON.stringify(module)}`))
  }
  return median(full) - median(empty)
}

function timeScript(code: string): number {
  const start = performance.now()
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', code])
  if (status !== 0) throw new Error(`${code} failed:\n${String(stderr)}`)
  return performance.now() - start
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2
}
