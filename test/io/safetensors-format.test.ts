import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { allDTypes, dtypes } from '../../src/core/dtype.ts'
import {
  type SafetensorsEntry,
  parseSafetensors,
  serializeSafetensors,
} from '../../src/io/safetensors-format.ts'
import { FormatError, TandemError, UnsupportedError } from '../../src/util/errors.ts'

const utf8 = (text: string) => new TextEncoder().encode(text)

/** A file with any header text and any data, valid or not. */
function file(header: string | object, data: ArrayLike<number> = []): Uint8Array {
  const text = utf8(typeof header === 'string' ? header : JSON.stringify(header))
  const bytes = new Uint8Array(8 + text.length + data.length)
  new DataView(bytes.buffer).setUint32(0, text.length, true)
  bytes.set(text, 8)
  bytes.set(data, 8 + text.length)
  return bytes
}

const u8 = (shape: unknown, data_offsets: unknown) => ({ dtype: 'U8', shape, data_offsets })

describe('round trip', () => {
  test.each(allDTypes)('%s', (dtype) => {
    const bytes = new Uint8Array(6 * dtypes[dtype].bytes).map((_, i) =>
      dtype === 'bool' ? i % 2 : i * 7,
    )
    const entries: [string, SafetensorsEntry][] = [
      ['odd', { dtype: 'uint8', shape: [3], bytes: Uint8Array.of(1, 2, 3) }],
      ['x', { dtype, shape: [2, 3], bytes }],
      ['empty', { dtype, shape: [0, 4], bytes: new Uint8Array(0) }],
      ['scalar', { dtype, shape: [], bytes: bytes.slice(0, dtypes[dtype].bytes) }],
    ]
    const written = serializeSafetensors(entries)
    const { tensors, metadata } = parseSafetensors(written)
    expect([...tensors]).toEqual(entries)
    expect(Object.keys(metadata)).toEqual([])
    for (const tensor of tensors.values())
      expect(tensor.bytes.byteOffset % dtypes[tensor.dtype].bytes).toBe(0)
  })

  test('names keep their order and never touch a prototype', () => {
    const one = { dtype: 'uint8', shape: [1], bytes: Uint8Array.of(1) } as const
    const names = ['b', '__proto__', '10', 'constructor', '2', '', 'ключ "\\\n']
    const text = JSON.parse('{"__proto__": "a", "toString": "b"}') as Record<string, string>
    const written = serializeSafetensors(
      names.map((name) => [name, one]),
      text,
    )
    const { tensors, metadata } = parseSafetensors(written)
    expect([...tensors.keys()]).toEqual(names)
    expect(Object.entries(metadata)).toEqual(Object.entries(text))
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
    expect(Object.getPrototypeOf(metadata)).toBeNull()
  })

  test('no tensors at all', () => {
    expect(parseSafetensors(serializeSafetensors([])).tensors.size).toBe(0)
  })

  test('any tensors', () => {
    const entry = fc
      .record({
        dtype: fc.constantFrom(...allDTypes),
        shape: fc.array(fc.nat(4), { maxLength: 4 }),
      })
      .map(({ dtype, shape }) => {
        const length = shape.reduce((a, b) => a * b, dtypes[dtype].bytes)
        return { dtype, shape, bytes: new Uint8Array(length).map((_, i) => i % 2) }
      })
    const unicode = fc.string({ unit: 'grapheme' })
    const names = fc.dictionary(unicode, entry, { maxKeys: 6 })
    fc.assert(
      fc.property(names, fc.dictionary(unicode, unicode), (tensors, metadata) => {
        const entries = Object.entries(tensors)
        const read = parseSafetensors(serializeSafetensors(entries, metadata))
        expect([...read.tensors]).toEqual(entries)
        expect(Object.entries(read.metadata)).toEqual(Object.entries(metadata))
      }),
    )
  })
})

test('golden bytes', () => {
  const written = serializeSafetensors(
    [
      ['a', { dtype: 'uint8', shape: [2], bytes: Uint8Array.of(5, 6) }],
      ['w', { dtype: 'float32', shape: [1], bytes: Uint8Array.of(0, 0, 128, 63) }],
    ],
    { format: 'tandem' },
  )
  const header =
    '{"__metadata__":{"format":"tandem"},' +
    '"a":{"dtype":"U8","shape":[2],"data_offsets":[4,6]},' +
    '"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
  const length = Math.ceil(header.length / 8) * 8
  expect(length).toBe(144)
  expect([...written]).toEqual([
    ...Uint8Array.of(144, 0, 0, 0, 0, 0, 0, 0),
    ...utf8(header.padEnd(length, ' ')),
    ...Uint8Array.of(0, 0, 128, 63, 5, 6),
  ])
})

