/** @file The cpu backend in several isolates at once, and what is left of it when one of them ends in the middle of its work. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeMachineCode } from '../devices.ts'
import { childPrograms, type ChildPrograms } from './child-programs.ts'

describeMachineCode('isolates', () => {
  let programs: ChildPrograms
  beforeAll(async () => {
    programs = await childPrograms(`
      export * from '@/src/index.ts'
      export * as nn from '@/src/nn/index.ts'
      export * as optim from '@/src/optim/index.ts'`)
  })
  afterAll(() => programs.remove())

  // A little of everything: products, rows, windows, steps of training. The same numbers every time.
  const work = `
    import { arange, manualSeed, nn, optim, randn, setNumThreads, tensor, tidy } from './library.mjs'
    import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
    setNumThreads(3)
    const here = new URL(import.meta.url)
    const pause = (ms) => new Promise((done) => setTimeout(done, ms))
    function compute(seed) {
      manualSeed(seed)
      const model = new nn.Sequential(new nn.Linear(64, 96), new nn.ReLU(), new nn.Linear(96, 10))
      const optimizer = new optim.Adam(model.parameters(), { lr: 1e-2 })
      const x = randn([128, 64])
      const y = arange(128).remainder(10).cast('int32')
      for (let step = 0; step < 8; step++) {
        optimizer.zeroGrad()
        model.forward(x).crossEntropy(y).backward()
        optimizer.step()
      }
      const big = randn([300, 200]).matmul(randn([200, 310])).softmax({ axis: 1 }).sum({ axis: 0 })
      return [...model.forward(x).sum({ axis: 0 }).dataSync(), ...big.dataSync()].join()
    }`
  const run = (code: string) =>
    programs.run(`${work}\n${code}`, {
      TANDEM_BACKEND: 'cpu',
      TANDEM_SHARE_ALL: '1',
      TANDEM_GUARD: '',
      TANDEM_NUM_THREADS: '',
    })

  test('several compute the right results at the same time', async () => {
    const { code, output, complaint } = await run(`
      if (isMainThread) {
        const wanted = [1, 2, 3, 4].map(compute)
        const answers = wanted.map((_, i) => {
          const worker = new Worker(here, { workerData: i + 1 })
          return new Promise((done, fail) => {
            worker.once('error', fail)
            worker.once('message', done)
          })
        })
        for (let i = 0; i < 10; i++) if (compute(1) !== wanted[0]) console.log('main is wrong')
        const results = await Promise.all(answers)
        console.log(results.map((all, i) => all.length === 10 && all.every((x) => x === wanted[i])).join())
      } else parentPort.postMessage(Array.from({ length: 10 }, () => compute(workerData)))`)
    expect({ code, output, complaint }).toEqual({
      code: 0,
      output: 'true,true,true,true\n',
      complaint: '',
    })
  })

  test('one that is terminated while it computes leaves the others alone', async () => {
    const { code, output, complaint } = await run(`
      if (isMainThread) {
        const wanted = compute(1)
        for (let round = 0; round < 4; round++) {
          const worker = new Worker(here)
          await new Promise((done) => worker.once('message', done))
          await pause(5 * round)
          const ended = worker.terminate()
          if (compute(1) !== wanted) console.log('wrong meanwhile')
          await ended
          if (compute(1) !== wanted) console.log('wrong afterwards')
        }
        console.log('done')
      } else {
        compute(2)
        parentPort.postMessage('ready')
        while (true) compute(2)
      }`)
    expect({ code, output, complaint }).toEqual({ code: 0, output: 'done\n', complaint: '' })
  })

  test('an error in the middle of the work of one reaches its owner, who goes on', async () => {
    const { code, output, complaint } = await run(`
      if (isMainThread) {
        const wanted = compute(1)
        const worker = new Worker(here)
        const error = await new Promise((done) => worker.once('error', done))
        console.log(error.message, compute(1) === wanted)
      } else {
        setTimeout(() => { throw new Error('on purpose') }, 10)
        for (;;) {
          compute(2)
          await pause(0)
        }
      }`)
    expect({ code, output, complaint }).toEqual({
      code: 0,
      output: 'on purpose true\n',
      complaint: '',
    })
  })

  test('an error that nobody catches, in the middle of a run', async () => {
    const { code, signal, complaint } = await run(`
      compute(1)
      setTimeout(() => { compute(1); throw new Error('on purpose') }, 5)
      for (;;) {
        compute(1)
        await pause(0)
      }`)
    expect({ code, signal }).toEqual({ code: 1, signal: null })
    expect(complaint).toContain('on purpose')
  })

  test('a kernel whose check fails leaves threads and results as they were', async () => {
    const { code, output, complaint } = await run(`
      const wanted = compute(1)
      const table = randn([50, 40])
      const index = arange(5000).remainder(50).cast('int32')
      let caught = 0
      for (let i = 0; i < 20; i++) {
        const bad = index.add(i % 2 === 0 ? 1 : -1).cast('int32')
        try { table.indexSelect(0, bad) } catch { caught++ }
        if (table.indexSelect(0, index).shape[0] !== 5000) console.log('wrong')
      }
      console.log(caught, compute(1) === wanted)`)
    expect({ code, output, complaint }).toEqual({ code: 0, output: '20 true\n', complaint: '' })
  })

  test('signals end the process while it computes', async () => {
    for (const name of ['SIGTERM', 'SIGINT', 'SIGKILL']) {
      const { signal, complaint } = await run(`
        import { spawn } from 'node:child_process'
        compute(1)
        spawn('sh', ['-c', 'sleep 0.1; kill -${name.slice(3)} ' + process.pid])
        for (;;) {
          compute(1)
          await pause(0)
        }`)
      expect({ signal, complaint }).toEqual({ signal: name, complaint: '' })
    }
  })
})
