/** @file Prints results: one JSON line per case, or a table for people. */

import { cpus, loadavg } from 'node:os'
import { ratioToBestPeer, type Case, type CaseResult } from './harness.ts'

/** A number that is no race between contenders. */
export interface Figure {
  name: string
  unit: string
  value: number
  /** What it must stay below. */
  limit?: number
}

/** A figure as a line of JSON. */
export function figureJson(bench: string, { name, unit, value, limit }: Figure): string {
  return JSON.stringify({ bench, case: name, unit, tandem: round(value), limit })
}

/** A figure as a line of text. */
export function figureLine(bench: string, { name, unit, value, limit }: Figure): string {
  const bound = limit === undefined ? '' : `  (limit ${limit} ${unit})`
  return `${bench}: ${name.padEnd(48)} ${format(value).padStart(6)} ${unit}${bound}`
}

/** One line of JSON: medians, and Tandem over the best peer (above 1 is always better). */
export function jsonLine(bench: string, test: Case, result: CaseResult): string {
  const { tandem, ...others } = result
  const peers = Object.fromEntries(
    Object.entries(others).map(([name, stats]) => [name, round(stats.median)]),
  )
  const ratio = ratioToBestPeer(test, result)
  return JSON.stringify({
    bench,
    case: test.name,
    unit: test.unit,
    tandem: tandem && round(tandem.median),
    ...(Object.keys(peers).length > 0 && { peers }),
    ratio: ratio && round(ratio),
  })
}

/** The machine and how busy it is. */
export function machineLine(): string {
  const load = loadavg().map((value) => value.toFixed(2))
  const [cpu] = cpus()
  return `node ${process.version}, ${cpus().length} x ${cpu?.model.trim() ?? 'unknown CPU'}, load ${load.join(' ')}`
}

/** A case as lines of text: median, and the spread over the rounds. */
export function tableLines(bench: string, test: Case, result: CaseResult): string[] {
  const lines = Object.entries(result).map(([name, { median, min, max }]) => {
    const spread = `${format(min)} .. ${format(max)}`
    return `  ${name.padEnd(16)}${format(median).padStart(10)} ${test.unit.padEnd(8)} ${spread}`
  })
  const ratio = ratioToBestPeer(test, result)
  if (ratio !== undefined) lines.push(`  ${'ratio'.padEnd(16)}${format(ratio).padStart(10)}`)
  return [`${bench}: ${test.name}`, ...lines]
}

function format(value: number): string {
  return String(round(value))
}

/** Three significant digits, as more would be noise; whole numbers above 1000. */
function round(value: number): number {
  return value >= 1000 ? Math.round(value) : Number(value.toPrecision(3))
}