describe('a file that is not right', () => {
  const good = file({ a: u8([2], [0, 2]) }, [1, 2])
  const rows: [name: string, bytes: Uint8Array, message: RegExp][] = [
    ['empty', new Uint8Array(0), /^safetensors: m: the file has 0 bytes.*at least 8/],
    ['seven bytes', good.slice(0, 7), /has 7 bytes/],
    ['header cut', good.slice(0, 20), /claims \d+ bytes, the file has 12.*cut short/],
    ['data cut', good.slice(0, -1), /ends at byte 2 of the data, which has 1 bytes/],
    ['huge header', Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), /claims \d+ bytes.*at most 100000000/],
    ['header length 0', file('', [1, 2]), /does not start with '{'/],
    ['a list', file('[1]'), /does not start with '{'/],
    ['leading space', file(' {}'), /does not start with '{'/],
    ['not JSON', file('{"a": }'), /not valid JSON.*damaged/],
    ['trailing text', file('{} x'), /not valid JSON/],
    ['deep nesting', file(`{"a":${'['.repeat(200_000)}`), /not valid JSON/],
    ['not UTF-8', file('{"?":1}').map((b) => (b === 63 ? 255 : b)), /not valid UTF-8/],
    ['a zip', utf8('PK\x03\x04 and more than eight'), /ZIP archive.*PyTorch/],
    ['an LFS pointer', utf8('version https://git-lfs.github.com/spec/v1'), /git lfs pull/],
    ['a web page', utf8('<!DOCTYPE html><html>'), /web page/],
    ['two tensors of one name', file('{"a":{},"a":{}}'), /the key "a" twice/],
    [
      'two escaped names',
      file(String.raw`{"a":${JSON.stringify(u8([0], [0, 0]))},"\u0061":{}}`),
      /the key "a" twice/,
    ],
    ['a field twice', file('{"a":{"dtype":"U8","dtype":"F32"}}'), /the key "dtype" twice/],
    ['metadata not an object', file({ __metadata__: [] }), /__metadata__ is not an object/],
    ['metadata not text', file({ __metadata__: { a: 1 } }), /__metadata__ "a" is not text: 1/],
    ['tensor not an object', file({ a: 3 }), /tensor "a": expected dtype, shape and data_offsets/],
    ['tensor null', file({ a: null }), /tensor "a": expected/],
    ['no dtype', file({ a: { shape: [0], data_offsets: [0, 0] } }), /unknown dtype undefined/],
    ['odd dtype', file({ a: { ...u8([0], [0, 0]), dtype: 'toString' } }), /unknown dtype "toStr/],
    ['dtype a list', file({ a: { ...u8([0], [0, 0]), dtype: ['U8'] } }), /unknown dtype \["U8"\]/],
    ['no shape', file({ a: { dtype: 'U8', data_offsets: [0, 0] } }), /bad shape undefined/],
    ['negative size', file({ a: u8([-1], [0, 0]) }), /bad shape \[-1\]/],
    ['fractional size', file({ a: u8([1.5], [0, 1]) }, [0]), /bad shape \[1.5\]/],
    ['size a text', file({ a: u8(['1'], [0, 1]) }, [0]), /bad shape \["1"\]/],
    ['overflowing shape', file({ a: u8([2 ** 40, 2 ** 40], [0, 0]) }), /too large/],
    ['one offset', file({ a: u8([1], [0]) }, [0]), /bad data_offsets \[0\]/],
    ['offsets reversed', file({ a: u8([1], [1, 0]) }, [0]), /bad data_offsets \[1,0\]/],
    ['negative offset', file({ a: u8([1], [-1, 0]) }, [0]), /bad data_offsets/],
    [
      'size mismatch',
      file({ a: u8([3], [0, 2]) }, [1, 2]),
      /hold 2 bytes. Expected 3 for uint8 \[3\]/,
    ],
    ['hole', file({ a: u8([1], [1, 2]) }, [1, 2]), /starts at byte 1.*Expected 0.*without holes/],
    [
      'overlap',
      file({ a: u8([2], [0, 2]), b: u8([2], [1, 3]) }, [1, 2, 3]),
      /tensor "b" starts at byte 1.*Expected 2.*without overlap/,
    ],
    ['aliased', file({ a: u8([1], [0, 1]), b: u8([1], [0, 1]) }, [1]), /without overlap/],
    ['left over', file({ a: u8([1], [0, 1]) }, [1, 2]), /1 bytes follow the last tensor/],
    ['only data', file('{}', [1]), /1 bytes follow the last tensor/],
    [
      'bool of 2',
      file({ a: { ...u8([2], [0, 2]), dtype: 'BOOL' } }, [1, 2]),
      /bool at position 1 is 2/,
    ],
  ]
  test.each(rows)('%s', (_, bytes, message) => {
    expect(() => parseSafetensors(bytes, 'm')).toThrow(FormatError)
    expect(() => parseSafetensors(bytes, 'm')).toThrow(message)
  })

  test.each(['U16', 'I16', 'U32', 'U64', 'F8_E4M3', 'F8_E5M2', 'F4', 'C64'])('%s', (dtype) => {
    const bytes = file({ w: { ...u8([0], [0, 0]), dtype } })
    expect(() => parseSafetensors(bytes)).toThrow(UnsupportedError)
    expect(() => parseSafetensors(bytes)).toThrow(
      `safetensors: tensor "w": the element type ${dtype} is not supported. Convert`,
    )
  })

  test('trailing spaces and unordered headers are fine', () => {
    const bytes = file(`${JSON.stringify({ b: u8([1], [1, 2]), a: u8([1], [0, 1]) })}   `, [7, 8])
    expect([...parseSafetensors(bytes).tensors.values()].map((t) => t.bytes[0])).toEqual([8, 7])
  })
})

