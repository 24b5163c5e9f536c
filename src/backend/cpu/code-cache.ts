/** @file Machine code that is kept between processes: a file for each compiled program, with the code of its kernels. */
import type * as NodeSystem from 'node:os'
import type * as NodePath from 'node:path'
import { cacheFolder } from '../../util/cache-folder.ts'
import { debug } from '../../util/config.ts'
import { version } from '../../util/version.ts'
import type { CodePart, CodeShelf, CodeSlot } from '../backend.ts'
import { ChoiceFile } from './choice-file.ts'
import type { CpuFeatures } from './features.ts'
import { fs, hashOf, isMissing, removeQuietly, sha256, writeWhole } from './kept-file.ts'
import { builtinModule } from './native.ts'

const { homedir } = builtinModule<typeof NodeSystem>('os') ?? ({} as typeof NodeSystem)
const { join } = builtinModule<typeof NodePath>('path') ?? ({} as typeof NodePath)

/**
 * Note [Kept code]: a file's name is a hash of what its code depends on: the library itself, the
 * processor, and the kernels of the program. Kernels refer to nothing but their arguments, so that
 * code is copied in as it is. What is run must be what was written: a file is used only when it lies
 * in a folder that nobody but the user may write, and its checksum is right; any other is written anew.
 * The checksum finds damage, the permissions keep others out. Files appear whole, by renaming, so
 * processes need not know of each other: who comes last wins, with the same content.
 *
 * Kernels of eager calls are not kept: each takes about as long to compile as a file takes to be read.
 */
export class CodeCache {
  readonly #folder: string
  /** What determines code beside the kernel. */
  readonly #maker: string
  readonly #limitBytes: number

  constructor(folder: string, maker: string, limitBytes = 128 << 20) {
    this.#folder = folder
    this.#maker = maker
    this.#limitBytes = limitBytes
  }

  /** The code of the program with kernels of these keys. */
  shelf(keys: readonly string[]): CodeShelf {
    const path = join(this.#folder, `${hashOf(this.#maker, ...keys)}${ending}`)
    const parts = this.#read(path)
    let isNew = false
    const slot = (key: string): CodeSlot => {
      const name = (part: CodePart) => `${hashOf(key)}.${part}`
      return {
        read: (part) => parts.get(name(part)),
        write: (part, bytes) => {
          parts.set(name(part), bytes)
          isNew = true
        },
      }
    }
    return {
      slot,
      save: () => {
        if (isNew) this.#write(path, parts)
        isNew = false
      },
    }
  }

  #read(path: string): Map<string, Uint8Array> {
    try {
      assertPrivate(this.#folder)
      const parts = unpack(fs.readFileSync(path))
      const now = new Date()
      // Those used longest ago go first.
      fs.utimesSync(path, now, now)
      return parts
    } catch (error) {
      if (!isMissing(error)) debug(1, () => `cpu: ${path} is not used: ${textOf(error)}`)
      return new Map()
    }
  }

  #write(path: string, parts: ReadonlyMap<string, Uint8Array>): void {
    try {
      writeWhole(path, pack(parts), assertPrivate)
      this.#limit()
    } catch (error) {
      debug(1, () => `cpu: code is not kept in ${this.#folder}: ${textOf(error)}`)
    }
  }

  // Another process may remove the same files: what is gone is gone.
  #limit(): void {
    const files = fs
      .readdirSync(this.#folder)
      .map((name) => join(this.#folder, name))
      .flatMap((path) => {
        const found = fs.statSync(path, { throwIfNoEntry: false })
        return found === undefined ? [] : { path, bytes: found.size, used: found.mtimeMs }
      })
      .sort((a, b) => b.used - a.used)
    let bytes = 0
    for (const file of files) {
      bytes += file.bytes
      // Half-written files of processes that are no more go in their turn.
      if (bytes > this.#limitBytes) removeQuietly(file.path)
    }
  }
}

/** The cache of this process; undefined where none is wanted, or the library is run from its sources. */
export function openCodeCache(features: CpuFeatures): CodeCache | undefined {
  const kept = whatIsKept(features)
  return kept && new CodeCache(join(kept.folder, 'code'), kept.maker)
}

/** The choices made on this machine with this library; of this process alone where nothing is kept. */
export function openChoices(features: CpuFeatures): ChoiceFile {
  const kept = whatIsKept(features)
  return new ChoiceFile(kept && join(kept.folder, 'choices', `${hashOf(kept.maker)}.json`))
}

/** Where things are kept, and what they depend on beside the kernel. */
function whatIsKept(features: CpuFeatures): { folder: string; maker: string } | undefined {
  const folder = cacheFolder(homedir())
  const library = libraryHash()
  if (folder === undefined || library === undefined) return undefined
  const maker = [version, library, process.platform, process.arch, JSON.stringify(features)]
  return { folder, maker: maker.join('\n') }
}

/**
 * Of the file that the code generator is in, which names what it imports by their hashes. Sources
 * change from one run to the next and are many files: nothing is kept of what they make.
 */
function libraryHash(): string | undefined {
  const { url } = import.meta
  if (!url.startsWith('file:') || url.endsWith('.ts')) return undefined
  try {
    return hashOf(fs.readFileSync(new URL(url)))
  } catch {
    return undefined
  }
}

// -- files: a magic word, a checksum of all that follows, the length of the index, the index, the parts

const ending = '.code'
const magic = 'tandem code 1\n'
const checksumBytes = 32
const bodyAt = magic.length + checksumBytes

type IndexEntry = readonly [name: string, bytes: number]

function pack(parts: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const entries = [...parts].map(([name, { length }]): IndexEntry => [name, length])
  const index = Buffer.from(JSON.stringify(entries))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(index.length)
  const body = Buffer.concat([length, index, ...parts.values()])
  return Buffer.concat([Buffer.from(magic), sha256(body), body])
}

/** Takes `pack` back. Throws an Error for anything else. */
function unpack(file: Buffer): Map<string, Uint8Array> {
  if (file.length < bodyAt + 4 || file.toString('latin1', 0, magic.length) !== magic)
    throw new Error('it is no file of this format')
  const body = file.subarray(bodyAt)
  if (!sha256(body).equals(file.subarray(magic.length, bodyAt)))
    throw new Error('its checksum is wrong')
  let at = 4 + body.readUInt32LE(0)
  const entries = JSON.parse(body.toString('utf8', 4, at)) as readonly IndexEntry[]
  return new Map(entries.map(([name, bytes]) => [name, body.subarray(at, (at += bytes))]))
}

/** Windows has no such bits, and keeps the folders of users apart by itself. */
function assertPrivate(folder: string): void {
  const { uid, mode } = fs.statSync(folder)
  if (process.platform === 'win32') return
  if (uid !== process.getuid?.()) throw new Error('the folder belongs to another user')
  if ((mode & 0o022) !== 0)
    throw new Error('others may write the folder; forbid it with chmod go-w, or remove it')
}

const textOf = (error: unknown) => (error as Error).message
