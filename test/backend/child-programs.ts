/** @file Programs that run in a process of their own, with inner parts of the library at hand. */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { rolldown } from 'rolldown'

export interface Ended {
  readonly code: number
  readonly signal: string | null
  readonly output: string
  readonly complaint: string
}

export interface ChildPrograms {
  /** Runs a program that may import what the library exports from './library.mjs'. */
  run(code: string, environment?: Readonly<Record<string, string>>): Promise<Ended>
  remove(): void
}

/** Bundles a module, whose imports may begin with '@/' for the project's folder, for programs to import. */
export async function childPrograms(library: string): Promise<ChildPrograms> {
  // Inside the project, where packages are found.
  mkdirSync('build', { recursive: true })
  const folder = mkdtempSync('build/child-')
  writeFileSync(join(folder, 'entry.ts'), library)
  const bundle = await rolldown({
    input: join(folder, 'entry.ts'),
    platform: 'neutral',
    external: /^node:/,
    resolve: { conditionNames: ['source', 'import'] },
    plugins: [
      { name: 'root', resolveId: (id) => (id.startsWith('@/') ? resolve(id.slice(2)) : null) },
    ],
  })
  await bundle.write({ file: join(folder, 'library.mjs'), codeSplitting: false })
  await bundle.close()
  let count = 0
  return {
    async run(code, environment = {}) {
      const name = join(folder, `program${count++}.mjs`)
      writeFileSync(name, code)
      const options = { timeout: 40_000, env: { ...process.env, ...environment } }
      const child = await promisify(execFile)(process.execPath, [name], options).catch(
        (error: { code: number; signal: string | null; stdout: string; stderr: string }) => error,
      )
      return {
        code: 'code' in child ? child.code : 0,
        signal: 'signal' in child ? child.signal : null,
        output: child.stdout,
        complaint: child.stderr,
      }
    },
    remove: () => rmSync(folder, { recursive: true }),
  }
}
