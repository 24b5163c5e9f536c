/**
 * @file A process that compiles one of the training steps, runs a few, and prints what that took as JSON: the
 * milliseconds of tracing and compiling, of the first step and of a later one, and the bytes at most above those of Tandem idle.
 */

import { readFileSync } from 'node:fs'
import { settings } from './settings.ts'
import { loadTandem, trainingStep } from './tandem.ts'
import type { TrainingName } from './steps.ts'

const STEPS = 3

const [, , name, glance] = process.argv as [string, string, TrainingName, string]
settings.quick = glance === 'quick'
const { trainingCases } = await import('./steps.ts')
const tandem = await loadTandem()
// Also what the first operations load.
tandem.ones([100]).requireGrad().add(1).sum().backward()
const idle = resident('VmRSS')
const training = trainingCases[name].make(tandem)
const step = tandem.compile(() => trainingStep(training), { name })
const times: number[] = []
for (let i = 0; i < STEPS; i++) {
  const begin = performance.now()
  await step().item()
  times.push(performance.now() - begin)
}
console.log(
  JSON.stringify({
    made: step.programs[0]!.madeIn,
    first: times[0],
    later: times.at(-1),
    bytes: resident('VmHWM') - idle,
  }),
)

/** VmRSS: in memory now. VmHWM: at most so far. In bytes. */
function resident(field: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync('/proc/self/status', 'utf8')
  return Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)![1]) * 1024
}
