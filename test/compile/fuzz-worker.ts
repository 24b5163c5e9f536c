/** @file The process that scripts/fuzz-programs.ts runs programs in: `FIRST-SEED COUNT DEVICE PROGRESS`. */
import { openSync, writeSync } from 'node:fs'
import { findFailure } from './check-passes.ts'

const [first, count, device, progress] = process.argv.slice(2)
const file = openSync(progress!, 'w')
for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
  // Written before the program runs: this is what remains when it ends the process.
  writeSync(file, String(seed).padEnd(16), 0)
  const failure = findFailure(seed, device!)
  if (failure !== undefined) process.stdout.write(`${failure}\0`)
}
