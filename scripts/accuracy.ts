/**
 * @file Measures the errors of transcendental ops as machine code, with AVX-512 and with AVX2.
 *
 * Run: node build/scripts/accuracy.js [step] [doubles]. Every `step`-th of all float32 is looked at (251 by
 * default, some minutes; 1 looks at all), and so many float64. Prints the worst errors in ulp.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { rolldown } from 'rolldown'

const [step, doubles] = [process.argv[2] ?? '251', process.argv[3] ?? '20000']

mkdirSync('build', { recursive: true })
const folder = mkdtempSync('build/accuracy-')
try {
  const bundle = await rolldown({
    input: 'test/backend/accuracy-sweep.ts',
    platform: 'node',
    external: [/^node:/, 'koffi'],
    resolve: { conditionNames: ['source', 'import', 'node', 'default'] },
  })
  const program = join(folder, 'sweep.mjs')
  await bundle.write({ file: program })
  await bundle.close()
  for (const level of ['avx512', 'avx2']) {
    console.log(level)
    spawnSync(process.execPath, [program, step, doubles], {
      stdio: 'inherit',
      env: { ...process.env, TANDEM_CPU: level },
    })
  }
} finally {
  rmSync(folder, { recursive: true })
}
