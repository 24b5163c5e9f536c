/** @file A million randomly shaped calls in a row: memory stays flat, results stay right, nothing breaks. */

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import type { Figure } from './report.ts'
import { settings } from './settings.ts'

const CALLS = settings.quick ? 20_000 : 1_000_000

interface Report {
  readonly calls: number
  readonly seconds: number
  /** Combinations of operation, dtypes, ranks and layouts. */
  readonly kinds: number
  /** Bytes after each tenth of the calls and a collection; `heap` is what the engine's objects take. */
  readonly resident: readonly number[]
  readonly heap: readonly number[]
  readonly compared: number
  readonly wrong: number
  readonly examples: readonly string[]
}

/** Measures anew what `npm run -s bench -- million` prints. */
export function figures(): Promise<Figure[]> {
  const report = runCalls()
  const { calls, seconds, kinds, resident, heap, compared, wrong } = report
  for (const text of report.examples) console.error(`wrong: ${text}`)
  const figure = (name: string, unit: string, value: number, limit?: number): Figure => ({
    name,
    unit,
    value,
    ...(limit !== undefined && { limit }),
  })
  // After three tenths every pool and cache has reached its size.
  const [early, last] = [resident[2]!, resident.at(-1)!]
  return Promise.resolve([
    figure(`${calls} random calls, a call, drawing it included`, 'us', (seconds / calls) * 1e6),
    figure('kinds of calls', '', kinds),
    // In a glance they have not.
    figure(
      'resident memory, at the end over after three tenths',
      'x',
      last / early,
      settings.quick ? undefined : 1.1,
    ),
    figure('resident memory at the end', 'MB', last / 1e6),
    figure("the engine's heap at the end", 'MB', heap.at(-1)! / 1e6),
    figure(`results of ${compared} that differ from the interpreter's`, '', wrong, 1),
  ])
}

function runCalls(): Report {
  const program = join(import.meta.dirname, '../scripts/million-ops.js')
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    ['--expose-gc', program, String(CALLS)],
    { encoding: 'utf8' },
  )
  if (status !== 0) throw new Error(`million-ops failed (${signal ?? status}):\n${stderr}`)
  return JSON.parse(stdout) as Report
}
