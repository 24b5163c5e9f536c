/** @file Joins the library's modules into few files: Node takes half a millisecond to open each. */
import { readFileSync, rmSync } from 'node:fs'
import { rolldown } from 'rolldown'

interface Manifest {
  readonly exports: Readonly<Record<string, { readonly source: string; readonly default: string }>>
}

/**
 * Bundles every entry of package.json into `folder`, under the path it has below `dist`, with what
 * entries share in `chunks`. Sources are taken as they are. Returns the names of the files.
 */
export async function bundleLibrary(folder: string): Promise<string[]> {
  const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as Manifest
  const entries = Object.values(exports).map((entry) => [
    entry.default.replace(/^\.\/dist\/|\.js$/g, ''),
    entry.source,
  ])
  // What '#cpu' stands for; which of them is chosen where the library runs.
  for (const name of ['index', 'absent'])
    entries.push([`backend/cpu/${name}`, `./src/backend/cpu/${name}.ts`])
  rmSync(`${folder}/chunks`, { recursive: true, force: true })
  const bundle = await rolldown({
    input: Object.fromEntries(entries) as Record<string, string>,
    platform: 'neutral',
    external: /^(node:|#)/,
  })
  const { output } = await bundle.write({
    dir: folder,
    entryFileNames: '[name].js',
    // One folder down, so that the error stacks' "library's own" ends at `folder`.
    chunkFileNames: 'chunks/[name]-[hash].js',
    sourcemap: true,
  })
  await bundle.close()
  return output.map(({ fileName }) => fileName)
}
