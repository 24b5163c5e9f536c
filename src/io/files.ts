/** @file The way to the file system, where there is one. */
import { UnsupportedError, ValueError } from '../util/errors.ts'
import type * as nodeFiles from './files.node.ts'

/** Whether there is a file system here: not in a browser. */
export function hasFiles(): boolean {
  const { process } = globalThis as { process?: { versions?: { node?: string } } }
  return process?.versions?.node !== undefined
}

/** Reading and writing files. Throws an UnsupportedError in a browser, naming what works there. */
export async function files(where: string, instead: string): Promise<typeof nodeFiles> {
  if (!hasFiles())
    throw new UnsupportedError(`${where}: a browser has no file system. Use ${instead}`)
  return import('./files.node.ts')
}

/** Throws a ValueError unless `path` is text. */
export function checkPath(where: string, path: unknown): asserts path is string {
  if (typeof path === 'string' && path !== '') return
  throw new ValueError(
    `${where}: the path is ${path === '' ? 'empty' : `of type ${typeof path}`}. Expected the name of a file`,
  )
}
