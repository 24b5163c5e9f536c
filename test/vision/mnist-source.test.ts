import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { FormatError, UnsupportedError, ValueError } from '../../src/util/errors.ts'
import {
  DownloadError,
  type DownloadProgress,
  type MnistFile,
  downloadMnistFile,
  mnistFiles,
  mnistMirrors,
} from '../../src/vision/mnist-download.ts'
import { defaultCacheFolder } from '../../src/vision/mnist-files.node.ts'
import { loadMnistArrays } from '../../src/vision/mnist-source.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-mnist-'))
  vi.stubEnv('TANDEM_CACHE', join(folder, 'default-cache'))
})
afterEach(() => {
  vi.unstubAllEnvs()
  vi.unstubAllGlobals()
  rmSync(folder, { recursive: true, force: true })
})

const imageIdx = (count: number, size = 4) =>
  Uint8Array.from([
    0,
    0,
    8,
    3,
    0,
    0,
    0,
    count,
    0,
    0,
    0,
    size,
    0,
    0,
    0,
    size,
    ...new Uint8Array(count * size * size),
  ])
const labelIdx = (...labels: number[]) =>
  Uint8Array.from([0, 0, 8, 1, 0, 0, 0, labels.length, ...labels])
const put = (name: string, bytes: Uint8Array) => writeFileSync(join(folder, name), bytes)
const noNetwork = vi.fn(() =>
  Promise.reject(new TypeError('fetch failed', { cause: new Error('getaddrinfo ENOTFOUND') })),
)

describe('a folder', () => {
  test.each([
    ['train-images-idx3-ubyte', 'train-labels-idx1-ubyte.gz'],
    ['train-images.idx3-ubyte.gz', 'train-labels.idx1-ubyte'],
  ])('%s and %s', async (images, labels) => {
    const pack = (name: string, bytes: Uint8Array) =>
      put(name, name.endsWith('.gz') ? gzipSync(bytes) : bytes)
    pack(images, imageIdx(3))
    pack(labels, labelIdx(1, 9, 0))
    const read = await loadMnistArrays({ split: 'train', folder })
    expect(read).toMatchObject({ count: 3, rows: 4, columns: 4, source: 'folder' })
    expect([...read.labels]).toEqual([1, 9, 0])
    expect(read.images.length).toBe(48)
    expect(read.description).toBe(`MNIST train: 3 images of 4 x 4, from ${folder}`)
  })

  const wrong: [
    string,
    Record<string, Uint8Array>,
    typeof FormatError | typeof ValueError,
    RegExp,
  ][] = [
    [
      'no images',
      {},
      ValueError,
      /has no train-images file. Expected one of train-images-idx3-ubyte.gz, train-images-idx3-ubyte, train-images.idx3/,
    ],
    [
      'no labels',
      { 'train-images-idx3-ubyte': imageIdx(1) },
      ValueError,
      /has no train-labels file.*train-labels.idx1-ubyte/,
    ],
    [
      'counts differ',
      { 'train-images-idx3-ubyte': imageIdx(2), 'train-labels-idx1-ubyte': labelIdx(1) },
      FormatError,
      /has 2 images, .*train-labels-idx1-ubyte 1 labels/,
    ],
    [
      'label 10',
      { 'train-images-idx3-ubyte': imageIdx(2), 'train-labels-idx1-ubyte': labelIdx(1, 10) },
      FormatError,
      /label 1 is 10. Expected digits 0 to 9/,
    ],
    [
      'swapped',
      { 'train-images-idx3-ubyte': labelIdx(1), 'train-labels-idx1-ubyte': labelIdx(1) },
      FormatError,
      /holds uint8 with 1 axes. Expected uint8 with 3/,
    ],
    [
      'truncated',
      {
        'train-images-idx3-ubyte': imageIdx(2).slice(0, -3),
        'train-labels-idx1-ubyte': labelIdx(1, 2),
      },
      FormatError,
      /cut short/,
    ],
    [
      'bad gzip',
      {
        'train-images-idx3-ubyte.gz': gzipSync(imageIdx(2)).subarray(0, 20),
        'train-labels-idx1-ubyte': labelIdx(1, 2),
      },
      FormatError,
      /train-images-idx3-ubyte.gz: the gzip data is damaged/,
    ],
  ]
  test.each(wrong)('%s', async (_, files, ErrorClass, message) => {
    for (const [name, bytes] of Object.entries(files)) put(name, bytes)
    const outcome = loadMnistArrays({ split: 'train', folder })
    await expect(outcome).rejects.toThrow(ErrorClass)
    await expect(outcome).rejects.toThrow(message)
  })

  test('a folder that is not there, and a file that is a folder', async () => {
    await expect(loadMnistArrays({ split: 'test', folder: join(folder, 'none') })).rejects.toThrow(
      /none has no t10k-images file/,
    )
    const odd = join(folder, 'odd', 't10k-images-idx3-ubyte', 'x')
    mkdirSync(odd, { recursive: true })
    await expect(loadMnistArrays({ split: 'test', folder: join(folder, 'odd') })).rejects.toThrow(
      /cannot read .*t10k-images-idx3-ubyte/,
    )
  })
})

