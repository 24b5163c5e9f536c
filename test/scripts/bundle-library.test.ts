import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { bundleLibrary } from '../../scripts/bundle-library.ts'

let folder = ''
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-library-'))
  await bundleLibrary(join(folder, 'dist'))
  const { type, imports } = JSON.parse(readFileSync('package.json', 'utf8')) as object &
    Record<string, unknown>
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type, imports }))
})
afterAll(() => rmSync(folder, { recursive: true }))

const run = (code: string) => {
  writeFileSync(join(folder, 'program.mjs'), code)
  return execFileSync(process.execPath, ['program.mjs'], { cwd: folder, encoding: 'utf8' })
}

test('has a file for every entry of the package, and few others', () => {
  const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    exports: Record<string, { default: string }>
  }
  for (const entry of Object.values(exports))
    expect(existsSync(join(folder, entry.default)), entry.default).toBe(true)
})

test('entries share one library: the same tensors, the same backend', () => {
  const output = run(`
    import { tensor, Tensor } from './dist/index.js'
    import * as nn from './dist/nn/index.js'
    const y = new nn.Linear(2, 3).forward(tensor([[1, 2]]))
    console.log(y instanceof Tensor, y.shape.join())`)
  expect(output).toBe('true 1,3\n')
})

test('what browsers load has no machine code', () => {
  const code = `
    import { tensor } from './dist/index.js'
    console.log(tensor([1]).device)`
  writeFileSync(join(folder, 'program.mjs'), code)
  const device = execFileSync(process.execPath, ['--conditions=browser', 'program.mjs'], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, TANDEM_BACKEND: '' },
  })
  expect(device).toBe('wasm\n')
})

test('errors still point at the line of the caller', () => {
  const output = run(`
    import { tensor } from './dist/index.js'
    try {
      tensor([1, 2]).matmul(tensor([1, 2, 3]))
    } catch (error) {
      console.log(error.stack.split('\\n')[1])
    }`)
  expect(output).toContain('program.mjs:4:')
})
