/** @file Where the library keeps what it can make or fetch again. */

interface Host {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly platform: string
}

/**
 * `$TANDEM_CACHE`, or else `tandem` in the user's folder of caches. Undefined with `TANDEM_CACHE=0`:
 * nothing is kept then. `home` is the user's own folder.
 *
 * @example
 * cacheFolder('/home/me')?.endsWith('tandem') // -> true
 */
export function cacheFolder(home: string): string | undefined {
  const { env: environment, platform } = (globalThis as unknown as { process: Host }).process
  const { TANDEM_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = environment
  if (TANDEM_CACHE === '0') return undefined
  if (TANDEM_CACHE) return TANDEM_CACHE
  const system = platform === 'win32' ? LOCALAPPDATA : XDG_CACHE_HOME
  return `${system || `${home}/.cache`}/tandem`
}