describe('without files', () => {
  test('digits are drawn, and said to be', async () => {
    const train = await loadMnistArrays({ split: 'train', syntheticCount: 50, fetch: noNetwork })
    expect(train).toMatchObject({ source: 'synthetic', count: 50, rows: 28, columns: 28 })
    expect(train.description).toMatch(
      /^Synthetic digits drawn in code, not MNIST: 50 train images of 28 x 28, seed 0. Pass { download: true }/,
    )
    expect(noNetwork).not.toHaveBeenCalled()
    const test = await loadMnistArrays({ split: 'test', syntheticCount: 50 })
    expect(test.images).not.toEqual(train.images)
    expect((await loadMnistArrays({ split: 'test' })).count).toBe(2000)
  })

  test('options are checked', async () => {
    await expect(loadMnistArrays({ split: 'val' as 'test' })).rejects.toThrow(/unknown split "val"/)
    await expect(loadMnistArrays({ split: 'test', foldr: '' } as never)).rejects.toThrow(/'folder'/)
    await expect(loadMnistArrays({ split: 'test', seed: 0.5 })).rejects.toThrow(ValueError)
    await expect(loadMnistArrays({ split: 'test', timeoutMs: -1 })).rejects.toThrow(/timeoutMs/)
    const outcome = loadMnistArrays({ split: 'test', syntheticCount: -1 })
    await expect(outcome).rejects.toThrow(/count is -1/)
  })

  test('a browser cannot read folders, and draws', async () => {
    vi.stubGlobal('process', undefined)
    const outcome = loadMnistArrays({ split: 'test', folder: 'x' }).catch((error: unknown) => error)
    const drawn = loadMnistArrays({ split: 'test', syntheticCount: 10 })
    const results = await Promise.all([outcome, drawn])
    vi.unstubAllGlobals()
    expect(results[0]).toBeInstanceOf(UnsupportedError)
    expect(results[1].source).toBe('synthetic')
  })

  test('where the cache is', () => {
    expect(defaultCacheFolder()).toBe(join(folder, 'default-cache', 'mnist'))
    vi.stubEnv('TANDEM_CACHE', '')
    vi.stubEnv('XDG_CACHE_HOME', '')
    expect(defaultCacheFolder()).toMatch(/\.cache[/\\]tandem[/\\]mnist$/)
  })
})

