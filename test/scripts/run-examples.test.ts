/** @file The example runner: what passes, what fails and how it says so, on made-up modules. */

import { describe, expect, test } from 'vitest'
import { parseExample, runExample } from '../../scripts/run-examples.ts'
import { printsAs, showValue } from '../../scripts/show-value.ts'

class ShapeError extends Error {
  override name = 'ShapeError'
}

class FakeTensor {
  readonly values: number[]
  constructor(values: number[]) {
    this.values = values
  }
  add(other: FakeTensor): FakeTensor {
    if (other.values.length !== this.values.length)
      throw new ShapeError(`add: shapes differ: [${this.values.length}] and others`)
    return new FakeTensor(this.values.map((v, i) => v + other.values[i]!))
  }
  toString(): string {
    return `tensor([${this.values.join(', ')}], float32)`
  }
}

const tensor = (values: number[]) => new FakeTensor(values)
const nn = { width: 3 }
const run = (...lines: string[]) =>
  runExample(lines.join('\n'), { tensor, nn }, { tandem: { tensor }, 'tandem/nn': nn })

describe('examples that hold', () => {
  const good: Record<string, string[]> = {
    'a value beside an expression': [
      'tensor([1, 2]).add(tensor([3, 4])) // -> tensor([4, 6], float32)',
    ],
    'an arrow, spacing and dots': ['tensor([1, 2]) // →  tensor( [1, 2], ...'],
    'a value below, over several lines': [
      '[1, 2]',
      '// -> [',
      '//   1,',
      '//   2]',
      '// a comment that is nothing else',
    ],
    'a value of a constant': ['const a: number = 1 + 1 // -> 2', 'a * 2 // -> 4'],
    'console.log': ['console.log("sum", tensor([1])) // -> sum tensor([1], float32)'],
    'an error below': [
      'const sum = tensor([1]).add(tensor([1, 2]))',
      '// ShapeError: add: shapes differ: [1] ...',
    ],
    'an error by the name of its base class': ['tensor([1]).add(tensor([])) // Error: add:'],
    'an error of a promise': ['await Promise.reject(new TypeError("no")) // TypeError: no'],
    'top-level await': ['const x = await Promise.resolve(3)', 'x // -> 3'],
    'imports, with types among them': [
      `import type { Tensor } from 'tandem'`,
      `import { tensor as make, type Other } from 'tandem'`,
      `import * as layers from 'tandem/nn'`,
      'layers.width // -> 3',
      'const t: Tensor = make([7])',
      't // -> tensor([7], float32)',
    ],
    'names in scope, and shadowed': ['nn.width // -> 3', 'const tensor = 5', 'tensor // -> 5'],
    'assertions inside a loop': ['for (const x of [2, 2]) {', '  x + 1 // -> 3', '}'],
    'lines that begin with a bracket': ['const a = 1', ';[a, a].length // -> 2'],
  }
  test.each(Object.entries(good))('%s', async (_, lines) => {
    await run(...lines)
  })
})

describe('examples that do not hold', () => {
  const bad: [string, string[], RegExp][] = [
    ['a wrong value', ['1 + 1', '// -> 3'], /line 2: expected 3, received 2/],
    ['a forgotten await', ['Promise.resolve(1) // -> 1'], /expected 1, received Promise/],
    [
      'a wrong message',
      ['tensor([1]).add(tensor([])) // ShapeError: no'],
      /received ShapeError: add/,
    ],
    ['a wrong class', ['tensor([1]).add(tensor([])) // TypeError: add'], /expected TypeError/],
    ['no error', ['tensor([1]) // ShapeError: add'], /nothing was thrown/],
    ['an assertion after nothing', ['// -> 3'], /line 1: .* does not follow a statement/],
    [
      'an assertion never reached',
      ['if (nn.width < 0) {', 'nn // -> 1', '}'],
      /line 2: .* never ran/,
    ],
    ['an unknown module', [`import { x } from 'tandem/none'`, 'x'], /no module 'tandem\/none'/],
    ['a syntax error', ['const = 1'], /example: /],
    ['an unexpected error', ['tensor([1]).add(tensor([]))'], /shapes differ/],
    ['a comparison of two', ['const a = 1, b = 2 // -> 1'], /one variable at a time/],
  ]
  test.each(bad)('%s', async (_, lines, message) => {
    await expect(run(...lines)).rejects.toThrow(message)
  })
})

test('no-run examples only have to parse', () => {
  parseExample('const model: Model = await load("x") // -> anything\nif (x) {} // -> 1')
  expect(() => parseExample('const =')).toThrow(/example: /)
})

test('values print like this', () => {
  const shown: [unknown, string][] = [
    [[1, [2]], '[1, [2]]'],
    [{ a: 1, b: { c: 'x' } }, `{ a: 1, b: { c: 'x' } }`],
    [{}, '{}'],
    [
      new (class Point {
        x = 1
      })(),
      'Point { x: 1 }',
    ],
    [new Float32Array([1, 2]), 'Float32Array [1, 2]'],
    [new Map([['a', 1]]), `Map { 'a' => 1 }`],
    [new Set([1]), 'Set { 1 }'],
    [null, 'null'],
    [undefined, 'undefined'],
    [-0, '-0'],
    [3n, '3n'],
    [true, 'true'],
    [Object.create(null), '{}'],
  ]
  for (const [value, text] of shown) expect(showValue(value)).toBe(text)
})

test('printing is compared without regard to spacing and quotes', () => {
  expect(printsAs([1, 2], '[ 1,\n 2 ]')).toBe(true)
  expect(printsAs('abc', 'abc')).toBe(true)
  expect(printsAs('abc', '"abc"')).toBe(true)
  expect(printsAs(new Float32Array(1), 'Float32Array(1) [ 0 ]')).toBe(true)
  expect(printsAs(0.123456, '0.123...')).toBe(true)
  expect(printsAs(0.123456, '0.123')).toBe(false)
})

test('where another device is the default, cpu in an example stands for it', async () => {
  expect(printsAs('tensor(1, float32, wasm)', 'tensor(1, float32, cpu)', 'wasm')).toBe(true)
  expect(printsAs('tensor(1, float32, wasm)', 'tensor(1, float32, cpu)')).toBe(false)
  expect(printsAs('cpus', 'cpus', 'wasm')).toBe(true)
  await runExample("device // -> 'cpu'", { device: 'wasm' }, {}, 'wasm')
})
