/**
 * @file Writes test/asm/x86-golden.txt.gz: what GNU `as` makes of each instruction of the tests.
 *
 * The tests say which instructions, in text; every byte of the table comes from `as`, never from our
 * own assembler. Run after a change of the tables: `npm run -s build && node build/scripts/x86-golden.js`.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { gzipSync } from 'node:zlib'
import { rolldown } from 'rolldown'

/** Whether GNU `as` for x86-64 and `objcopy` can be run here. */
export function hasGnuAs(): boolean {
  try {
    const version = execFileSync('as', ['--version'], { encoding: 'utf8', stdio: 'pipe' })
    execFileSync('objcopy', ['--version'], { stdio: 'pipe' })
    return version.includes('GNU') && version.includes('x86_64')
  } catch {
    return false
  }
}

/** The bytes that `as` writes for each instruction, in hexadecimal; `L0` is the address behind it. */
export function assembleWithGnu(texts: readonly string[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-as-'))
  try {
    const file = (name: string) => join(folder, name)
    const lines = texts.flatMap((text, i) => [
      `s${i}: ${text.replace(/\bL0\b/, `e${i}`)}`,
      `e${i}:`,
    ])
    const lengths = texts.map((_, i) => `.byte e${i}-s${i}`)
    writeFileSync(
      file('in.s'),
      ['.intel_syntax noprefix', '.text', ...lines, '.section lengths', ...lengths, ''].join('\n'),
    )
    execFileSync('as', ['-W', '--64', '-o', file('out.o'), file('in.s')])
    const section = (name: string) => {
      const flags = ['--set-section-flags', 'lengths=alloc', '-O', 'binary', '-j', name]
      execFileSync('objcopy', [...flags, file('out.o'), file('out.bin')])
      return readFileSync(file('out.bin'))
    }
    const code = section('.text')
    let end = 0
    return Array.from(section('lengths'), (length) => code.toString('hex', end, (end += length)))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-golden-'))
  // The sources of the tests are TypeScript, which Node cannot run as it is.
  const bundle = await rolldown({ input: 'test/asm/x86-forms.ts', platform: 'node' })
  await bundle.write({ dir: folder, entryFileNames: 'forms.mjs' })
  const { allForms } = (await import(pathToFileURL(join(folder, 'forms.mjs')).href)) as {
    allForms: () => { text: string }[]
  }
  rmSync(folder, { recursive: true })
  const texts = allForms().map(({ text }) => text)
  const table = assembleWithGnu(texts).map((bytes, i) => `${bytes} ${texts[i]}\n`)
  const compressed = gzipSync(table.join(''), { level: 9 })
  writeFileSync('test/asm/x86-golden.txt.gz', compressed)
  console.log(`${texts.length} instructions, ${compressed.length} bytes`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
