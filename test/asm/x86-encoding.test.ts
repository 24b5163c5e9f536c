/** @file The assembler against GNU `as`, byte for byte, over the forms of x86-forms.ts. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { assembleWithGnu, hasGnuAs } from '../../scripts/x86-golden.ts'
import { vectorOps } from '../../src/asm/x86-vector-ops.ts'
import { allForms, type Form } from './x86-forms.ts'

const forms = allForms()

/** The first few forms whose bytes are not the expected ones. */
function differences(expected: (form: Form, index: number) => string | undefined): string[] {
  const found: string[] = []
  for (const [i, form] of forms.entries()) {
    const bytes = Buffer.from(form.bytes).toString('hex')
    const wanted = expected(form, i)
    if (bytes !== wanted) found.push(`${form.text}: ${bytes}, expected ${wanted}`)
    if (found.length === 20) break
  }
  return found
}

test('every form is encoded as in the golden table, which GNU as wrote', () => {
  const table = gunzipSync(readFileSync(new URL('x86-golden.txt.gz', import.meta.url)))
  const golden = new Map<string, string>()
  for (const line of table.toString().split('\n')) {
    const space = line.indexOf(' ')
    golden.set(line.slice(space + 1), line.slice(0, space))
  }
  // A form that the table lacks: run scripts/x86-golden.ts.
  expect(differences(({ text }) => golden.get(text))).toEqual([])
})

// Skipped where there is no GNU as for x86-64 on the path.
test.skipIf(!hasGnuAs())('every form is encoded as GNU as does it here', () => {
  const expected = assembleWithGnu(forms.map(({ text }) => text))
  expect(differences((_, i) => expected[i])).toEqual([])
})

test('the forms cover every row', () => {
  const mnemonics = new Set(forms.map(({ text }) => text.split(' ')[0]))
  const missing = Object.keys(vectorOps).filter((op) => !mnemonics.has(op.split('.')[0]))
  expect(missing).toEqual([])
  expect(forms.length).toBeGreaterThan(50_000)
})