describe('the cache', () => {
  test('is used when complete', async () => {
    put('t10k-labels-idx1-ubyte', labelIdx(3, 4))
    expect((await loadMnistArrays({ split: 'test', cache: folder })).source).toBe('synthetic')
    put('t10k-images-idx3-ubyte.gz', gzipSync(imageIdx(2)))
    const read = await loadMnistArrays({
      split: 'test',
      cache: folder,
      download: true,
      fetch: noNetwork,
    })
    expect(read).toMatchObject({ source: 'cache', count: 2 })
    expect(read.description).toContain('from the cache')
  })

  test('damaged: an error, or another download', async () => {
    put('t10k-labels-idx1-ubyte', labelIdx(3))
    put('t10k-images-idx3-ubyte', imageIdx(1).slice(0, -1))
    const outcome = loadMnistArrays({ split: 'test', cache: folder })
    await expect(outcome).rejects.toThrow(/cut short.*delete it, or pass { download: true }/)
    const again = await loadMnistArrays({
      split: 'test',
      cache: folder,
      download: true,
      fetch: noNetwork,
      syntheticCount: 10,
    })
    expect(again.source).toBe('synthetic')
  })
})

describe('downloading one file', () => {
  const content = labelIdx(1, 2, 3)
  const packed = new Uint8Array(gzipSync(content))
  const file: MnistFile = {
    stem: 't10k-labels',
    ndim: 1,
    byteLength: 64,
    sha256: createHash('sha256').update(content).digest('hex'),
  }
  const answer = (bytes: Uint8Array, headers: Record<string, string> = {}) =>
    new Response(bytes as Uint8Array<ArrayBuffer>, { headers })

  test('success, with progress', async () => {
    const seen: DownloadProgress[] = []
    const urls: string[] = []
    const result = await downloadMnistFile(file, {
      fetch: (url) => {
        urls.push(url)
        return Promise.resolve(answer(packed, { 'content-length': String(packed.length) }))
      },
      onProgress: (progress) => seen.push(progress),
    })
    expect(result.content).toEqual(content)
    expect(result.received).toEqual(packed)
    expect(urls).toEqual([`${mnistMirrors[0]}t10k-labels-idx1-ubyte.gz`])
    expect(seen.at(-1)).toEqual({
      file: 't10k-labels-idx1-ubyte.gz',
      received: packed.length,
      total: packed.length,
    })
  })

  test('sent decompressed', async () => {
    const fetch = () =>
      Promise.resolve(answer(content, { 'content-encoding': 'gzip', 'content-length': '7' }))
    expect((await downloadMnistFile(file, { fetch })).received).toEqual(content)
  })

  test('the second mirror helps out', async () => {
    const fetch = vi
      .fn<(url: string) => Promise<Response>>()
      .mockResolvedValueOnce(new Response('gone', { status: 404, statusText: 'Not Found' }))
      .mockResolvedValueOnce(answer(packed))
    expect((await downloadMnistFile(file, { fetch })).content).toEqual(content)
    expect(fetch.mock.calls[1]![0]).toContain(mnistMirrors[1]!)
  })

  const breaking = () => {
    const parts = [packed.subarray(0, 9)]
    return new Response(
      new ReadableStream({
        pull(controller) {
          const part = parts.pop()
          if (part === undefined) controller.error(new TypeError('terminated'))
          else controller.enqueue(part)
        },
      }),
    )
  }
  const failures: [string, () => Promise<Response>, RegExp][] = [
    [
      '404',
      () => Promise.resolve(new Response('', { status: 404, statusText: 'Not Found' })),
      /ossci-datasets.*answered 404 Not Found; storage.*answered 404 Not Found/,
    ],
    ['no network', noNetwork, /fetch failed: getaddrinfo ENOTFOUND/],
    [
      'wrong checksum',
      () => Promise.resolve(answer(gzipSync(labelIdx(1, 2, 4)))),
      /wrong checksum: sha256 [0-9a-f]{64}, expected/,
    ],
    ['truncated', () => Promise.resolve(answer(packed.subarray(0, 15))), /damaged or cut short/],
    [
      'shorter than said',
      () => Promise.resolve(answer(packed.subarray(0, 15), { 'content-length': '30' })),
      /broke off after 15 of 30 bytes/,
    ],
    ['connection lost', () => Promise.resolve(breaking()), /terminated/],
    ['endless', () => Promise.resolve(answer(new Uint8Array(100))), /sent more than 64 bytes/],
    [
      'a bomb',
      () => Promise.resolve(answer(gzipSync(new Uint8Array(10_000)))),
      /more than 64 bytes/,
    ],
    ['empty', () => Promise.resolve(new Response(null)), /wrong checksum/],
    ['a portal page', () => Promise.resolve(new Response('<html>log in')), /wrong checksum/],
    ['odd rejection', () => Promise.reject('no' as unknown as Error), /: no[;)]/],
  ]
  test.each(failures)('%s', async (_, fetch, message) => {
    const outcome = downloadMnistFile(file, { fetch })
    await expect(outcome).rejects.toThrow(DownloadError)
    await expect(outcome).rejects.toThrow(message)
    const drawn = await loadMnistArrays({
      split: 'test',
      download: true,
      fetch,
      syntheticCount: 10,
    })
    expect(drawn.source).toBe('synthetic')
    expect(drawn.description).toMatch(/not MNIST.*MNIST was not available: t10k-labels/)
    expect(existsSync(defaultCacheFolder()!)).toBe(false)
  })

  test('time runs out', async () => {
    const fetch = (_: string, { signal }: { signal: AbortSignal }) =>
      new Promise<Response>((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason as Error)),
      )
    const alive = setTimeout(() => undefined, 10_000)
    await expect(downloadMnistFile(file, { fetch, timeoutMs: 20 })).rejects.toThrow(/within 20 ms/)
    clearTimeout(alive)
  })

  test('what onProgress throws comes through', async () => {
    const fetch = () => Promise.resolve(answer(packed))
    const onProgress = () => {
      throw new RangeError('mine')
    }
    await expect(downloadMnistFile(file, { fetch, onProgress })).rejects.toThrow(RangeError)
  })
})

