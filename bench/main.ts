/** @file The command line: `npm run -s bench -- NAME... [--json] [--no-peers] [--quick]`. */

import { parseArgs } from 'node:util'
import { FULL, measureCase, QUICK, type Case } from './harness.ts'
import { figureJson, figureLine, jsonLine, machineLine, tableLines, type Figure } from './report.ts'

/** A benchmark has cases in which libraries compete, or figures of Tandem alone. */
interface Bench {
  readonly cases?: readonly Case[]
  figures?(): Promise<Figure[]>
}

const BENCHES: Record<string, () => Promise<Bench>> = {
  gemm: () => import('./gemm.bench.ts'),
  mlp: () => import('./mlp.bench.ts'),
  overhead: () => import('./overhead.bench.ts'),
  memory: () => import('./memory.bench.ts'),
  size: () => import('./size.bench.ts'),
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    'no-peers': { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
  },
})
/** Contenders whose absence was told already. */
const skipped = new Set<string>()
const names = positionals.length > 0 ? positionals : Object.keys(BENCHES)
const unknown = names.find((name) => !(name in BENCHES))
if (unknown === undefined) {
  for (const name of names) await runBench(name)
} else {
  console.error(`bench: no benchmark '${unknown}'. Known: ${Object.keys(BENCHES).join(', ')}`)
  process.exitCode = 1
}

async function runBench(name: string): Promise<void> {
  const { cases = [], figures } = await BENCHES[name]!()
  if (!options.json) console.log(machineLine())
  for (const figure of (await figures?.()) ?? [])
    console.log(options.json ? figureJson(name, figure) : figureLine(name, figure))
  for (const test of cases) {
    const result = await measureCase(
      options['no-peers'] ? withoutPeers(test) : test,
      options.quick ? QUICK : FULL,
      skip,
    )
    if (options.json) console.log(jsonLine(name, test, result))
    else console.log(tableLines(name, test, result).join('\n'))
  }
}

function skip(name: string, reason: string): void {
  if (!skipped.has(name)) console.error(`note: ${name} is left out: ${reason}`)
  skipped.add(name)
}

function withoutPeers(test: Case): Case {
  const { tandem } = test.contenders
  return { ...test, contenders: tandem ? { tandem } : {} }
}
