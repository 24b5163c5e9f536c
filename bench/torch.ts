/** @file PyTorch as a contender: a process of its own that takes its turns like everybody else. */

import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { NotInstalled, type Contender, type Setup } from './harness.ts'
import { settings } from './settings.ts'

const folder = join(process.cwd(), 'bench', 'peers')
const python = join(folder, '.venv', 'bin', 'python')

/** PyTorch's name in results, with the version that is installed. */
export const TORCH = `torch ${installedVersion()}`

/** The same by `torch.compile`. */
export const TORCH_COMPILED = `${TORCH}, compiled`

/**
 * Blocks of the sizes that occur here are kept by malloc rather than given back and faulted in again,
 * as PyTorch's tuning guide advises; without this, large elementwise operations take twice as long.
 */
const ENVIRONMENT = {
  MALLOC_MMAP_THRESHOLD_: String(32 * 2 ** 20),
  MALLOC_TRIM_THRESHOLD_: String(4 * 2 ** 30),
  MALLOC_TOP_PAD_: String(256 * 2 ** 20),
}

/** Longer than waiting OpenMP threads spin before they sleep. */
const SPIN_MILLISECONDS = 20

/** A contender for one case of `bench/peers/torch_cases.py`, by the bench's name and its arguments. */
export function torchContender(bench: string, options: Record<string, unknown>): Setup {
  return async (): Promise<Contender> => {
    // Both ways of running a case take part in one comparison.
    const kind = options['compiled'] === true ? 'compiled' : 'eager'
    const peer = running.get(kind) ?? startPeer()
    running.set(kind, peer)
    const { threads } = settings
    await peer.ask(`setup ${JSON.stringify({ bench, threads, ...options })}`)
    return {
      batch: async (count) => Number(await peer.ask(`batch ${count}`)),
      ...(threads > 1 && { settle: SPIN_MILLISECONDS }),
      sample: async () => JSON.parse(await peer.ask('sample')) as number[],
    }
  }
}

/** Bytes that a case takes at most, above those of PyTorch idle; undefined where it is not installed. */
export function torchMemory(bench: string, options: Record<string, unknown>): number | undefined {
  if (!existsSync(python)) return undefined
  const text = JSON.stringify({ bench, threads: settings.threads, ...options })
  const program = join(folder, 'torch_memory.py')
  const { status, stdout, stderr } = spawnSync(python, [program, text], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`torch_memory failed:\n${stderr}`)
  return Number(stdout)
}

/** Ends the processes that were started. */
export function closeTorch(): void {
  for (const peer of running.values()) peer.close()
  running.clear()
}

const running = new Map<'eager' | 'compiled', Peer>()

function startPeer(): Peer {
  if (!existsSync(python)) throw new NotInstalled('not installed; run bench/peers/setup')
  return new Peer()
}

/** The process: one question at a time, one line of answer to each. */
class Peer {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: Interface
  #answered: ((line: string) => void) | undefined
  #failed: ((error: Error) => void) | undefined
  #ended: Error | undefined
  #complaints = ''

  constructor() {
    this.#child = spawn(python, [join(folder, 'torch_peer.py')], {
      env: { ...process.env, ...ENVIRONMENT },
    })
    this.#lines = createInterface(this.#child.stdout)
    this.#lines.on('line', (line) => this.#answered?.(line))
    this.#child.stderr.on('data', (text) => (this.#complaints += String(text)))
    this.#child.stdin.on('error', () => undefined) // told by `close`, with what it complained about
    this.#child.on('error', (error) => this.#end(error))
    this.#child.on('close', () => this.#end(new Error(`torch peer ended:\n${this.#complaints}`)))
  }

  async ask(line: string): Promise<string> {
    const answer = await new Promise<string>((resolve, reject) => {
      if (this.#ended !== undefined) return reject(this.#ended)
      this.#answered = resolve
      this.#failed = reject
      this.#child.stdin.write(`${line}\n`)
    })
    if (answer.startsWith('missing ')) throw new NotInstalled(answer.slice('missing '.length))
    if (answer.startsWith('error ')) throw new Error(`torch peer: ${answer} (asked: ${line})`)
    return answer
  }

  close(): void {
    this.#child.stdin.end()
    this.#lines.close()
  }

  #end(error: Error): void {
    this.#ended ??= error
    this.#failed?.(error)
  }
}

/** Read from the files, as starting Python only to ask would take seconds. */
function installedVersion(): string {
  const lib = join(folder, '.venv', 'lib')
  if (!existsSync(lib)) return '(absent)'
  for (const name of readdirSync(lib)) {
    const file = join(lib, name, 'site-packages', 'torch', 'version.py')
    const found = existsSync(file) && /__version__ = '(\d+\.\d+)/.exec(readFileSync(file, 'utf8'))
    if (found) return found[1]!
  }
  return '(absent)'
}
