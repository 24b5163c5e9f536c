/** @file Files that are kept between processes: they appear whole, and under names that are hashes. */
import type * as NodeCrypto from 'node:crypto'
import type * as NodeFiles from 'node:fs'
import type * as NodePath from 'node:path'
import { builtinModule } from './native.ts'

// The backend needs it as well: without it nobody comes here.
export const fs = builtinModule<typeof NodeFiles>('fs')!
const { createHash, randomUUID } =
  builtinModule<typeof NodeCrypto>('crypto') ?? ({} as typeof NodeCrypto)
const { dirname } = builtinModule<typeof NodePath>('path') ?? ({} as typeof NodePath)

/**
 * Writes a file under another name and renames it, in a folder that only the user can read; `check` may refuse
 * the folder. Throws what fails, with nothing left behind.
 */
export function writeWhole(
  path: string,
  content: string | Uint8Array,
  check: (folder: string) => void = () => {},
): void {
  const temporary = `${path}.${randomUUID()}.part`
  try {
    const folder = dirname(path)
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
    check(folder)
    fs.writeFileSync(temporary, content, { flag: 'wx', mode: 0o600 })
    fs.renameSync(temporary, path)
  } catch (error) {
    removeQuietly(temporary)
    throw error
  }
}

export function removeQuietly(path: string): void {
  try {
    fs.rmSync(path, { force: true })
  } catch {
    // It goes another time.
  }
}

export const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest()

/** A name for texts. */
export function hashOf(...texts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256')
  // Lengths keep 'ab', 'c' and 'a', 'bc' apart.
  for (const text of texts) hash.update(`${text.length}:`).update(text)
  return hash.digest('hex')
}

/** Whether an error says that there is no such file. */
export const isMissing = (error: unknown): boolean =>
  (error as NodeJS.ErrnoException).code === 'ENOENT'
