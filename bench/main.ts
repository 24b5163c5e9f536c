/** @file The command line: `npm run -s bench -- NAME... [options]`; `--help` lists them. */

import { parseArgs } from 'node:util'
import { measureCase, planOf, type Case, type CaseResult } from './harness.ts'
import {
  figureJson,
  figureLine,
  groupFigures,
  isBusy,
  jsonLine,
  machineLine,
  tableLines,
  type Context,
  type Figure,
} from './report.ts'
import { settings } from './settings.ts'
import { loadTandem } from './tandem.ts'
import { closeTorch } from './torch.ts'

/** A benchmark has cases in which libraries compete, or figures of Tandem alone. */
interface Bench {
  readonly cases?: readonly Case[]
  figures?(): Promise<Figure[]>
  /** The most that the machine can do, in the unit of the cases, or why that is unknown. */
  peak?(): Promise<number | string>
}

const BENCHES: Record<string, () => Promise<Bench>> = {
  gemm: () => import('./gemm.bench.ts'),
  conv: () => import('./conv.bench.ts'),
  elementwise: () => import('./elementwise.bench.ts'),
  overhead: () => import('./overhead.bench.ts'),
  mlp: () => import('./mlp.bench.ts'),
  cnn: () => import('./cnn.bench.ts'),
  attention: () => import('./attention.bench.ts'),
  sdpa: () => import('./sdpa.bench.ts'),
  compiled: () => import('./compiled.bench.ts'),
  compile: () => import('./compile.bench.ts'),
  memory: () => import('./memory.bench.ts'),
  million: () => import('./million.bench.ts'),
  size: () => import('./size.bench.ts'),
}

const HELP = `npm run -s bench -- [NAME...] [options]

Benchmarks: ${Object.keys(BENCHES).join(', ')}; all of them unless named.

  --json           one line of JSON per case
  --no-peers       Tandem alone
  --peer TEXT      only peers whose name contains TEXT
  --only TEXT      only cases whose name contains TEXT, and no figures
  --threads N      threads that every contender may use      (default: 1)
  --backend NAME   Tandem's backend                          (default: the library's)
  --quick          fewer and shorter rounds, fewer cases: to see that it runs, not to quote`

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    help: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    'no-peers': { type: 'boolean', default: false },
    peer: { type: 'string', default: '' },
    only: { type: 'string', default: '' },
    threads: { type: 'string', default: '1' },
    backend: { type: 'string' },
    quick: { type: 'boolean', default: false },
  },
})
/** Contenders whose absence was told already. */
const skipped = new Set<string>()
const names = positionals.length > 0 ? positionals : Object.keys(BENCHES)
const complaint = complaintAbout(names, options.threads)
if (options.help) console.log(HELP)
else if (complaint === undefined) await main()
else {
  console.error(`bench: ${complaint}`)
  process.exitCode = 1
}

function complaintAbout(benches: readonly string[], threads: string): string | undefined {
  const unknown = benches.find((name) => !(name in BENCHES))
  if (unknown !== undefined)
    return `no benchmark '${unknown}'. Known: ${Object.keys(BENCHES).join(', ')}`
  if (!/^[1-9]\d*$/.test(threads))
    return `--threads is '${threads}'. Expected a whole number from 1`
  return undefined
}

async function main(): Promise<void> {
  settings.threads = Number(options.threads)
  settings.quick = options.quick
  // Read by the library when it is loaded, here and in child processes.
  process.env['TANDEM_NUM_THREADS'] = options.threads
  if (options.backend !== undefined) process.env['TANDEM_BACKEND'] = options.backend
  if (isBusy()) console.error(`note: others keep this machine busy; do not quote these figures`)
  try {
    for (const name of names) await runBench(name)
  } finally {
    closeTorch()
  }
}

async function runBench(name: string): Promise<void> {
  const bench = await BENCHES[name]!()
  const { currentBackend } = await loadTandem()
  const context: Context = { threads: settings.threads, device: currentBackend().name }
  const print = (figure: Figure) =>
    console.log(options.json ? figureJson(name, figure, context) : figureLine(name, figure))
  if (!options.json)
    console.log(`${machineLine()}\nTandem on '${context.device}', threads: ${context.threads}`)

  const limit = await bench.peak?.()
  if (typeof limit === 'number') {
    print({ name: 'peak of fused multiply-adds', unit: 'GFLOP/s', value: limit })
    context.peak = limit
  } else if (limit !== undefined) skip('the peak', limit)
  // Whoever wants certain cases does not wait for figures.
  const figures = options.only === '' ? await bench.figures?.() : undefined
  for (const figure of figures ?? []) print(figure)

  const results: { test: Case; result: CaseResult }[] = []
  for (const test of bench.cases ?? []) {
    if (!test.name.includes(options.only)) continue
    const entrants = withPeers(test, (name) => !options['no-peers'] && name.includes(options.peer))
    const result = await measureCase(entrants, planOf(test, options.quick), skip)
    results.push({ test, result })
    if (options.json) console.log(jsonLine(name, test, result, context))
    else console.log(tableLines(name, test, result, context).join('\n'))
  }
  for (const figure of groupFigures(results)) print(figure)
}

function skip(name: string, reason: string): void {
  if (!skipped.has(name)) console.error(`note: ${name} is left out: ${reason}`)
  skipped.add(name)
}

function withPeers(test: Case, isWanted: (name: string) => boolean): Case {
  const entries = Object.entries(test.contenders)
  const chosen = entries.filter(([name]) => name === 'tandem' || isWanted(name))
  return { ...test, contenders: Object.fromEntries(chosen) }
}
