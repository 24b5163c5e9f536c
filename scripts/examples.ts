/** @file Finds the `@example` blocks of a source, and the public functions and classes that lack one. */

import { posix } from 'node:path'
import { readExports, type Declared, type SourceExports } from './jsdoc.ts'

export interface Example {
  file: string
  /** What the example documents; a second one of the same symbol is `name #2`. */
  symbol: string
  code: string
  /** False for `@example no-run`: the code is only parsed. */
  run: boolean
  /** Line of the `@example` tag. */
  line: number
}

/** The examples of everything `source` exports, in order. */
export function extractExamples(file: string, source: string): Example[] {
  const counts = new Map<string, number>()
  return readExports(file, source).declared.flatMap((declared) =>
    examplesOf(declared).map(({ lines, run, offset }) => {
      const count = (counts.get(declared.symbol) ?? 0) + 1
      counts.set(declared.symbol, count)
      return {
        file,
        symbol: count === 1 ? declared.symbol : `${declared.symbol} #${count}`,
        code: codeOf(lines),
        run,
        line: declared.docLine + offset,
      }
    }),
  )
}

export interface DocumentationOptions {
  /** Folders whose exports need documentation. */
  folders: readonly string[]
  /** Public entry points: only what they export counts. Without any, every export counts. */
  entries?: readonly string[]
}

/** Functions and classes without a summary or an example, as `file:line: symbol lacks ...`. */
export function listUndocumentedExports(
  files: ReadonlyMap<string, string>,
  { folders, entries = [] }: DocumentationOptions,
): string[] {
  const exportsOf = new Map([...files].map(([path, text]) => [path, readExports(path, text)]))
  const isPublic = publicTest(exportsOf, entries)
  const complaints: string[] = []
  for (const [path, { declared }] of exportsOf) {
    if (!folders.includes(path.split('/')[0]!)) continue
    for (const [symbol, group] of groupBySymbol(declared)) {
      if (!isPublic(path, symbol)) continue
      const lacking = whatLacks(group)
      if (lacking.length > 0)
        complaints.push(`src/${path}:${group[0]!.line}: ${symbol} lacks ${lacking.join(' and ')}`)
    }
  }
  return complaints
}

/** Overloads share their documentation: it stands on one of them. */
function groupBySymbol(declared: readonly Declared[]): Map<string, Declared[]> {
  const groups = new Map<string, Declared[]>()
  for (const one of declared)
    if (one.kind === 'function' || one.kind === 'class')
      groups.set(one.symbol, [...(groups.get(one.symbol) ?? []), one])
  return groups
}

function whatLacks(group: readonly Declared[]): string[] {
  const isSummary = (line: string | undefined) => line !== undefined && !/^\s*(@|$)/.test(line)
  const hasSummary = group.some(({ doc }) => isSummary(doc?.find((line) => line.trim() !== '')))
  const hasExample = group.some((one) => examplesOf(one).length > 0)
  return [...(hasSummary ? [] : ['a summary']), ...(hasExample ? [] : ['an @example'])]
}

/** Follows the re-exports of the entry points to the declarations that users can reach. */
function publicTest(
  exportsOf: ReadonlyMap<string, SourceExports>,
  entries: readonly string[],
): (path: string, symbol: string) => boolean {
  if (entries.length === 0) return () => true
  const reached = new Set<string>()
  const reach = (path: string, name: string): void => {
    const key = `${path}:${name}`
    if (reached.has(key)) return
    reached.add(key)
    for (const reexport of exportsOf.get(path)?.reexports ?? []) {
      const target = posix.join(posix.dirname(path), reexport.specifier)
      if (reexport.exportedAs === '*') reach(target, name)
      else if (name === '*' || name === reexport.exportedAs) reach(target, reexport.name)
    }
  }
  for (const entry of entries) reach(entry, '*')
  return (path, symbol) => reached.has(`${path}:*`) || reached.has(`${path}:${symbol}`)
}

function examplesOf({ doc = [] }: Declared): { lines: string[]; run: boolean; offset: number }[] {
  const found: { lines: string[]; run: boolean; offset: number }[] = []
  let open: string[] | undefined
  let fenced = false
  doc.forEach((line, offset) => {
    const tag = fenced ? null : /^\s*@(\w+)\s*(.*)$/.exec(line)
    if (tag === null) open?.push(line)
    else if (tag[1] === 'example') {
      const run = tag[2] !== 'no-run'
      open = run ? [tag[2]!] : []
      found.push({ lines: open, run, offset })
    } else open = undefined
    if (/^\s*```/.test(line)) fenced = !fenced
  })
  return found
}

/** The code itself: what the fences enclose, or everything when there are none. */
function codeOf(lines: readonly string[]): string {
  const isFence = (line: string) => /^\s*```/.test(line)
  let inside = false
  const code = lines.some(isFence)
    ? lines.filter((line) => (isFence(line) ? ((inside = !inside), false) : inside))
    : lines
  // A comment cannot contain its own end, so authors escape it.
  return code.join('\n').replaceAll('*\\/', '*/').trim()
}
