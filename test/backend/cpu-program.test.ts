/** @file Programs on the cpu backend: what their kernels are handed, one foreign call, threads, and ends. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, manualSeed, randn, tensor, type Tensor } from 'tandem'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'
import { registerBackend, type ProgramStep } from '../../src/backend/backend.ts'
import type { CpuBlock } from '../../src/backend/cpu/block.ts'
import { CodeMemory } from '../../src/backend/cpu/code-memory.ts'
import { CpuExecutable, type Compiled } from '../../src/backend/cpu/executable.ts'
import { detectFeatures } from '../../src/backend/cpu/features.ts'
import { CpuBackend, openCpu } from '../../src/backend/cpu/index.ts'
import { loadNative, type Native } from '../../src/backend/cpu/native.ts'
import { tasksOf } from '../../src/backend/cpu/tasks.ts'
import { withConfig } from '../../src/util/config.ts'
import { describeMachineCode } from '../devices.ts'
import { childPrograms, type ChildPrograms } from './child-programs.ts'
import { copyKernel, stampKernel } from './cpu-kernels.ts'

const native = loadNative() as Native

describeMachineCode('steps of a program', () => {
  const plain: Compiled = {
    name: 'copy',
    code: copyKernel(5),
    streamingCode: () => copyKernel(5, { slot: 0, value: 7 }),
    share: undefined,
    memories: ['f64', 'u8'],
    operands: 2,
    isChecked: false,
    sizeCount: 2,
    paramCount: 1,
    scratchBytes: 0,
  }
  const kernel = (changes: Partial<Compiled> = {}) =>
    new CpuExecutable(openCpu(), { ...plain, ...changes })
  const allocate = (bytes: number) => openCpu().allocate(bytes) as CpuBlock
  const stepOf = (changes: Partial<ProgramStep> = {}): ProgramStep => ({
    executable: kernel(),
    buffers: [0, 1],
    offsets: [0, 0],
    elementBytes: [8, 1],
    sizes: [3, 4],
    params: [0.5],
    ...changes,
  })

  test('each is handed its own arguments, and what changes from run to run', () => {
    const [a, b, other] = [allocate(64), allocate(64), allocate(10)]
    const program = openCpu().program(
      [
        stepOf({ buffers: [0, 2], offsets: [0, 7], sizes: [3, 2 ** 33] }),
        stepOf({ buffers: [1, 2], params: [{ slot: 1 }] }),
      ],
      [64, 64, 10],
    )
    expect(program.run([a, b, other], [0, 0, 2], [5, 6])).toBe(undefined)
    const argumentsIn = (block: CpuBlock) => Array.from(block.f64.subarray(0, 5))
    expect(argumentsIn(a)).toEqual([a.address, other.address + 9, 3, 2 ** 33, 0.5])
    expect(argumentsIn(b)).toEqual([b.address, other.address + 2, 3, 4, 6])
    // The first two change places.
    program.run([b, a, other], [0, 0, 0], [5, -1])
    expect(argumentsIn(b)).toEqual([b.address, other.address + 7, 3, 2 ** 33, 0.5])
    expect(argumentsIn(a)).toEqual([a.address, other.address, 3, 4, -1])
  })

  test('scratch space is large enough for all, and may move', () => {
    const [a, b, other] = [allocate(64), allocate(64), allocate(10)]
    const step = (buffer: number, scratchBytes: number) =>
      stepOf({
        executable: kernel({ memories: ['f64', 'u8', 'f32'], code: copyKernel(6), scratchBytes }),
        buffers: [buffer, 2],
      })
    const program = openCpu().program([step(0, 1000), step(1, 3_000_000)], [64, 64, 10])
    const before = openCpu().numThreads
    for (const threads of [before, before + 2]) {
      openCpu().numThreads = threads
      openCpu().scratchAt(threads * 4_000_000)
      program.run([a, b, other], [0, 0, 0], [])
      expect(a.f64[2]).toBe(b.f64[2])
      new Uint8Array(native.view(a.f64[2]!, threads * 3_000_000)).fill(1)
    }
    openCpu().numThreads = before
  })

  test('those that run at the same time have scratch space apart from each other', () => {
    const blocks = [64, 64, 64, 10].map(allocate)
    const sizes = [4096, 64, 4096]
    const steps = sizes.map((scratchBytes, buffer) =>
      stepOf({
        executable: kernel({ memories: ['f64', 'u8', 'f32'], code: copyKernel(6), scratchBytes }),
        buffers: [buffer, 3],
        joins: buffer > 0,
      }),
    )
    const program = openCpu().program(steps, [64, 64, 64, 10])
    const before = openCpu().numThreads
    for (const threads of [3, 2]) {
      openCpu().numThreads = threads
      program.run(blocks, [0, 0, 0, 0], [])
      const [a, b, c] = blocks.map((block) => block.f64[2]!) as [number, number, number]
      // Of one size it may be the same, as a thread does one thing at a time.
      expect([a % 64, b - a, c - a]).toEqual([0, threads * 4096, 0])
      new Uint8Array(native.view(a, threads * (4096 + 64))).fill(1)
    }
    openCpu().numThreads = before
  })

  test('one with checks never runs at the same time as others', () => {
    const executable = kernel({ memories: ['f64', 'u8', 'i32'], isChecked: true })
    const steps = [stepOf(), stepOf({ executable, joins: true })]
    expect(() => openCpu().program(steps, [64, 10])).toThrow(
      /copy: a kernel with checks runs alone/,
    )
  })

  test('behind a check that does not hold nothing is run', () => {
    const blocks = [64, 64, 64, 10].map(allocate)
    const checked = (buffer: number, value: number) => {
      const code = copyKernel(3, { slot: 2, value })
      const executable = kernel({ memories: ['f64', 'u8', 'i32'], code, isChecked: true })
      return stepOf({ executable, buffers: [buffer, 3] })
    }
    const program = openCpu().program(
      [checked(0, 1), checked(1, 0), checked(2, 1)],
      [64, 64, 64, 10],
    )
    for (let i = 0; i < 2; i++) {
      for (const block of blocks) block.u8.fill(0)
      expect(program.run(blocks, [0, 0, 0, 0], [])).toBe(1)
      expect(blocks.map((block) => block.u8.some((x) => x !== 0))).toEqual([
        true,
        true,
        false,
        false,
      ])
    }
    expect(
      openCpu()
        .program([checked(0, 1), checked(2, 1)], [64, 64, 64, 10])
        .run(blocks, [0, 0, 0, 0], []),
    ).toBe(undefined)
  })

  test('there may be none, and memory that was freed is refused', () => {
    expect(openCpu().program([], []).run([], [], [])).toBe(undefined)
    const [a, other] = [allocate(64), allocate(10)]
    const program = openCpu().program([stepOf()], [64, 10])
    openCpu().free(other)
    expect(() => program.run([a, other], [0, 0], [])).toThrow(/was freed/)
  })

  test('operands that the caches do not hold go to the code for them', () => {
    const { code, pool } = openCpu()
    const launcher = { code, pool, cachedBytes: 1000, scratchAt: () => 0 }
    const step = () => stepOf({ executable: new CpuExecutable(launcher, plain) })
    const [a, other] = [allocate(64), allocate(10)]
    for (const [bytes, expected] of [
      [900, 0],
      [1000, 7],
    ] as const) {
      a.u8.fill(0)
      openCpu().program([step()], [64, bytes]).run([a, other], [0, 0], [])
      expect(a.i32[0] === 7 ? 7 : 0).toBe(expected)
    }
  })

  const shared = (count: number, cost: number) => ({
    isShared: true,
    count: () => count,
    cost: () => cost,
    isInRuns: false,
  })
  const stamping = (count: number, cost: number) =>
    kernel({
      code: stampKernel(),
      memories: ['f64', 'i32'],
      sizeCount: 0,
      share: shared(count, cost),
    })
  const stampStep = { elementBytes: [8, 4], sizes: [], params: [1] }

  test('nobody begins a kernel before all are done with the one before', () => {
    const before = openCpu().numThreads
    const count = 4096
    const stamps = allocate(8 * count)
    const seen = allocate(4 * 512)
    const executable = stamping(count, 200)
    // Each adds one to every stamp, at places that others have now: a lost one shows.
    const steps = Array.from({ length: 50 }, () => stepOf({ executable, ...stampStep }))
    const program = openCpu().program(steps, [8 * count, 4 * 512])
    let wrong = 0
    for (let run = 0; run < 200; run++) {
      openCpu().numThreads = 1 + (run % 4)
      stamps.f64.fill(0)
      program.run([stamps, seen], [0, 0], [])
      wrong += stamps.f64.filter((x) => x !== steps.length).length
    }
    expect(wrong).toBe(0)
    openCpu().numThreads = before
  })

  test('steps that run at the same time are each done once, between those before and behind', () => {
    const before = openCpu().numThreads
    // Of all sizes; each has elements of its own, and all regions have the same.
    const counts = [1, 4096, 3, 700, 40, 1, 5000, 2]
    const total = counts.reduce((a, b) => a + b)
    const stamps = allocate(8 * total)
    const seen = allocate(4 * 512)
    seen.i32.fill(0)
    const executables = counts.map((count) => stamping(count, 200))
    const region = counts.map((_, i) =>
      stepOf({
        executable: executables[i]!,
        ...stampStep,
        offsets: [counts.slice(0, i).reduce((a, b) => a + b, 0), 0],
        joins: i > 0,
      }),
    )
    const regions = 20
    const steps = Array.from({ length: regions }, () => region).flat()
    const program = openCpu().program(steps, [8 * total, 4 * 512])
    let wrong = 0
    for (let run = 0; run < 32; run++) {
      openCpu().numThreads = 1 + (run % 4)
      stamps.f64.fill(0)
      withConfig({ shareAll: run % 8 < 4 }, () => program.run([stamps, seen], [0, 0], []))
      wrong += stamps.f64.subarray(0, total).filter((x) => x !== regions).length
    }
    expect(wrong).toBe(0)
    // Workers took part.
    expect(seen.i32.subarray(1, 4).some((pieces) => pieces > 0)).toBe(true)
    openCpu().numThreads = before
  })
})

describe('tasks', () => {
  const split = (count: number, grain: number, cost: number) => ({ count, grain, cost })

  test('have every iteration once, the dearest pieces first, small ones together', () => {
    const splits = [
      split(1, 1, 30),
      split(100, 30, 400_000),
      split(0, 1, 20),
      split(64, 8, 1_600_000),
      split(5, 5, 19_000),
      split(1, 1, 7_000),
    ]
    const tasks = tasksOf(splits)
    const taken = splits.map(({ count }) => new Array<number>(count).fill(0))
    for (const { kernel, begin, end } of tasks.flat())
      for (let i = begin; i < end; i++) taken[kernel]![i]!++
    expect(taken.flat().every((times) => times === 1)).toBe(true)
    expect(new Set(tasks.flat().map(({ kernel }) => kernel)).size).toBe(splits.length)
    const costs = tasks.map((task) => task.reduce((sum, { cost }) => sum + cost, 0))
    expect(costs.slice(0, 12)).toEqual([
      ...Array(8).fill(200_000),
      120_000,
      120_000,
      120_000,
      40_000,
    ])
    expect(tasks.slice(12).map((task) => task.map(({ kernel }) => kernel))).toEqual([
      [4],
      [5, 0, 2],
    ])
  })

  test('with one thread are one, in order', () => {
    const splits = [split(8, 8, 0), split(0, 1, 0), split(300, 300, 0)]
    expect(tasksOf(splits)).toEqual([
      [
        { kernel: 0, begin: 0, end: 8, cost: 0 },
        { kernel: 1, begin: 0, end: 0, cost: 0 },
        { kernel: 2, begin: 0, end: 300, cost: 0 },
      ],
    ])
  })

  test('are not put together where all is to be shared', () => {
    const tasks = withConfig({ shareAll: true }, () => tasksOf([split(3, 1, 9), split(1, 1, 3)]))
    expect(tasks.map((task) => task.length)).toEqual([1, 1, 1, 1])
  })
})

describeMachineCode('foreign calls', () => {
  let calls = 0
  const counted = Object.fromEntries(
    Object.entries(native).map(([name, member]: [string, unknown]) => {
      if (typeof member !== 'function') return [name, member]
      const count =
        (f: (...args: unknown[]) => unknown) =>
        (...args: unknown[]) => {
          calls++
          return f(...args)
        }
      const wrapped = count(member as () => unknown)
      const procedure = (...args: unknown[]) => count(wrapped(...args) as () => unknown)
      return [name, name === 'procedure' ? procedure : wrapped]
    }),
  ) as unknown as Native

  test.each([1, 2])('a compiled step makes one, with %d threads', (threads) => {
    const code = new CodeMemory(counted)
    const backend = new CpuBackend(counted, code, detectFeatures(counted, code))
    const device = `counted${threads}`
    registerBackend(device, () => Object.defineProperty(backend, 'name', { value: device }))
    backend.numThreads = threads
    manualSeed(1)
    const model = new nn.Sequential(new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10))
    model.to(device)
    const optimizer = new optim.Adam(model.parameters(), { lr: 1e-3 })
    const x = randn([64, 784]).to(device)
    const y = tensor(
      Array.from({ length: 64 }, (_, i) => i % 10),
      { dtype: 'int32' },
    ).to(device)
    const step = (x: Tensor, y: Tensor) => {
      optimizer.zeroGrad()
      const loss = model.forward(x).crossEntropy(y)
      loss.backward()
      optimizer.step()
      return loss
    }
    const run = compile(step)
    for (let i = 0; i < 3; i++) run(x, y)
    calls = 0
    let loss = run(x, y)
    expect(calls).toBe(1)
    for (let i = 0; i < 99; i++) loss = run(x, y)
    // Now and then there is a new slab for the losses.
    expect(calls).toBeLessThan(105)
    expect(loss.itemSync()).toBeLessThan(1)
    calls = 0
    step(x, y)
    expect(calls).toBeGreaterThan(15)
    backend.numThreads = 1
  })
})

describeMachineCode('programs in processes of their own', () => {
  let programs: ChildPrograms
  beforeAll(async () => {
    programs = await childPrograms(`
      export * from '@/src/index.ts'
      export * as nn from '@/src/nn/index.ts'
      export * as optim from '@/src/optim/index.ts'`)
  })
  afterAll(() => programs.remove())

  const work = `
    import { arange, compile, manualSeed, nn, optim, randn, setNumThreads } from './library.mjs'
    import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
    const pause = (ms) => new Promise((done) => setTimeout(done, ms))
    const here = new URL(import.meta.url)
    function train(seed, isCompiled) {
      manualSeed(seed)
      const model = new nn.Sequential(
        new nn.Conv2d(1, 4, 3), new nn.BatchNorm2d(4), new nn.ReLU(), new nn.MaxPool2d(2),
        new nn.Flatten(), new nn.Linear(100, 32), new nn.GELU(), new nn.Linear(32, 10))
      const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-2 })
      const step = (x, y) => {
        optimizer.zeroGrad()
        const loss = model.forward(x).crossEntropy(y)
        loss.backward()
        optimizer.step()
        return loss
      }
      const run = isCompiled ? compile(step) : step
      const x = randn([32, 1, 12, 12])
      const y = arange(32).remainder(10).cast('int32')
      for (let i = 0; i < 8; i++) run(x, y)
      return [...model.parameters(), ...model.buffers()].flatMap((t) => [...t.dataSync()])
    }
    const farthest = (a, b) => Math.max(...a.map((x, i) => Math.abs(x - b[i])))`
  const run = (code: string, environment: Readonly<Record<string, string>> = {}) =>
    programs.run(`${work}\n${code}`, {
      TANDEM_BACKEND: 'cpu',
      TANDEM_SHARE_ALL: '',
      TANDEM_GUARD: '',
      TANDEM_NUM_THREADS: '',
      ...environment,
    })

  test.each(['avx2', 'avx512'])('no kernel strays, with %s', async (level) => {
    const { code, output, complaint } = await run(
      `console.log(farthest(train(1, true), train(1, false)) < 0.02)`,
      {
        TANDEM_GUARD: '1',
        TANDEM_SHARE_ALL: '1',
        TANDEM_STREAM_ALL: '1',
        TANDEM_NUM_THREADS: '2',
        TANDEM_CPU: level,
      },
    )
    expect({ code, output, complaint }).toEqual({ code: 0, output: 'true\n', complaint: '' })
  })

  test('isolates run programs at the same time', async () => {
    const { code, output, complaint } = await run(
      `
      if (isMainThread) {
        const wanted = [1, 2, 3].map((seed) => train(seed, true).join())
        const answers = wanted.map((_, i) => {
          const worker = new Worker(here, { workerData: i + 1 })
          return new Promise((done, fail) => {
            worker.once('error', fail)
            worker.once('message', done)
          })
        })
        for (let i = 0; i < 5; i++) if (train(1, true).join() !== wanted[0]) console.log('main is wrong')
        const results = await Promise.all(answers)
        console.log(results.map((all, i) => all.every((x) => x === wanted[i])).join())
      } else {
        setNumThreads(3)
        parentPort.postMessage(Array.from({ length: 5 }, () => train(workerData, true).join()))
      }`,
      { TANDEM_SHARE_ALL: '1', TANDEM_NUM_THREADS: '3' },
    )
    expect({ code, output, complaint }).toEqual({
      code: 0,
      output: 'true,true,true\n',
      complaint: '',
    })
  })

  test('threads sleep when a program is over', async () => {
    const { output } = await run(
      `
      train(1, true)
      await pause(50)
      const before = process.cpuUsage()
      await pause(400)
      const { user, system } = process.cpuUsage(before)
      console.log(user + system < 100_000)`,
      { TANDEM_SHARE_ALL: '1', TANDEM_NUM_THREADS: '4' },
    )
    expect(output).toBe('true\n')
  })
})
