/** @file The thread pool of the cpu backend: every index once, the right arguments, and quiet ends. */
import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CodeMemory } from '../../src/backend/cpu/code-memory.ts'
import { control } from '../../src/backend/cpu/thread-code.ts'
import { defaultThreads, ThreadPool } from '../../src/backend/cpu/threads.ts'
import { loadNative, type Native } from '../../src/backend/cpu/native.ts'
import { describeMachineCode } from '../devices.ts'
import { childPrograms, type ChildPrograms } from './child-programs.ts'
import { spinKernel, stampKernel } from './cpu-kernels.ts'

const native = loadNative() as Native

const threadCount = () => readdirSync('/proc/self/task').length
const pause = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds))

describeMachineCode('thread pool', () => {
  const length = 4096
  const setUp = (threads: number) => {
    const code = new CodeMemory(native)
    const pool = new ThreadPool(native, threads)
    const stamps = new Float64Array(length)
    const seen = new Int32Array(512)
    const kernel = code.install(stampKernel())
    const launch = (count: number, grain: number, stamp: number) => {
      if (pool.started < pool.threads) pool.start()
      const { control: slots } = pool
      const args = [native.addressOf(stamps.buffer), native.addressOf(seen.buffer), stamp]
      for (const [i, x] of args.entries()) slots[control.args + i] = x
      slots[control.kernel] = kernel
      slots[control.count] = count
      slots[control.grain] = grain
      slots[control.wakes] = 1
      pool.run()
    }
    return { pool, stamps, seen, launch }
  }

  test('runs every index once per region, with the arguments of that region', async () => {
    const { pool, stamps, launch } = setUp(3)
    let total = 0
    for (let region = 1; region <= 20_000; region++) {
      const count = 1 + ((region * 7919) % (region % 50 === 0 ? length : 64))
      const grain = 1 + ((region * 31) % 9)
      // Each index adds the stamp of its region, so that a stale or a doubled one shows.
      stamps.fill(0, 0, count + 1)
      launch(count, grain, region)
      for (let i = 0; i < count; i++) total += Number(stamps[i] !== region)
      total += Number(stamps[count] !== 0)
      // Now and then long enough for everybody to fall asleep.
      if (region % 2000 === 0) await pause(2)
    }
    expect(total).toBe(0)
    pool.resize(1)
  })

  test('threads start with the first parallel loop, and end when there should be fewer', async () => {
    const before = threadCount()
    const { pool, seen, launch } = setUp(4)
    expect(threadCount()).toBe(before)
    launch(64, 1, 1)
    expect(pool.started).toBe(4)
    expect(threadCount()).toBe(before + 3)
    pool.resize(2)
    seen.fill(0)
    for (let i = 0; i < 2000; i++) launch(64, 1, i)
    expect(seen.slice(2).every((chunks) => chunks === 0)).toBe(true)
    pool.resize(6)
    const end = performance.now() + 30_000
    while (seen[5] === 0 && performance.now() < end) launch(2048, 1, 1)
    expect(seen.slice(6).every((chunks) => chunks === 0)).toBe(true)
    expect(seen[5]).toBeGreaterThan(0)
    for (let i = 0; i < 50; i++) {
      pool.resize(1 + (i % 5))
      launch(100, 3, i)
    }
    pool.resize(1)
    for (let i = 0; i < 500 && threadCount() > before; i++) await pause(10)
    expect(threadCount()).toBe(before)
  })

  test('work that fits one chunk stays on the caller', () => {
    const { pool, seen, launch } = setUp(2)
    for (let i = 0; i < 1000; i++) launch(10, 10, i)
    launch(0, 1, 1)
    expect(seen.slice(0, 2)).toEqual(Int32Array.of(1001, 0))
    pool.resize(1)
  })

  test('the caller sleeps when others take long, and is woken', () => {
    const code = new CodeMemory(native)
    const pool = new ThreadPool(native, 2)
    pool.start()
    const kernel = code.install(spinKernel())
    const done = new Int32Array(2)
    for (let i = 0; i < 20; i++) {
      // The first chunk is short, the second takes milliseconds: whoever has it, the other waits.
      const args = [native.addressOf(done.buffer), 8e6]
      for (const [k, x] of args.entries()) pool.control[control.args + k] = x
      pool.control.set([kernel, 2, 1, 1])
      pool.run()
      expect(done[0]).toBe(2 * (i + 1))
    }
    pool.resize(1)
  })
})

test('the number of threads fits the processor', () => {
  expect(defaultThreads(1)).toBeGreaterThanOrEqual(1)
  expect(defaultThreads(1)).toBeLessThanOrEqual(16)
  expect(defaultThreads(1000)).toBe(1)
})

