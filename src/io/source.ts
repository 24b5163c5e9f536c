/** @file Bytes from where a user says they are: a path, or an address. */
import { ValueError } from '../util/errors.ts'
import { files, hasFiles } from './files.ts'

/** Whether something is fetched: a URL, and in a browser any text. */
export const isAddress = (source: unknown): boolean =>
  source instanceof URL || (typeof source === 'string' && source !== '' && !hasFiles())

/** The bytes at a source, or those of a file in the folder that it names. */
export async function readSource(
  where: string,
  source: string | URL,
  file?: string,
): Promise<Uint8Array> {
  if (isAddress(source)) return fetchBytes(where, addressOf(source, file))
  const path = file === undefined ? `${source}` : `${String(source).replace(/[/\\]+$/, '')}/${file}`
  const { readBytes } = await files(where, 'bytes')
  return readBytes(where, path)
}

function addressOf(source: string | URL, file: string | undefined): URL {
  const { location } = globalThis as { location?: { href: string } }
  const url = new URL(source, location?.href)
  if (file !== undefined) url.pathname = `${url.pathname.replace(/\/+$/, '')}/${file}`
  return url
}

async function fetchBytes(where: string, url: URL): Promise<Uint8Array> {
  const fail = (what: string, cause?: unknown): never => {
    throw new ValueError(`${where}: cannot fetch ${url.href} (${what}). Check the address`, {
      cause,
    })
  }
  try {
    const response = await fetch(url)
    if (!response.ok) return fail(`${response.status} ${response.statusText}`)
    return new Uint8Array(await response.arrayBuffer())
  } catch (error) {
    return error instanceof ValueError ? Promise.reject(error) : fail(String(error), error)
  }
}
