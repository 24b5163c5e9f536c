/** @file Prints results: one JSON line per case, or a table for people. */

import { cpus, loadavg } from 'node:os'
import { ratiosToPeers, ratioToBestPeer, type Case, type CaseResult } from './harness.ts'

/** A number that is no race between contenders. */
export interface Figure {
  name: string
  unit: string
  value: number
  /** What it must stay below. */
  limit?: number
}

/** What results of one run have in common. */
export interface Context {
  /** Threads that were allowed. */
  threads: number
  /** Tandem's backend. */
  device: string
  /** The most that the machine can do, in the unit of the cases. */
  peak?: number
}

/** A figure as a line of JSON. */
export function figureJson(
  bench: string,
  { name, unit, value, limit }: Figure,
  context?: Context,
): string {
  const { threads, device } = context ?? {}
  return JSON.stringify({ bench, case: name, unit, tandem: round(value), limit, threads, device })
}

/** A figure as a line of text. */
export function figureLine(bench: string, { name, unit, value, limit }: Figure): string {
  const bound = limit === undefined ? '' : `  (limit ${limit} ${unit})`
  return `${bench}: ${name.padEnd(48)} ${format(value).padStart(6)} ${unit}${bound}`
}

/**
 * One line of JSON: medians, Tandem over the best peer (above 1 is always better), the same of the best
 * rounds, which a busy machine disturbs less, and with a peak Tandem's share of it.
 */
export function jsonLine(bench: string, test: Case, result: CaseResult, context?: Context): string {
  const { tandem, ...others } = result
  const peers = Object.fromEntries(
    Object.entries(others).map(([name, stats]) => [name, round(stats.median)]),
  )
  const ratio = ratioToBestPeer(test, result)
  const ratioOfBest = ratioToBestPeer(test, result, 'best')
  const { threads, device, peak } = context ?? {}
  return JSON.stringify({
    bench,
    case: test.name,
    unit: test.unit,
    tandem: tandem && round(tandem.median),
    ...(Object.keys(peers).length > 0 && { peers }),
    ratio: ratio && round(ratio),
    ratioOfBest: ratioOfBest && round(ratioOfBest),
    peak: peak && round(peak),
    ofPeak: peak && tandem && round(tandem.median / peak),
    threads,
    device,
  })
}

/** Whether the last minute's load leaves no core free, which slows those most who use several. */
export function isBusy(): boolean {
  return loadavg()[0]! > Math.max(1, cpus().length - 1)
}

/** The machine and how busy it is. */
export function machineLine(): string {
  const load = loadavg().map((value) => value.toFixed(2))
  const [cpu] = cpus()
  return `node ${process.version}, ${cpus().length} x ${cpu?.model.trim() ?? 'unknown CPU'}, load ${load.join(' ')}`
}

/** A case as lines of text: median, the spread over the rounds, and the share of the peak. */
export function tableLines(
  bench: string,
  test: Case,
  result: CaseResult,
  { peak }: Partial<Context> = {},
): string[] {
  const lines = Object.entries(result).map(([name, { median, min, max }]) => {
    const spread = `${format(min)} .. ${format(max)}`
    const share = peak === undefined ? '' : `  ${Math.round((100 * median) / peak)} % of the peak`
    return `  ${name.padEnd(22)}${format(median).padStart(10)} ${test.unit.padEnd(8)} ${spread}${share}`
  })
  const ratio = ratioToBestPeer(test, result)
  const best = ratioToBestPeer(test, result, 'best')
  if (ratio !== undefined && best !== undefined)
    lines.push(
      `  ${'ratio'.padEnd(22)}${format(ratio).padStart(10)}          ${format(best)} of best rounds`,
    )
  return [`${bench}: ${test.name}`, ...lines]
}

/** The geometric means of Tandem's ratios over each group of cases: to the best peer, and to each peer. */
export function groupFigures(
  results: readonly { readonly test: Case; readonly result: CaseResult }[],
): Figure[] {
  const ratios = new Map<string, number[]>()
  const add = (name: string, ratio: number | undefined) => {
    if (ratio !== undefined) ratios.set(name, [...(ratios.get(name) ?? []), ratio])
  }
  for (const { test, result } of results) {
    if (test.group === undefined) continue
    add(`${test.group}: ratio to the best peer`, ratioToBestPeer(test, result))
    add(`${test.group}: ratio of best rounds`, ratioToBestPeer(test, result, 'best'))
    for (const [peer, ratio] of Object.entries(ratiosToPeers(test, result)))
      add(`${test.group}: ratio to ${peer}`, ratio)
  }
  return [...ratios].map(([name, values]) => ({
    name: `${name}, geometric mean of ${values.length}`,
    unit: 'x',
    value: Math.exp(values.reduce((sum, ratio) => sum + Math.log(ratio), 0) / values.length),
  }))
}

function format(value: number): string {
  return String(round(value))
}

/** Three significant digits, as more would be noise; whole numbers above 1000. */
function round(value: number): number {
  return value >= 1000 ? Math.round(value) : Number(value.toPrecision(3))
}