const data = join(process.env['TANDEM_DATA'] ?? '../shared/data', 'mnist')
describe.skipIf(!existsSync(data))('real MNIST (skipped where the data folder is absent)', () => {
  const serve = (url: string) =>
    Promise.resolve(new Response(readFileSync(join(data, url.slice(url.lastIndexOf('/') + 1)))))

  test('from a folder', async () => {
    const read = await loadMnistArrays({ split: 'train', folder: data })
    expect(read).toMatchObject({ count: 60_000, rows: 28, columns: 28, source: 'folder' })
    expect(Array.from(read.labels.subarray(0, 5))).toEqual([5, 0, 4, 1, 9])
  })

  test('downloaded, cached, found again', async () => {
    const options = { split: 'test', download: true, cache: join(folder, 'new') } as const
    const fresh = await loadMnistArrays({ ...options, fetch: serve })
    expect(fresh).toMatchObject({ source: 'download', count: 10_000 })
    expect(readdirSync(options.cache).sort()).toEqual([
      't10k-images-idx3-ubyte.gz',
      't10k-labels-idx1-ubyte.gz',
    ])
    const cached = await loadMnistArrays({ ...options, fetch: noNetwork })
    expect(cached.source).toBe('cache')
    expect(Buffer.compare(cached.images, fresh.images)).toBe(0)
  })

  test('a cache that cannot be written is no obstacle', async () => {
    put('file', Uint8Array.of(1))
    const cache = join(folder, 'file', 'cache')
    const fresh = await loadMnistArrays({ split: 'test', download: true, cache, fetch: serve })
    expect(fresh.source).toBe('download')
    expect(fresh.description).toMatch(/just downloaded, not cached \(.*ENOTDIR/)
  })

  test.each(['train', 'test'] as const)('the checksums of %s are right', async (split) => {
    for (const file of Object.values(mnistFiles[split]))
      expect((await downloadMnistFile(file, { fetch: serve })).content.length).toBe(file.byteLength)
  })
})
