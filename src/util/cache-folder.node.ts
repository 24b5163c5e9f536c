/** @file Where the library keeps what it can make or fetch again, for Node, Deno and Bun; browsers never load it. */
import { homedir } from 'node:os'
import { join } from 'node:path'

/**
 * `$TANDEM_CACHE`, or else `tandem` in the user's folder of caches. Undefined with `TANDEM_CACHE=0`:
 * nothing is kept then.
 *
 * @example
 * cacheFolder()?.endsWith('tandem') // -> true
 */
export function cacheFolder(): string | undefined {
  const { TANDEM_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env
  if (TANDEM_CACHE === '0') return undefined
  if (TANDEM_CACHE) return TANDEM_CACHE
  const system = process.platform === 'win32' ? LOCALAPPDATA : XDG_CACHE_HOME
  return join(system || join(homedir(), '.cache'), 'tandem')
}
