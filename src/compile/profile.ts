/** @file profile(): which kernels a function launches, how long each takes, and how near that is to what the machine can do. */
import type { Executable } from '../backend/backend.ts'
import { setProfiler } from '../backend/profiling.ts'
import type { Axis } from '../ir/expr.ts'
import { rootsOf, visitAll, type Group } from '../ir/group.ts'
import { workOf, type Work } from '../ir/work.ts'
import { currentBackend } from '../ops/create.ts'
import { groupOf } from '../tensor/plan.ts'
import { ValueError } from '../util/errors.ts'
import { machineLimits, type MachineLimits } from './machine-limits.ts'

/** All launches of one kernel on operands of the same sizes. */
export interface KernelProfile {
  readonly name: string
  /** Lengths of the axes of what it stores, and after `of` those that it reduces over. */
  readonly over: string
  readonly calls: number
  readonly milliseconds: number
  /** Of the time in all kernels, 0 to 1. */
  readonly share: number
  /** Floating-point operations of the mathematics: 2 m n k of a product, however it is computed. */
  readonly gflops: number
  /** Of operands that are read or written once each. */
  readonly gigabytesPerSecond: number
  /**
   * The time it would take at the machine's limit over the time it took. More than 1 where operands lay in
   * caches, which are faster than memory.
   */
  readonly ofLimit: number
  /** Whether arithmetic or memory sets that limit. */
  readonly bound: 'compute' | 'memory'
}

interface Launch {
  readonly executable: Executable
  readonly sizes: readonly number[]
  /** In milliseconds since the beginning. */
  readonly begin: number
  readonly end: number
}

/**
 * Runs a function, eager or compiled, and watches its kernels. What it returns prints as a table, the most
 * expensive kernels first. Compiled programs are run kernel by kernel meanwhile. The first call of a function
 * compiles: call it once before to see later ones. A function that returns a promise is watched until it is settled.
 *
 * @example
 * const x = ones([64, 64])
 * const report = profile(() => x.matmul(x).relu())
 * report.kernels.map((kernel) => kernel.calls) // -> [1, 1]
 * report.kernels.find((kernel) => kernel.name === 'matmul').over // -> '64 x 64 of 64'
 * console.log(report)
 */
export function profile(fn: () => Promise<unknown>): Promise<Profile>
export function profile(fn: () => unknown): Profile
export function profile(fn: () => unknown): Profile | Promise<Profile> {
  if (typeof fn !== 'function')
    throw new ValueError(
      `profile: expected a function, received ${fn === null ? 'null' : typeof fn}`,
    )
  const launches: Launch[] = []
  let joined = 0
  const start = performance.now()
  const before = setProfiler({
    launch(executable, blocks, offsets, sizes, params) {
      const begin = performance.now()
      const isRight = executable.launch(blocks, offsets, sizes, params)
      const end = performance.now()
      launches.push({ executable, sizes, begin: begin - start, end: end - start })
      return isRight
    },
    program(kernels, regions) {
      joined += kernels - regions
    },
  })
  const finish = () => {
    const milliseconds = performance.now() - start
    setProfiler(before)
    return new Profile(launches, milliseconds, launches.length - joined)
  }
  const restore = (error: unknown) => {
    setProfiler(before)
    throw error
  }
  try {
    const result = fn()
    return result instanceof Promise ? result.then(finish, restore) : finish()
  } catch (error) {
    return restore(error)
  }
}

/** Rows that are printed; `kernels` has all. */
const printedRows = 30

/** What `profile` found. */
export class Profile {
  /** Of the whole call, what JavaScript did in between included. */
  readonly milliseconds: number
  /** The most expensive first. */
  readonly kernels: readonly KernelProfile[]
  readonly limits: MachineLimits
  /** The device and its threads. */
  readonly device: string
  /** How often threads wait for each other when nobody watches: launches, less those that run at the same time as the one before. */
  readonly regions: number
  readonly #launches: readonly Launch[]

  constructor(launches: readonly Launch[], milliseconds: number, regions = launches.length) {
    const backend = currentBackend()
    const threads = backend.numThreads ?? 1
    this.#launches = launches
    this.milliseconds = milliseconds
    this.regions = regions
    this.device = `${backend.name}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`
    this.limits = machineLimits(backend)
    this.kernels = kernelsOf(launches, this.limits)
  }

  /** Time in kernels. */
  get kernelMilliseconds(): number {
    return this.kernels.reduce((sum, kernel) => sum + kernel.milliseconds, 0)
  }

