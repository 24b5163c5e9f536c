/** @file Reads the TypeScript sources below a folder into a table, the form the checkers work on. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Maps the path of each `.ts` file below `root` (relative to it, with forward slashes) to its text. */
export function readSources(root: string): Map<string, string> {
  const paths = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'))
    .map((path) => path.replaceAll('\\', '/'))
    .sort()
  return new Map(paths.map((path) => [path, readFileSync(join(root, path), 'utf8')]))
}
