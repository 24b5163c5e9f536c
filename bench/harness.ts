/** @file The measuring core: contenders take turns, batch by batch, and the median of many rounds is reported. */

import { agrees } from './values.ts'

/** Work in this process. */
export interface LocalWork {
  /** One unit of work; a lazy library has to force the work here. */
  run(): void | Promise<void>
  /** Reads a small result at the end of every batch, inside the timed region, so that the work is really done. */
  finish?(): void | Promise<void>
}

/** Work in a process of its own, which reads its own clock. */
export interface RemoteWork {
  /** Runs `count` units of work, forces the last result, and returns the seconds that took. */
  batch(count: number): Promise<number>
}

/** What one side of a comparison does; made by its `Setup` before anything is timed. */
export type Contender = (LocalWork | RemoteWork) & {
  /** Some elements of the result of the last run: all contenders that have this must agree. */
  sample?(): readonly number[] | Promise<readonly number[]>
  /** Milliseconds until its waiting threads leave the processor alone; they pass between turns, untimed. */
  readonly settle?: number
  close?(): void
}

export type Setup = () => Promise<Contender>

/** Seconds in one unit of time, or work in one unit of a rate. */
const SCALE = { 'GFLOP/s': 1e9, 'steps/s': 1, 'GB/s': 1e9, ns: 1e-9, us: 1e-6, ms: 1e-3 }

export interface Case {
  name: string
  unit: keyof typeof SCALE
  better: 'higher' | 'lower'
  /** Work in one run: floating-point operations, bytes, steps or operations. */
  work: number
  /** Cases of one group are summed up by the geometric means of their ratios. */
  group?: string
  /** What differs from the plan of the command line; `--quick` shortens it further. */
  plan?: Partial<Plan>
  /** One entry per library; Tandem's own is called `tandem`. */
  contenders: Record<string, Setup>
}

export interface Plan {
  warmUpSeconds: number
  batchSeconds: number
  rounds: number
}

export const FULL: Plan = { warmUpSeconds: 0.6, batchSeconds: 0.025, rounds: 21 }
export const QUICK: Plan = { warmUpSeconds: 0.3, batchSeconds: 0.01, rounds: 5 }

/** The plan of a case: its own wishes, or if less is wanted, less. */
export function planOf(test: Case, isQuick: boolean): Plan {
  const plan = { ...FULL, ...test.plan }
  if (!isQuick) return plan
  return {
    warmUpSeconds: Math.min(plan.warmUpSeconds, QUICK.warmUpSeconds),
    batchSeconds: Math.min(plan.batchSeconds, QUICK.batchSeconds),
    rounds: Math.min(plan.rounds, QUICK.rounds),
  }
}

/** Statistics of one contender, in the unit of the case. */
export interface Stats {
  median: number
  min: number
  max: number
}

export type CaseResult = Record<string, Stats>

/** A contender that is not installed; it is left out of the comparison with a note. */
export class NotInstalled extends Error {}

interface Entrant {
  name: string
  contender: Contender
  batch: number
  values: number[]
}

/** Measures a case; `skip` hears about each contender that is not installed. */
export async function measureCase(
  test: Case,
  plan: Plan,
  skip: (name: string, reason: string) => void,
): Promise<CaseResult> {
  const entrants: Entrant[] = []
  try {
    for (const [name, setup] of Object.entries(test.contenders)) {
      const contender = await makeContender(setup, (reason) => skip(name, reason))
      if (contender !== undefined) entrants.push({ name, contender, batch: 1, values: [] })
    }
    for (const entrant of entrants) {
      entrant.batch = await warmUp(entrant.contender, plan)
      await rest(entrant.contender)
    }
    await compareSamples(test, entrants)
    for (let round = 0; round < plan.rounds; round++)
      for (const { contender, batch, values } of entrants) {
        values.push(toUnit(test, (await timeBatch(contender, batch)) / batch))
        await rest(contender)
      }
  } finally {
    for (const { contender } of entrants) contender.close?.()
  }
  return Object.fromEntries(entrants.map(({ name, values }) => [name, statistics(values)]))
}

/** What stands for the rounds of a contender: their median, or its best round. */
export type Measure = 'median' | 'best'

/** How many times better Tandem is than the best other library, or `undefined` without one. */
export function ratioToBestPeer(
  test: Case,
  result: CaseResult,
  measure: Measure = 'median',
): number | undefined {
  const ratios = Object.entries(ratiosToPeers(test, result, measure)).flatMap(([name, ratio]) =>
    isOurs(name) ? [] : [ratio],
  )
  return ratios.length === 0 ? undefined : Math.min(...ratios)
}

// 'tandem, eager' is beside what is compiled for comparison, not a peer.
const isOurs = (name: string): boolean => name.startsWith('tandem')

/** How many times better Tandem is than each other contender. */
export function ratiosToPeers(
  test: Case,
  result: CaseResult,
  measure: Measure = 'median',
): Record<string, number> {
  const { tandem, ...peers } = result
  if (tandem === undefined) return {}
  const isRate = test.better === 'higher'
  const valueOf = (stats: Stats) =>
    measure === 'median' ? stats.median : isRate ? stats.max : stats.min
  const ours = valueOf(tandem)
  return Object.fromEntries(
    Object.entries(peers).map(([name, stats]) => [
      name,
      isRate ? ours / valueOf(stats) : valueOf(stats) / ours,
    ]),
  )
}

async function makeContender(
  setup: Setup,
  skip: (reason: string) => void,
): Promise<Contender | undefined> {
  try {
    return await setup()
  } catch (error) {
    if (!(error instanceof NotInstalled)) throw error
    skip(error.message)
    return undefined
  }
}

/** Throws unless everybody has computed the same as the first who can tell. */
async function compareSamples(test: Case, entrants: readonly Entrant[]): Promise<void> {
  let first: { name: string; sample: readonly number[] } | undefined
  for (const { name, contender } of entrants) {
    const sample = await contender.sample?.()
    if (sample === undefined) continue
    first ??= { name, sample }
    if (!agrees(first.sample, sample))
      throw new Error(
        `${test.name}: ${name} computes [${sample.join(', ')}], ${first.name} [${first.sample.join(', ')}]`,
      )
  }
}

/** Runs until the JIT has settled and returns how many runs fill one batch. */
async function warmUp(contender: Contender, plan: Plan): Promise<number> {
  const end = performance.now() + plan.warmUpSeconds * 1000
  let batch = 1
  for (;;) {
    const seconds = await timeBatch(contender, batch)
    const fitting = Math.ceil((batch * plan.batchSeconds) / Math.max(seconds, 1e-6))
    // Grow at most fourfold at a time: early batches are slow, and then suddenly fast.
    batch = Math.max(1, Math.min(fitting, batch * 4))
    if (performance.now() >= end) return batch
  }
}

async function timeBatch(contender: Contender, batch: number): Promise<number> {
  if ('batch' in contender) return contender.batch(batch)
  const start = performance.now()
  for (let i = 0; i < batch; i++) {
    const pending = contender.run()
    if (pending !== undefined) await pending
  }
  await contender.finish?.()
  return (performance.now() - start) / 1000
}

async function rest({ settle = 0 }: Contender): Promise<void> {
  if (settle > 0) await new Promise((done) => setTimeout(done, settle))
}

function toUnit({ unit, better, work }: Case, seconds: number): number {
  return better === 'higher' ? work / seconds / SCALE[unit] : seconds / work / SCALE[unit]
}

function statistics(values: readonly number[]): Stats {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const median =
    sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { median, min: sorted[0]!, max: sorted.at(-1)! }
}