  /**
   * All launches as the JSON of a trace, which chrome://tracing and ui.perfetto.dev show along a time axis.
   *
   * @example
   * const text = profile(() => ones([10]).add(1)).toChromeTrace()
   * JSON.parse(text).traceEvents.map((event) => event.name) // -> ['add']
   */
  toChromeTrace(): string {
    // In microseconds.
    const traceEvents = this.#launches.map(({ executable, sizes, begin, end }) => ({
      name: executable.name,
      cat: 'kernel',
      ph: 'X',
      ts: begin * 1000,
      dur: (end - begin) * 1000,
      pid: 1,
      tid: 1,
      args: { over: spaceOf(groupOf(executable), sizes) },
    }))
    return JSON.stringify({ traceEvents, displayTimeUnit: 'ms' })
  }

  toString(): string {
    return printProfile(this, this.#launches.length)
  }

  /** What Node's console prints. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }
}

function kernelsOf(launches: readonly Launch[], limits: MachineLimits): KernelProfile[] {
  const groups = new Map<Executable, Map<string, Launch[]>>()
  for (const launch of launches) {
    const { executable, sizes } = launch
    const bySize = groups.get(executable) ?? new Map<string, Launch[]>()
    groups.set(executable, bySize)
    const key = sizes.join()
    const list = bySize.get(key)
    if (list === undefined) bySize.set(key, [launch])
    else list.push(launch)
  }
  const all = launches.reduce((sum, { begin, end }) => sum + end - begin, 0)
  return [...groups.values()]
    .flatMap((bySize) => [...bySize.values()].map((list) => kernelOf(list, all, limits)))
    .sort((a, b) => b.milliseconds - a.milliseconds)
}

function kernelOf(launches: readonly Launch[], all: number, limits: MachineLimits): KernelProfile {
  const { executable, sizes } = launches[0]!
  const milliseconds = launches.reduce((sum, { begin, end }) => sum + end - begin, 0)
  const group = groupOf(executable)
  const work: Work = group === undefined ? { operations: 0, bytes: 0 } : workOf(group, sizes)
  const operations = work.operations * launches.length
  const bytes = work.bytes * launches.length
  const atBest = {
    compute: (operations / limits.operationsPerSecond) * 1000,
    memory: (bytes / limits.bytesPerSecond) * 1000,
  }
  const bound = atBest.compute > atBest.memory ? 'compute' : 'memory'
  return {
    name: executable.name,
    over: spaceOf(group, sizes),
    calls: launches.length,
    milliseconds,
    share: milliseconds / all,
    gflops: operations / milliseconds / 1e6,
    gigabytesPerSecond: bytes / milliseconds / 1e6,
    ofLimit: atBest[bound] / milliseconds,
    bound,
  }
}

function spaceOf(group: Group | undefined, sizes: readonly number[]): string {
  if (group === undefined) return ''
  const text = (axes: Iterable<Axis>) =>
    Array.from(axes, ({ extent }) =>
      typeof extent === 'number' ? extent : sizes[extent.slot]!,
    ).join(' x ')
  const reduced = new Set<string>()
  visitAll(rootsOf(group), (e) => e.kind === 'reduce' && reduced.add(text(e.axes)))
  const stored = group.axes.length === 0 ? '1' : text(group.axes)
  return reduced.size === 0 ? stored : `${stored} of ${[...reduced].join(', ')}`
}

// -- printing

function printProfile(profile: Profile, launchCount: number): string {
  const { kernels, milliseconds, kernelMilliseconds, limits, device, regions } = profile
  const digits = (x: number) => (x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2))
  const percent = (x: number) => `${(100 * x).toFixed(x < 0.1 ? 1 : 0)} %`
  const head = ['kernel', 'over', 'calls', 'ms', 'share', 'GFLOP/s', 'GB/s', 'of limit']
  const rows = kernels
    .slice(0, printedRows)
    .map((x) => [
      x.name.length > 40 ? `${x.name.slice(0, 37)}...` : x.name,
      x.over,
      String(x.calls),
      digits(x.milliseconds),
      percent(x.share),
      digits(x.gflops),
      digits(x.gigabytesPerSecond),
      `${percent(x.ofLimit)} ${x.bound}`,
    ])
  const widths = head.map((title, i) =>
    Math.max(title.length, ...rows.map((row) => row[i]!.length)),
  )
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (i < 2 || i === 7 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd()
  const rest = kernels.slice(printedRows)
  const inRegions = regions === launchCount ? '' : ` in ${regions} regions`
  const restMilliseconds = rest.reduce((sum, x) => sum + x.milliseconds, 0)
  return [
    `${launchCount} launches of ${kernels.length} kernels${inRegions} on ${device}: ${digits(kernelMilliseconds)} ms of ${digits(milliseconds)} ms`,
    `limits: ${digits(limits.operationsPerSecond / 1e9)} GFLOP/s, ${digits(limits.bytesPerSecond / 1e9)} GB/s of memory`,
    line(head),
    ...rows.map(line),
    ...(rest.length === 0 ? [] : [`and ${rest.length} more: ${digits(restMilliseconds)} ms`]),
  ].join('\n')
}
