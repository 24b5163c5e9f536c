/** @file Collects the rows of every `*.samples.ts` file in this folder. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Row } from './row.ts'

export interface SampleFile {
  readonly file: string
  readonly rows: readonly Row[]
  /** Why the file could not be read, if so. */
  readonly problem?: unknown
}

/** The rows, file by file. A file that does not load is reported, and hides no other. */
export async function readRows(): Promise<SampleFile[]> {
  const names = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.samples.ts'))
  return Promise.all(
    names.sort().map(async (file) => {
      try {
        const url = pathToFileURL(join(import.meta.dirname, file)).href
        const { rows } = (await import(url)) as { rows: readonly Row[] }
        return { file, rows }
      } catch (problem) {
        return { file, rows: [], problem }
      }
    }),
  )
}
