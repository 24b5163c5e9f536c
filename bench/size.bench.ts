/** @file What a user waits for before anything runs: the page's scripts to load, and `import 'tandem'`. */

import { spawnSync } from 'node:child_process'
import { pathToFileURL } from 'node:url'
import { bundleBrowser } from '../scripts/bundle-browser.ts'
import { bundleLibrary } from '../scripts/bundle-library.ts'
import type { Figure } from './report.ts'

/** Child processes of each kind. */
const RUNS = 10
const PUBLISHED = 'build/size'

/** Measures anew what `npm run -s bench -- size` prints. */
export async function figures(): Promise<Figure[]> {
  const files = await bundleBrowser(`${PUBLISHED}/browser`)
  const gzipped = files.reduce((sum, file) => sum + file.gzipped, 0)
  await bundleLibrary(`${PUBLISHED}/library`)
  const [joined, separate] = importTimes(
    pathToFileURL(`${PUBLISHED}/library/index.js`).href,
    'tandem',
  )
  return [
    { name: 'MNIST page and worker, gzipped', unit: 'kB', value: gzipped / 1000, limit: 150 },
    { name: "import 'tandem', as published", unit: 'ms', value: joined!, limit: 60 },
    { name: "import 'tandem', from dist, one file per module", unit: 'ms', value: separate! },
  ]
}

/** Milliseconds to import each module in a new process, over those of an empty one: medians, taking turns. */
function importTimes(...modules: string[]): number[] {
  const scripts = ['', ...modules.map((module) => `import ${JSON.stringify(module)}`)]
  const times = scripts.map((): number[] => [])
  for (let run = 0; run < RUNS; run++)
    scripts.forEach((code, i) => times[i]!.push(timeScript(code)))
  const [empty, ...others] = times.map(median)
  return others.map((time) => time - empty!)
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