describe('tensors that cannot be written', () => {
  const x: SafetensorsEntry = { dtype: 'uint8', shape: [1], bytes: Uint8Array.of(1) }
  const rows: [string, () => unknown, RegExp][] = [
    ['bytes', () => serializeSafetensors([['x', { ...x, shape: [2] }]]), /1 bytes. Expected 2/],
    ['shape', () => serializeSafetensors([['x', { ...x, shape: [-1] }]]), /bad shape \[-1\]/],
    ['dtype', () => serializeSafetensors([['x', { ...x, dtype: 'f' as 'bool' }]]), /unknown dtype/],
    [
      'twice',
      () =>
        serializeSafetensors([
          ['x', x],
          ['x', x],
        ]),
      /"x" is used twice/,
    ],
    ['reserved', () => serializeSafetensors([['__metadata__', x]]), /reserves/],
    ['half a pair', () => serializeSafetensors([['\ud800', x]]), /not valid Unicode/],
    ['metadata', () => serializeSafetensors([], { a: 1 as unknown as string }), /metadata "a" 1/],
  ]
  test.each(rows)('%s', (_, write, message) => {
    expect(write).toThrow(TandemError)
    expect(write).toThrow(message)
  })
})

describe('fuzz: a TandemError or a result, nothing else', () => {
  const survive = (bytes: Uint8Array) => {
    try {
      const { tensors } = parseSafetensors(bytes)
      for (const { bytes: view, shape, dtype } of tensors.values())
        expect(view.length).toBe(shape.reduce((a, b) => a * b, dtypes[dtype].bytes))
    } catch (error) {
      if (!(error instanceof TandemError)) throw error
    }
  }

  test('random bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), survive), { numRuns: 500 })
  })
  test('random JSON', () => {
    fc.assert(
      fc.property(fc.json(), (json) => survive(file(`{"a":${json}}`, [1, 2]))),
      {
        numRuns: 500,
      },
    )
  })
  test('mutated files', () => {
    const valid = serializeSafetensors(
      [
        ['a', { dtype: 'int32', shape: [2], bytes: new Uint8Array(8) }],
        ['b', { dtype: 'bool', shape: [3], bytes: Uint8Array.of(0, 1, 1) }],
      ],
      { k: 'v' },
    )
    const change = fc.tuple(fc.nat(valid.length - 1), fc.nat(255))
    const changes = fc.array(change, { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(changes, fc.nat(valid.length), (edits, end) => {
        const bytes = valid.slice()
        for (const [at, value] of edits) bytes[at] = value
        survive(bytes)
        survive(valid.subarray(0, end))
      }),
      { numRuns: 2000 },
    )
  })
})

const realFile = join(
  process.env['TANDEM_DATA'] ?? '../shared/data',
  'models/mnist-burn/mnist.safetensors',
)
test.skipIf(!existsSync(realFile))('a real file (skipped where the data folder is absent)', () => {
  const bytes = readFileSync(realFile)
  const { tensors } = parseSafetensors(bytes)
  expect(tensors.size).toBe(20)
  expect(tensors.get('conv3.weight')?.shape).toEqual([24, 16, 3, 3])
  expect(tensors.get('norm1.num_batches_tracked')?.dtype).toBe('int64')
  const again = parseSafetensors(serializeSafetensors(tensors)).tensors
  expect([...again.keys()]).toEqual([...tensors.keys()])
  for (const [name, { bytes: copy }] of again)
    expect(Buffer.compare(copy, tensors.get(name)!.bytes)).toBe(0)
})
