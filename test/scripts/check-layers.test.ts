/** @file Each rule of the layer checker, once kept and once broken, on small tables of files. */

import { describe, expect, test } from 'vitest'
import { checkLayers } from '../../scripts/layers-core.ts'

interface Case {
  rule: string
  files: Record<string, string>
  /** One pattern per violation expected, in order. */
  violations: RegExp[]
}

const cases: Case[] = [
  {
    rule: 'a file may import from its own floor and from lower ones',
    files: {
      'nn/linear.ts': `import { a } from './init.ts'\nimport { b } from '../ops/matmul.ts'`,
      'nn/init.ts': '',
      'ops/matmul.ts': `export * from '../core/dtype.ts'`,
      'core/dtype.ts': '',
    },
    violations: [],
  },
  {
    rule: 'a static import must not point up',
    files: { 'core/shape.ts': `\nimport { a } from '../ops/matmul.ts'` },
    violations: [
      /^src\/core\/shape\.ts:2: imports src\/ops\/matmul\.ts: imports point down only, and ops\/ is above core\/$/,
    ],
  },
  {
    rule: 'an export from must not point up',
    files: { 'ops/all.ts': `export { Linear } from '../nn/linear.ts'` },
    violations: [/nn\/ is above ops\//],
  },
  {
    rule: 'a dynamic import must not point up',
    files: { 'ops/all.ts': 'export const f = () => import(`../nn/linear.ts`)' },
    violations: [/nn\/ is above ops\//],
  },
  {
    rule: 'a named import of types still loads its module',
    files: { 'ops/all.ts': `import { type Linear } from '../nn/linear.ts'` },
    violations: [/nn\/ is above ops\//],
  },
  {
    rule: 'import type may point up',
    files: {
      'tensor/tensor.ts': [
        `import type * as ops from '../ops/all.ts'`,
        `export type { Linear } from '../nn/linear.ts'`,
        `type Net = import('../nn/net.ts').Net`,
        `type Path = typeof import('node:path')`,
      ].join('\n'),
    },
    violations: [],
  },
  {
    rule: 'comments, strings, templates and regular expressions are not imports',
    files: {
      'core/shape.ts': [
        `// import '../nn/a.ts'`,
        `/* import '../nn/b.ts' */`,
        `const text = "import '../nn/c.ts'"`,
        'const code = `${text /* } */} import "../nn/d.ts"`',
        `const pattern = /import '..\\/nn\\/e.ts'/`,
      ].join('\n'),
    },
    violations: [],
  },
  {
    rule: 'src/index.ts may import every floor',
    files: { 'index.ts': `export * from './train/model.ts'\nexport * from './util/errors.ts'` },
    violations: [],
  },
  {
    rule: 'nothing imports src/index.ts, not by the name of the package either',
    files: { 'train/model.ts': `import '../index.ts'\nimport 'tandem'\nimport 'tandem/nn'` },
    violations: [/:1: .*src\/index\.ts is above train\//, /:2: .*src\/index\.ts is above train\//],
  },
  {
    rule: 'an import through the .js name of a file counts as the file',
    files: { 'nn/a.ts': `import './b.js'`, 'nn/b.ts': `import './a.js'` },
    violations: [/import cycle: nn\/a\.ts -> nn\/b\.ts -> nn\/a\.ts/],
  },
  {
    rule: 'a cycle of value imports is reported once, as a path',
    files: {
      'nn/a.ts': `import './b.ts'`,
      'nn/b.ts': `import './c.ts'\nimport './leaf.ts'`,
      'nn/c.ts': `import './a.ts'`,
      'nn/leaf.ts': '',
    },
    violations: [
      /^src\/nn\/a\.ts: import cycle: nn\/a\.ts -> nn\/b\.ts -> nn\/c\.ts -> nn\/a\.ts$/,
    ],
  },
  {
    rule: 'a file that imports itself is a cycle',
    files: { 'nn/a.ts': `import './a.ts'` },
    violations: [/import cycle: nn\/a\.ts -> nn\/a\.ts/],
  },
  {
    rule: 'a cycle closed by a type-only or a dynamic import is none',
    files: {
      'nn/a.ts': `import './b.ts'\nimport './c.ts'`,
      'nn/b.ts': `import type { A } from './a.ts'`,
      'nn/c.ts': `export const load = () => import('./a.ts')`,
    },
    violations: [],
  },
  {
    rule: 'node: modules are fine in *.node.ts',
    files: { 'io/files.node.ts': `import { readFile } from 'node:fs/promises'` },
    violations: [],
  },
  {
    rule: 'node: modules are out of place elsewhere, with or without their prefix',
    files: { 'io/files.ts': `import 'node:fs'\nconst os = await import('node:os')\nimport 'path'` },
    violations: [
      /:1: imports node:fs: Node modules belong in files named \*\.node\.ts/,
      /:2: imports node:os/,
      /:3: imports path/,
    ],
  },
  {
    rule: '*.node.ts may be imported dynamically, as a type, and by another *.node.ts',
    files: {
      'io/save.ts': `import type { F } from './files.node.ts'\nawait import('./files.node.ts')`,
      'io/load.node.ts': `import './files.node.ts'`,
      'io/files.node.ts': '',
    },
    violations: [],
  },
  {
    rule: '*.node.ts must not be imported statically from elsewhere',
    files: { 'io/save.ts': `import './files.node.ts'`, 'io/files.node.ts': '' },
    violations: [/\*\.node\.ts may only be imported dynamically/],
  },
  {
    rule: 'asm may import asm and util',
    files: { 'asm/x86.ts': `import '../util/errors.ts'\nimport './bytes.ts'` },
    violations: [],
  },
  {
    rule: 'asm may import nothing else, although it is below',
    files: { 'asm/x86.ts': `import '../ir/expr.ts'\nimport 'koffi'` },
    violations: [/:1: .*asm\/ may import only util$/, /:2: .*asm\/ imports no packages/],
  },
  {
    rule: 'a folder that is no floor has to be documented',
    files: { 'sound/wave.ts': '', 'sound/mel.ts': '' },
    violations: [/^src\/sound\/: .*add the folder to docs\/architecture\.md/],
  },
]

describe('check-layers', () => {
  test.each(cases)('$rule', ({ files, violations }) => {
    const found = checkLayers(new Map(Object.entries(files))).violations
    expect(found, found.join('\n')).toHaveLength(violations.length)
    violations.forEach((pattern, i) => expect(found[i]).toMatch(pattern))
  })

  test('notes list type imports that point up, and computed dynamic imports', () => {
    const source = [
      `import type { A } from '../nn/a.ts'`,
      `import type { B } from './b.ts'`,
      'await import(name)',
    ].join('\n')
    expect(checkLayers(new Map([['ops/all.ts', source]])).notes).toEqual([
      'src/ops/all.ts:1: type-only import of src/nn/a.ts',
      'src/ops/all.ts:3: dynamic import of a computed name is not checked',
    ])
  })

  test('a file that does not parse is named', () => {
    expect(() => checkLayers(new Map([['nn/a.ts', 'import {']]))).toThrow(/^nn\/a\.ts: cannot/)
  })
})
