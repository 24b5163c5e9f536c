/** @file The way to the file system, where there is one. */
import { UnsupportedError, ValueError } from '../util/errors.ts'
import type * as nodeFiles from './files.node.ts'

/** Reading and writing files. Throws an UnsupportedError in a browser, naming what works there. */
export async function files(where: string, instead: string): Promise<typeof nodeFiles> {
  const { process } = globalThis as { process?: { versions?: { node?: string } } }
  if (process?.versions?.node === undefined)
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