describeMachineCode('ends of processes and isolates', () => {
  let programs: ChildPrograms
  beforeAll(async () => {
    programs = await childPrograms(library)
  })
  afterAll(() => programs.remove())

  const library = `
    import { CodeMemory } from '@/src/backend/cpu/code-memory.ts'
    import { ThreadPool } from '@/src/backend/cpu/threads.ts'
    import { loadNative } from '@/src/backend/cpu/native.ts'
    import { stampKernel } from '@/test/backend/cpu-kernels.ts'
    export function start(threads, patience) {
      const native = loadNative()
      const pool = new ThreadPool(native, threads, patience)
      const kernel = new CodeMemory(native).install(stampKernel())
      const buffers = [new Float64Array(512), new Int32Array(512)]
      pool.start()
      return () => {
        pool.control.set([kernel, 100, 1, 1])
        pool.control.set(buffers.map(({ buffer }) => native.addressOf(buffer)), 8)
        pool.run()
      }
    }`

  const run = (code: string) =>
    programs.run(`
      import { start } from './library.mjs'
      import { readdirSync } from 'node:fs'
      import { isMainThread, parentPort, Worker } from 'node:worker_threads'
      const pause = (ms) => new Promise((done) => setTimeout(done, ms))
      const threads = () => readdirSync('/proc/self/task').length
      const here = new URL(import.meta.url)
      ${code}`)

  test('a program that comes to its end ends', async () => {
    const { code, output } = await run(`start(4)(); console.log('done')`)
    expect({ code, output }).toEqual({ code: 0, output: 'done\n' })
  })

  test('process.exit, also from inside a timer and with threads awake', async () => {
    const exit = await run(`const launch = start(4); launch(); process.exit(7)`)
    expect(exit).toMatchObject({ code: 7, signal: null })
    const later = await run(`
      const launch = start(4)
      setInterval(() => { for (let i = 0; i < 100; i++) launch() }, 0)
      setTimeout(() => { launch(); process.exit(8) }, 30)`)
    expect(later).toMatchObject({ code: 8, signal: null })
  })

  test('an error nobody catches', async () => {
    const { code, signal, complaint } = await run(`start(4)(); throw new Error('on purpose')`)
    expect({ code, signal }).toEqual({ code: 1, signal: null })
    expect(complaint).toContain('on purpose')
  })

  test('idle threads use no time', async () => {
    const { output } = await run(`
      start(4)()
      await pause(50)
      const before = process.cpuUsage()
      await pause(400)
      const { user, system } = process.cpuUsage(before)
      console.log(user + system < 100_000)`)
    expect(output).toBe('true\n')
  })

  test('signals are left to JavaScript', async () => {
    const { output } = await run(`
      start(8)()
      let count = 0
      process.on('SIGUSR2', () => count++)
      for (let i = 0; i < 20; i++) { process.kill(process.pid, 'SIGUSR2'); await pause(2) }
      console.log(count)`)
    expect(output).toBe('20\n')
  })

  test('isolates of their own have pools of their own, which end with them', async () => {
    const { code, output, complaint } = await run(`
      if (isMainThread) {
        const launch = start(3)
        launch()
        await pause(20)
        const before = threads()
        const ends = []
        for (let i = 0; i < 3; i++) {
          const worker = new Worker(here, { argv: ['normal'] })
          ends.push(new Promise((done) => worker.once('exit', done)))
        }
        for (let i = 0; i < 1000; i++) launch()
        console.log((await Promise.all(ends)).join())
        for (let i = 0; i < 100 && threads() > before; i++) await pause(10)
        console.log(threads() - before)
        launch()
      } else {
        const launch = start(3)
        for (let i = 0; i < 1000; i++) launch()
      }`)
    expect({ code, output, complaint }).toEqual({ code: 0, output: '0,0,0\n0\n', complaint: '' })
  })

  test('threads of an isolate that was terminated end after a while', async () => {
    const { code, output, complaint } = await run(`
      if (isMainThread) {
        await pause(20)
        const before = threads()
        const worker = new Worker(here)
        await new Promise((done) => worker.once('message', done))
        await worker.terminate()
        console.log(threads() - before >= 3)
        for (let i = 0; i < 500 && threads() > before; i++) await pause(10)
        console.log(threads() - before)
      } else {
        const launch = start(4, 1)
        launch()
        parentPort.postMessage('ready')
        while (true) launch()
      }`)
    expect({ code, output, complaint }).toEqual({ code: 0, output: 'true\n0\n', complaint: '' })
  })

  test('process.exit while an isolate computes', async () => {
    const { code, signal } = await run(`
      if (isMainThread) {
        const launch = start(3)
        const worker = new Worker(here)
        await new Promise((done) => worker.once('message', done))
        launch()
        process.exit(9)
      } else {
        const launch = start(3)
        parentPort.postMessage('ready')
        while (true) launch()
      }`)
    expect({ code, signal }).toEqual({ code: 9, signal: null })
  })
})
