/** @file Bundles the browser example into a folder that any static server can serve. */
import { cpSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { rolldown, type Plugin } from 'rolldown'

// Paths are from the project's folder, where npm runs scripts and tests.
const source = 'examples/browser'

/** Where the example goes, unless told otherwise. */
export const browserFolder = 'build/browser'

/** One file of the bundle. */
export interface BundledFile {
  readonly name: string
  readonly bytes: number
  readonly gzipped: number
}

/** Modules for Node alone become empty: browsers never get as far as loading one. */
export const withoutNode: Plugin = {
  name: 'without-node',
  load: (id) => (id.endsWith('.node.ts') ? 'export {}' : undefined),
}

/**
 * Bundles page and worker of the example, each into one script, and copies what goes with them.
 * Sources are taken as they are; nothing has to be built before. Returns the scripts' sizes.
 */
export async function bundleBrowser(folder = browserFolder): Promise<BundledFile[]> {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const name of ['index.html', 'style.css']) cpSync(join(source, name), join(folder, name))
  const files: BundledFile[] = []
  // One after the other: the two share types only, and no third file should come of it.
  for (const name of ['page', 'worker']) {
    const bundle = await rolldown({
      input: join(source, `${name}.ts`),
      platform: 'browser',
      resolve: { conditionNames: ['source', 'browser', 'import'] },
      plugins: [withoutNode],
    })
    const { output } = await bundle.write({
      file: join(folder, `${name}.js`),
      minify: true,
      sourcemap: true,
      codeSplitting: false,
    })
    await bundle.close()
    for (const file of output)
      if (file.type === 'chunk')
        files.push({
          name: file.fileName,
          bytes: Buffer.byteLength(file.code),
          gzipped: gzipSync(file.code, { level: 9 }).length,
        })
  }
  return files
}

/** The sizes as lines of text. */
export function sizeLines(files: readonly BundledFile[]): string[] {
  const line = (name: string, bytes: number, gzipped: number) =>
    `${name.padEnd(12)}${kilobytes(bytes)} kB ${kilobytes(gzipped)} kB gzipped`
  const total = (key: 'bytes' | 'gzipped') => files.reduce((sum, file) => sum + file[key], 0)
  return [
    ...files.map(({ name, bytes, gzipped }) => line(name, bytes, gzipped)),
    line('total', total('bytes'), total('gzipped')),
  ]
}

function kilobytes(bytes: number): string {
  return (bytes / 1000).toFixed(1).padStart(7)
}
