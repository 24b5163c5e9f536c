import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FormatError, TandemError, UnsupportedError } from '../../src/util/errors.ts'
import { gunzip, maybeGunzip, parseIdx } from '../../src/vision/idx.ts'

const bytesOf = (...values: number[]) => Uint8Array.from(values)

describe('element types', () => {
  const rows: [dtype: string, bytes: Uint8Array, values: number[]][] = [
    ['uint8', bytesOf(0, 0, 0x08, 1, 0, 0, 0, 2, 1, 255), [1, 255]],
    ['int8', bytesOf(0, 0, 0x09, 1, 0, 0, 0, 2, 1, 255), [1, -1]],
    ['int32', bytesOf(0, 0, 0x0c, 1, 0, 0, 0, 2, 0, 0, 1, 2, 255, 255, 255, 254), [258, -2]],
    ['float32', bytesOf(0, 0, 0x0d, 1, 0, 0, 0, 1, 0x3f, 0xc0, 0, 0), [1.5]],
    ['float64', bytesOf(0, 0, 0x0e, 1, 0, 0, 0, 1, 0xbf, 0xe0, 0, 0, 0, 0, 0, 0), [-0.5]],
  ]
  test.each(rows)('%s', (dtype, bytes, values) => {
    const read = parseIdx(bytes)
    expect(read.dtype).toBe(dtype)
    expect(read.shape).toEqual([values.length])
    expect(Array.from(read.data as Float64Array)).toEqual(values)
  })

  test('the data is a copy', () => {
    const bytes = bytesOf(0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 3, 4)
    const { data, shape } = parseIdx(Buffer.from(bytes))
    bytes.fill(0)
    expect(shape).toEqual([1, 2])
    expect([...(data as Uint8Array)]).toEqual([3, 4])
  })

  test('no items', () => {
    expect(parseIdx(bytesOf(0, 0, 8, 2, 0, 0, 0, 0, 0, 0, 0, 28)).shape).toEqual([0, 28])
  })
})

describe('files that are not right', () => {
  const rows: [name: string, bytes: Uint8Array, message: RegExp][] = [
    ['empty', bytesOf(), /^idx: f: the file has 0 bytes.*cut short/],
    ['header cut', bytesOf(0, 0, 8, 3, 0, 0, 0, 2), /has 8 bytes. Expected 16.*3 axes/],
    [
      'data cut',
      bytesOf(0, 0, 8, 1, 0, 0, 0, 2, 1),
      /has 9 bytes. Expected 10 for uint8 \[2\].*cut/,
    ],
    ['too long', bytesOf(0, 0, 8, 1, 0, 0, 0, 1, 1, 1), /has 10 bytes. Expected 9.*too long/],
    ['wrong magic', bytesOf(137, 80, 78, 71), /first bytes are 89 50 4E 47.*is this an idx/],
    ['unknown type', bytesOf(0, 0, 7, 1, 0, 0, 0, 0), /00 00 07 01/],
    ['no axes', bytesOf(0, 0, 8, 0, 5), /00 00 08 00/],
    ['still gzipped', gzipSync(bytesOf(0, 0, 8, 1, 0, 0, 0, 0)), /still gzipped.*gunzip/],
    ['absurd sizes', bytesOf(0, 0, 14, 255, ...new Uint8Array(1020).fill(255)), /Expected Inf/],
  ]
  test.each(rows)('%s', (_, bytes, message) => {
    expect(() => parseIdx(bytes, 'f')).toThrow(FormatError)
    expect(() => parseIdx(bytes, 'f')).toThrow(message)
  })

  test('16-bit integers', () => {
    expect(() => parseIdx(bytesOf(0, 0, 0x0b, 1, 0, 0, 0, 0))).toThrow(UnsupportedError)
    expect(() => parseIdx(bytesOf(0, 0, 0x0b, 1, 0, 0, 0, 0))).toThrow(/16-bit.*0x0C/)
  })

  test('random headers', () => {
    const start = fc.constantFrom([0, 0, 8, 1], [0, 0, 8, 3], [0, 0, 12, 2], [0, 0, 14, 1], [])
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 40 }), (head, tail) => {
        try {
          parseIdx(bytesOf(...head, ...tail))
        } catch (error) {
          if (!(error instanceof TandemError)) throw error
        }
      }),
      { numRuns: 1000 },
    )
  })
})

describe('gunzip', () => {
  const text = new TextEncoder().encode('to be, or not to be, that is the question '.repeat(20))
  const packed = new Uint8Array(gzipSync(text))
  const flipped = packed.slice()
  flipped[flipped.length - 6]! ^= 1

  test('decompresses', async () => {
    expect(await gunzip(packed)).toEqual(text)
    expect(await maybeGunzip(packed)).toEqual(text)
    expect(await maybeGunzip(text)).toBe(text)
  })

  const rows: [name: string, bytes: Uint8Array, message: RegExp][] = [
    ['empty', bytesOf(), /^gunzip: f: the first bytes are missing. Expected 1F 8B/],
    ['not gzip', text, /first bytes are 74 6F/],
    ['only the magic', packed.subarray(0, 2), /damaged or cut short/],
    ['cut in the data', packed.subarray(0, 30), /damaged or cut short/],
    ['cut in the trailer', packed.subarray(0, packed.length - 2), /damaged or cut short/],
    ['wrong checksum', flipped, /damaged or cut short/],
    ['junk after it', Uint8Array.of(...packed, 1, 2, 3, 4), /damaged or cut short/],
  ]
  test.each(rows)('%s', async (_, bytes, message) => {
    const outcome = gunzip(bytes, { source: 'f' })
    await expect(outcome).rejects.toThrow(FormatError)
    await expect(outcome).rejects.toThrow(message)
  })

  test('a gzip bomb stops at the limit', async () => {
    const bomb = gzipSync(new Uint8Array(50_000_000))
    await expect(gunzip(bomb, { maxBytes: 1_000_000 })).rejects.toThrow(/more than 1000000 bytes/)
  })

  test('damaged anywhere', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(packed.length - 1),
        fc.integer({ min: 1, max: 255 }),
        async (at, x) => {
          const bytes = packed.slice()
          bytes[at]! ^= x
          await gunzip(bytes).catch((error: unknown) => {
            if (!(error instanceof TandemError)) throw error
          })
        },
      ),
      { numRuns: 300 },
    )
  })
})

const folder = join(process.env['TANDEM_DATA'] ?? '../shared/data', 'mnist')
test.skipIf(!existsSync(folder))(
  'real MNIST (skipped where the data folder is absent)',
  async () => {
    const read = async (name: string) =>
      parseIdx(await gunzip(readFileSync(join(folder, name))), name)
    const labels = await read('t10k-labels-idx1-ubyte.gz')
    expect(labels.shape).toEqual([10_000])
    expect(Array.from(labels.data as Uint8Array).slice(0, 5)).toEqual([7, 2, 1, 0, 4])
    expect((await read('t10k-images-idx3-ubyte.gz')).shape).toEqual([10_000, 28, 28])
  },
)
