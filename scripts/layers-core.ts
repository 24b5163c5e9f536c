/** @file The rules of the floors: which file in src/ may import which, decided on an in-memory table of files. */

import { isBuiltin } from 'node:module'
import { posix } from 'node:path'
import { readImports, type ImportSite } from './read-imports.ts'

/** The floors from the ground up; docs/architecture.md says what lives on each. */
export const FLOORS = [
  'util',
  'core',
  'ir',
  'codegen',
  'asm',
  'target',
  'backend',
  'tensor',
  'ops',
  'compile',
  'nn',
  'optim',
  'data',
  'io',
  'vision',
  'train',
]

/** Floors that may import less than everything below them. */
const ONLY_FROM: Record<string, readonly string[]> = { asm: ['asm', 'util'] }

/** The name a package gives itself; its own files can be reached through it. */
const PACKAGE = 'tandem'

export interface LayerReport {
  /** One line per broken rule, `file:line: what is wrong`. */
  violations: string[]
  /** One line per type-only import that points up, and per dynamic import of a computed name. */
  notes: string[]
}

interface Edge extends ImportSite {
  from: string
  /** The imported file relative to src/, or `null` for a package. */
  target: string | null
}

/** Checks every import of `files`, a table from a path relative to src/ to its text. */
export function checkLayers(files: ReadonlyMap<string, string>): LayerReport {
  const edges = [...files].flatMap(([from, source]) => edgesOf(from, source))
  const report: LayerReport = { violations: unknownFolders(files), notes: [] }
  for (const edge of edges) checkEdge(edge, report)
  for (const cycle of findCycles(edges))
    report.violations.push(`src/${cycle[0]}: import cycle: ${cycle.join(' -> ')}`)
  return report
}

function edgesOf(from: string, source: string): Edge[] {
  return readImports(from, source).map((site) => ({
    ...site,
    from,
    target: resolveTarget(from, site.specifier),
  }))
}

function resolveTarget(from: string, specifier: string | null): string | null {
  if (specifier === null) return null
  if (specifier === PACKAGE) return 'index.ts'
  if (specifier.startsWith(`${PACKAGE}/`)) return `${specifier.slice(PACKAGE.length + 1)}/index.ts`
  if (specifier === '#cpu') return 'backend/cpu/index.ts'
  if (!specifier.startsWith('.')) return null
  return posix.join(posix.dirname(from), specifier).replace(/\.js$/, '.ts')
}

function unknownFolders(files: ReadonlyMap<string, string>): string[] {
  const folders = new Set([...files.keys()].map(floorOf))
  return [...folders]
    .filter((folder) => folder !== '' && !FLOORS.includes(folder))
    .map(
      (folder) =>
        `src/${folder}/: not a known floor: add the folder to docs/architecture.md and to FLOORS in scripts/layers-core.ts`,
    )
}

function checkEdge(edge: Edge, report: LayerReport): void {
  const where = `src/${edge.from}:${edge.line}`
  const name = edge.target === null ? edge.specifier : `src/${edge.target}`
  const broken = brokenRule(edge)
  if (edge.kind === 'type') {
    if (broken !== undefined) report.notes.push(`${where}: type-only import of ${name}`)
  } else if (edge.specifier === null) {
    report.notes.push(`${where}: dynamic import of a computed name is not checked`)
  } else if (broken !== undefined) {
    report.violations.push(`${where}: imports ${name}: ${broken}`)
  }
}

/** Why this edge is not allowed, or `undefined` when it is. */
function brokenRule({ from, kind, specifier, target }: Edge): string | undefined {
  const fromNode = isNodeFile(from)
  if (specifier !== null && target === null && isBuiltin(specifier) && !fromNode)
    return 'Node modules belong in files named *.node.ts'
  const floor = floorOf(from)
  const allowed = ONLY_FROM[floor]
  if (target === null)
    return allowed && specifier !== null ? `${floor}/ imports no packages` : undefined
  const targetFloor = floorOf(target)
  if (allowed !== undefined && !allowed.includes(targetFloor))
    return `${floor}/ may import only ${allowed.filter((name) => name !== floor).join(', ')}`
  if (rankOf(targetFloor) > rankOf(floor))
    return `imports point down only, and ${nameOf(targetFloor)} is above ${nameOf(floor)}`
  if (isNodeFile(target) && kind === 'static' && !fromNode)
    return '*.node.ts may only be imported dynamically, or by another *.node.ts'
  return undefined
}

function floorOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : ''
}

/** Height of a floor; files directly in src/ are the roof. An unknown folder is reported on its own. */
function rankOf(floor: string): number {
  return floor === '' ? FLOORS.length : FLOORS.indexOf(floor)
}

function nameOf(floor: string): string {
  return floor === '' ? 'src/index.ts' : `${floor}/`
}

function isNodeFile(path: string): boolean {
  return path.endsWith('.node.ts')
}

/** One shortest cycle for each file that is on one and not on a cycle already found. */
function findCycles(edges: readonly Edge[]): string[][] {
  const next = new Map<string, string[]>()
  for (const { from, target, kind } of edges) {
    if (kind !== 'static' || target === null) continue
    next.set(from, [...(next.get(from) ?? []), target])
  }
  const cycles: string[][] = []
  const seen = new Set<string>()
  for (const start of next.keys()) {
    if (seen.has(start)) continue
    const cycle = shortestWayBack(start, next)
    if (cycle === undefined) continue
    for (const file of cycle) seen.add(file)
    cycles.push(cycle)
  }
  return cycles
}

function shortestWayBack(start: string, next: Map<string, string[]>): string[] | undefined {
  const cameFrom = new Map<string, string>()
  const queue = [start]
  for (const file of queue)
    for (const target of next.get(file) ?? []) {
      if (target === start) {
        const path = [start]
        for (let at = file; at !== start; at = cameFrom.get(at)!) path.unshift(at)
        return [start, ...path]
      }
      if (cameFrom.has(target)) continue
      cameFrom.set(target, file)
      queue.push(target)
    }
  return undefined
}
