/** @file The program behind `npm start`, run as its users run it. Needs `npm run build` first. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { defaultDevice } from '../devices.ts'

const program = join(import.meta.dirname, '../../build/examples/start.js')
const folder = mkdtempSync(join(tmpdir(), 'tandem-start-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Outcome {
  code: number
  out: string
  error: string
}

function start(...args: string[]): Promise<Outcome> {
  const env = { ...process.env, TANDEM_CACHE: join(folder, 'cache') }
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], { cwd: folder, env }, (failure, out, error) =>
      resolve({ code: failure === null ? 0 : Number(failure.code), out, error }),
    )
  })
}

const lastLine = (out: string) => out.trimEnd().split('\n').at(-1)!

test('trains, saves, loads, compares and shows, the same in both styles', async () => {
  const byHand = await start('--epochs', '2')
  expect(byHand.error).toBe('')
  expect(byHand.code).toBe(0)
  expect(byHand.out).toMatch(new RegExp(`^Computing on ${defaultDevice}, with \\d+ threads?\\.\n`))
  expect(byHand.out).toContain('Synthetic digits drawn in code, not MNIST')
  expect(byHand.out).toMatch(/epoch 2\/2 .* loss \d\.\d{4} {2}accuracy 0\.\d{4}/)
  expect(byHand.out).toContain('all 2,000 predictions agree exactly')
  expect(lastLine(byHand.out)).toMatch(/^test accuracy 0\.9\d{3}$/)
  expect(readdirSync(folder).toSorted()).toEqual(['model.json', 'model.safetensors'])

  const byFit = await start('--epochs', '2', '--style', 'keras', '--save', 'fit.safetensors')
  expect(lastLine(byFit.out)).toBe(lastLine(byHand.out))
  const bytes = (name: string) => readFileSync(join(folder, name))
  expect(bytes('fit.safetensors').equals(bytes('model.safetensors'))).toBe(true)
})

test('--backend says where the kernels run', async () => {
  const { out, error } = await start('--epochs', '1', '--backend', 'wasm')
  expect(error).toBe('')
  expect(out).toMatch(/^Computing on wasm, with 1 thread\.\n/)
  expect(lastLine(out)).toMatch(/^test accuracy 0\.[89]\d{3}$/)
})

test('--help lists every option with its default', async () => {
  const { code, out } = await start('--help')
  expect(code).toBe(0)
  for (const name of ['data', 'download', 'model', 'style', 'epochs', 'batch-size', 'lr', 'seed'])
    expect(out).toContain(`--${name}`)
  expect(out.match(/default:/g)!.length).toBeGreaterThanOrEqual(9)
})

describe('what makes no sense is refused at once, with status 2', () => {
  test.each([
    [['--epoch', '3'], /Unknown option '--epoch'/],
    [['--epochs', '0'], /--epochs is '0'\. Expected a whole number of at least 1/],
    [['--epochs', 'many'], /--epochs is 'many'/],
    [['--epochs'], /--epochs/],
    [['--lr=-1'], /--lr is '-1'\. Expected a number above 0/],
    [['--model', 'rnn'], /--model is 'rnn'\. Expected mlp or cnn/],
    [['--style', 'jax'], /--style is 'jax'\. Expected pytorch or keras/],
    [['--backend', 'tpu'], /unknown backend 'tpu'\. Available here: (cpu, )?wasm/],
    [['--data', 'nowhere'], /the folder nowhere has no train-images file/],
    [['digits'], /digits/],
  ])('%j', async (args, message) => {
    const { code, error } = await start(...args)
    expect(error).toMatch(message)
    expect(error.trimEnd().split('\n').length).toBeLessThanOrEqual(2)
    expect(code).toBe(2)
  })
})
