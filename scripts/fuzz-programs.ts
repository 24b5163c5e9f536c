/**
 * @file Runs random programs through every pass, and compares what the graphs compute with eager results.
 *
 * Run: node build/scripts/fuzz-programs.js [programs] [first seed] [device]. Prints each failing program, made
 * smaller, as a graph before and after the pass. Programs run in processes of their own: wrong machine code
 * may end them.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { rolldown } from 'rolldown'

const [count, firstSeed] = [Number(process.argv[2] ?? 1000), Number(process.argv[3] ?? 1)]
const device = process.argv[4] ?? 'cpu'
const PROGRAMS_PER_PROCESS = 250
const MOST_FAILURES = 10

mkdirSync('build', { recursive: true })
const folder = mkdtempSync('build/fuzz-')
const worker = join(folder, 'worker.mjs')
const progress = join(folder, 'progress')

try {
  const bundle = await rolldown({
    input: 'test/compile/fuzz-worker.ts',
    platform: 'node',
    external: [/^node:/, 'koffi'],
    resolve: { conditionNames: ['source', 'import'] },
  })
  await bundle.write({ file: worker })
  await bundle.close()
  let failures = 0
  let seed = firstSeed
  while (seed < firstSeed + count && failures < MOST_FAILURES) {
    const programs = Math.min(PROGRAMS_PER_PROCESS, firstSeed + count - seed)
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      [worker, String(seed), String(programs), device, progress],
      { encoding: 'utf8', maxBuffer: 2 ** 28 },
    )
    const found = stdout.split('\0').filter((text) => text !== '')
    for (const text of found) console.log(text)
    failures += found.length
    if (status === 0) seed += programs
    else {
      const at = Number(readFileSync(progress, 'utf8'))
      console.log(`seed ${at}: the process ended: ${stderr.split('\n', 5).join('\n')}`)
      failures++
      seed = at + 1
    }
    console.log(`up to seed ${seed}: ${failures} failures`)
  }
  process.exitCode = failures > 0 ? 1 : 0
} finally {
  rmSync(folder, { recursive: true })
}
