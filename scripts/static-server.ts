/** @file A small static server for local work: files of one folder, on this machine only. */
import { readFile } from 'node:fs/promises'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join, normalize, sep } from 'node:path'

const contentTypes: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.map': 'application/json',
  '.wasm': 'application/wasm',
}

/** A running server. */
export interface StaticServer {
  /** Ends with '/'. */
  readonly url: string
  close(): Promise<void>
}

/**
 * Serves the files below `folder`. Port 0 takes any free one. Rejects when the port is taken.
 *
 * @example no-run
 * const server = await serveFolder('build/browser', 8080)
 * console.log(server.url) // http://localhost:8080/
 * await server.close()
 */
export async function serveFolder(folder: string, port = 0): Promise<StaticServer> {
  const server = createServer((request, response) => {
    void answer(folder, request.url ?? '/', response)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function answer(folder: string, url: string, response: ServerResponse): Promise<void> {
  const file = fileOf(folder, url)
  try {
    const content = await readFile(file ?? '')
    response.writeHead(200, {
      'content-type': contentTypes[extname(file!)] ?? 'application/octet-stream',
      'cache-control': 'no-store',
    })
    response.end(content)
  } catch {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('Not found\n')
  }
}

/** The file an address means, or undefined when it lies outside the folder or makes no sense. */
function fileOf(folder: string, url: string): string | undefined {
  let path: string
  try {
    path = decodeURIComponent(new URL(url, 'http://localhost').pathname)
  } catch {
    return undefined
  }
  const inside = normalize(folder) + sep
  const file = join(inside, path.endsWith('/') ? `${path}index.html` : path)
  return file.startsWith(inside) && !file.includes('\0') ? file : undefined
}
