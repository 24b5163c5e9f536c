/** @file Every switch of the library: the debug ladder and a few others, each typed and documented. */

export interface Config {
  /** The debug ladder, 0 (silent) to 5; see the table in docs/debugging.md. Set by TANDEM_DEBUG. */
  debug: number
  /** Stops at the first operation that makes a NaN or an infinity out of finite numbers. Set by TANDEM_CHECK_NAN=1. */
  checkNaN: boolean
  /** The backend new tensors live on. Set by TANDEM_BACKEND. */
  backend: string | undefined
  /** Instructions of the `cpu` backend: the lower level where the processor has both. Read when it is made. Set by TANDEM_CPU. */
  cpu: 'avx512' | 'avx2' | undefined
  /** Threads of the `cpu` backend; by default one per core, at most 16. Read when it is made; later, call `setNumThreads`. Set by TANDEM_NUM_THREADS. */
  numThreads: number | undefined
  /**
   * Whether convolutions of many channels multiply less by Winograd's algorithm, as cuDNN's do: results differ by
   * some 1e-6 of their size from the plain sums, and one infinity makes a whole tile of 6 x 6 NaN. Set off by TANDEM_WINOGRAD=0.
   */
  winograd: boolean
  /** Puts every block of the `cpu` backend between pages that fault, to find kernels that stray. Slow. Set by TANDEM_GUARD=1. */
  guard: boolean
  /** Shares even the smallest loops of the `cpu` backend among its threads, to find kernels whose parts collide. Slow. Set by TANDEM_SHARE_ALL=1. */
  shareAll: boolean
  /** Kernels of the `cpu` backend write even the smallest results past the caches. Read when it is made. Slow. Set by TANDEM_STREAM_ALL=1. */
  streamAll: boolean
}

const environment: Record<string, string | undefined> =
  (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env ?? {}

/** The switches in force. Change them with `withConfig`, or for good with `configure`. */
export const config: Config = {
  debug: Number(environment['TANDEM_DEBUG'] ?? 0) || 0,
  checkNaN: environment['TANDEM_CHECK_NAN'] === '1',
  backend: environment['TANDEM_BACKEND'] || undefined,
  cpu: levelOf(environment['TANDEM_CPU']),
  numThreads: Number(environment['TANDEM_NUM_THREADS'] ?? 0) || undefined,
  winograd: environment['TANDEM_WINOGRAD'] !== '0',
  guard: environment['TANDEM_GUARD'] === '1',
  shareAll: environment['TANDEM_SHARE_ALL'] === '1',
  streamAll: environment['TANDEM_STREAM_ALL'] === '1',
}

function levelOf(text: string | undefined): Config['cpu'] {
  return text === 'avx2' || text === 'avx512' ? text : undefined
}

/** Changes switches for the rest of the process. */
export function configure(changes: Partial<Config>): void {
  Object.assign(config, changes)
}

/**
 * Runs `body` with some switches changed, and changes them back afterwards.
 *
 * @example
 * withConfig({ debug: 0 }, () => tensor([1, 2]).sum().itemSync()) // -> 3
 */
export function withConfig<T>(changes: Partial<Config>, body: () => T): T {
  const before = { ...config }
  Object.assign(config, changes)
  try {
    return body()
  } finally {
    Object.assign(config, before)
  }
}

/** Prints a line when the debug ladder stands at `level` or above; the text is only made then. */
export function debug(level: number, text: () => string): void {
  if (config.debug < level) return
  // eslint-disable-next-line no-console -- the one place that prints
  console.error(`[tandem ${level}] ${text()}`)
}
