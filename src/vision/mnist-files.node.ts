/** @file The file system behind the MNIST loader, for Node, Deno and Bun; browsers never load it. */
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { cacheFolder } from '../util/cache-folder.ts'
import { FormatError } from '../util/errors.ts'

export { writeAtomically } from '../io/files.node.ts'

/**
 * Where downloads are kept unless the caller says otherwise: the folder `mnist` in that of `cacheFolder`;
 * undefined where nothing is to be kept.
 *
 * @example
 * defaultCacheFolder()?.endsWith('mnist') // -> true
 */
export function defaultCacheFolder(): string | undefined {
  const folder = cacheFolder(homedir())
  return folder === undefined ? undefined : join(folder, 'mnist')
}

/**
 * Reads the first of several files that exists.
 *
 * @returns its path and content, or undefined when the folder has none of them.
 * @throws FormatError when a file is there, but cannot be read.
 * @example
 * await readFirst('no-such-folder', ['labels.gz', 'labels']) // -> undefined
 */
export async function readFirst(
  folder: string,
  names: readonly string[],
): Promise<{ path: string; bytes: Uint8Array } | undefined> {
  for (const name of names) {
    const path = join(folder, name)
    try {
      return { path, bytes: await readFile(path) }
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code !== 'ENOENT' && code !== 'ENOTDIR')
        throw new FormatError(`MNIST: cannot read ${path} (${message}). Expected a readable file`, {
          cause: error,
        })
    }
  }
  return undefined
}
