/** @file Files, for Node, Deno and Bun; browsers never load it. */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { FormatError, ValueError } from '../util/errors.ts'

/**
 * The content of a file. Throws a ValueError when there is none, a FormatError when it cannot be read.
 *
 * @example
 * await readBytes('load', 'no-such-file')
 * // ValueError: load: there is no file no-such-file. Check the path
 */
export async function readBytes(where: string, path: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const { buffer, byteOffset, byteLength } = await readFile(path)
    return new Uint8Array(buffer, byteOffset, byteLength)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT')
      throw new ValueError(
        `${where}: there is no file ${path}. Check the path; relative ones start at ${process.cwd()}`,
        { cause: error },
      )
    throw new FormatError(`${where}: cannot read ${path} (${message}). Expected a readable file`, {
      cause: error,
    })
  }
}

/**
 * Writes a file so that nobody, in this process or another or after a crash, ever sees half of it:
 * under a temporary name in the same folder, renamed when it is safely on the disk. The folder is
 * made when missing. Throws the file system's own error; the temporary file is then gone.
 *
 * @example no-run
 * await writeAtomically('data/labels', Uint8Array.of(1, 2, 3))
 */
export async function writeAtomically(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const temporary = join(dirname(path), `.${basename(path)}.${crypto.randomUUID()}.part`)
  try {
    const file = await open(temporary, 'wx')
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}
