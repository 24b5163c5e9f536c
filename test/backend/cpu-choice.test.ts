/** @file When the cpu backend is chosen, what is said when it cannot be, and its switches. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { getNumThreads, setNumThreads, ValueError } from 'tandem'
import { describeMachineCode } from '../devices.ts'
import { childPrograms, type ChildPrograms } from './child-programs.ts'

let programs: ChildPrograms
beforeAll(async () => {
  programs = await childPrograms(`export * from '@/src/index.ts'`)
})
afterAll(() => programs.remove())

const environment = {
  TANDEM_BACKEND: '',
  TANDEM_CPU: '',
  TANDEM_NUM_THREADS: '',
  TANDEM_GUARD: '',
  TANDEM_SHARE_ALL: '',
  TANDEM_STREAM_ALL: '',
  TANDEM_DEBUG: '',
}
const run = async (code: string, changes: Record<string, string> = {}) => {
  const { output, complaint } = await programs.run(code, { ...environment, ...changes })
  return { output: output.trimEnd(), complaint }
}

const elsewhere = `Object.defineProperty(process, 'arch', { value: 'arm64' });`

test('where it cannot run, wasm takes its place, and the debug ladder says why, once', async () => {
  const program = `${elsewhere}
    const { tensor } = await import('./library.mjs')
    console.log(tensor([1, 2]).device, tensor(1).device)`
  expect(await run(program)).toEqual({ output: 'wasm wasm', complaint: '' })
  const { complaint } = await run(program, { TANDEM_DEBUG: '1' })
  expect(complaint.match(/cpu backend cannot run here/g)).toHaveLength(1)
  expect(complaint).toContain('this is linux on arm64')
})

test('asked for where it cannot run, it says why', async () => {
  const program = (cause: string) => `${cause}
    const { tensor, to } = await import('./library.mjs')
    try { tensor([1], { device: 'cpu' }) } catch (error) { console.log(error.name, error.message) }`
  expect((await run(program(elsewhere))).output).toMatch(
    /^DeviceError the cpu backend cannot run here: it needs Linux on x86-64, and this is linux on arm64\. Available here: wasm/,
  )
  const withoutPackage = `
    const modules = process.getBuiltinModule('node:module')
    const resolve = modules._resolveFilename
    modules._resolveFilename = (id, ...rest) => {
      if (id === 'koffi') throw new Error("Cannot find module 'koffi'")
      return resolve(id, ...rest)
    }`
  expect((await run(program(withoutPackage))).output).toMatch(
    /the package koffi cannot be loaded \(Cannot find module 'koffi'\)\. Install it: npm install koffi/,
  )
  const asOld = 'process.getBuiltinModule = undefined'
  expect((await run(program(asOld))).output).toContain('it needs process.getBuiltinModule')
})

test('nothing native is loaded until the backend is made', async () => {
  const { output } = await run(`
    const { ones } = await import('./library.mjs')
    const isLoaded = () => Object.keys(process.getBuiltinModule('node:module')._cache).some((path) => path.includes('koffi'))
    const before = isLoaded()
    ones([2], { device: 'wasm' })
    console.log(before, isLoaded())`)
  expect(output).toBe('false false')
})

describeMachineCode('where it runs', () => {
  test('it is what tensors are computed with', async () => {
    const program = `import { tensor } from './library.mjs'
      console.log(tensor([1, 2]).add(1).toArraySync().join(), tensor(1).device)`
    expect((await run(program)).output).toBe('2,3 cpu')
    expect((await run(program, { TANDEM_BACKEND: 'wasm' })).output).toBe('2,3 wasm')
  })

  test('TANDEM_CPU=avx2 leaves the wider instructions alone', async () => {
    const program = `import { ones } from './library.mjs'
      const x = ones([100])
      console.log(x.backend.features.avx512, x.add(x).sum().itemSync())`
    expect((await run(program, { TANDEM_CPU: 'avx2' })).output).toBe('false 200')
  })

  test('TANDEM_NUM_THREADS says how many threads there are', async () => {
    const program = `
      import { getNumThreads, setNumThreads, arange } from './library.mjs'
      import { readdirSync } from 'node:fs'
      const threads = () => readdirSync('/proc/self/task').length
      const before = threads()
      const x = arange(65536).sin().reshape([256, 256])
      const f = () => x.matmul(x).sum().itemSync()
      const results = [getNumThreads(), f(), threads() - before]
      setNumThreads(2)
      // A thread that has ended is listed until the system has put it away.
      const patience = performance.now() + 5000
      while (threads() - before > 1 && performance.now() < patience);
      console.log(...results, getNumThreads(), threads() - before, f())`
    const [, first] = (await run(program, { TANDEM_NUM_THREADS: '1' })).output.split(' ')
    expect((await run(program, { TANDEM_NUM_THREADS: '1' })).output).toBe(
      `1 ${first} 0 2 0 ${first}`,
    )
    expect((await run(program, { TANDEM_NUM_THREADS: '5' })).output).toBe(
      `5 ${first} 4 2 1 ${first}`,
    )
  })

  test('TANDEM_SHARE_ALL wakes threads for the smallest loops', async () => {
    const program = `
      import { ones } from './library.mjs'
      const x = ones([4, 80])
      console.log(x.sum({ axis: 1 }).toArraySync().join(), x.backend.pool.started)`
    const threads = { TANDEM_NUM_THREADS: '3' }
    expect((await run(program, threads)).output).toBe('80,80,80,80 1')
    const { output } = await run(program, { ...threads, TANDEM_SHARE_ALL: '1' })
    expect(output).toBe('80,80,80,80 3')
  })

  test('setNumThreads sets what getNumThreads gives, and refuses what makes no sense', () => {
    const before = getNumThreads('cpu')
    setNumThreads(3)
    expect(getNumThreads('cpu')).toBe(3)
    expect(getNumThreads('wasm')).toBe(1)
    setNumThreads(before)
    for (const wrong of [0, -1, 1.5, NaN, '2' as unknown as number])
      expect(() => setNumThreads(wrong)).toThrow(ValueError)
  })
})
