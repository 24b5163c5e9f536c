/** @file The process that scripts/fuzz-kernels.ts runs cases in: `seeds KIND FROM COUNT PROGRESS` and a few more. */
import { openSync, readFileSync, writeSync } from 'node:fs'
import {
  choicesOf,
  fuzzChoices,
  fuzzSeed,
  printChoices,
  shrink,
  type FuzzKind,
} from './run-fuzz.ts'

const [mode, kind, ...rest] = process.argv.slice(2) as [string, FuzzKind, ...string[]]
const say = (what: object) => process.stdout.write(`${JSON.stringify(what)}\n`)

if (mode === 'seeds') {
  const [from, count, progress] = [Number(rest[0]), Number(rest[1]), rest[2]!]
  const file = openSync(progress, 'w')
  for (let seed = from; seed < from + count; seed++) {
    // Written before the case runs: this is what remains when it ends the process.
    writeSync(file, String(seed).padEnd(16), 0)
    const failure = fuzzSeed(kind, seed)
    if (failure) say({ seed, ...failure })
  }
} else if (mode === 'choices') {
  const lists = JSON.parse(readFileSync(rest[0]!, 'utf8')) as number[]
  say({ failure: fuzzChoices(kind, lists) ?? null })
} else if (mode === 'shrink') {
  say({ choices: shrink(kind, JSON.parse(readFileSync(rest[0]!, 'utf8')) as number[]) })
} else if (mode === 'list') say({ choices: choicesOf(kind, Number(rest[0])) })
else say({ text: printChoices(kind, JSON.parse(readFileSync(rest[0]!, 'utf8')) as number[]) })
