/** @file What the command line decides before any benchmark is loaded. */

export interface Settings {
  /** Threads that every contender may use; tfjs and jax-js have one in Node whatever is asked for. */
  threads: number
  /** Whether only a glance is wanted: fewer and shorter rounds, and fewer cases. */
  quick: boolean
}

/** The settings in force; `main.ts` sets them first. */
export const settings: Settings = { threads: 1, quick: false }

/** For names of cases: '1 thread', '2 threads'. */
export function threadsText(): string {
  return settings.threads === 1 ? '1 thread' : `${settings.threads} threads`
}
