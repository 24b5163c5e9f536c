/**
 * @file Runs random kernels for a while and compares interpreter, loops, WebAssembly and machine code.
 *
 * Run: node build/scripts/fuzz-kernels.js [minutes] [first seed] [kind]. Prints each failing seed, made
 * smaller. Cases run in processes of their own: wrong machine code may end them.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { rolldown } from 'rolldown'

const [minutes, firstSeed] = [Number(process.argv[2] ?? 1), Number(process.argv[3] ?? 1)]
const kind = process.argv[4] ?? 'kernel'
const CASES_PER_PROCESS = 500
const MOST_REPORTS = 20

interface Failure {
  readonly where: string
  readonly what: string
}

mkdirSync('build', { recursive: true })
const folder = mkdtempSync('build/fuzz-')
const program = join(folder, 'worker.mjs')
const notes = join(folder, 'notes')

function work(...args: string[]): { lines: string[]; end: string | undefined } {
  const { stdout, signal, status, stderr } = spawnSync(process.execPath, [program, ...args], {
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
  })
  const end = signal ?? (status === 0 ? undefined : `exit code ${status}: ${stderr}`)
  return { lines: stdout.split('\n').filter((line) => line !== ''), end }
}

function runChoices(choices: readonly number[]): Failure | undefined {
  writeFileSync(notes, JSON.stringify(choices))
  const { lines, end } = work('choices', kind, notes)
  if (end !== undefined) return { where: 'the process', what: end }
  return (JSON.parse(lines[0]!) as { failure: Failure | null }).failure ?? undefined
}

function report(seed: number, failure: Failure): void {
  console.log(`seed ${seed}, ${failure.where}: ${failure.what.split('\n', 4).join('\n')}`)
  const { choices } = JSON.parse(work('list', kind, String(seed)).lines[0]!) as {
    choices: number[]
  }
  writeFileSync(notes, JSON.stringify(choices))
  let smallest = choices
  if (runChoices(choices)?.where === 'the process') smallest = shrinkByProcess(choices)
  else
    smallest = (JSON.parse(work('shrink', kind, notes).lines[0]!) as { choices: number[] }).choices
  writeFileSync(notes, JSON.stringify(smallest))
  const last = runChoices(smallest)
  console.log(`smallest: ${last?.where}: ${last?.what.split('\n', 3).join('\n')}`)
  console.log((JSON.parse(work('print', kind, notes).lines[0]!) as { text: string }).text)
  console.log(`choices ${JSON.stringify(smallest)}\n`)
}

// A process per attempt is slow: halves and single choices, once each.
function shrinkByProcess(choices: readonly number[]): number[] {
  let best = [...choices]
  const ends = (x: readonly number[]) => runChoices(x)?.where === 'the process'
  for (let size = best.length >> 1; size >= 1; size >>= 1)
    for (let at = 0; at < best.length;) {
      const without = [...best.slice(0, at), ...best.slice(at + size)]
      if (ends(without)) best = without
      else at += size
    }
  return best
}

try {
  const bundle = await rolldown({
    input: 'test/codegen/fuzz/worker.ts',
    platform: 'node',
    external: [/^node:/, 'koffi'],
  })
  await bundle.write({ file: program })
  await bundle.close()
  const end = performance.now() + minutes * 60_000
  let seed = firstSeed
  let failures = 0
  while (performance.now() < end && failures < MOST_REPORTS) {
    const progress = join(folder, 'progress')
    const { lines, end: signal } = work(
      'seeds',
      kind,
      String(seed),
      String(CASES_PER_PROCESS),
      progress,
    )
    const found = lines.map((line) => JSON.parse(line) as Failure & { seed: number })
    if (signal === undefined) seed += CASES_PER_PROCESS
    else {
      const at = Number(readFileSync(progress, 'utf8'))
      found.push({ seed: at, where: 'the process', what: signal })
      seed = at + 1
    }
    for (const { seed: failed, ...failure } of found.slice(0, MOST_REPORTS)) report(failed, failure)
    failures += found.length
    console.log(`up to seed ${seed}: ${failures} failures`)
  }
  process.exitCode = failures > 0 ? 1 : 0
} finally {
  rmSync(folder, { recursive: true })
}
