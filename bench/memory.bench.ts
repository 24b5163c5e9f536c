/** @file Resident memory of ten epochs in which nothing is freed by hand: the tenth over the second. */

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import type { Figure } from './report.ts'

/** Runs that the medians are taken from. */
const RUNS = 3

/** Measures anew what `npm run -s bench -- memory` prints. With TANDEM_DATA it trains on the MNIST in there. */
export function figures(): Promise<Figure[]> {
  const runs = Array.from({ length: RUNS }, residentBytes)
  const ratios = runs.map((bytes) => bytes[9]! / bytes[1]!).sort((a, b) => a - b)
  const tenth = runs.map((bytes) => bytes[9]! / 1e6).sort((a, b) => a - b)
  return Promise.resolve([
    { name: 'resident memory, epoch 10 over epoch 2', unit: 'x', value: ratios[1]!, limit: 1.1 },
    { name: 'resident memory after epoch 10', unit: 'MB', value: tenth[1]! },
  ])
}

function residentBytes(): number[] {
  const program = join(import.meta.dirname, '../scripts/memory-epochs.js')
  const data = process.env['TANDEM_DATA']
  const folder = data === undefined ? [] : [join(data, 'mnist')]
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...folder], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`memory-epochs failed:\n${stderr}`)
  return JSON.parse(stdout) as number[]
}
