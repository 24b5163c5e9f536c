import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { serveFolder, type StaticServer } from '../../scripts/static-server.ts'

let folder = ''
let server: StaticServer
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-serve-'))
  mkdirSync(join(folder, 'public/sub folder'), { recursive: true })
  writeFileSync(join(folder, 'secret.txt'), 'secret')
  mkdirSync(join(folder, 'public-not'))
  writeFileSync(join(folder, 'public-not/secret.txt'), 'secret')
  writeFileSync(join(folder, 'public/index.html'), '<p>hello')
  writeFileSync(join(folder, 'public/sub folder/code.js'), 'export {}')
  server = await serveFolder(join(folder, 'public'))
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

test('serves files with their types, and index.html for a folder', async () => {
  const index = await fetch(server.url)
  expect([index.status, await index.text()]).toEqual([200, '<p>hello'])
  expect(index.headers.get('content-type')).toBe('text/html; charset=utf-8')
  const code = await fetch(`${server.url}sub%20folder/code.js?v=2`)
  expect(await code.text()).toBe('export {}')
  expect(code.headers.get('content-type')).toBe('text/javascript; charset=utf-8')
})

test.each([
  '/nothing.html',
  '/sub%20folder',
  '/../secret.txt',
  '/..%2fsecret.txt',
  '/..%2fpublic-not%2fsecret.txt',
  '/%00',
  '/%zz',
  '//',
])('answers 404 for %s', async (path) => {
  expect(await rawStatus(path)).toBe('HTTP/1.1 404 Not Found')
})

/** The status line of an answer; clients such as fetch would tidy the path up first. */
function rawStatus(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server.url)
    const socket = connect(Number(port), hostname)
    socket.once('error', reject)
    socket.once('data', (data) => {
      resolve(data.toString().split('\r\n', 1)[0]!)
      socket.destroy()
    })
    socket.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`)
  })
}
