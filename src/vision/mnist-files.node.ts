/** @file The file system behind the MNIST loader, for Node, Deno and Bun; browsers never load it. */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { FormatError } from '../util/errors.ts'

/**
 * Where downloads are kept unless the caller says otherwise: the folder `mnist` in `$TANDEM_CACHE`,
 * or in `~/.cache/tandem` when that variable is unset or empty.
 *
 * @example
 * defaultCacheFolder().endsWith('mnist') // -> true
 */
export function defaultCacheFolder(): string {
  return join(process.env['TANDEM_CACHE'] || join(homedir(), '.cache', 'tandem'), 'mnist')
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

/**
 * Writes a file so that no reader, in this process or another, ever sees half of it: under a
 * temporary name in the same folder, renamed when complete. The folder is made when missing.
 *
 * @throws the file system's own error; the temporary file is then gone.
 * @example no-run
 * await writeAtomically('data', 'labels', Uint8Array.of(1, 2, 3))
 */
export async function writeAtomically(folder: string, name: string, bytes: Uint8Array) {
  await mkdir(folder, { recursive: true })
  const temporary = join(folder, `.${name}.${crypto.randomUUID()}.part`)
  try {
    await writeFile(temporary, bytes)
    await rename(temporary, join(folder, name))
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}
